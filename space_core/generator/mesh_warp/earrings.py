"""Earrings outside a person's mask: sharp things of any colour that hang below an ear before a smooth background."""

from functools import reduce

import cv2
import numpy as np
import torch

from space_core.face.crop_size import MARGIN
from space_core.face.portrait import Portrait
from space_core.face.topology import OUTER_EYE_CORNERS
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import EXTENT

SURE = 0.9  # of the mask: a pixel that shows the person
# Lengths are multiples of the distance between the outer eye corners, areas of its square.
EARS = {-1: (234, 132), 1: (454, 361)}  # the skin before either ear and below it, by the direction outwards along x
INWARDS, OUTWARDS, UPWARDS, DOWNWARDS = 0.15, 0.45, 0.1, 0.95  # from there, where earrings are sought
CLEARANCE = 15  # pixels, width of the brush around the person in which the background is not taken as known
# Differences of a colour, 0…1, from the background's, the greatest of the three: of every pixel, on average over an
# earring, and by how much it changes in a pixel at its outline. What is behind the person is mostly less sharp.
MIN_CONTRAST, CLEAR_CONTRAST, SHARP = 0.1, 0.2, 0.08
MIN_REACH = 0.08  # from the mask; what ends nearer is the mask's own edge
AREAS = (0.003, 0.15)
MAX_ELSEWHERE = 0.25  # share of the background beside the ear that differs, too: else it is not smooth


def find_earrings(picture: torch.Tensor, person: np.ndarray, portrait: Portrait) -> np.ndarray:
    """(640, 640) 1 where surroundings (1, 3, 640, 640), 0…1, show an earring that the mask leaves out, else 0.

    ``person`` (640, 640) is the mask, 0 background … 1 person.
    """
    points = portrait.landmarks[:, :2] + MARGIN
    unit = float(np.linalg.norm(np.subtract(*points[list(OUTER_EYE_CORNERS)])))
    sure = (person > SURE).astype(np.uint8)
    boxes = [_beside_ear(points[list(ear)], unit, outwards) for outwards, ear in EARS.items()]
    known = cv2.dilate(sure, square(CLEARANCE)) == 0
    for box in boxes:
        known[box] = False
    # At half the size: it is smooth.
    planes, half = picture[0].numpy(), (EXTENT // 2, EXTENT // 2)
    known, *small = (cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in (known.astype(np.float32), *planes))
    behind = fill(torch.from_numpy(np.stack(small))[None], torch.from_numpy(np.floor(known))[None, None])[0].numpy()
    without = [cv2.resize(p, (EXTENT, EXTENT), interpolation=cv2.INTER_LINEAR) for p in behind]
    contrast = reduce(cv2.max, map(cv2.absdiff, planes, without))
    found = np.zeros(person.shape, np.float32)
    for outwards, box in zip(EARS, boxes, strict=True):
        if sure[box].any() and not sure[box].all():
            flipped = np.s_[:, ::outwards]
            found[box][flipped] = _hanging(contrast[box][flipped].copy(), sure[box][flipped].copy(), unit)
    return found


def _beside_ear(points: np.ndarray, unit: float, outwards: int) -> tuple[slice, slice]:
    """Rows and columns in which earrings are sought, for an ear of ``EARS`` with its points (2, 2)."""
    (x, before), (_, below) = points
    across = np.sort(x + unit * outwards * np.array([-INWARDS, OUTWARDS]))
    ends = (below - UPWARDS * unit, before + DOWNWARDS * unit), across
    rows, columns = (slice(*np.clip(np.round(own), 0, EXTENT).astype(int).tolist()) for own in ends)
    return rows, columns


def _hanging(contrast: np.ndarray, sure: np.ndarray, unit: float) -> np.ndarray:
    """(h, w) bool, where things hang that differ from the background by a contrast (h, w), on the person's right.

    ``sure`` (h, w) is 1 where the person is. What goes on at the right or at the bottom does not hang.
    """
    different = (contrast > MIN_CONTRAST) & (sure == 0)
    distance = cv2.distanceTransform(1 - sure, cv2.DIST_L2, 5)
    clear = distance > MIN_REACH * unit
    change = np.hypot(*(cv2.Sobel(contrast, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1))))
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(different.astype(np.uint8))
    found = np.zeros(contrast.shape, bool)
    for number, (left, top, width, height, area) in enumerate(boxes[1:], start=1):
        own = parts == number
        if not (AREAS[0] < area / unit**2 < AREAS[1] and (own & clear).any() and distance[own].min() < 2):
            continue
        goes_on = top + height == len(own) or left + width == own.shape[1]
        outline = own & clear & ~(cv2.erode(own.astype(np.uint8), square(3)) > 0)
        is_smooth = (different & ~own)[clear].mean() < MAX_ELSEWHERE
        is_sharp = outline.any() and change[outline].mean() > SHARP
        if not goes_on and is_smooth and is_sharp and contrast[own].mean() > CLEAR_CONTRAST:
            found |= own
    return found
