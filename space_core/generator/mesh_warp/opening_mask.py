"""The opening between two lips or two lids: which pixels of a frame lie in it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from space_core.generator.mesh_warp.face_motion import upload

WINDOW_MARGIN = 3  # pixels around an opening: a soft edge, and a curve bulging between its points
CURVE_POINTS = 48  # the mesh's few points of a lip or lid, made a smooth curve


@dataclass(frozen=True)
class Window:
    """A rectangle of each frame, of the same size in all of them.

    Attributes:
        corner: (B, 2) int64 x and y of the window's first pixel, on the host.
        index: (B, h, w) int64, the window's pixels in a frame's flattened pixels.
        pixels: (B, h, w, 2) their x and y in pixels of the frame.
    """

    corner: np.ndarray

    index: torch.Tensor
    pixels: torch.Tensor


def window_around(points: np.ndarray, margin: int, size: tuple[int, int], device: torch.device) -> Window:
    """The smallest windows of one size around each frame's points (B, N, 2), in frames of that height and width."""
    corners, (height, width) = rectangles_around(points, margin, size)
    left_top = upload(corners, device)
    x = left_top[:, 0, None] + torch.arange(width, device=device)
    y = left_top[:, 1, None] + torch.arange(height, device=device)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
    return Window(corner=corners, index=grid[..., 1] * size[1] + grid[..., 0], pixels=grid.float())


def rectangles_around(points: np.ndarray, margin: int, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Left and top (B, 2) int64, and one height and width, of rectangles around each frame's points (B, N, 2).

    ``margin`` is added around them, in pixels; the rectangles lie inside pictures of that height and width.
    """
    most = np.array(size[::-1])
    low, high = np.floor(points.min(1)) - margin, np.ceil(points.max(1)) + margin + 1
    width, height = np.minimum((high - low).max(0), most).astype(int).tolist()
    return low.clip(0, most - [width, height]).astype(np.int64), (height, width)


def alpha_blend(frames: torch.Tensor, window: Window, colours: torch.Tensor, alpha: torch.Tensor) -> None:
    """Lays colours (B, 3, h, w) over a window of contiguous frames (B, 3, H, W) in place, with alpha (B, h, w)."""
    flat = frames.view(*frames.shape[:2], -1)
    index = window.index.flatten(1)[:, None].expand(-1, flat.shape[1], -1)
    under = flat.gather(2, index)
    flat.scatter_(2, index, torch.lerp(under, colours.flatten(2), alpha.flatten(1)[:, None]))


@dataclass(frozen=True)
class OpeningMask:
    """Where a window's pixels lie in an opening.

    Attributes:
        coverage: (B, h, w) the part of the pixel inside the opening, 0…1; the whole of a closed opening is 0.
        below_upper: (B, h, w) pixels below the upper curve, negative above it.
        above_lower: (B, h, w) pixels above the lower curve, negative below it.
        along: (B, h, w) place between the corners, −1 left … 1 right.
    """

    coverage: torch.Tensor
    below_upper: torch.Tensor
    above_lower: torch.Tensor
    along: torch.Tensor


def opening_mask(upper: torch.Tensor, lower: torch.Tensor, pixels: torch.Tensor, softness: float = 1.0) -> OpeningMask:
    """The opening between two curves.

    Args:
        upper, lower: (B, K, 2) points of the curves from their shared left to their shared right corner, pixels.
        pixels: (B, h, w, 2) where to look, pixels.
        softness: width of the edge, pixels.
    """
    left, right = upper[:, :1], upper[:, -1:]
    width = (right - left).norm(dim=-1).clamp(min=1e-3)  # (B, 1)
    axis = (right - left)[:, 0] / width
    down = torch.stack([-axis[:, 1], axis[:, 0]], -1)
    frame = torch.stack([axis, down], -1)  # (B, 2, 2), columns: along the opening, across it

    smooth = _curve_matrix(upper.shape[1], upper.device)
    upper, lower = ((smooth @ (curve - left)) @ frame for curve in (upper, lower))
    batch, height, breadth, _ = pixels.shape
    along, across = ((pixels.view(batch, -1, 2) - left) @ frame).unbind(-1)
    below_upper = across - _height(upper, along)
    above_lower = _height(lower, along) - across
    inside = (below_upper / softness + 0.5).clamp(0, 1) + (above_lower / softness + 0.5).clamp(0, 1) - 1
    ends = torch.minimum(along, width - along)
    coverage = inside.clamp(min=0) * (ends + 0.5).clamp(0, 1)
    shape = (batch, height, breadth)
    return OpeningMask(
        coverage.view(shape), below_upper.view(shape), above_lower.view(shape), (2 * along / width - 1).view(shape)
    )


def _height(curve: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(B, P) the y of curves (B, K, 2) at x (B, P), linear between their points."""
    knots = torch.cummax(curve[..., 0], 1).values.contiguous()
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, knots.shape[1] - 1)
    x0, x1 = knots.gather(1, right - 1), knots.gather(1, right)
    y0, y1 = curve[..., 1].gather(1, right - 1), curve[..., 1].gather(1, right)
    t = ((x - x0) / (x1 - x0).clamp(min=1e-4)).clamp(0, 1)
    return y0 + t * (y1 - y0)


@cache
def _curve_matrix(points: int, device: torch.device) -> torch.Tensor:
    """(48, points) turns points into a Catmull-Rom curve through them."""
    t = np.linspace(0, points - 1, CURVE_POINTS)
    segment = np.minimum(t.astype(int), points - 2)
    f = t - segment
    weights = np.stack([-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, -(f**2) + f**3], 1) / 2
    matrix = np.zeros((CURVE_POINTS, points))
    for column in range(4):
        index = segment - 1 + column
        # Beyond its ends a curve goes on straight: p[-1] = 2 p[0] - p[1].
        for row, (at, weight) in enumerate(zip(index, weights[:, column], strict=True)):
            if at < 0:
                matrix[row, 0] += 2 * weight
                matrix[row, 1] -= weight
            elif at >= points:
                matrix[row, points - 1] += 2 * weight
                matrix[row, points - 2] -= weight
            else:
                matrix[row, at] += weight
    return torch.tensor(matrix, dtype=torch.float32, device=device)
