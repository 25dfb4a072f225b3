"""Where a person's mask is hardly sure, and the photo shows the background: letters and lights beside a head."""

from functools import reduce

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur, channels_last, to_three_channels

STEP = 2  # pixels of the surroundings per pixel that is looked at; lengths below are in the latter
# Of the mask: what shows the person for certain, if it is no narrower than that; and from where up to where it is
# hardly sure. What is that narrow in between, such as the edge of a letter, goes with it.
SURE, NARROW, DOUBTFUL = 0.85, 7, (0.02, 0.5)
RISE = 0.12  # colours 0…1: what is narrow and stands out by more, as strands of hair and earrings do, stays
SOFT_EDGE = 9  # side of the square by which the person's own soft edge is spared
LEAST = 100  # pixels: less than that is not looked at
CLEAR = 11  # side of the square by which the known background is kept clear of the rest
BLUR = 0.7  # of the picture, standard deviation: grain is no difference
HAIR = 2  # standard deviation, in pairs of pixels, over which the person's colours are averaged
# Colours in so many steps a channel. One is the background's if more of its pixels than of the person's have it or its
# neighbours, by so many.
LEVELS, COMMON = 32, 12
SHARE = (0.1, 0.3)  # of the way from the background's colour to the person's: background … person
OTHER = (0.1, 0.16)  # distance of a colour, 0…1, from that way: the person's … not


def without_doubt(picture: torch.Tensor, person: np.ndarray) -> np.ndarray:
    """A person's mask (640, 640) without what is hardly likely the person and coloured as the background is elsewhere.

    What is on the way from the background's colour there to that of the person nearby, such as strands of hair, stays
    in it. ``picture`` is (1, 3, 640, 640), 0…1.
    """
    mask = np.ascontiguousarray(person[::STEP, ::STEP])
    sure = cv2.morphologyEx((mask > SURE).astype(np.uint8), cv2.MORPH_OPEN, square(NARROW))
    beside = cv2.dilate(sure, square(SOFT_EDGE)) == 0
    doubtful = (mask > DOUBTFUL[0]) & (mask < DOUBTFUL[1]) & beside
    if doubtful.sum() < LEAST:
        return person
    known = cv2.erode((mask <= DOUBTFUL[0]).astype(np.uint8), square(CLEAR))
    if not known.any() or not sure.any():
        return person
    small = mask.shape[::-1]
    seen = cv2.merge([cv2.resize(plane, small, interpolation=cv2.INTER_AREA) for plane in picture[0].numpy()])
    seen = blur(seen, BLUR)
    clear = doubtful & _is_common(seen, known > 0, mask >= DOUBTFUL[1], doubtful)
    if not clear.any():
        return person
    share = np.zeros_like(mask)
    share[clear] = 1 - _like_person(seen, known, sure, clear)
    share = cv2.erode(cv2.dilate(share, square(NARROW + 2)), square(NARROW))  # closed, and with its own soft rim
    share *= beside & ~_stands_out(seen)
    share = cv2.resize(blur(share, 1), person.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return person * (1 - share)


def _stands_out(seen: np.ndarray) -> np.ndarray:
    """(h, w) bool, where a picture (h, w, 3) is lighter or darker than around, and only so narrow."""
    levels = cv2.convertScaleAbs(seen, alpha=255)
    kinds = cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT
    planes = [plane for kind in kinds for plane in cv2.split(cv2.morphologyEx(levels, kind, square(NARROW)))]
    return cv2.dilate((reduce(cv2.max, planes) > RISE * 255).astype(np.uint8), square(3)) > 0


def _is_common(seen: np.ndarray, known: np.ndarray, likely: np.ndarray, doubtful: np.ndarray) -> np.ndarray:
    """(h, w) bool, where a picture (h, w, 3) has colours that are more common in the background than in the person.

    ``known`` is true where it shows the background, ``likely`` the person, and ``doubtful`` where it is looked at,
    (h, w) bool each.
    """
    steps = cv2.convertScaleAbs(seen, alpha=LEVELS - 1).astype(np.float32)
    codes = cv2.transform(steps, np.array([[LEVELS**2, LEVELS, 1]])).astype(np.int64)
    difference = known.astype(np.float32) - likely
    count = np.bincount(codes.ravel(), difference.ravel(), LEVELS**3).reshape(3 * (LEVELS,)).astype(np.float32)
    for axis in range(3):
        count = scipy.ndimage.uniform_filter1d(count, 3, axis=axis, mode="constant") * 3
    common = np.zeros(seen.shape[:2], np.uint8)
    common[doubtful] = count.ravel()[codes[doubtful]] >= COMMON
    return cv2.morphologyEx(common, cv2.MORPH_CLOSE, square(3)) > 0


def _like_person(seen: np.ndarray, known: np.ndarray, sure: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(n,) 0 … 1 where a picture (h, w, 3) has a colour between those of the background and the person there.

    ``known`` and ``sure`` (h, w) are 1 where the background and the person are seen, ``asked`` (h, w) is true at the n
    pixels that are looked at.
    """
    coarse, known, sure = (
        cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for plane in (seen, known.astype(np.float32), sure.astype(np.float32))
    )
    hair = blur(coarse * to_three_channels(sure), HAIR) / to_three_channels(blur(sure, HAIR).clip(1e-3))
    rows, columns = np.nonzero(asked)
    behind, before = (
        _filled(colours, kind == 1)[rows // 2, columns // 2] for colours, kind in ((coarse, known), (hair, sure))
    )
    way, from_background = before - behind, seen[rows, columns] - behind
    share = (from_background * way).sum(1) / (way * way).sum(1).clip(1e-3)
    other = np.linalg.norm(from_background - share.clip(0, 1.3)[:, None] * way, axis=1)
    like: np.ndarray = smoothstep(share, *SHARE) * (1 - smoothstep(other, *OTHER))
    return like


def _filled(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours (h, w, 3) filled in where they are not ``known``, (h, w) bool."""
    planes = torch.from_numpy(colours).permute(2, 0, 1)[None]
    return channels_last(fill(planes, torch.from_numpy(known)[None, None].float())[0])
