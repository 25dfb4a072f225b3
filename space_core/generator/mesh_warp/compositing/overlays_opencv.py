"""What the compositor on a CPU draws over the person's layer: occlusion edges, a face's far side, a head's back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.compositing.back_view import BackView, blend_back, find_back_view
from space_core.generator.mesh_warp.compositing.far_view import FarView, blend_far_side, find_far_view
from space_core.generator.mesh_warp.compositing.grid import dilated
from space_core.generator.mesh_warp.compositing.occlusion_edges import OcclusionEdges, find_occlusion_edges
from space_core.generator.mesh_warp.compositing.prepared_canvas import NEGLIGIBLE, PreparedCanvas
from space_core.generator.mesh_warp.compositing.tiles import Block, used_parts
from space_core.generator.mesh_warp.compositing.warp import Warp


@dataclass(frozen=True)
class Overlays:
    """What is drawn over the layer in one frame, each in its turn, or None where there is nothing of it."""

    edges: OcclusionEdges | None
    far: FarView | None
    back: BackView | None


def find_overlays(prepared: PreparedCanvas, warp: Warp, places: torch.Tensor) -> Overlays:
    """What is drawn over the layer in one frame, whose cells see places (1, rows + 2, columns + 2, 2)."""
    edges = find_occlusion_edges(prepared, warp.offsets)
    far = find_far_view(prepared, warp, places)
    far = far and _without_unused(prepared, far)
    back = find_back_view(prepared, places, warp.back)
    return Overlays(edges, far, back and _without_hidden(prepared, back, places, edges, far))


def draw_overlays(seen: np.ndarray, prepared: PreparedCanvas, overlays: Overlays, tile: Block) -> None:
    """Draws them into the layer as it is seen (h, w, 4) in a tile of their frame."""
    if overlays.edges is not None:
        _draw_occlusion_edges(seen, prepared, overlays.edges, tile)
    if overlays.far is not None:
        _draw_far_side(seen, prepared, overlays.far, tile)
    if overlays.back is not None:
        _draw_back(seen, prepared, overlays.back, tile)


def _draw_occlusion_edges(seen: np.ndarray, prepared: PreparedCanvas, edges: OcclusionEdges, tile: Block) -> None:
    """Draws the edges of one frame into the layer as it is seen (h, w, 4) in a tile."""
    for block, part in used_parts(edges.window, edges.changed[0].numpy(), tile, seen, prepared.grid.cell):
        layers = []
        for places in (edges.front, edges.behind):
            where = block.at_pixels(prepared.in_layer(places[0, *block.cells].numpy()))
            layers.append(prepared.sampled(prepared.layer.numpy(), where).astype(np.float32))
        front, behind = layers
        share, near = (
            block.at_pixels(values[0, *block.cells].numpy())[..., None] for values in (edges.share, edges.near)
        )
        part[:] = (part + near * (behind + share * (front - behind) - part)).round()


def _draw_far_side(seen: np.ndarray, prepared: PreparedCanvas, view: FarView, tile: Block) -> None:
    """Draws the far side of one frame into the layer as it is seen (h, w, 4) in a tile."""

    def mirrored(block: Block, places: np.ndarray) -> np.ndarray:
        drawn = prepared.sampled(view.layer.numpy(), block.at_pixels(prepared.in_layer(places)))
        _draw_front(drawn, prepared, view, block)
        return drawn

    _blend_view(seen, view, tile, prepared.grid.cell, mirrored, blend_far_side)


def _draw_front(drawn: np.ndarray, prepared: PreparedCanvas, view: FarView, block: Block) -> None:
    """Draws the face of a view, near its edge, over what is drawn (h, w, 4) in a block of the view's cells."""
    cell, used = prepared.grid.cell, view.share[0, *block.cells, 0].numpy() > 0
    if not used.any():
        return
    cells, pixels, inside = [], [], []
    for axis, own in enumerate(block.cells):
        places = np.flatnonzero(used.any(1 - axis))
        first, end = max(int(places[0]) - 1, 0), min(int(places[-1]) + 2, used.shape[axis])  # one more around
        begin, length = first * cell - block.inside[axis].start, (end - first) * cell
        cells.append(slice(own.start + first, own.start + end))
        pixels.append(slice(max(begin, 0), min(begin + length, drawn.shape[axis])))
        inside.append(slice(pixels[-1].start - begin, pixels[-1].stop - begin))
    (rows, columns), part = cells, drawn[pixels[0], pixels[1]]
    size = (columns.stop - columns.start) * cell, (rows.stop - rows.start) * cell
    near = Block((rows, columns), size, (inside[0], inside[1]))
    where = near.at_pixels(prepared.in_layer(view.front[0, rows, columns].numpy()))
    share = near.at_pixels(view.share[0, rows, columns].numpy())
    part[:] = cv2.blendLinear(prepared.sampled(view.layer.numpy(), where), part.copy(), share, 1 - share)


