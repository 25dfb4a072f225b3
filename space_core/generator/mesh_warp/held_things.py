"""What a person's mask shows beside the head that hangs together with it only by way of the body.

These are hands with what they hold, raised arms, instruments, and other people. They stay where the body is.
"""

import cv2
import numpy as np
import scipy

from space_core.arrays import distance_to, smoothstep
from space_core.generator.mesh_warp.head_shape import CELL
from space_core.generator.mesh_warp.morphology import square

SURE = 0.75  # of the mask: a cell that shows the person
# Shares of the head's turn that fades out down the neck: what hangs together only below a line at which it has faded by
# one of these is apart above it.
FADED = (0.9, 0.8, 0.7)
MIN_HEIGHT = 0.35  # normalized, by which it rises above that line; less is a shoulder, or a tip of hair
# Of the way from the head to it: up to here a gap goes with the head … and from here with the body.
BETWEEN = (0.1, 0.45)


def held_things(person: np.ndarray, face: np.ndarray, faded: np.ndarray, scale: float) -> np.ndarray:
    """(160, 160) float32, 0 where cells of the surroundings go with the head … 1 where they are apart from it.

    Args:
        person: (640, 640) the mask, 0 background … 1 person.
        face: (2,) x and y of the middle of the face in pixels of the surroundings.
        faded: (160, 160) by how much the head's turn has faded out down the neck at each cell, 0…1.
        scale: pixels per normalized unit.
    """
    shown = cv2.resize(person, faded.shape[::-1], interpolation=cv2.INTER_AREA) > SURE
    column, row = (face / CELL).astype(int).clip(0, len(faded) - 1)
    apart = np.zeros(faded.shape, np.float32)
    for share in FADED:
        parts, _ = scipy.ndimage.label(shown & (faded < share))
        own = parts[row, column]
        below = cv2.dilate((shown & (faded >= share)).astype(np.uint8), square(3)) > 0
        others = [part for part in np.unique(parts[below]) if part not in (0, own)]
        held = np.isin(parts, [part for part in others if _height(parts == part) * CELL > MIN_HEIGHT * scale])
        if own and held.any():
            to_head, to_held = distance_to(parts == own), distance_to(held)
            apart = np.maximum(apart, smoothstep(to_head / (to_head + to_held), *BETWEEN))
    return apart


def _height(part: np.ndarray) -> int:
    """How many rows a mask (160, 160) reaches over."""
    return int(np.ptp(np.flatnonzero(part.any(1))))
