"""The plain warp: the baseline that rendered frames are compared with."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator
from torch.nn import functional as F

from space_core.face.crop_size import SIZE
from space_core.face.portrait import Portrait

BORDER_POINTS = 33  # on each side of the crop, held still


def plain_warp(portrait: Portrait, landmarks: np.ndarray) -> Iterator[np.ndarray]:
    """Frames (512, 512, 3) uint8 RGB: the photo warped by the motion of the mesh, which fades to 0 at the borders.

    No head rotation in space, no inpainted background, no drawn eyes or mouth: each pixel moves with the triangle of
    the mesh that it lies in. ``landmarks`` (T, 478, 3) are in pixel centres of the portrait's crop.
    """
    edge = np.linspace(0, SIZE - 1, BORDER_POINTS)
    border = np.array([point for e in edge for point in ((e, 0), (e, SIZE - 1), (0, e), (SIZE - 1, e))])
    source = np.concatenate([portrait.landmarks[:, :2], border])
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1)
    picture = torch.tensor(portrait.image).permute(2, 0, 1)[None].float()
    for face in landmarks:
        target = np.concatenate([face[:, :2], border])
        # Points outside the crop are left out; there the border no longer holds the mesh and the photo stands still.
        inside = (target >= 0).all(1) & (target < SIZE).all(1)
        moved = LinearNDInterpolator(target[inside], (source - target)[inside], fill_value=0)(grid)
        places = torch.tensor((grid + moved) * (2 / (SIZE - 1)) - 1).float()[None]
        warped = F.grid_sample(picture, places, padding_mode="border", align_corners=True)
        yield warped[0].permute(1, 2, 0).round().byte().numpy()
