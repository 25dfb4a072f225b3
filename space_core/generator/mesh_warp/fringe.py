"""Dark hair over the forehead, which does not come down with the brows beneath it, and rises evenly where they rise."""

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import CHEEKS, NUM_SURFACE_POINTS, canonical_face
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.sampling import box_mean, sample

# Points of the left half of the forehead in columns, each from the hairline down to the lower rim of the brow.
COLUMNS = (
    (10, 151, 9, 8),
    (109, 108, 107, 55),
    (67, 69, 66, 65),
    (103, 104, 105, 52),
    (54, 68, 63, 53),
    (21, 71, 70, 46),
)
BETWEEN = 4  # places from one point of a column to the next: hair has to cover all of them
AVERAGED = 2  # pixels around each whose mean is its brightness: single strands and pores do not count
# Hair is darker than the darkest of the cheeks by the first of these shares or more, surely from the second on. What is
# brighter may be a forehead in the light.
DARKER = (0.25, 0.45)


def fringe(photo: FaceMotion, picture: torch.Tensor) -> np.ndarray:
    """How far hair that comes down from above covers the points of a forehead.

    A brow is as dark as hair, but there is skin above it: what is not covered from the hairline on is no fringe.

    Args:
        photo: the photo's own landmarks in pixels of the surroundings, on the host.
        picture: (1, 3, 640, 640) the surroundings, 0…1.

    Returns:
        (468,) 0 bare … 1 covered.
    """
    mirror = canonical_face().mirror
    columns = np.unique(np.concatenate([COLUMNS, mirror[np.array(COLUMNS)]]), axis=0)
    brightness = box_mean(picture.mean(1, keepdim=True), AVERAGED)
    cheeks = sample(brightness, photo.posed[:, None, list(CHEEKS), :2]).min().clamp(min=0.02)
    points = photo.posed[0, :NUM_SURFACE_POINTS, :2][torch.from_numpy(columns)]  # (columns, 4, 2)
    steps = torch.arange(BETWEEN)[:, None] / BETWEEN
    along = torch.lerp(points[:, :-1, None], points[:, 1:, None], steps).flatten(1, 2)
    darker = 1 - sample(brightness, torch.cat([along, points[:, -1:]], 1)[None])[0, 0] / cheeks  # (columns, places)
    covered = smoothstep(darker, *DARKER).cummin(1).values[:, ::BETWEEN]
    share = np.zeros(NUM_SURFACE_POINTS)
    share[columns] = covered.numpy()
    return share


def fringe_averages(share: np.ndarray) -> np.ndarray:
    """(468, 468) of whose motion that of hair over the forehead is the mean: that of all hair at its height.

    ``share`` (468,) is what ``fringe`` returns. Brows rise further than the skin between them, and would bend hair.
    """
    mirror = canonical_face().mirror
    weights = np.zeros((NUM_SURFACE_POINTS, NUM_SURFACE_POINTS))
    for row in np.array(COLUMNS).T:
        level = np.union1d(row, mirror[row])
        if share[level].any():
            weights[np.ix_(level, level)] = share[level] / share[level].sum()
    return weights
