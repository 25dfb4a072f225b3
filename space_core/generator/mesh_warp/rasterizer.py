"""A triangle rasterizer with a depth buffer in plain torch operations, for many frames at once.

Each triangle is split into the rows of pixels that it covers, and each row into its span, whose ends follow from the
triangle's edges. So every pixel that is looked at lies inside its triangle.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

DEPTH_STEPS = 256  # of the depth buffer, per pixel of depth
TOLERANCE = 1e-4  # barycentric; a pixel on a shared edge belongs to at least one of the two triangles
TINY = 1e-30  # smaller steps of a weight count as zero
# Off the CPU the numbers of rows and pixels are not read back, so there is room for a fixed number of them: rows per
# triangle, and pixels per pixel of the picture. Triangles beyond that are left out, the last first.
ROWS_PER_TRIANGLE, OVERDRAW = 48, 6


def rasterize(
    vertices: torch.Tensor,
    depths: torch.Tensor,
    triangles: torch.Tensor,
    attributes: torch.Tensor,
    size: tuple[int, int],
    shown: torch.Tensor | None = None,
) -> torch.Tensor:
    """Interpolates vertex attributes over the pixels that each frame's triangles cover; the nearest triangle wins.

    Args:
        vertices: (B, V, 2) x and y of the vertices, in pixels, pixel centres at whole numbers.
        depths: (B, V) distance from the camera; smaller is nearer.
        triangles: (N, 3) int64 indices of vertices.
        attributes: (B, V, C) what to interpolate, linear over each triangle.
        size: height and width of the picture, pixels.
        shown: (B, N) bool, which triangles there are in each frame; all if absent.

    Returns:
        (B, height, width, C), zero where no triangle lies.
    """
    batch, num_vertices, channels = attributes.shape
    height, width = size
    count, device = len(triangles), vertices.device
    frames = torch.arange(batch, device=device)
    corner = (triangles + frames[:, None, None] * num_vertices).view(-1)  # of all vertices of all frames
    values = torch.cat([vertices, depths[..., None], attributes], 2).view(batch * num_vertices, -1)
    a, b, c = values.index_select(0, corner).view(batch * count, 3, -1).unbind(1)
    ab, ac = b - a, c - a
    weights, visible = _weight_steps(ab, ac)
    if shown is not None:
        visible = visible & shown.view(-1)
    spans = _spans(torch.stack([a[:, :2], b[:, :2], c[:, :2]]), weights, visible, batch, size)

    # Along a span depth and attributes are affine in x: their values at x = 0 and their steps.
    b_x, b_y, c_x, c_y = weights
    step_x = b_x[:, None] * ab[:, 2:] + c_x[:, None] * ac[:, 2:]
    step_y = b_y[:, None] * ab[:, 2:] + c_y[:, None] * ac[:, 2:]
    step = step_x.index_select(0, spans.triangle)
    at_zero = values.index_select(0, corner.view(-1, 3)[:, 0].index_select(0, spans.triangle))[:, 2:]
    at_zero = torch.addcmul(at_zero, spans.below[:, None], step_y.index_select(0, spans.triangle))
    at_zero = at_zero.addcmul_(-spans.x[:, None], step)
    nearest = _nearest_on_cpu if device.type == "cpu" else _nearest
    span = nearest(spans.first, spans.lengths, at_zero[:, 0], step[:, 0], batch * height * width, width)
    # Pixels without a span take the last row, which is zero.
    at_zero, step = (F.pad(values[:, 1:], (0, 0, 0, 1)) for values in (at_zero, step))
    x = torch.arange(width, dtype=torch.float32, device=device)[:, None].expand(-1, channels)
    found = _rows(at_zero, span)
    # Lines of pixels and channels: operations over few channels take longer. On the CPU frame by frame, in the cache.
    num_parts = batch if device.type == "cpu" else 1
    for part, spans_of_part in zip(found.chunk(num_parts), span.chunk(num_parts), strict=True):
        steps = _rows(step, spans_of_part).view(-1, width * channels)
        part.view_as(steps).addcmul_(steps, x.reshape(-1))
    return found.view(batch, height, width, channels)


def _rows(values: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """(P, C) the rows of values (N, C) with these numbers (P,); on the CPU several times as fast as in torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy().take(numbers.numpy(), 0))
    return values.index_select(0, numbers)


