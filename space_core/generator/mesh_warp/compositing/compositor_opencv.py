"""The compositor on a CPU: in eight bits, tile by tile, where something differs from the picture at rest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.compositing.back_view import BackView, blend_back, find_back_view
from space_core.generator.mesh_warp.compositing.far_view import FarView, blend_far_side, find_far_view
from space_core.generator.mesh_warp.compositing.grid import Grid, GridWindow, dilated
from space_core.generator.mesh_warp.compositing.minification import minified
from space_core.generator.mesh_warp.compositing.occlusion_edges import OcclusionEdges, find_occlusion_edges
from space_core.generator.mesh_warp.compositing.person_layer import BIAS
from space_core.generator.mesh_warp.compositing.prepared_canvas import NEGLIGIBLE, PreparedCanvas
from space_core.generator.mesh_warp.compositing.warp import Warp
from space_core.generator.mesh_warp.frame_memory import FrameMemory

# Height and width, in pixels of the layer, of the parts in which frames are drawn: what they sample stays in a core's
# cache while one part of all frames is drawn after the other.
TILE = (192, 1536)
COARSE = 4  # cells; minified parts of a frame are first looked for so far apart
UNITY = 160  # the factor 1 of a shade in eight bits
# Pixels; columns of a tile in which the background shows, or the layer is minified, are one run where they are less far
# apart.
RUN = 32

cv2.setNumThreads(1)  # each core draws a batch of its own


@dataclass(frozen=True)
class _Block:
    """A rectangle of cells, and the part of its pixels that is drawn.

    Attributes:
        cells: its rows and columns.
        size: its width and height in pixels of the film.
        inside: rows and columns of those pixels that are drawn.
    """

    cells: tuple[slice, slice]
    size: tuple[int, int]
    inside: tuple[slice, slice]

    @classmethod
    def around(cls, rows: slice, columns: slice, shape: tuple[int, int], cell: int) -> "_Block":
        """The block whose pixels, of that height and width, show rows and columns; with one more cell around these."""
        (height, width), cells = shape, np.s_[rows.start : rows.stop + 2, columns.start : columns.stop + 2]
        high, wide = ((side.stop - side.start) * cell for side in cells)
        return cls(cells, (wide, high), np.s_[cell : cell + height, cell : cell + width])

    def at_pixels(self, values: np.ndarray, times: int = 1) -> np.ndarray:
        """(times · h, times · w, …) values (r, c, …) of its cells at the pixels that are drawn, or at parts of them."""
        rows, columns = (slice(times * side.start, times * side.stop) for side in self.inside)
        return cv2.resize(values, (times * self.size[0], times * self.size[1]))[rows, columns]


def compose_in_opencv(
    prepared: PreparedCanvas,
    warp: Warp,
    places: torch.Tensor,
    shade: torch.Tensor | None = None,
    memory: FrameMemory | None = None,
) -> torch.Tensor:
    """Like ``compose_in_torch``, on the CPU, faster, and equal but for rounding."""
    frames = (memory or FrameMemory()).take((len(places), *prepared.still.shape))
    tiles: list[tuple[_Block, tuple[slice, slice], _Frame]] = []
    for index in range(len(places)):
        # One by one, so that no frame depends on its batch.
        overlays = _find_overlays(prepared, warp.of_frame(index), places[index : index + 1])
        own_shade = None if shade is None else shade[index]
        frame, changed = _begin(frames[index], prepared, places[index].numpy(), own_shade, overlays)
        areas = list(_tiles(changed, prepared))
        _copy_around(frames[index], prepared.still.numpy(), prepared.grid, [area for _, area in areas])
        tiles.extend((tile, area, frame) for tile, area in areas)
    # Those of one place in all frames after each other.
    for tile, area, frame in sorted(tiles, key=lambda part: (part[1][0].start, part[1][1].start)):
        _draw(frame, prepared, tile, area)
    return torch.from_numpy(frames)


@dataclass(frozen=True)
class _Overlays:
    """What is drawn over the layer in one frame, each in its turn, or None where there is nothing of it."""

    edges: OcclusionEdges | None
    far: FarView | None
    back: BackView | None


def _find_overlays(prepared: PreparedCanvas, warp: Warp, places: torch.Tensor) -> _Overlays:
    """What is drawn over the layer in one frame, whose cells see places (1, rows + 2, columns + 2, 2)."""
    edges = find_occlusion_edges(prepared, warp.offsets)
    far = find_far_view(prepared, warp, places)
    far = far and _without_unused(prepared, far)
    back = find_back_view(prepared, places, warp.back)
    return _Overlays(edges, far, back and _without_hidden(prepared, back, places, edges, far))


@dataclass(frozen=True)
class _Frame:
    """A frame that is being drawn.

    Attributes:
        moving: (height, width, 3) uint8, its pixels in the grid.
        source: (rows + 2, columns + 2, 2) float32, which places its cells and one more around see, in pixels of the
            layer.
        factor: (rows + 2, columns + 2, 3) uint8, by what the layer's colours are multiplied, ``UNITY`` for 1; or None.
        minification: (rows + 2, columns + 2) where it is sampled four times a pixel, see ``minified``; or None.
        overlays: what is drawn over the layer.
    """

    moving: np.ndarray
    source: np.ndarray
    factor: np.ndarray | None
    minification: np.ndarray | None
    overlays: _Overlays


def _begin(
    frame: np.ndarray,
    prepared: PreparedCanvas,
    places: np.ndarray,
    shade: torch.Tensor | None,
    overlays: _Overlays,
) -> tuple[_Frame, np.ndarray]:
    """What a frame (H, W, 3) uint8 is drawn from, and (rows, columns) bool, which of its cells are to be drawn."""
    grid = prepared.grid
    changed = _changed(prepared, places[1:-1, 1:-1])
    factor = None
    if shade is not None:
        own = (shade.permute(1, 2, 0).numpy() * UNITY).round().clip(0, 255).astype(np.uint8)
        changed |= dilated((own[..., 0] != UNITY) | (own[..., 1] != UNITY) | (own[..., 2] != UNITY)) > 0
        factor = cv2.copyMakeBorder(own, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    for part in (overlays.far, overlays.back):
        if part is not None:
            shown = part.window.in_grid(part.changed, places.shape[:2])[0].numpy() > 0
            changed |= dilated(shown)[1:-1, 1:-1] > 0  # it fades out in the cells around
    moving = frame[grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
    minification = _minified(places, changed, grid.cell)
    return _Frame(moving, prepared.in_layer(places), factor, minification, overlays), changed


def _draw(frame: _Frame, prepared: PreparedCanvas, tile: _Block, area: tuple[slice, slice]) -> None:
    """Draws a tile of a frame."""
    source, factor = frame.source[tile.cells], frame.factor
    seen = _sampled(prepared, prepared.layer.numpy(), tile.at_pixels(source))
    if frame.minification is not None:
        _sample_minified(seen, prepared, source, frame.minification[tile.cells])
    if frame.overlays.edges is not None:
        _draw_occlusion_edges(seen, prepared, frame.overlays.edges, tile)
    if frame.overlays.far is not None:
        _draw_far_side(seen, prepared, frame.overlays.far, tile)
    if frame.overlays.back is not None:
        _draw_back(seen, prepared, frame.overlays.back, tile)
    colours = frame.moving[area]
    cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB, colours)
    if factor is not None and (factor[tile.cells] != UNITY).any():
        cv2.multiply(colours, tile.at_pixels(factor[tile.cells]), colours, scale=1 / UNITY)
    share, background = cv2.extractChannel(seen, 3), prepared.background.numpy()[area]
    for run in _runs(share.max(0) > 0):
        own_share = cv2.cvtColor(share[:, run], cv2.COLOR_GRAY2RGB).astype(np.int16)
        behind = np.subtract(background[:, run], BIAS, dtype=np.int16)
        behind = cv2.multiply(behind, own_share, scale=1 / 255)
        np.clip(colours[:, run] + behind, 0, 255, out=colours[:, run], casting="unsafe")


def _copy_around(frame: np.ndarray, still: np.ndarray, grid: Grid, areas: list[tuple[slice, slice]]) -> None:
    """Copies what ``areas`` of the grid, see ``_tiles``, leave of the picture at rest into a frame (H, W, 3)."""
    done = 0
    for (start, stop), band in groupby(areas, key=lambda area: (area[0].start, area[0].stop)):
        frame[done : grid.top + start] = still[done : grid.top + start]
        done = grid.top + stop
        rows, first = np.s_[grid.top + start : done], 0
        for _, columns in band:
            frame[rows, first : grid.left + columns.start] = still[rows, first : grid.left + columns.start]
            first = grid.left + columns.stop
        frame[rows, first:] = still[rows, first:]
    frame[done:] = still[done:]


def _runs(used: np.ndarray, apart: int = RUN) -> Iterator[slice]:
    """Slices of (n,) bool that hold all that are true; those less than ``apart`` apart are one."""
    (places,) = used.nonzero()
    if len(places):
        (ends,) = (places[1:] - places[:-1] > apart).nonzero()
        for first, last in zip([0, *(ends + 1)], [*ends, -1], strict=True):
            yield slice(int(places[first]), int(places[last]) + 1)


def _changed(prepared: PreparedCanvas, places: np.ndarray) -> np.ndarray:
    """(rows, columns) bool, which cells differ from the picture at rest: the person is there now, or was."""
    centres = prepared.centres[0, 1:-1, 1:-1].numpy()
    moving = np.not_equal(places, centres).view(np.uint16)[..., 0] > 0  # along x or y
    if not moving.any():
        return moving
    effect = cv2.bitwise_or(prepared.effect_at(places), prepared.effect)
    return dilated(moving & (effect > 0)) > 0


def _tiles(changed: np.ndarray, prepared: PreparedCanvas) -> Iterator[tuple[_Block, tuple[slice, slice]]]:
    """Tiles that hold all cells that are ``changed`` (rows, columns) bool.

    Yields:
        Each with one more cell around, as rows and columns of a grid with one more around, and its rows and columns in
        pixels of the grid's part of the film.
    """
    grid, cell = prepared.grid, prepared.grid.cell
    rows, columns = (max(side // (prepared.density * cell), 1) for side in TILE)
    for top in range(0, len(changed), rows):
        bottom = min(top + rows, len(changed))
        used = np.any(changed[top:bottom], 0)
        for start in range(0, len(used), columns):
            own = np.flatnonzero(used[start : start + columns])
            if not len(own):
                continue
            left, right = start + int(own[0]), start + int(own[-1]) + 1
            area = np.s_[top * cell : min(bottom * cell, grid.height), left * cell : min(right * cell, grid.width)]
            height, width = (side.stop - side.start for side in area)
            yield _Block.around(slice(top, bottom), slice(left, right), (height, width), cell), area


def _sampled(prepared: PreparedCanvas, layer: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(h, w, 4) uint8 a layer at ``where`` (h, w, 2), in its pixels."""
    interpolation = cv2.INTER_CUBIC if prepared.bicubic else cv2.INTER_LINEAR
    return cv2.remap(layer, where, None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _minified(places: np.ndarray, changed: np.ndarray, cell: int) -> np.ndarray | None:
    """``minified`` of one frame in cells that are ``changed``.

    None where no larger part of it is, as in most of speech: sampling four times would change hardly anything there.
    """
    seen = torch.from_numpy(places)[None]
    if minified(seen[:, ::COARSE, ::COARSE], COARSE * cell).max() < 1:
        return None
    share = minified(seen, cell)[0].numpy()
    share[1:-1, 1:-1] *= changed
    return share


def _sample_minified(seen: np.ndarray, prepared: PreparedCanvas, source: np.ndarray, share: np.ndarray) -> None:
    """Samples the layer four times a pixel where a tile (h, w, 4) shows it minified.

    Args:
        source: (r + 2, c + 2, 2) places of the layer that the tile's cells show, one more cell around.
        share: (r + 2, c + 2) see ``minified``.
    """
    cell = prepared.grid.cell
    used: np.ndarray = share[1:-1, 1:-1] > 0
    if not used.any():
        return
    height = max(RUN // cell, 1)
    for top in range(0, len(used), height):
        band = used[top : top + height]
        for columns in _runs(np.any(band, 0), RUN // cell):
            own = top + np.flatnonzero(band[:, columns].any(1))
            rows = slice(int(own[0]), int(own[-1]) + 1)
            part = seen[rows.start * cell : rows.stop * cell, columns.start * cell : columns.stop * cell]
            block = _Block.around(rows, columns, part.shape[:2], cell)
            finer = _sampled(prepared, prepared.layer.numpy(), block.at_pixels(source[block.cells], 2))
            finer = cv2.resize(finer, part.shape[1::-1], interpolation=cv2.INTER_AREA)
            weight = block.at_pixels(share[block.cells])
            part[:] = cv2.blendLinear(finer, part, weight, 1 - weight)


def _draw_occlusion_edges(seen: np.ndarray, prepared: PreparedCanvas, edges: OcclusionEdges, tile: _Block) -> None:
    """Draws the edges of one frame into the layer as it is seen (h, w, 4) in a tile."""
    for block, part in _used_parts(edges.window, edges.changed[0].numpy(), tile, seen, prepared.grid.cell):
        layers = []
        for places in (edges.front, edges.behind):
            where = block.at_pixels(prepared.in_layer(places[0, *block.cells].numpy()))
            layers.append(_sampled(prepared, prepared.layer.numpy(), where).astype(np.float32))
        front, behind = layers
        share, near = (
            block.at_pixels(values[0, *block.cells].numpy())[..., None] for values in (edges.share, edges.near)
        )
        part[:] = (part + near * (behind + share * (front - behind) - part)).round()


def _draw_far_side(seen: np.ndarray, prepared: PreparedCanvas, view: FarView, tile: _Block) -> None:
    """Draws the far side of one frame into the layer as it is seen (h, w, 4) in a tile."""

    def mirrored(block: _Block, places: np.ndarray) -> np.ndarray:
        drawn = _sampled(prepared, view.layer.numpy(), block.at_pixels(prepared.in_layer(places)))
        _draw_front(drawn, prepared, view, block)
        return drawn

    _blend_view(seen, view, tile, prepared.grid.cell, mirrored, blend_far_side)


def _draw_front(drawn: np.ndarray, prepared: PreparedCanvas, view: FarView, block: _Block) -> None:
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
    near = _Block((rows, columns), size, (inside[0], inside[1]))
    where = near.at_pixels(prepared.in_layer(view.front[0, rows, columns].numpy()))
    share = near.at_pixels(view.share[0, rows, columns].numpy())
    part[:] = cv2.blendLinear(_sampled(prepared, view.layer.numpy(), where), part.copy(), share, 1 - share)


def _draw_back(seen: np.ndarray, prepared: PreparedCanvas, view: BackView, tile: _Block) -> None:
    """Draws the back of the head of one frame behind the layer as it is seen (h, w, 4) in a tile."""

    def drawn(block: _Block, places: np.ndarray) -> np.ndarray:
        where = block.at_pixels(places)
        return cv2.remap(view.texture.numpy(), where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    _blend_view(seen, view, tile, prepared.grid.cell, drawn, blend_back)


def _blend_view(
    seen: np.ndarray,
    view: FarView | BackView,
    tile: _Block,
    cell: int,
    sampled: Callable[[_Block, np.ndarray], np.ndarray],
    blend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """Blends what a view of one frame shows with the layer as it is seen (h, w, 4) in a tile.

    Args:
        cell: side of a cell in pixels.
        sampled: (h, w, 4) what is shown in a block, given the view's places (r, c, 2) in its cells.
        blend: of the layer and that, by the view's weights.
    """
    for block, part in _used_parts(view.window, view.changed[0].numpy(), tile, seen, cell):
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


def _used_parts(
    window: GridWindow, used: np.ndarray, tile: _Block, seen: np.ndarray, cell: int
) -> Iterator[tuple[_Block, np.ndarray]]:
    """The parts of a window's cells that a tile shows and that are ``used`` (r, c), not zero.

    Args:
        seen: (h, w, C) the tile's pixels.
        cell: side of a cell in pixels.

    Yields:
        Each as rows and columns of the window, with an unused cell around, and its pixels in ``seen``.
    """
    corner = window.top, window.left
    shown = [
        slice(max(own.start - start, 0), min(own.stop - start, extent))
        for own, start, extent in zip(tile.cells, corner, used.shape, strict=True)
    ]
    if any(side.start >= side.stop for side in shown):
        return
    is_used = used[*shown] != 0
    for columns in _runs(is_used.any(0), max(RUN // cell, 2)):
        (used_rows,) = is_used[:, columns].any(1).nonzero()
        rows, columns = (
            slice(own.start + max(int(first) - 1, 0), min(own.start + int(last) + 2, own.stop))
            for own, first, last in (
                (shown[0], used_rows[0], used_rows[-1]),
                (shown[1], columns.start, columns.stop - 1),
            )
        )
        # The part's first pixel in the tile.
        parts = zip(corner, (rows, columns), tile.cells, strict=True)
        first_row, first_column = ((start + part.start - own.start - 1) * cell for start, part, own in parts)
        width, height = (columns.stop - columns.start) * cell, (rows.stop - rows.start) * cell
        inside = np.s_[
            max(-first_row, 0) : min(height, seen.shape[0] - first_row),
            max(-first_column, 0) : min(width, seen.shape[1] - first_column),
        ]
        if any(side.start >= side.stop for side in inside):
            continue
        pixels = seen[
            first_row + inside[0].start : first_row + inside[0].stop,
            first_column + inside[1].start : first_column + inside[1].stop,
        ]
        yield _Block((rows, columns), (width, height), inside), pixels
