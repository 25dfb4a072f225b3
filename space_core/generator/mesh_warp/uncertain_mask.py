"""Corrects a person's mask where it is uncertain and the photo shows the background, as letters and lights do."""

from functools import reduce

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.background_colours import STEP
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur, channels_last, to_three_channels

# Lengths are in pixels of the reduced surroundings, see ``without_grain``.
SURE = 0.85  # a mask above that shows the person, where it does so over more than NARROW pixels
UNCERTAIN = (0.02, 0.5)  # of the mask: between these it is uncertain
NARROW = 7  # pixels; gaps of that width between parts of the background belong to it, as the edges of a letter do
STANDS_OUT = 0.12  # colours 0…1: narrow things that differ by more, such as strands of hair and earrings, are kept
SOFT_EDGE = 9  # side of the square around the person in which the mask's own soft edge is kept
LEAST = 100  # pixels: a mask with fewer uncertain ones is left as it is
CLEAR = 11  # side of the square by which the known background is kept clear of the rest
NEARBY = 2  # standard deviation, in pairs of pixels, over which the person's colours are averaged
LEVELS = 32  # of each channel, into which colours are sorted
COMMON = 12  # a colour is the background's if so many more of its pixels than of the person's have it or a neighbour
SHARE = (0.1, 0.3)  # of the person's colour in a mixture with the background's: background … person
OTHER = (0.1, 0.16)  # distance of a colour, 0…1, from all such mixtures: a mixture … not


def without_uncertain_background(seen: np.ndarray, person: np.ndarray) -> np.ndarray:
    """A person's mask (640, 640), 0…1, reduced where it is uncertain and the colour is one of the background's.

    It is kept where the colour is a mixture of the background's and the nearby person's, as in strands of hair.

    Args:
        seen: (320, 320, 3) the colours of the surroundings, see ``without_grain``.
        person: the mask.
    """
    mask = np.ascontiguousarray(person[::STEP, ::STEP])
    sure = cv2.morphologyEx((mask > SURE).astype(np.uint8), cv2.MORPH_OPEN, square(NARROW))
    beside = cv2.dilate(sure, square(SOFT_EDGE)) == 0
    uncertain = (mask > UNCERTAIN[0]) & (mask < UNCERTAIN[1]) & beside
    if uncertain.sum() < LEAST:
        return person
    known = cv2.erode((mask <= UNCERTAIN[0]).astype(np.uint8), square(CLEAR))
    if not known.any() or not sure.any():
        return person
    clear = uncertain & _is_common(seen, known > 0, mask >= UNCERTAIN[1], uncertain)
    if not clear.any():
        return person
    share = np.zeros_like(mask)
    share[clear] = 1 - _like_person(seen, known, sure, clear)
    share = cv2.erode(cv2.dilate(share, square(NARROW + 2)), square(NARROW))  # gaps closed, one pixel wider
    share *= beside & ~_stands_out(seen)
    share = cv2.resize(blur(share, 1), person.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return person * (1 - share)


def _stands_out(seen: np.ndarray) -> np.ndarray:
    """(h, w) bool, where a picture (h, w, 3) shows narrow things that are lighter or darker than around them."""
    levels = cv2.convertScaleAbs(seen, alpha=255)
    kinds = cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT
    planes = [plane for kind in kinds for plane in cv2.split(cv2.morphologyEx(levels, kind, square(NARROW)))]
    return cv2.dilate((reduce(cv2.max, planes) > STANDS_OUT * 255).astype(np.uint8), square(3)) > 0


def _is_common(seen: np.ndarray, known: np.ndarray, likely: np.ndarray, uncertain: np.ndarray) -> np.ndarray:
    """(h, w) bool, where a picture has colours that are more common in the background than in the person.

    Args:
        seen: (h, w, 3) the picture, 0…1.
        known: (h, w) bool, where it shows the background.
        likely: (h, w) bool, where it shows the person.
        uncertain: (h, w) bool, where colours are compared.
    """
    steps = cv2.convertScaleAbs(seen, alpha=LEVELS - 1).astype(np.float32)
    codes = cv2.transform(steps, np.array([[LEVELS**2, LEVELS, 1]])).astype(np.int64)
    difference = known.astype(np.float32) - likely
    count = np.bincount(codes.ravel(), difference.ravel(), LEVELS**3).reshape(3 * (LEVELS,)).astype(np.float32)
    for axis in range(3):
        count = scipy.ndimage.uniform_filter1d(count, 3, axis=axis, mode="constant") * 3
    common = np.zeros(seen.shape[:2], np.uint8)
    common[uncertain] = count.ravel()[codes[uncertain]] >= COMMON
    return cv2.morphologyEx(common, cv2.MORPH_CLOSE, square(3)) > 0


def _like_person(seen: np.ndarray, known: np.ndarray, sure: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(n,) how far the colours of n pixels are mixtures of the background's and the nearby person's: 0 not … 1.

    Args:
        seen: (h, w, 3) the picture, 0…1.
        known: (h, w) 1 where it shows the background.
        sure: (h, w) 1 where it shows the person.
        asked: (h, w) bool, the n pixels.
    """
    coarse, known, sure = (
        cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for plane in (seen, known.astype(np.float32), sure.astype(np.float32))
    )
    nearby = blur(coarse * to_three_channels(sure), NEARBY) / to_three_channels(blur(sure, NEARBY).clip(1e-3))
    rows, columns = np.nonzero(asked)
    behind, before = (
        _filled(colours, kind == 1)[rows // 2, columns // 2] for colours, kind in ((coarse, known), (nearby, sure))
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
