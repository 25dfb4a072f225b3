"""Where the back of a turned head is seen, in a few frames."""

from dataclasses import dataclass
from functools import cached_property

import torch

from space_core.generator.mesh_warp.compositing.grid import GridWindow, box_sum, smoothed, window_around
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas

STEEPNESS = 3.0  # of its edge, as a multiple of that of the mean of 3 × 3 cells
SOFT_REACH = 2.5  # standard deviations of a soft photo's blur, over which it fades at its edge


@dataclass(frozen=True)
class DrawnBack:
    """The back of a head in a few frames, as it is drawn, whatever is before it.

    Attributes:
        texture: (h, w, 4) uint8, red, green, blue and how opaque it is.
        cells: (B, rows, columns, 5) x and y of the texture, how much it is drawn over the person's soft edge and how
            much of it is in view, 0…1, and 1; zero beside it.
    """

    texture: torch.Tensor
    cells: torch.Tensor


@dataclass(frozen=True)
class BackView:
    """A window of cells in which the back of the head is seen, for each of a few frames.

    Attributes:
        window: the cells.
        texture: of ``DrawnBack``.
        places: (B, r, c, 2) of the texture, in its pixels.
        weights: (B, r, c, 2) 0…1: where it is drawn; and where it is seen although there is the person's outline.
    """

    window: GridWindow
    texture: torch.Tensor
    places: torch.Tensor
    weights: torch.Tensor

    @cached_property
    def changed(self) -> torch.Tensor:
        """(B, r, c) 0 where frames are as they would be without it."""
        return self.weights[..., 0]


def find_back_view(prepared: PreparedCanvas, places: torch.Tensor, back: DrawnBack | None) -> BackView | None:
    """Where the back of the head is seen, for ``back`` and places of ``compose``.

    On the CPU the window is as small as can be, or None where there is none; elsewhere it is the whole grid.
    """
    if back is None:
        return None
    cells, top, left = back.cells, 0, 0
    if cells.device.type == "cpu":
        if (window := window_around(cells[..., 3] > 0, 1)) is None:
            return None
        cells, (top, left) = cells[:, *window], (side.start for side in window)
    cells = smoothed(cells)
    (*_, over_edge, in_view, drawn), known = cells.split(1, -1), cells[..., 4:].clamp(min=1e-3)
    seen = places[:, top : top + cells.shape[1], left : left + cells.shape[2]]
    edge = ((drawn - 0.5) * STEEPNESS + 0.5).clamp(0, 1)
    if prepared.softening:
        reach = max(1, round(SOFT_REACH * prepared.softening / prepared.grid.cell))
        inside = box_sum(drawn.permute(0, 3, 1, 2), reach).permute(0, 2, 3, 1) / (2 * reach + 1) ** 2
        edge = edge * ((inside - 0.5) * 2).clamp(0, 1)  # inwards: beyond the edge nothing is known
    outline = prepared.over_layer(prepared.outline, seen)
    weights = torch.cat([in_view / known * edge, over_edge / known * outline], -1)
    return BackView(GridWindow(top, left), back.texture, cells[..., :2] / known, weights)


def blend_back(seen: torch.Tensor, drawn: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(…, 4) float32 the layer as it is seen, 0…255, with the back of the head behind it.

    Args:
        seen: (…, 4) the layer, 0…255.
        drawn: (…, 4) the texture at the places of a ``BackView``, 0…255.
        weights: (…, 2) the view's.
    """
    shown, outline = weights.split(1, -1)
    seen, drawn = seen.float(), drawn.float()
    free = torch.maximum(seen[..., 3:] / 255, outline) * shown * drawn[..., 3:] / 255
    return torch.lerp(seen, torch.cat([drawn[..., :3], torch.zeros_like(free)], -1), free)
