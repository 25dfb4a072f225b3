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
    corners = vertices[:, triangles].flatten(0, 1)  # (B·N, 3, 2)
    a, b, c = corners.unbind(1)
    area = _cross(b - a, c - a)  # twice the signed area
    low = corners.amin(1).ceil().clamp(0, size)
    high = (corners.amax(1).floor() + 1).clamp(0, size)
    box = (high - low).clamp(min=0).long()
    pixels = torch.where(area.abs() > 1e-6, box[:, 0] * box[:, 1], 0)  # candidates of each triangle
    triangle = torch.repeat_interleave(pixels)
    first = torch.cumsum(pixels, 0) - pixels
    step = torch.arange(len(triangle), device=vertices.device) - first[triangle]
    row = torch.div(step, box[triangle, 0], rounding_mode="floor")
    column = step - row * box[triangle, 0]

    # Barycentric weights are affine in x and y: one row of coefficients per triangle serves all of its pixels.
    depth = depths[:, triangles].flatten(0, 1)  # (B·N, 3)
    origin = low
    weight_b = torch.stack([(c - a)[:, 1], -(c - a)[:, 0]], 1) / area[:, None]
    weight_c = torch.stack([-(b - a)[:, 1], (b - a)[:, 0]], 1) / area[:, None]
    offset = origin - a
    plan = torch.stack(
        [
            (weight_b * offset).sum(1),
            weight_b[:, 0],
            weight_b[:, 1],
            (weight_c * offset).sum(1),
            weight_c[:, 0],
            weight_c[:, 1],
        ],
        1,
    )[triangle]
    x, y = column.to(vertices.dtype), row.to(vertices.dtype)
    at_b = plan[:, 0] + plan[:, 1] * x + plan[:, 2] * y
    at_c = plan[:, 3] + plan[:, 4] * x + plan[:, 5] * y
    tolerance = -1e-4  # so that a pixel on a shared edge belongs to at least one of the two triangles
    (hit,) = torch.nonzero((at_b >= tolerance) & (at_c >= tolerance) & (at_b + at_c <= 1 - tolerance), as_tuple=True)
    triangle, at_b, at_c = triangle[hit], at_b[hit, None], at_c[hit, None]
    frame = torch.div(triangle, len(triangles), rounding_mode="floor")
    pixel = (frame * size + low[triangle, 1].long() + row[hit]) * size + low[triangle, 0].long() + column[hit]

    near = depth[triangle]
    hit_depth = near[:, 0] + at_b[:, 0] * (near[:, 1] - near[:, 0]) + at_c[:, 0] * (near[:, 2] - near[:, 0])
    # The depth in the high bits and the hit in the low ones: one minimum finds the nearest hit, the same on any device.
    order = (hit_depth * 256).long() * len(hit) + torch.arange(len(hit), device=hit.device)
    buffer = torch.full((batch * size * size,), torch.iinfo(torch.int64).max, device=hit.device)
    buffer.scatter_reduce_(0, pixel, order, "amin")
    (covered,) = torch.nonzero(buffer != torch.iinfo(torch.int64).max, as_tuple=True)
    winner = torch.remainder(buffer[covered], len(hit))

    values = attributes[:, triangles].flatten(0, 1)[triangle[winner]]  # (hits, 3, C)
    value_a, value_b, value_c = values.unbind(1)
    picture = attributes.new_zeros(batch * size * size, channels)
    picture[covered] = value_a + at_b[winner] * (value_b - value_a) + at_c[winner] * (value_c - value_a)
    return picture.view(batch, size, size, channels)


def _cross(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
