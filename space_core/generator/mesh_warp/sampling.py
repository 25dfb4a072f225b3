"""Pictures of a portrait's surroundings, sampled anywhere."""

import torch
from torch.nn import functional as F

from space_core.face.portrait import MARGIN, SIZE

EXTENT = SIZE + 2 * MARGIN  # side of the surroundings, pixels


def sample(texture: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) a texture (1, C, h, w) of the surroundings at places (B, H, W, 2), in pixels of the surroundings."""
    grid = where * (2 / (EXTENT - 1)) - 1
    return F.grid_sample(
        texture.expand(len(where), -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def double(picture: torch.Tensor) -> torch.Tensor:
    """(1, C, 2h − 1, 2w − 1) a picture with a pixel between every two, by a windowed sinc of eight taps."""
    taps = torch.arange(8, device=picture.device) - 3.5
    kernel = torch.sinc(taps) * torch.sinc(taps / 4)
    kernel = kernel / kernel.sum()
    for axis in (-1, -2):
        length = picture.shape[axis]
        moved = picture.movedim(axis, -1)
        flat = F.pad(moved.reshape(1, -1, length), (3, 3), mode="replicate")
        between = F.conv1d(flat.view(-1, 1, length + 6), kernel[None, None]).view(*moved.shape[:-1], length - 1)
        woven = moved.new_empty(*moved.shape[:-1], 2 * length - 1)
        woven[..., ::2], woven[..., 1::2] = moved, between
        picture = woven.movedim(-1, axis)
    return picture.clamp(0, 1).contiguous()


def lattice(axis: torch.Tensor) -> torch.Tensor:
    """(1, n, n, 2) x and y at the crossings of n columns and rows."""
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)[None]


def pixels_of(picture: torch.Tensor) -> torch.Tensor:
    """(1, n, n, 2) x and y of the pixels of a square picture (1, C, n, n)."""
    return lattice(torch.arange(picture.shape[-1], dtype=torch.float32, device=picture.device))


def smoothstep(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """0 below ``low``, 1 above ``high``, a smooth rise between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