def _draw_back(seen: np.ndarray, prepared: PreparedCanvas, view: BackView, tile: Block) -> None:
    """Draws the back of the head of one frame behind the layer as it is seen (h, w, 4) in a tile."""

    def drawn(block: Block, places: np.ndarray) -> np.ndarray:
        where = block.at_pixels(places)
        return cv2.remap(view.texture.numpy(), where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    _blend_view(seen, view, tile, prepared.grid.cell, drawn, blend_back)


def _blend_view(
    seen: np.ndarray,
    view: FarView | BackView,
    tile: Block,
    cell: int,
    sampled: Callable[[Block, np.ndarray], np.ndarray],
    blend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """Blends what a view of one frame shows with the layer as it is seen (h, w, 4) in a tile.

    Args:
        cell: side of a cell in pixels.
        sampled: (h, w, 4) what is shown in a block, given the view's places (r, c, 2) in its cells.
        blend: of the layer and that, by the view's weights.
    """
    for block, part in used_parts(view.window, view.changed[0].numpy(), tile, seen, cell):
        places, weights = (values[0, *block.cells].numpy() for values in (view.places, view.weights))
        arrays = (part.copy(), sampled(block, places), block.at_pixels(weights))
        part[:] = blend(*map(torch.from_numpy, arrays)).round_().numpy()


def _without_unused(prepared: PreparedCanvas, view: FarView) -> FarView:
    """The view of one frame, nothing hidden in cells that the far side doesn't change."""
    person = prepared.effect_at(view.places[0].numpy()) > 0
    narrow, *more = view.weights[0, ..., 3:].numpy().transpose(2, 0, 1)
    used = dilated((np.max(more, axis=0) > NEGLIGIBLE / 255) | (person & (narrow > 0)))
    hidden = view.weights[..., :1] * torch.from_numpy(used[..., None])
    return replace(view, weights=torch.cat([hidden, view.weights[..., 1:]], -1))


def _without_hidden(
    prepared: PreparedCanvas, back: BackView, places: torch.Tensor, edges: OcclusionEdges | None, far: FarView | None
) -> BackView:
    """The view of one frame, nothing shown in cells where the person hides it: most of the back of a head."""
    rows, columns = back.weights.shape[1:3]
    window = np.s_[:, back.window.top : back.window.top + rows, back.window.left : back.window.left + columns]
    free = prepared.over_layer(prepared.outline, places[window])[..., 0] > 0
    # What was drawn before may leave gaps.
    for drawn in (edges, far):
        if drawn is not None:
            free |= drawn.window.in_grid(drawn.changed, places.shape[1:3])[window] > 0
    shown = back.weights[..., :1] * torch.from_numpy(dilated(free[0].numpy()))[..., None]
    return replace(back, weights=torch.cat([shown, back.weights[..., 1:]], -1))
