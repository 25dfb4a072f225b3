"""Earrings outside a person's mask: sharp things of any colour that hang below an ear before a smooth background."""

import cv2
import numpy as np
import torch

from space_core.face.portrait import MARGIN, Portrait
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.sampling import EXTENT

SURE = 0.9  # of the mask: a pixel that shows the person
EYE_CORNERS = (33, 263)  # the outer ones; lengths below are multiples of their distance, areas of its square
EARS = ((234, 132), (454, 361))  # the skin before either ear and below it
INWARDS, OUTWARDS, UPWARDS, DOWNWARDS = 0.15, 0.45, 0.1, 0.95  # from there, where earrings are sought
CLEARANCE = 15  # pixels, width of the brush around the person in which the background is not taken as known
# Differences of a colour, 0…1, from the background's, the greatest of the three: of every pixel, on average over an
# earring, and by how much it changes in a pixel at its outline. What is behind the person is mostly less sharp.
LEAST_CONTRAST, CLEAR_CONTRAST, SHARP = 0.1, 0.2, 0.08
LEAST_REACH = 0.08  # from the mask; what ends nearer is the mask's own edge
AREAS = (0.003, 0.15)
MOST_ELSEWHERE = 0.25  # share of the background beside the ear that differs, too: else it is not smooth


def find_earrings(picture: torch.Tensor, person: np.ndarray, portrait: Portrait) -> np.ndarray:
    """(640, 640) 1 where surroundings (1, 3, 640, 640), 0…1, show an earring that the mask leaves out, else 0.

    ``person`` (640, 640) is the mask, 0 background … 1 person.
    """
    points = portrait.landmarks[:, :2] + MARGIN
    unit = float(np.linalg.norm(np.subtract(*points[list(EYE_CORNERS)])))
    sure = (person > SURE).astype(np.uint8)
    found = np.zeros(person.shape, np.float32)
    around_person = cv2.dilate(sure, np.ones((CLEARANCE, CLEARANCE))) > 0
    for outwards, (before, below) in zip((-1, 1), EARS, strict=True):
        x = points[before, 0] + unit * outwards * np.array([-INWARDS, OUTWARDS])
        y = points[below, 1] - UPWARDS * unit, points[before, 1] + DOWNWARDS * unit
        (left, right), (top, bottom) = (np.sort(ends).round().astype(int).clip(0, EXTENT) for ends in (x, y))
        box = np.s_[top:bottom, left:right]
        if not sure[box].any() or sure[box].all():
            continue
        known = ~around_person
        known[box] = False
        behind = fill(picture, torch.from_numpy(known.astype(np.float32))[None, None])
        contrast = (picture - behind)[0].abs().amax(0).numpy()[box]
        flipped = np.s_[:, ::outwards]
        found[box][flipped] = _hanging(np.ascontiguousarray(contrast[flipped]), sure[box][flipped].copy(), unit)
    return found


def _hanging(contrast: np.ndarray, sure: np.ndarray, unit: float) -> np.ndarray:
    """(h, w) bool, where things hang that differ from the background by a contrast (h, w), on the person's right.

    ``sure`` (h, w) is 1 where the person is. What goes on at the right or at the bottom does not hang.
    """
    different = (contrast > LEAST_CONTRAST) & (sure == 0)
    distance = cv2.distanceTransform(1 - sure, cv2.DIST_L2, 5)
    clear = distance > LEAST_REACH * unit
    change = np.hypot(*(cv2.Sobel(contrast, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1))))
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(different.astype(np.uint8))
    found = np.zeros(contrast.shape, bool)
    for number, (left, top, width, height, area) in enumerate(boxes[1:], start=1):
        own = parts == number
        if not (AREAS[0] < area / unit**2 < AREAS[1] and (own & clear).any() and distance[own].min() < 2):
            continue
        goes_on = top + height == len(own) or left + width == own.shape[1]
        outline = own & clear & ~(cv2.erode(own.astype(np.uint8), np.ones((3, 3))) > 0)
        is_smooth = (different & ~own)[clear].mean() < MOST_ELSEWHERE
        if not goes_on and is_smooth and contrast[own].mean() > CLEAR_CONTRAST and change[outline].mean() > SHARP:
            found |= own
    return found
