"""The opening between two lips or two lids: which pixels of a frame lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.face_motion import FaceMotion, upload

WINDOW_MARGIN = 3  # pixels around an opening: a soft edge, and a curve bulging between its points
CURVE_POINTS = 48  # the mesh's few points of a lip or lid, made a smooth curve
STEPS = 192  # pieces of equal length along an opening, over each of which that curve counts as straight


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

    @property
    def part(self) -> tuple[Any, slice, slice]:
        """The window of the first frame, as an index of arrays (…, H, W)."""
        (left, top), (_, height, width, _) = self.corner[0], self.pixels.shape
        return ..., slice(top, top + height), slice(left, left + width)


def window_around(points: np.ndarray, margin: int, size: Sequence[int], device: torch.device) -> Window:
    """The smallest windows of one size around each frame's points (B, N, 2), in frames of that height and width."""
    corners, (height, width) = rectangles_around(points, margin, size)
    left_top = upload(corners, device)
    x = left_top[:, 0, None] + torch.arange(width, device=device)
    y = left_top[:, 1, None] + torch.arange(height, device=device)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
    return Window(corner=corners, index=grid[..., 1] * size[1] + grid[..., 0], pixels=grid.float())


def rectangles_around(points: np.ndarray, margin: int, size: Sequence[int]) -> tuple[np.ndarray, tuple[int, int]]:
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

    def halves(self) -> "tuple[OpeningMask, OpeningMask]":
        """The openings of the first half of the frames and those of the second."""
        first, second = zip(*(values.chunk(2) for values in vars(self).values()), strict=True)
        return OpeningMask(*first), OpeningMask(*second)


def opening_mask(
    upper: torch.Tensor, lower: torch.Tensor, pixels: torch.Tensor, softness: float | torch.Tensor = 1.0
) -> OpeningMask:
    """The opening between two curves.

    Args:
        upper, lower: (B, K, 2) points of the curves from their shared left to their shared right corner, pixels.
        pixels: (B, h, w, 2) where to look, pixels.
        softness: width of the edge, pixels; of all frames or (B, 1, 1) of each.
    """
    left, width, frame = _frame(upper)
    axis = frame[..., 0]
    smooth = _curve_matrix(upper.shape[1], upper.device)
    curves = (smooth @ (torch.stack([upper, lower], 1) - left[:, None])) @ frame[:, None]
    batch, height, breadth, _ = pixels.shape
    x, y = (pixels[..., number].reshape(batch, -1) - left[..., number] for number in (0, 1))
    along_x, along_y = axis[:, :1], axis[:, 1:]
    along = torch.addcmul(x * along_x, y, along_y)
    across = torch.addcmul(y * along_x, x, -along_y)
    heights, slopes = _heights(curves, along, width)
    below_upper, above_lower = across - heights[:, 0], heights[:, 1] - across
    within_upper, within_lower = _within(torch.stack([below_upper, above_lower], 1), slopes, softness).unbind(1)
    inside = within_upper + within_lower - 1
    ends = torch.minimum(along, width - along)
    coverage = inside.clamp(min=0) * (ends + 0.5).clamp(0, 1)
    shape = (batch, height, breadth)
    return OpeningMask(
        coverage.view(shape), below_upper.view(shape), above_lower.view(shape), (2 * along / width - 1).view(shape)
    )


def opening_in_photo(
    picture: torch.Tensor, photo: FaceMotion, upper: Sequence[int], lower: Sequence[int], margin: int = WINDOW_MARGIN
) -> tuple[Window, OpeningMask]:
    """The opening between two curves of a photo's landmarks in pixels of a picture (1, C, H, W), and a window.

    ``upper`` and ``lower`` are indices of landmarks from the left to the right, ``margin`` is in pixels.
    """
    window = window_around(photo.host.posed[:, [*upper, *lower], :2], margin, picture.shape[2:], picture.device)
    above, below = (photo.posed[:, list(curve), :2] for curve in (upper, lower))
    return window, opening_mask(above, below, window.pixels)


def places_below(curve: torch.Tensor, along: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """(1, R, C, 2) pixels below a curve (1, K, 2).

    They lie ``along`` (C,) it, −1 at its left end … 1 at its right one, and ``below`` (R,) it.
    """
    left, width, frame = _frame(curve)
    x = (along[None] + 1) / 2 * width
    smooth = (_curve_matrix(curve.shape[1], curve.device) @ (curve - left)) @ frame
    (height,), _ = _heights(smooth[:, None], x, width)
    x, y = torch.broadcast_tensors(x[:, None], height[:, None] + below[:, None])
    return left[:, None] + torch.stack([x, y], -1) @ frame.mT


def _frame(curve: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The left end (B, 1, 2) of a curve (B, K, 2), its length (B, 1) to the right one, and the directions (B, 2, 2).

    Their columns are along it and across it.
    """
    left, right = curve[:, :1], curve[:, -1:]
    width = (right - left).norm(dim=-1).clamp(min=1e-3)
    axis = (right - left)[:, 0] / width
    return left, width, torch.stack([axis, torch.stack([-axis[:, 1], axis[:, 0]], -1)], -1)


def _within(distance: torch.Tensor, slope: torch.Tensor, softness: float | torch.Tensor) -> torch.Tensor:
    """The part of pixels on one side of a curve with that slope, which are such a distance across the opening away."""
    # Where the curve is steep, it is nearer than that: it would be drawn with steps.
    return (distance * (1 + slope.square()).rsqrt() / softness + 0.5).clamp(0, 1)


def _heights(curves: torch.Tensor, x: torch.Tensor, width: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each of C curves (B, C, K, 2) from x = 0 to ``width`` (B, 1) y and slope at x (B, P), (B, C, P) each.

    Linear between points that are made as dense as ``STEPS`` first, at equal distances, where they are found at once.
    """
    batch, count, points, _ = curves.shape
    knots = torch.cummax(curves[..., 0], 2).values.flatten(0, 1).contiguous()
    heights = curves[..., 1].flatten(0, 1)
    steps = torch.linspace(0, 1, STEPS + 1, device=x.device) * width  # (B, STEPS + 1)
    steps = steps.repeat_interleave(count, 0)
    right = torch.searchsorted(knots, steps).clamp(1, points - 1)
    left = right - 1
    x0, x1 = knots.gather(1, left), knots.gather(1, right)
    y0, y1 = heights.gather(1, left), heights.gather(1, right)
    y = torch.lerp(y0, y1, ((steps - x0) / (x1 - x0).clamp(min=1e-4)).clamp(0, 1))
    rise = F.pad(y[:, 1:] - y[:, :-1], (0, 1))

    per_pixel = STEPS / width
    place = (x * per_pixel).clamp(0, STEPS)
    before = place.long()
    place = (place - before)[:, None]
    before = before[:, None].expand(-1, count, -1)
    y, rise = (values.view(batch, count, -1).gather(2, before) for values in (y, rise))
    return torch.addcmul(y, place, rise), rise * per_pixel[:, None]


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
