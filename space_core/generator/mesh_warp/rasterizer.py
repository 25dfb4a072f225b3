"""A triangle rasterizer with a depth buffer in plain torch operations, for many frames at once."""

import torch


def rasterize(
    vertices: torch.Tensor, depths: torch.Tensor, triangles: torch.Tensor, attributes: torch.Tensor, size: int
) -> torch.Tensor:
    """Interpolates vertex attributes over the pixels that each frame's triangles cover, the nearest triangle winning.

    Args:
        vertices: (B, V, 2) x and y of the vertices, in pixels, pixel centres at whole numbers.
        depths: (B, V) distance from the camera; smaller is nearer.
        triangles: (N, 3) int64 indices of vertices.
        attributes: (B, V, C) what to interpolate, linear over each triangle.
        size: height and width of the picture, pixels.

    Returns:
        (B, size, size, C), zero where no triangle lies.
    """
    batch, _, channels = attributes.shape
    count = len(triangles)
    corners = vertices[:, triangles].flatten(0, 1)  # (B·N, 3, 2)
    a, b, c = corners.unbind(1)
    area = _cross(b - a, c - a)  # twice the signed area
    low = corners.amin(1).ceil().clamp(0, size)
    high = (corners.amax(1).floor() + 1).clamp(0, size)
    box = (high - low).clamp(min=0)
    pixels = torch.where(area.abs() > 1e-6, box[:, 0] * box[:, 1], 0).long()  # candidates of each triangle
    triangle = torch.repeat_interleave(pixels)
    first = torch.cumsum(pixels, 0) - pixels
    step = (torch.arange(len(triangle), device=vertices.device) - first[triangle]).to(vertices.dtype)

    # Barycentric weights are affine in x and y, so one row of coefficients per triangle serves all of its pixels.
    to_b = torch.stack([(c - a)[:, 1], -(c - a)[:, 0]]) / area
    to_c = torch.stack([-(b - a)[:, 1], (b - a)[:, 0]]) / area
    start = (low - a).T
    plan = torch.stack([box[:, 0], (to_b * start).sum(0), *to_b, (to_c * start).sum(0), *to_c])
    breadth, b_start, b_x, b_y, c_start, c_x, c_y = plan.index_select(1, triangle)
    row = torch.floor((step + 0.5) / breadth)
    column = step - row * breadth
    at_b = b_start.addcmul_(b_x, column).addcmul_(b_y, row)
    at_c = c_start.addcmul_(c_x, column).addcmul_(c_y, row)
    # A little tolerance, so that a pixel on a shared edge belongs to at least one of the two triangles.
    outside = torch.minimum(torch.minimum(at_b, at_c), 1 - at_b - at_c) < -1e-4
    (hit,) = torch.nonzero(~outside, as_tuple=True)
    triangle, at_b, at_c = triangle[hit], at_b[hit, None], at_c[hit, None]
    corner = low.long()[triangle]
    frame = torch.div(triangle, count, rounding_mode="floor")
    pixel = (frame * size + corner[:, 1] + row[hit].long()) * size + corner[:, 0] + column[hit].long()

    # Depth and attributes as planes over each triangle, too: corner A, and the steps from it to B and to C.
    values = torch.cat([depths[..., None], attributes], 2)[:, triangles].flatten(0, 1)  # (B·N, 3, 1 + C)
    at_a = values[:, 0]
    planes = torch.cat([at_a, values[:, 1] - at_a, values[:, 2] - at_a], 1).index_select(0, triangle)
    value_a, step_b, step_c = planes.split(1 + channels, 1)
    value = value_a.addcmul(at_b, step_b).addcmul_(at_c, step_c)

    # The depth in the high bits and the hit in the low ones: one minimum finds the nearest hit, the same on any device.
    order = (value[:, 0] * 256).long() * len(hit) + torch.arange(len(hit), device=hit.device)
    nothing = torch.iinfo(torch.int64).max
    buffer = torch.full((batch * size * size,), nothing, device=hit.device)
    buffer.scatter_reduce_(0, pixel, order, "amin")
    winner = torch.remainder(buffer, max(len(hit), 1))
    picture = value[:, 1:].index_select(0, winner) if len(hit) else attributes.new_zeros(len(buffer), channels)
    picture = torch.where((buffer != nothing)[:, None], picture, 0)
    return picture.view(batch, size, size, channels)


def _cross(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