def _weight_steps(ab: torch.Tensor, ac: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Barycentric weights of triangles whose corners B and C are (N, 2 or more) x, y, … away from A.

    Returns:
        (4, N) the steps of B's weight along x and y, and of C's: these weights are affine in x and y. And (N,) bool,
        whether the triangle has an area.
    """
    (ab_x, ab_y), (ac_x, ac_y) = ab[:, :2].unbind(1), ac[:, :2].unbind(1)
    area = ab_x * ac_y - ab_y * ac_x  # twice the signed area
    visible = area.abs() > 1e-6
    return torch.stack([ac_y, -ac_x, -ab_y, ab_x]) / torch.where(visible, area, 1.0), visible


@dataclass(frozen=True)
class _Spans:
    """The S rows of pixels in all triangles of all frames.

    Attributes:
        triangle: (S,) int64, whose row it is; triangles are counted over all frames.
        first: (S,) int64 its first pixel, counted row by row over all frames.
        lengths: (S,) int64 how many pixels it covers.
        x: (S,) that of the triangle's corner A.
        below: (S,) how far the row lies below A, pixels.
    """

    triangle: torch.Tensor
    first: torch.Tensor
    lengths: torch.Tensor
    x: torch.Tensor
    below: torch.Tensor


def _spans(
    corners: torch.Tensor, weights: torch.Tensor, visible: torch.Tensor, batch: int, size: tuple[int, int]
) -> _Spans:
    """The spans of triangles: those pixels of a row where all three weights are at least zero.

    Args:
        corners: (3, N, 2) x and y of A, B and C, the triangles of one frame after those of the other.
        weights: (4, N) see ``_weight_steps``.
        visible: (N,) bool, whether the triangle is there.
        batch: number of frames.
        size: height and width of a frame, pixels.
    """
    (height, width), count = size, corners.shape[1]
    (x_min, y_min), (x_max, y_max) = corners.amin(0).unbind(1), corners.amax(0).unbind(1)
    top = y_min.ceil().clamp(0, height)
    rows = torch.where(visible, (y_max.floor() + 1).clamp(0, height) - top, 0).clamp(min=0).long()
    triangle, number, used = _expand(rows, count * ROWS_PER_TRIANGLE)
    numbers = torch.arange(count, device=corners.device)
    first_row = torch.div(numbers, count // batch, rounding_mode="floor") * height
    # Of all three weights along x. None is zero: where one does not change, the row's end is far away.
    (b_x, b_y, c_x, c_y) = weights
    steps = torch.stack([b_x, c_x, -b_x - c_x])
    steps = torch.where(steps == 0, TINY, steps)
    plan = torch.stack([*steps, *corners[0].unbind(1), top, b_y, c_y, x_min, x_max, first_row.float()])
    plan = plan.index_select(1, triangle)
    steps, (x, y, top, b_y, c_y, left, right, first_row) = plan[:3], plan[3:]
    row = top + number
    below = row - y
    at_b, at_c = below * b_y, below * c_y  # at the x of A
    ends = x + (-TOLERANCE - torch.stack([at_b, at_c, 1 - at_b - at_c])) / steps
    inwards = steps * math.inf  # of a left end to the right, which is no limit on the right side
    left = torch.maximum(left, torch.minimum(ends, inwards).amax(0))
    right = torch.minimum(right, torch.maximum(ends, inwards).amin(0))
    left, right = left.ceil().clamp(0, width), right.floor().clamp(max=width - 1)
    lengths = ((right - left + 1).clamp(min=0) * used).long()
    return _Spans(triangle, (first_row + row).long() * width + left.long(), lengths, x, below)


def _nearest(
    first: torch.Tensor, counts: torch.Tensor, depth: torch.Tensor, step: torch.Tensor, num_pixels: int, width: int
) -> torch.Tensor:
    """The nearest span at each pixel.

    Args:
        first: (S,) int64, the first pixel of each span, counted row by row over all frames.
        counts: (S,) int64, how many pixels it covers.
        depth: (S,) its depth at x = 0.
        step: (S,) how much the depth grows from one pixel to the next.
        num_pixels: of all frames.
        width: of a frame, pixels.

    Returns:
        (num_pixels,) numbers of spans, int64 or int32; S where there is none.
    """
    span, along, used = _expand(counts, num_pixels * OVERDRAW)
    pixel = first.index_select(0, span) + along.long()
    x = torch.remainder(pixel, width)
    distance = torch.addcmul(depth.index_select(0, span), step.index_select(0, span), x)
    # The depth in the high bits and the span in the low ones: one minimum finds the nearest.
    nothing = torch.iinfo(torch.int64).max
    order = torch.where(used > 0, (distance * DEPTH_STEPS).long() * len(first) + span, nothing)
    # Unused slots write to pixels all over the picture, to no effect: at one address they would wait for each other.
    anywhere = torch.arange(len(pixel), device=first.device) % num_pixels
    buffer = torch.full((num_pixels,), nothing, device=first.device)
    buffer.scatter_reduce_(0, torch.where(used > 0, pixel, anywhere), order, "amin")
    return torch.where(buffer != nothing, torch.remainder(buffer, len(first)), len(first))


def _nearest_on_cpu(
    first: torch.Tensor, counts: torch.Tensor, depth: torch.Tensor, step: torch.Tensor, num_pixels: int, width: int
) -> torch.Tensor:
    """As ``_nearest``; depths are computed only where spans meet, which hardly any do in a face seen from the front."""
    first_pixel, lengths, depths, steps = (values.numpy() for values in (first, counts, depth, step))
    span = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    pixel = np.repeat(first_pixel - np.cumsum(lengths) + lengths, lengths)
    pixel += np.arange(len(pixel))
    nearest = np.full(num_pixels, len(lengths), np.int32)
    # Of several, the last one stays. In NumPy that takes twice as long.
    torch.from_numpy(nearest).scatter_(0, torch.from_numpy(pixel), torch.from_numpy(span))
    others = np.flatnonzero(nearest.take(pixel) != span)
    while len(others):
        span, pixel = span[others], pixel[others]
        drawn, x = nearest[pixel], pixel % width
        others = np.flatnonzero(depths[span] + steps[span] * x < depths[drawn] + steps[drawn] * x)
        nearest[pixel[others]] = span[others]
    return torch.from_numpy(nearest)


def _expand(counts: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Items repeated ``counts`` times: for each repetition the item, its number among the item's, and 1 if it is one.

    On the CPU there are as many as the counts add up to, elsewhere always ``most``.
    """
    ends = torch.cumsum(counts, 0)
    if counts.device.type == "cpu":
        item = torch.repeat_interleave(counts)
        slot = torch.arange(len(item))
        return item, (slot - (ends - counts).index_select(0, item)).float(), torch.ones(())
    slot = torch.arange(most, device=counts.device)
    item = torch.searchsorted(ends, slot, right=True).clamp(max=len(counts) - 1)
    number = (slot - (ends - counts).index_select(0, item)).float()
    return item, number, (slot < ends[-1]).float()
