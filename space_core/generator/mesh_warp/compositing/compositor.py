"""The compositor: draws the moving person into a film's picture, of any size, a square crop or a whole photo.

The person is a layer with premultiplied alpha in front of a background that stands still. The grid holds for each of
its cells which place of the layer is seen there; it is upsampled, and the layer is sampled through it. From the first
layer to the last: the layer as the warp shows it, occlusion edges, the far side of a turned face, the back of a turned
head, creases, background.

On a CPU that is done in eight bits by OpenCV, in tiles, and only where something differs from the picture at rest; on
other devices in torch, everywhere, without a value that the host would wait for.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.compositing.back_view import BackView, blend_back, find_back_view
from space_core.generator.mesh_warp.compositing.compositor_opencv import compose_in_opencv
from space_core.generator.mesh_warp.compositing.far_view import FarView, blend_far_side, find_far_view
from space_core.generator.mesh_warp.compositing.grid import differences, smoothed
from space_core.generator.mesh_warp.compositing.minification import minified
from space_core.generator.mesh_warp.compositing.occlusion_edges import OcclusionEdges, find_occlusion_edges
from space_core.generator.mesh_warp.compositing.person_layer import BIAS
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas
from space_core.generator.mesh_warp.compositing.warp import Warp
from space_core.generator.mesh_warp.frame_memory import FrameMemory
from space_core.generator.mesh_warp.sampling import pairs, sample

FEW = 24  # frames that are sampled four times a pixel at once: they take 50 MB each at 512 × 512


def compose(
    prepared: PreparedCanvas, warp: Warp, shade: torch.Tensor | None = None, memory: FrameMemory | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws a few frames.

    Args:
        warp: of the frames.
        shade: (B, 3, rows, columns) by which factor the layer's red, green and blue are multiplied, 0…1.59, or None.
        memory: where a CPU's frames are taken from; by default it is fresh.

    Returns:
        Frames (B, H, W, 3) uint8, and the places that are seen, smoothed and with one more cell around,
        (B, rows + 2, columns + 2, 2) in pixels of the film.
    """
    places = prepared.centres + smoothed(warp.offsets)
    if places.device.type == "cpu":
        return compose_in_opencv(prepared, warp, places, shade, memory), places
    return compose_in_torch(prepared, warp, places, shade), places


def compose_in_torch(
    prepared: PreparedCanvas, warp: Warp, places: torch.Tensor, shade: torch.Tensor | None = None
) -> torch.Tensor:
    """Frames (B, H, W, 3) uint8, wholly on the device; arguments as ``compose`` returns and takes them."""
    grid = prepared.grid
    where = grid.at_pixels(places.permute(0, 3, 1, 2))
    layer = _sampled_at(prepared, prepared.layer, where)
    several = torch.cat([_sampled_four_times(prepared, part) for part in where.split(FEW)])
    layer = layer.lerp(several, grid.at_pixels(minified(places, grid.cell)[:, None]))
    if (edges := find_occlusion_edges(prepared, warp.offsets)) is not None:
        layer = _with_occlusion_edges(layer, prepared, edges, places.shape[1:3])
    if (view := find_far_view(prepared, warp, places)) is not None:
        mirrored = partial(_mirrored, prepared, view, (places.shape[1], places.shape[2]))
        layer = _with_view(layer, prepared, view, places.shape[1:3], mirrored, blend_far_side)
    if (behind := find_back_view(prepared, places, warp.back)) is not None:
        drawn = partial(_sampled_texture, behind.texture)
        layer = _with_view(layer, prepared, behind, places.shape[1:3], drawn, blend_back)
    colours, share = layer.split((3, 1), 1)
    if shade is not None:
        colours = colours * grid.at_pixels(F.pad(shade, (1, 1, 1, 1), mode="replicate"))
    background = prepared.background.permute(2, 0, 1).float() - BIAS
    composed = colours + background * (share / 255)

    frames = prepared.still.expand(len(places), -1, -1, -1).clone()
    part = np.s_[grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
    frames[:, *part] = composed.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)
    return frames


