"""Where the far side of a turned face is seen, mirrored, in a few frames."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.compositing.grid import GridWindow, box_sum, differences, smoothed, window_around
from space_core.generator.mesh_warp.compositing.mirrored_edge import IN_FACE, draw_apart
from space_core.generator.mesh_warp.compositing.person_layer import BIAS
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas
from space_core.generator.mesh_warp.compositing.warp import Warp

# A cell that sees less of the photo than the second share of what it saw at rest sees it stretched, and wholly so if it
# sees less than the first, or sees it from behind. That is averaged over so many cells around each; more than so large
# a share is a jump.
STRETCHED, STRETCHED_CELLS, JUMPING = (0.4, 0.8), 3, 3.0
# By how much steeper than in the mesh both end before the background: as soft as over the person they would be fog.
STEEPNESS = 8.0
MARGIN = 24  # cells around what is mirrored, in which the far cheek would be seen a second time


@dataclass(frozen=True)
class FarView:
    """A window of cells in which the far side of the face is seen, for each of a few frames.

    Attributes:
        window: the cells.
        layer: (h, w, 4) uint8, of ``FarLayer``.
        places: (B, r, c, 2) of the layer, pixels of the film; near the face's edge those of what lies behind it.
        front: (B, r, c, 2) likewise, near that edge those of the face.
        share: (B, r, c, 1) of these that is seen, 0 away from the edge.
        weights: (B, r, c, 5 or 6) 0…1: where the far side may be seen at all; how much of it is in view; where it is
            known, and not only to be hidden; where it is seen although there is the person's outline; and although
            there is the person; and, if that is anywhere, where the photo's far cheek would be seen beside it, and the
            background is seen instead.
    """

    window: GridWindow
    layer: torch.Tensor
    places: torch.Tensor
    front: torch.Tensor
    share: torch.Tensor
    weights: torch.Tensor

    @cached_property
    def changed(self) -> torch.Tensor:
        """(B, r, c) 0 where frames are as they would be without the far side."""
        return self.weights[..., [0, *range(5, self.weights.shape[-1])]].amax(-1)


def find_far_view(prepared: PreparedCanvas, warp: Warp, places: torch.Tensor) -> FarView | None:
    """Where the far side is seen, for the warp and the places of ``compose``.

    On the CPU the window is as small as can be, or None where there is none; elsewhere it is the whole grid.
    """
    if warp.far is None or prepared.far is None:
        return None
    far, offsets = warp.far, warp.offsets
    top = left = 0
    if offsets.device.type == "cpu":
        used = window_around(far[..., 2] > 0, 1 + (MARGIN if far[..., 6:].any() else 0))
        if used is None:
            return None
        far, offsets, (top, left) = far[:, *used], offsets[:, *used], (side.start for side in used)
    cells = smoothed(torch.cat([_stretched(offsets, prepared.grid.cell), far], -1))
    window = np.s_[:, top : top + cells.shape[1], left : left + cells.shape[2]]
    stretched, _, _, hidden, in_view, known, in_face, *beside = cells.split(1, -1)
    mirrored = prepared.centres[window] + cells[..., 1:3]
    narrow, wide = prepared.over_layer(prepared.far.outline, places[window]).split(1, -1)
    in_face = smoothstep(in_face, *IN_FACE)
    # Beyond the outline there is nothing that could be unlike the mirrored side.
    alike = 1 - in_face * (1 - narrow) * (1 - prepared.over_layer(prepared.far.alike, mirrored))
    worse = stretched * torch.maximum(wide, in_face)
    weights = [hidden * alike, in_view, known, narrow, worse]
    if beside and prepared.far.cheek is not None:
        weights.append(beside[0] * (1 - in_face) * prepared.over_layer(prepared.far.cheek, places[window]))
    behind, front, share = draw_apart(far[..., :2], far[..., 5:6], mirrored, prepared.centres[window], prepared.scale)
    return FarView(GridWindow(top, left), prepared.far.layer, behind, front, share, torch.cat(weights, -1))


def _stretched(offsets: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, rows, columns, 1) 0 where cells see as much of the photo as at rest … 1 where far less, or from behind."""
    wide = F.pad(offsets.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate") / (2 * cell)
    along, down = differences(wide)
    area = (1 + along[:, 0]) * (1 + down[:, 1]) - along[:, 1] * down[:, 0]
    known = (area.abs() < JUMPING).float()
    total = box_sum(torch.stack([known * (1 - smoothstep(area, *STRETCHED)), known], 1), STRETCHED_CELLS)
    return (total[:, 0] / total[:, 1].clamp(min=1))[..., None]


def blend_far_side(seen: torch.Tensor, mirrored: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(…, 4) float32 the layer as it is seen, 0…255, with the far side of the face.

    Args:
        seen: (…, 4) the layer at the places that are seen without the far side, 0…255.
        mirrored: (…, 4) the far layer at those of a ``FarView``, 0…255.
        weights: (…, 5 or 6) the view's.
    """
    hidden, in_view, known, outline, worse, *cheek = weights.split(1, -1)
    seen = seen.float()
    if cheek:
        background = torch.cat([torch.full_like(seen[..., :3], BIAS), torch.full_like(seen[..., 3:], 255)], -1)
        seen = torch.lerp(seen, background, cheek[0])
    known = _steep(known)
    person = known * (1 - mirrored[..., 3:].float() / 255)
    mirrored = torch.cat([BIAS + known * (mirrored[..., :3].float() - BIAS), 255 * (1 - person)], -1)
    background = torch.maximum(seen[..., 3:] / 255, outline)
    hidden = torch.lerp(hidden, in_view * _steep(hidden / in_view.clamp(min=1e-3)), background)
    free = torch.minimum(background, person)
    return torch.lerp(seen, mirrored, hidden * torch.maximum(free, worse))


def _steep(share: torch.Tensor) -> torch.Tensor:
    """A share, 0…1, of which half is where it was, and none and all are nearer to that by ``STEEPNESS``."""
    return ((share - 0.5) * STEEPNESS + 0.5).clamp(0, 1)
