"""Occlusion edges: where one part of the person is warped in front of another, as a nose before the far cheek.

There neighbouring cells see places of the photo far apart, and the places between would show as a line. So each side is
continued beyond the edge, and the cells in between are drawn from one side or the other.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.compositing.grid import GridWindow, box_sum
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas

JUMP = 8.0  # pixels of the crop by which places beside an edge are further apart than the cells themselves
EDGE_CELLS = 2  # around such an edge that are drawn so
STEEPNESS = 3.0  # of the front's share at an edge, as a multiple of that of the mean of 3 × 3 cells


@dataclass(frozen=True)
class OcclusionEdges:
    """A window of cells in which parts of the person lie in front of others, for each of a few frames.

    Attributes:
        window: the cells.
        front: (B, r, c, 2) places that are seen in front of an edge, continued beyond it by the outermost.
        behind: (B, r, c, 2) places that are seen behind it, continued by their offsets.
        share: (B, r, c) 0 where what is behind is seen … 1 what is in front.
        near: (B, r, c) 1 near an edge, 0 where there is none.
    """

    window: GridWindow
    front: torch.Tensor
    behind: torch.Tensor
    share: torch.Tensor
    near: torch.Tensor

    @property
    def changed(self) -> torch.Tensor:
        """(B, r, c) 0 where frames are as they would be without the edges."""
        return self.near


def find_occlusion_edges(prepared: PreparedCanvas, offsets: torch.Tensor) -> OcclusionEdges | None:
    """Where parts of the person lie in front of others, for offsets (B, rows, columns, 2) of ``compose``.

    On the CPU the window is as small as can be, or None where there is no edge; elsewhere it is the whole grid.
    """
    jump = JUMP * prepared.scale
    rows, columns = slice(0, offsets.shape[1] + 2), slice(0, offsets.shape[2] + 2)
    if offsets.device.type == "cpu":
        # Edges are longer than that, so every so many'th row and column is enough to find them.
        step, margin, values = 2 * EDGE_CELLS, 4 * EDGE_CELLS, offsets.numpy()
        beside, below = (
            (np.abs(line[after] - line[before]) > jump).view(np.uint16)[..., 0] > 0  # along x or y
            for line, after, before in (
                (values[:, ::step], np.s_[:, :, 1:], np.s_[:, :, :-1]),
                (values[:, :, ::step], np.s_[:, 1:], np.s_[:, :-1]),
            )
        )
        if not (beside.any() or below.any()):
            return None
        cells = np.concatenate(
            [np.argwhere(found.any(0)) * scale for found, scale in ((beside, [step, 1]), (below, [1, step]))]
        )
        low, high = (cells.min(0) - margin + 1).clip(0).tolist(), (cells.max(0) + margin + 2).tolist()
        rows, columns = slice(low[0], min(high[0], rows.stop)), slice(low[1], min(high[1], columns.stop))
    padded = F.pad(offsets.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")[..., rows, columns].contiguous()
    centres = prepared.centres.permute(0, 3, 1, 2)[..., rows, columns]
    places = centres + padded
    # Heads are round: of two places that meet at an edge, that nearer to the middle of the face is in front.
    away = (places - prepared.middle[:, None, None]).norm(dim=1, keepdim=True)
    limits = torch.zeros_like(away).repeat(1, 2, 1, 1)  # the sum of what lies between both places, and its weight
    for axis in (2, 3):
        found = _jumps(padded, axis, jump).float()
        count = found.shape[axis]
        between = (away.narrow(axis, 0, count) + away.narrow(axis, 1, count)) / 2
        for start in (0, 1):
            limits.narrow(axis, start, count).add_(torch.cat([between * found, found], 1))
    limits = box_sum(limits, EDGE_CELLS)
    near = (limits[:, 1:] > 0).float()
    front = near * (away * limits[:, 1:] < limits[:, :1])
    share = box_sum(torch.cat([front, near], 1), 1)
    return OcclusionEdges(
        window=GridWindow(rows.start, columns.start),
        front=_continued(places, front).permute(0, 2, 3, 1),
        behind=(centres + _continued(padded, near - front)).permute(0, 2, 3, 1),
        share=((share[:, 0] / share[:, 1].clamp(min=1) - 0.5) * STEEPNESS + 0.5).clamp(0, 1),
        near=near[:, 0],
    )


def _jumps(offsets: torch.Tensor, axis: int, least: float) -> torch.Tensor:
    """(B, 1, h, w) bool, where offsets (B, 2, h, w) differ from the next ones along an axis by more than ``least``."""
    count = offsets.shape[axis] - 1
    apart = offsets.narrow(axis, 1, count) - offsets.narrow(axis, 0, count)
    return apart.abs_().amax(1, keepdim=True) > least


def _continued(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Values (B, C, h, w) as the mean of their known neighbours, 3 × 3 or else 5 × 5; known (B, 1, h, w) is 1 or 0."""
    whole = torch.cat([values * known, known], 1)
    for radius in (2, 1):
        total = box_sum(whole, radius)
        weight = total[:, -1:]
        values = torch.where(weight > 0, total[:, :-1] / weight.clamp(min=1), values)
    return values