def _with_occlusion_edges(
    layer: torch.Tensor, prepared: PreparedCanvas, edges: OcclusionEdges, size: Sequence[int]
) -> torch.Tensor:
    """The layer as it is seen (B, 4, height, width), sharp at occlusion edges; ``size`` is that of the padded grid."""
    front, behind, share, near = (
        edges.window.in_grid(values, size)
        for values in (edges.front, edges.behind, edges.share[..., None], edges.near[..., None])
    )
    front, behind = (_sampled(prepared, prepared.layer, places) for places in (front, behind))
    share, near = (prepared.grid.at_pixels(values.permute(0, 3, 1, 2)) for values in (share, near))
    return layer.lerp(behind.lerp(front, share), near)


def _with_view(
    layer: torch.Tensor,
    prepared: PreparedCanvas,
    view: FarView | BackView,
    size: Sequence[int],
    sampled: Callable[[torch.Tensor], torch.Tensor],
    blend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """The layer as it is seen (B, 4, height, width), blended with what a view shows.

    Args:
        size: rows and columns of the padded grid.
        sampled: what is shown (B, 4, height, width) at the view's places, given for each pixel (B, 2, height, width).
        blend: of the layer and that, by the view's weights.
    """
    places, weights = (
        prepared.grid.at_pixels(view.window.in_grid(values, size).permute(0, 3, 1, 2))
        for values in (view.places, view.weights)
    )
    blended = blend(*(values.permute(0, 2, 3, 1) for values in (layer, sampled(places), weights)))
    return blended.permute(0, 3, 1, 2)


def _sampled(prepared: PreparedCanvas, layer: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, 4, height, width) a layer's pixels at places (B, rows + 2, columns + 2, 2), for the grid's part."""
    return _sampled_at(prepared, layer, prepared.grid.at_pixels(places.permute(0, 3, 1, 2)))


def _mirrored(prepared: PreparedCanvas, view: FarView, size: tuple[int, int], where: torch.Tensor) -> torch.Tensor:
    """(B, 4, height, width) what a view shows: the face in front of what is at places (B, 2, height, width)."""
    front, share = (
        prepared.grid.at_pixels(view.window.in_grid(values, size).permute(0, 3, 1, 2))
        for values in (view.front, view.share)
    )
    behind, face = (_sampled_at(prepared, view.layer, places) for places in (where, front))
    return behind.lerp(face, share)


def _sampled_texture(texture: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(B, 4, height, width) a texture (h, w, 4) at places (B, 2, height, width), in its pixels."""
    return sample(texture.permute(2, 0, 1)[None].float(), where.permute(0, 2, 3, 1))


def _sampled_four_times(prepared: PreparedCanvas, where: torch.Tensor) -> torch.Tensor:
    """(B, 4, height, width) the layer around places (B, 2, height, width): means of four in each pixel."""
    along, down = differences(F.pad(where, (1, 1, 1, 1), mode="replicate"))
    shifts = ((along + down) / 8, (along - down) / 8)  # a quarter of a pixel
    places = torch.cat([where + sign * shift for shift in shifts for sign in (-1, 1)], 2)  # one below the other
    first, second, third, last = _sampled_at(prepared, prepared.layer, places).chunk(4, 2)
    return (first + second + third + last) / 4


def _sampled_at(prepared: PreparedCanvas, layer: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(B, 4, height, width) a layer's pixels at places (B, 2, height, width), pixels of the film."""
    layer = layer.permute(2, 0, 1)[None].float()
    size = layer.shape[:1:-1]
    x, y = (
        (where[:, axis] - float(prepared.corner[axis])) * (2 * prepared.density / (size[axis] - 1)) - 1
        for axis in (0, 1)
    )
    return F.grid_sample(
        layer.expand(len(where), -1, -1, -1),
        pairs(x, y),
        mode="bicubic" if prepared.bicubic else "bilinear",
        padding_mode="border",
        align_corners=True,
    )
