"""Edges that a warp makes sharper than a soft photo is: outlines of a turned head, skin that is pushed together.

There the frame is blurred as far as the photo is.
"""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.compositing.grid import Grid, box_sum, differences
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas
from space_core.generator.mesh_warp.sampling import blur_in_torch, reach_of_blur

# Pixels of the photo per pixel of the frame, along the direction in which they are the most: up to the first the frame
# stays as it is, from the second on it is as blurred as the photo.
SQUEEZED = (1.3, 2.2)
FINE = 3.0  # pixels, standard deviation; wider blurs are the same at a lower resolution
REACH = 1.5  # standard deviations around such a place that are blurred, too: an edge has two sides


def soften_edges(frames: torch.Tensor, prepared: PreparedCanvas, places: torch.Tensor) -> None:
    """Blurs frames (B, H, W, 3) uint8 where they are sharper than a soft photo, in place.

    ``places`` are those of ``compose``.
    """
    if not prepared.softening:
        return
    soften_part(frames, prepared.grid, (prepared.softening,) * 2, _squeezed(prepared, places))


def _squeezed(prepared: PreparedCanvas, places: torch.Tensor) -> torch.Tensor:
    """(B, 1, rows + 2, columns + 2) 0 where a cell is as sharp as the photo … 1 where it has to be blurred."""
    wide = F.pad(places.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate") / (2 * prepared.grid.cell)
    along, down = differences(wide)
    # The square of the larger singular value of the Jacobian with these columns.
    size = along.square().sum(1) + down.square().sum(1)
    area = along[:, 0] * down[:, 1] - along[:, 1] * down[:, 0]
    most = (size + (size.square() - 4 * area.square()).clamp_(min=0).sqrt_()) / 2
    squeezed = smoothstep(most, *np.square(SQUEEZED))[:, None]
    reach = max(1, round(REACH * prepared.softening / prepared.grid.cell))
    side = 2 * reach + 1
    squeezed = F.max_pool2d(F.max_pool2d(squeezed, (side, 1), 1, (reach, 0)), (1, side), 1, (0, reach))
    return box_sum(squeezed, reach) / side**2


def soften_part(frames: torch.Tensor, grid: Grid, sigmas: tuple[float, float], share: torch.Tensor) -> None:
    """Blurs frames (B, H, W, 3) uint8 by a Gaussian of those standard deviations along x and y, in place.

    ``share`` (B, 1, rows + 2, columns + 2) is 0 where a cell of the grid stays as it is … 1 where it is blurred.
    """
    soften = soften_in_opencv if frames.device.type == "cpu" else soften_in_torch
    soften(frames, grid, sigmas, share)


def soften_in_torch(frames: torch.Tensor, grid: Grid, sigmas: tuple[float, float], share: torch.Tensor) -> None:
    """See ``soften_part``; everywhere, without a value that the host would wait for."""
    part = frames[:, grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
    sharp = part.permute(0, 3, 1, 2).float()
    soft = torch.lerp(sharp, blur_in_torch(sharp, *sigmas), grid.at_pixels(share))
    part.copy_(soft.permute(0, 2, 3, 1).round_().clamp_(0, 255))


def soften_in_opencv(frames: torch.Tensor, grid: Grid, sigmas: tuple[float, float], share: torch.Tensor) -> None:
    """The same on the CPU, where there is something to blur, faster, and equal but for rounding."""
    cell, reach = grid.cell, reach_of_blur(max(sigmas))
    moving = frames.numpy()[:, grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
    for frame, cells in zip(moving, share[:, 0].numpy(), strict=True):
        used = cells[1:-1, 1:-1] > 0
        rows, columns = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
        if not len(rows):
            continue
        (top, bottom), (left, right) = ((int(line[0]), int(line[-1]) + 1) for line in (rows, columns))
        part = np.s_[top * cell : bottom * cell, left * cell : right * cell]
        sharp = frame[part]
        height, width = sharp.shape[:2]
        weight = cv2.resize(cells[top : bottom + 2, left : right + 2], None, fx=cell, fy=cell)
        weight = weight[cell : cell + height, cell : cell + width]
        above, before = min(top * cell, reach), min(left * cell, reach)
        wide = frame[top * cell - above : bottom * cell + reach, left * cell - before : right * cell + reach]
        soft = _blurred(wide, *sigmas)[above : above + height, before : before + width]
        sharp[:] = cv2.blendLinear(soft, sharp, weight, 1 - weight)


def _blurred(picture: np.ndarray, sigma_x: float, sigma_y: float) -> np.ndarray:
    """A picture (h, w, 3) uint8 blurred by a Gaussian of those deviations; a wide one at a lower resolution."""
    step = max(1, int(min(sigma_x, sigma_y) / FINE))
    height, width = picture.shape[:2]
    small = picture
    if step > 1:
        size = -(-width // step), -(-height // step)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    # For OpenCV a standard deviation of 0 would be the other one.
    sides = tuple(2 * reach_of_blur(sigma / step) + 1 for sigma in (sigma_x, sigma_y))
    small = cv2.GaussianBlur(small, sides, sigma_x / step, sigmaY=sigma_y / step, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if step > 1 else small
