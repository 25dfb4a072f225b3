"""A triangle rasterizer with a depth buffer in plain torch operations, for many frames at once.

Each triangle is split into the rows of pixels that it covers, and each row into its span, whose ends follow from the
triangle's edges. So every pixel that is looked at lies inside its triangle.
"""

import torch

DEPTH_STEPS = 256  # of the depth buffer, per pixel of depth
TOLERANCE = 1e-4  # barycentric; a pixel on a shared edge belongs to at least one of the two triangles
# Off the CPU the numbers of rows and pixels are not read back, so there is room for a fixed number of them: so many
# rows per triangle, and so many pixels per pixel of the picture. Triangles beyond that are left out, the last first.
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

    # Barycentric weights of B and C are affine in x and y: these are their steps along x and along y.
    (ab_x, ab_y), (ac_x, ac_y) = (b - a)[:, :2].unbind(1), (c - a)[:, :2].unbind(1)
    area = ab_x * ac_y - ab_y * ac_x  # twice the signed area
    flat = area.abs() <= 1e-6
    if shown is not None:
        flat = flat | ~shown.view(-1)
    area = torch.where(flat, 1.0, area)
    b_x, b_y, c_x, c_y = ac_y / area, -ac_x / area, -ab_y / area, ab_x / area
    step_x = b_x[:, None] * (b - a)[:, 2:] + c_x[:, None] * (c - a)[:, 2:]  # of depth and attributes
    step_y = b_y[:, None] * (b - a)[:, 2:] + c_y[:, None] * (c - a)[:, 2:]

    # Rows.
    ys, xs = (torch.stack([a[:, axis], b[:, axis], c[:, axis]]) for axis in (1, 0))
    top = ys.amin(0).ceil().clamp(0, height)
    rows = torch.where(flat, 0, (ys.amax(0).floor() + 1).clamp(0, height) - top).clamp(min=0).long()
    triangle, number, used = _expand(rows, batch * count * ROWS_PER_TRIANGLE)
    first_frame = torch.div(torch.arange(batch * count, device=device), count, rounding_mode="floor") * height
    plan = torch.stack([a[:, 0], a[:, 1], top, b_x, b_y, c_x, c_y, xs.amin(0), xs.amax(0), first_frame.float()])
    a_x, a_y, top, b_x, b_y, c_x, c_y, left, right, first = plan.index_select(1, triangle)
    y = top + number
    down = y - a_y

    # The span of each row: where all three weights are at least zero.
    at_b, at_c = down * b_y, down * c_y  # at the x of A
    for weight, step in ((at_b, b_x), (at_c, c_x), (1 - at_b - at_c, -b_x - c_x)):
        end = a_x + (-TOLERANCE - weight) / step
        left = torch.where(step > 0, torch.maximum(left, end), left)
        right = torch.where(step < 0, torch.minimum(right, end), right)
        right = torch.where((step == 0) & (weight < -TOLERANCE), -1.0, right)
    left, right = left.ceil().clamp(min=0), right.floor().clamp(max=width - 1)
    pixels = ((right - left + 1).clamp(min=0) * used).long()
    at_left = values.index_select(0, corner.view(-1, 3)[:, 0].index_select(0, triangle))[:, 2:]
    at_left = torch.addcmul(at_left, (left - a_x)[:, None], step_x.index_select(0, triangle))
    at_left = at_left.addcmul_(down[:, None], step_y.index_select(0, triangle))
    pixel = (first + y).long() * width + left.long()

    # Pixels. The depth in the high bits and the span's pixel in the low ones: one minimum finds the nearest.
    span, along, used = _expand(pixels, batch * height * width * OVERDRAW)
    total = len(span)
    depth_step = step_x[:, 0].index_select(0, triangle)
    depth = torch.addcmul(at_left[:, 0].index_select(0, span), depth_step.index_select(0, span), along)
    order = (depth * DEPTH_STEPS).long() * max(total, 1) + torch.arange(total, device=device)
    nothing, everywhere = torch.iinfo(torch.int64).max, batch * height * width
    buffer = torch.full((everywhere + 1,), nothing, device=device)
    target = torch.where(used > 0, pixel.index_select(0, span) + along.long(), everywhere)
    buffer.scatter_reduce_(0, target, order, "amin")
    buffer = buffer[:everywhere]
    if not total:
        return attributes.new_zeros(batch, height, width, channels)
    winner = torch.remainder(buffer, total)
    span, along = span.index_select(0, winner), along.index_select(0, winner)
    step = step_x[:, 1:].index_select(0, triangle).index_select(0, span)
    picture = torch.addcmul(at_left[:, 1:].index_select(0, span), along[:, None], step)
    picture = torch.where((buffer != nothing)[:, None], picture, 0)
    return picture.view(batch, height, width, channels)


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
