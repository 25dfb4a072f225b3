"""The edge of a mirrored face where it hides what is mirrored behind it, as a cheek hides an ear.

There neighbouring cells see places of the photo far apart, and the places between would be seen as a line of dots. So
each side is continued up to the edge, as at ``occlusion_edges`` of the photo itself.
"""

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.compositing.grid import smoothed, window_around

JUMP = 8.0  # pixels of the crop by which places beside an edge are further apart than the cells themselves
IN_FACE = (0.85, 1.0)  # of a share: outside … inside of the face
STEEPNESS = 3.0  # of the face's share at an edge, as a multiple of that of the mean of 3 × 3 cells
AROUND = 4  # cells around edges that are computed: the outermost two are not wholly known
LEAST = 1e-3  # of a share: less is none


def draw_apart(
    offsets: torch.Tensor, in_face: torch.Tensor, places: torch.Tensor, centres: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is seen on both sides of the edge.

    Args:
        offsets: (B, r, c, 2) from cells to the places that are mirrored there.
        in_face: (B, r, c, 1) 1 where these are in the face … 0 around it.
        places: (B, r + 2, c + 2, 2) those places, smoothed, with one more cell around.
        centres: (1, r + 2, c + 2, 2) of these cells.
        scale: pixels of the film per pixel of the crop.

    Returns:
        Places (B, r + 2, c + 2, 2) of what lies behind the face, and those of the face; away from edges both are
        ``places``. And (B, r + 2, c + 2, 1) 1 where the face is seen near an edge … 0.
    """
    share = torch.zeros_like(places[..., :1])
    window = slice(0, offsets.shape[1]), slice(0, offsets.shape[2])
    if offsets.device.type == "cpu":
        found = window_around(torch.from_numpy(_edges(offsets.numpy(), in_face.numpy(), JUMP * scale)), AROUND)
        if found is None:
            return places, places, share
        window = found
    own = smoothstep(in_face[:, *window], *IN_FACE)
    cells = smoothed(torch.cat([own, own * offsets[:, *window], offsets[:, *window]], -1))
    inside, of_face, of_all = cells.split((1, 2, 2), -1)
    is_both = (inside > 0) & (inside < 1)
    of_others = (of_all - of_face) / (1 - inside).clamp(min=LEAST)
    of_face = of_face / inside.clamp(min=LEAST)
    is_edge = is_both & ((of_face - of_others).norm(dim=-1, keepdim=True) > JUMP * scale)
    # Up to the cells inside, whose places are those of the face alone.
    near = F.max_pool2d(is_edge[..., 0][:, None].float(), 3, 1, 1)[:, 0, ..., None]
    rows, columns = (
        slice(side.start, side.start + length) for side, length in zip(window, cells.shape[1:3], strict=True)
    )
    here = np.s_[:, rows, columns]
    behind, front = places.clone(), places.clone()
    for side, values in ((behind, of_others), (front, of_face)):
        side[here] = torch.where(is_edge, centres[here] + values, places[here])
    share[here] = near * ((inside - 0.5) * STEEPNESS + 0.5).clamp(0, 1)
    return behind, front, share


def _edges(offsets: np.ndarray, in_face: np.ndarray, jump: float) -> np.ndarray:
    """(B, r, c) bool, where the face ends and offsets differ from the next ones by more than ``jump``."""
    inside = in_face[..., 0] > IN_FACE[0]
    found = np.zeros_like(inside)
    for axis, step in ((1, (0, 1, 0)), (2, (0, 0, 1))):
        ends = np.nonzero(np.diff(inside, axis=axis))
        beside = tuple(places + more for places, more in zip(ends, step, strict=True))
        found[ends] |= abs(offsets[ends] - offsets[beside]).max(-1) > jump
    return found
