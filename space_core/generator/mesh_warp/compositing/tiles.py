"""The parts in which the compositor on a CPU draws frames: tiles of a frame, and blocks of cells within them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np

from space_core.generator.mesh_warp.compositing.grid import Grid, GridWindow
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas

# Height and width, in pixels of the layer, of the parts in which frames are drawn: what they sample stays in a core's
# cache while one part of all frames is drawn after the other.
TILE = (192, 1536)
# Pixels; columns of a tile in which the background shows, or the layer is minified, are one run where they are less far
# apart.
RUN = 32


@dataclass(frozen=True)
class Block:
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
    def around(cls, rows: slice, columns: slice, shape: tuple[int, int], cell: int) -> "Block":
        """The block whose pixels, of that height and width, show rows and columns; with one more cell around these."""
        (height, width), cells = shape, np.s_[rows.start : rows.stop + 2, columns.start : columns.stop + 2]
        high, wide = ((side.stop - side.start) * cell for side in cells)
        return cls(cells, (wide, high), np.s_[cell : cell + height, cell : cell + width])

    def at_pixels(self, values: np.ndarray, times: int = 1) -> np.ndarray:
        """(times · h, times · w, …) values (r, c, …) of its cells at the pixels that are drawn, or at parts of them."""
        rows, columns = (slice(times * side.start, times * side.stop) for side in self.inside)
        return cv2.resize(values, (times * self.size[0], times * self.size[1]))[rows, columns]


def find_tiles(changed: np.ndarray, prepared: PreparedCanvas) -> Iterator[tuple[Block, tuple[slice, slice]]]:
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
            yield Block.around(slice(top, bottom), slice(left, right), (height, width), cell), area


def copy_around(frame: np.ndarray, still: np.ndarray, grid: Grid, areas: list[tuple[slice, slice]]) -> None:
    """Copies what ``areas`` of the grid, see ``find_tiles``, leave of the picture at rest into a frame (H, W, 3)."""
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


def runs(used: np.ndarray, apart: int = RUN) -> Iterator[slice]:
    """Slices of (n,) bool that hold all that are true; those less than ``apart`` apart are one."""
    (places,) = used.nonzero()
    if len(places):
        (ends,) = (places[1:] - places[:-1] > apart).nonzero()
        for first, last in zip([0, *(ends + 1)], [*ends, -1], strict=True):
            yield slice(int(places[first]), int(places[last]) + 1)


def used_parts(
    window: GridWindow, used: np.ndarray, tile: Block, seen: np.ndarray, cell: int
) -> Iterator[tuple[Block, np.ndarray]]:
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
    for columns in runs(is_used.any(0), max(RUN // cell, 2)):
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
        yield Block((rows, columns), (width, height), inside), pixels
