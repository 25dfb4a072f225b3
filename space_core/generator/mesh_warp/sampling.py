"""Sampling of pictures at real-valued pixel coordinates. Pixel centres are at whole numbers."""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.portrait import MARGIN, SIZE

EXTENT = SIZE + 2 * MARGIN  # side of a portrait's surroundings, pixels


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture (H, W) or (H, W, C), float32, blurred by a Gaussian of standard deviation ``sigma`` in pixels."""
    return cv2.GaussianBlur(np.ascontiguousarray(picture, np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def sample(texture: torch.Tensor, where: torch.Tensor, density: int = 1) -> torch.Tensor:
    """(B, C, H, W) a texture (1, C, h, w) at pixels (B, H, W, 2), bilinearly; beyond its edges the edges go on.

    A texture of ``density`` 2 has a pixel between every two of those that the coordinates count.
    """
    height, width = texture.shape[-2:]
    x = where[..., 0] * (2 * density / (width - 1)) - 1
    y = where[..., 1] * (2 * density / (height - 1)) - 1
    texture = texture.expand(len(where), -1, -1, -1)
    return F.grid_sample(texture, torch.stack([x, y], -1), padding_mode="border", align_corners=True)


def double(picture: torch.Tensor) -> torch.Tensor:
    """(1, C, 2h − 1, 2w − 1) a picture with a pixel between every two, by a windowed sinc of eight taps."""
    taps = torch.arange(8) - 3.5
    kernel = torch.sinc(taps) * torch.sinc(taps / 4)
    weights = (kernel / kernel.sum()).tolist()
    for axis in (-1, -2):
        length = picture.shape[axis]
        wide = F.pad(picture, (3, 3, 0, 0) if axis == -1 else (0, 0, 3, 3), mode="replicate")
        # The kernel is symmetric: pairs of pixels share a weight.
        between = sum(
            weight * (wide.narrow(axis, tap, length - 1) + wide.narrow(axis, 7 - tap, length - 1))
            for tap, weight in enumerate(weights[:4])
        )
        size = list(picture.shape)
        size[axis] = 2 * length - 1
        woven = picture.new_empty(size)
        even, odd = (
            (slice(None),) * (4 + axis) + (slice(None, None, 2),),
            (slice(None),) * (4 + axis) + (slice(1, None, 2),),
        )
        woven[even], woven[odd] = picture, between
        picture = woven
    return picture.clamp(0, 1)


def grid_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(1, H, W, 2) x and y where columns (W,) and rows (H,) cross."""
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def affine_grid(
    first: torch.Tensor, along: torch.Tensor, down: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y, (B, H, W) each, of a grid of ``size`` points.

    ``first`` (B, 2) is the point at the first row's begin, ``along`` and ``down`` (B, 2) are the steps from column to
    column and from row to row. Several times as fast as a product of matrices.
    """
    columns, rows = (torch.arange(side, dtype=first.dtype, device=first.device) for side in size[::-1])
    x, y = (
        (first[:, axis, None] + rows * down[:, axis, None])[..., None] + (columns * along[:, axis, None])[:, None]
        for axis in (0, 1)
    )
    return x, y


def pixels_of(picture: torch.Tensor) -> torch.Tensor:
    """(1, h, w, 2) x and y of the pixels of a picture (1, C, h, w)."""
    height, width = picture.shape[-2:]
    return grid_of(*(torch.arange(side, dtype=torch.float32, device=picture.device) for side in (width, height)))


def smoothstep(x, low: float, high: float):
    """0 below ``low``, 1 above ``high``, a smooth rise between; of a tensor or an array."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)
