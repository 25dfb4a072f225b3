"""Single strands of hair before a smooth background, outside a person's mask: thin lines coloured towards the hair."""

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur, blur_widely, channels_last, sum_of_channels, to_three_channels

SURE = 0.9  # of the mask: a pixel that shows the person
HAIR = 8  # pixels, standard deviation over which the person's colours are averaged
AROUND = 25  # pixels, side of the square whose mean is what is behind a strand
MIN_CONTRAST = 0.12  # of colours 0…1, between hair and background
WIDEST = 9  # pixels; what is wider than that is no strand
NEAR, REACH, FADE = 2, 50, 20  # pixels from the person: from where, up to where, and over what width that ends
SHORTEST = 14  # pixels along x or y
FULLEST = 0.5  # of the box around it; longer lines may fill it, being three pixels wide
# Edges of doors and shelves are so long, in pixels along x or y, and no further from straight, standard deviation.
EDGE_LENGTH, STRAIGHT = 60, 1.5
# By how much a line stands out, in colours 0…1 and as a multiple of what thin lines there are further out: a strand,
# and what goes on from one.
CLEAR, FAINT = (0.04, 5.0), (0.02, 3.0)
# Further out, between these distances and averaged over that width, the background must be smooth: the mean difference
# from its surroundings in 0…1 of what is finer than ``COARSE``.
OUTSIDE, OUTSIDE_WIDTH, COARSE = (50, 130), 40, 8
SMOOTH, MIN_OUTSIDE = (0.008, 0.014), 0.02
MIN_LINES = 0.006  # grain
REDUCED = 8  # times, for what is averaged over that width


def find_hair_strands(picture: torch.Tensor, person: np.ndarray) -> np.ndarray:
    """(640, 640) 1 where surroundings (1, 3, 640, 640), 0…1, show a strand of hair … 0.

    ``person`` (640, 640) is the mask, 0 background … 1 person.
    """
    sure = person > SURE
    if not sure.any() or sure.all():
        return np.zeros_like(person)
    seen = channels_last(picture[0])
    distance, nearest = scipy.ndimage.distance_transform_edt(~sure, return_indices=True)
    distance = distance.astype(np.float32)
    lines = _lines(seen, sure, distance, nearest)

    outside = ((distance > OUTSIDE[0]) & (distance < OUTSIDE[1])).astype(np.float32)
    known = _widely_blurred(outside)
    detail = sum_of_channels(cv2.absdiff(blur(seen, 1), blur_widely(seen, COARSE))) / 3
    usual, rough = (_widely_blurred(values * outside) / known.clip(1e-3) for values in (lines, detail))
    lines = lines * (distance > NEAR) * (1 - smoothstep(rough, *SMOOTH)) * (known > MIN_OUTSIDE)
    clear, faint = ((lines > least) & (lines > times * usual.clip(MIN_LINES)) for least, times in (CLEAR, FAINT))
    strands = cv2.dilate(_long(faint, clear).astype(np.float32), square(3))
    return strands * (1 - smoothstep(distance, REACH, REACH + FADE))


def _lines(seen: np.ndarray, sure: np.ndarray, distance: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """(640, 640) by how much thin lines in a picture (640, 640, 3) differ from it towards the nearest hair's colour.

    ``sure`` are the pixels of the person, ``distance`` (640, 640) is that to the nearest of them, ``nearest``
    (2, 640, 640) its row and column.
    """
    free, own = (kind.astype(np.float32) for kind in (distance > NEAR, sure))
    hair = blur_widely(seen * to_three_channels(own), HAIR) / to_three_channels(blur_widely(own, HAIR).clip(1e-3))
    hair = hair.reshape(-1, 3).take(nearest[0] * seen.shape[1] + nearest[1], 0)
    size = (AROUND, AROUND)
    behind = cv2.blur(seen * to_three_channels(free), size) / to_three_channels(cv2.blur(free, size).clip(0.02))
    way = hair - behind
    towards = sum_of_channels((seen - behind) * way) / np.sqrt(sum_of_channels(way * way)).clip(MIN_CONTRAST)
    towards = blur(towards, 0.7)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDEST, WIDEST))
    return towards - cv2.morphologyEx(towards, cv2.MORPH_OPEN, brush)


def _widely_blurred(values: np.ndarray) -> np.ndarray:
    """(640, 640) values (640, 640) averaged over ``OUTSIDE_WIDTH``."""
    small = cv2.resize(values, None, fx=1 / REDUCED, fy=1 / REDUCED, interpolation=cv2.INTER_AREA)
    return cv2.resize(blur(small, OUTSIDE_WIDTH / REDUCED), values.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _long(faint: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """The pieces of a mask (640, 640) that are long, thin and in part clear, (640, 640) bool each."""
    pieces, count = scipy.ndimage.label(faint, square(3))
    kept = np.zeros(count + 1, bool)
    for number, box in enumerate(scipy.ndimage.find_objects(pieces), 1):
        length = max(rows_or_columns.stop - rows_or_columns.start for rows_or_columns in box)
        if length >= SHORTEST and clear[box].any():
            own = pieces[box] == number
            is_thin = own.sum() < FULLEST * own.size + 3 * length
            kept[number] = is_thin and (own & clear[box]).any() and not _is_edge(own)
    return kept[pieces]


def _is_edge(line: np.ndarray) -> bool:
    """Whether a line (h, w) bool is long and straight: the edge of a door or a shelf, no hair."""
    if max(line.shape) < EDGE_LENGTH:
        return False
    return float(np.linalg.eigvalsh(np.cov(np.argwhere(line).T))[0]) < STRAIGHT**2
