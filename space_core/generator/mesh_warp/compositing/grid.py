"""The grid of square cells in which the warp is given, and operations on values of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import grid_of


@dataclass(frozen=True)
class Grid:
    """Square cells over the part of a film's picture that may move.

    Attributes:
        left, top: of the first cell, in pixels of the film.
        width, height: of the part, in pixels of the film.
        cell: their side, pixels of the film; the last ones may reach beyond the part.
    """

    left: int
    top: int
    width: int
    height: int
    cell: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.cell)

    @property
    def rows(self) -> int:
        return -(-self.height // self.cell)

    @property
    def first_centre(self) -> np.ndarray:
        """(2,) x and y of the first cell's centre, in pixels of the film."""
        return np.array([self.left, self.top]) + (self.cell - 1) / 2

    def centres(self, pad: int = 0) -> torch.Tensor:
        """(1, rows + 2 · pad, columns + 2 · pad, 2) the cells' centres, in pixels of the film."""
        x, y = (
            torch.arange(-pad, count + pad, dtype=torch.float32) * self.cell + float(first)
            for count, first in zip((self.columns, self.rows), self.first_centre, strict=True)
        )
        return grid_of(x, y)

    def maximum(self, values: np.ndarray) -> np.ndarray:
        """(rows, columns) the greatest of uint8 values (height, width) in each cell and those around it."""
        padded = np.zeros((self.rows * self.cell, self.columns * self.cell), np.uint8)
        padded[: self.height, : self.width] = values
        cells = padded.reshape(self.rows, self.cell, self.columns, self.cell).max((1, 3))
        return dilated(cells)

    def at_pixels(self, cells: torch.Tensor) -> torch.Tensor:
        """(B, C, height, width) values of cells (B, C, rows + 2, columns + 2), one more around, at the pixels."""
        cell = self.cell
        finer = F.interpolate(cells, scale_factor=cell, mode="bilinear", align_corners=False) if cell > 1 else cells
        return finer[:, :, cell:-cell, cell:-cell][:, :, : self.height, : self.width]


def window_around(used: torch.Tensor, margin: int) -> tuple[slice, slice] | None:
    """Rows and columns of cells with all that are ``used`` (B, rows, columns) bool, on the host; None if none is.

    So many cells around them belong to the window, too.
    """
    rows, columns = (np.flatnonzero(used.numpy().any(axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return None
    top, left = (max(int(places[0]) - margin, 0) for places in (rows, columns))
    return slice(top, int(rows[-1]) + 1 + margin), slice(left, int(columns[-1]) + 1 + margin)


def smoothed(cells: torch.Tensor) -> torch.Tensor:
    """(B, r + 2, c + 2, C) means of 3 × 3 cells (B, r, c, C), one more around: outlines become smooth lines."""
    return (_smoothed_in_opencv if cells.device.type == "cpu" else _smoothed_in_torch)(cells)


def _smoothed_in_torch(cells: torch.Tensor) -> torch.Tensor:
    """See ``smoothed``."""
    wide = F.pad(cells.permute(0, 3, 1, 2), (2, 2, 2, 2), mode="replicate")
    wide = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    return (wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]).permute(0, 2, 3, 1) / 9


def _smoothed_in_opencv(cells: torch.Tensor) -> torch.Tensor:
    """The same on the CPU, three times as fast."""
    around = cv2.BORDER_REPLICATE
    wide = (cv2.copyMakeBorder(frame, 1, 1, 1, 1, around) for frame in cells.numpy())
    return torch.from_numpy(np.stack([cv2.blur(frame, (3, 3), borderType=around) for frame in wide]))


def differences(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, r, c) along x and along y, between the neighbours on both sides of each of values (…, r + 2, c + 2)."""
    return values[..., 1:-1, 2:] - values[..., 1:-1, :-2], values[..., 2:, 1:-1] - values[..., :-2, 1:-1]


def box_sum(cells: torch.Tensor, radius: int) -> torch.Tensor:
    """(B, C, r, c) the sum of cells (B, C, r, c) over the square of cells around each; outside there is nothing."""
    return (_box_sum_in_opencv if cells.device.type == "cpu" else _box_sum_in_torch)(cells, radius)


def _box_sum_in_torch(cells: torch.Tensor, radius: int) -> torch.Tensor:
    """See ``box_sum``."""
    for axis in (2, 3):
        length = cells.shape[axis]
        wide = F.pad(cells, (0, 0, radius, radius) if axis == 2 else (radius, radius))
        cells = wide.narrow(axis, 0, length) + wide.narrow(axis, 1, length)
        for start in range(2, 2 * radius + 1):
            cells += wide.narrow(axis, start, length)
    return cells


def _box_sum_in_opencv(cells: torch.Tensor, radius: int) -> torch.Tensor:
    """The same on the CPU, in half the time, and equal but for rounding."""
    side, around = (2 * radius + 1, 2 * radius + 1), cv2.BORDER_CONSTANT
    planes = cells.flatten(0, 1).numpy()
    sums = [cv2.boxFilter(plane, -1, side, normalize=False, borderType=around) for plane in planes]
    return torch.from_numpy(np.stack(sums)).view(cells.shape)


def dilated(cells: np.ndarray) -> np.ndarray:
    """(r, c) the greatest of cells (r, c), bool or uint8, in each and those around it, as uint8."""
    return cv2.dilate(cells.astype(np.uint8, copy=False), square(3))


def scaled(places: np.ndarray, origin: np.ndarray, scale: float) -> np.ndarray:
    """Scale · (places − origin) of places (h, w, 2) float32; NumPy, two numbers at a time, takes 20 times as long."""
    return cv2.transform(places, np.column_stack([np.eye(2), -origin]) * scale)


@dataclass(frozen=True)
class GridWindow:
    """A window of a grid's cells.

    Attributes:
        top, left: its first cell, counted with one more around the grid.
    """

    top: int
    left: int

    def in_grid(self, values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Values (B, r, c) or (B, r, c, C) of the window in a grid of that size, zero outside the window."""
        below, right = size[0] - self.top - values.shape[1], size[1] - self.left - values.shape[2]
        last = (0, 0) * (values.dim() - 3)
        return F.pad(values, (*last, self.left, right, self.top, below))
