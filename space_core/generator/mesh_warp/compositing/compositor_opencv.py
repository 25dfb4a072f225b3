"""The compositor on a CPU: in eight bits, tile by tile, where something differs from the picture at rest."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.compositing.grid import dilated
from space_core.generator.mesh_warp.compositing.minification import minified
from space_core.generator.mesh_warp.compositing.overlays_opencv import Overlays, draw_overlays, find_overlays
from space_core.generator.mesh_warp.compositing.person_layer import BIAS
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas
from space_core.generator.mesh_warp.compositing.tiles import RUN, Block, copy_around, find_tiles, runs
from space_core.generator.mesh_warp.compositing.warp import Warp
from space_core.generator.mesh_warp.frame_memory import FrameMemory

COARSE = 4  # cells; minified parts of a frame are first looked for so far apart
UNITY = 160  # the factor 1 of a shade in eight bits

cv2.setNumThreads(1)  # each core draws a batch of its own


def compose_in_opencv(
    prepared: PreparedCanvas,
    warp: Warp,
    places: torch.Tensor,
    shade: torch.Tensor | None = None,
    memory: FrameMemory | None = None,
) -> torch.Tensor:
    """Like ``compose_in_torch``, on the CPU, faster, and equal but for rounding."""
    frames = (memory or FrameMemory()).take((len(places), *prepared.still.shape))
    tiles: list[tuple[Block, tuple[slice, slice], _Frame]] = []
    for index in range(len(places)):
        # One by one, so that no frame depends on its batch.
        overlays = find_overlays(prepared, warp.of_frame(index), places[index : index + 1])
        own_shade = None if shade is None else shade[index]
        frame, changed = _begin(frames[index], prepared, places[index].numpy(), own_shade, overlays)
        areas = list(find_tiles(changed, prepared))
        copy_around(frames[index], prepared.still.numpy(), prepared.grid, [area for _, area in areas])
        tiles.extend((tile, area, frame) for tile, area in areas)
    # Those of one place in all frames after each other.
    for tile, area, frame in sorted(tiles, key=lambda part: (part[1][0].start, part[1][1].start)):
        _draw(frame, prepared, tile, area)
    return torch.from_numpy(frames)


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
    overlays: Overlays


def _begin(
    frame: np.ndarray,
    prepared: PreparedCanvas,
    places: np.ndarray,
    shade: torch.Tensor | None,
    overlays: Overlays,
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


def _draw(frame: _Frame, prepared: PreparedCanvas, tile: Block, area: tuple[slice, slice]) -> None:
    """Draws a tile of a frame."""
    source, factor = frame.source[tile.cells], frame.factor
    seen = prepared.sampled(prepared.layer.numpy(), tile.at_pixels(source))
    if frame.minification is not None:
        _sample_minified(seen, prepared, source, frame.minification[tile.cells])
    draw_overlays(seen, prepared, frame.overlays, tile)
    colours = frame.moving[area]
    cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB, colours)
    if factor is not None and (factor[tile.cells] != UNITY).any():
        cv2.multiply(colours, tile.at_pixels(factor[tile.cells]), colours, scale=1 / UNITY)
    share, background = cv2.extractChannel(seen, 3), prepared.background.numpy()[area]
    for run in runs(share.max(0) > 0):
        own_share = cv2.cvtColor(share[:, run], cv2.COLOR_GRAY2RGB).astype(np.int16)
        behind = np.subtract(background[:, run], BIAS, dtype=np.int16)
        behind = cv2.multiply(behind, own_share, scale=1 / 255)
        np.clip(colours[:, run] + behind, 0, 255, out=colours[:, run], casting="unsafe")


def _changed(prepared: PreparedCanvas, places: np.ndarray) -> np.ndarray:
    """(rows, columns) bool, which cells differ from the picture at rest: the person is there now, or was."""
    centres = prepared.centres[0, 1:-1, 1:-1].numpy()
    moving = np.not_equal(places, centres).view(np.uint16)[..., 0] > 0  # along x or y
    if not moving.any():
        return moving
    effect = cv2.bitwise_or(prepared.effect_at(places), prepared.effect)
    return dilated(moving & (effect > 0)) > 0


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
        for columns in runs(np.any(band, 0), RUN // cell):
            own = top + np.flatnonzero(band[:, columns].any(1))
            rows = slice(int(own[0]), int(own[-1]) + 1)
            part = seen[rows.start * cell : rows.stop * cell, columns.start * cell : columns.stop * cell]
            block = Block.around(rows, columns, part.shape[:2], cell)
            finer = prepared.sampled(prepared.layer.numpy(), block.at_pixels(source[block.cells], 2))
            finer = cv2.resize(finer, part.shape[1::-1], interpolation=cv2.INTER_AREA)
            weight = block.at_pixels(share[block.cells])
            part[:] = cv2.blendLinear(finer, part, weight, 1 - weight)
