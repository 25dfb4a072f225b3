"""Where a person's mask is hardly sure, and the photo shows the background: letters and lights beside a head."""

from functools import reduce

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur, channels_last, sum_of_channels, to_three_channels

STEP = 2  # pixels of the surroundings per pixel that is looked at; lengths below are in the latter
# Of the mask: what shows the person for certain, if it is no narrower than that; and from where up to where it is
# hardly sure. What is that narrow in between, such as the edge of a letter, goes with it.
SURE, NARROW, DOUBTFUL = 0.85, 7, (0.02, 0.5)
RISE = 0.12  # colours 0…1: what is narrow and stands out by more, as strands of hair and earrings do, stays
SOFT_EDGE = 9  # side of the square by which the person's own soft edge is spared
LEAST = 100  # pixels: less than that is not looked at
CLEAR = 11  # side of the square by which the known background is kept clear of the rest
BLUR = 0.7  # of the picture, standard deviation: grain is no difference
HAIR = 4  # standard deviation over which the person's colours are averaged
# The background's colours in so many steps a channel. A colour is one of them if so many pixels have it or its
# neighbours.
LEVELS, COMMON = 32, 12
SHARE = (0.1, 0.3)  # of the way from the background's colour to the person's: background … person
OTHER = (0.1, 0.16)  # distance of a colour, 0…1, from that way: the person's … not


def without_doubt(picture: torch.Tensor, person: np.ndarray) -> np.ndarray:
    """A person's mask (640, 640) without what is hardly likely the person and coloured as the background is elsewhere.

    What is on the way from the background's colour there to that of the person nearby, such as strands of hair, stays
    in it. ``picture`` is (1, 3, 640, 640), 0…1.
    """
    mask = person[::STEP, ::STEP]
    sure = cv2.morphologyEx((mask > SURE).astype(np.uint8), cv2.MORPH_OPEN, square(NARROW))
    beside = cv2.dilate(sure, square(SOFT_EDGE)) == 0
    doubtful = (mask > DOUBTFUL[0]) & (mask < DOUBTFUL[1]) & beside
    known = cv2.erode((mask <= DOUBTFUL[0]).astype(np.uint8), square(CLEAR))
    if doubtful.sum() < LEAST or not known.any() or not sure.any():
        return person
    seen = channels_last(picture[0])
    seen = blur(cv2.resize(seen, None, fx=1 / STEP, fy=1 / STEP, interpolation=cv2.INTER_AREA), BLUR)
    clear = doubtful & _is_common(seen, known > 0, doubtful)
    if not clear.any():
        return person
    share = clear * (1 - _like_person(seen, known, sure)).astype(np.float32)
    share = cv2.erode(cv2.dilate(share, square(NARROW + 2)), square(NARROW))  # closed, and with its own soft rim
    share *= beside & ~_stands_out(seen)
    share = cv2.resize(blur(share, 1), person.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return person * (1 - share)


def _stands_out(seen: np.ndarray) -> np.ndarray:
    """(h, w) bool, where a picture (h, w, 3) is lighter or darker than around, and only so narrow."""
    kinds = cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT
    planes = [plane for kind in kinds for plane in cv2.split(cv2.morphologyEx(seen, kind, square(NARROW)))]
    return cv2.dilate((reduce(cv2.max, planes) > RISE).astype(np.uint8), square(3)) > 0


def _is_common(seen: np.ndarray, known: np.ndarray, doubtful: np.ndarray) -> np.ndarray:
    """(h, w) bool, where the colours of ``doubtful`` pixels are among those of ``known`` ones, (h, w) bool each."""
    steps = (seen * (LEVELS - 1)).round().astype(np.int64)
    codes = np.ravel_multi_index(tuple(np.moveaxis(steps, 2, 0)), 3 * (LEVELS,))
    count = np.bincount(codes[known], minlength=LEVELS**3).reshape(3 * (LEVELS,))
    for axis in range(3):
        count = scipy.ndimage.uniform_filter1d(count, 3, axis=axis, mode="constant", output=np.float32) * 3
    common = np.zeros(seen.shape[:2], np.uint8)
    common[doubtful] = count.ravel()[codes[doubtful]] >= COMMON
    return cv2.morphologyEx(common, cv2.MORPH_CLOSE, square(3)) > 0


def _like_person(seen: np.ndarray, known: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """(h, w) 0 … 1 where a picture (h, w, 3) has a colour between those of the background and the person there.

    ``known`` and ``sure`` (h, w) are 1 where the background and the person are seen.
    """
    own = sure.astype(np.float32)
    hair = blur(seen * to_three_channels(own), HAIR) / to_three_channels(blur(own, HAIR).clip(1e-3))
    behind, before = (_filled(colours, kind) for colours, kind in ((seen, known), (hair, sure)))
    way, from_background = before - behind, seen - behind
    share = sum_of_channels(from_background * way) / sum_of_channels(way * way).clip(1e-3)
    aside = from_background - share.clip(0, 1.3)[..., None] * way
    other = np.sqrt(sum_of_channels(aside * aside))
    like: np.ndarray = smoothstep(share, *SHARE) * (1 - smoothstep(other, *OTHER))
    return like


def _filled(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours (h, w, 3), where ``known`` (h, w) is 1, filled in elsewhere."""
    planes = torch.from_numpy(colours).permute(2, 0, 1)[None]
    return channels_last(fill(planes, torch.from_numpy(known.astype(np.float32))[None, None])[0])
