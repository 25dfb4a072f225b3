"""The inner edges of the lips where a photo shows them, which is a little beside where they are tracked.

At the corners of the mouth they stay within the outer edges, or spikes would stand there.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.posed_face import PosedFace
from space_core.face.topology import INNER_UPPER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.lip_seam import CLOSED, LOWER, UPPER, seam_shift
from space_core.generator.mesh_warp.lip_strips import strips_shift

# Open lips end where the photo shows them if they are open by this share of the photo's opening; lips that meet do so
# along their tracked line.
OPEN_AGAIN = 0.6
# Where the inner edges of the lips come as close as the first to the outer ones at a corner of the mouth, or pass them,
# as where a broad smile is taken back, the corners of both are beside their places in the photo, relative to each
# other, by as much freely, and never by more than the second.
CORNERS_FREE, CORNERS_LIMIT = 1 * MILLIMETRE, 2 * MILLIMETRE
INNER_CORNERS, OUTER_CORNERS = ([lip[0], lip[-1]] for lip in (INNER_UPPER_LIP, OUTER_UPPER_LIP))


@dataclass(frozen=True)
class LipEdges:
    """How far a photo's inner lip edges are beside the tracked ones.

    Attributes:
        shift: (2, 9, 3) float32 of the upper and the lower lip, normalized, from the left to the right.
        opening: how far the lips are tracked apart in the photo, normalized; 0 if they are closed.
        corners: (2, 3) float32 from the outer to the inner corners of the lips, normalized, the left and the right one.
    """

    shift: np.ndarray
    opening: float
    corners: np.ndarray


def find_lip_edges(picture: torch.Tensor, photo: FaceMotion) -> LipEdges:
    """The lips' edges in a picture (1, 3, h, w), 0…1, on the host, of a photo with these landmarks in its pixels."""
    normalized = photo.host.normalized
    opening = float(_opening(normalized)[0].max())
    corners = _corners(normalized)[0]
    if opening <= CLOSED:
        return LipEdges(np.stack(2 * [seam_shift(picture, photo)]), 0.0, corners)
    return LipEdges(strips_shift(picture, photo), opening, corners)


def moved_to_edges(face: PosedFace, edges: LipEdges) -> PosedFace:
    """A face whose lips end where the photo shows it, and whose inner edges stay within the outer ones."""
    normalized = np.array(face.normalized)
    share = smoothstep(_opening(normalized).max(1), 0.0, OPEN_AGAIN * edges.opening) if edges.opening else 1.0
    for lip, shift in zip((UPPER, LOWER), edges.shift, strict=True):
        normalized[:, lip] += np.reshape(share, (-1, 1, 1)).astype(np.float32) * shift
    crossing = _corners_crossing(_corners(normalized), edges.corners)
    normalized[:, INNER_CORNERS] -= crossing / 2
    normalized[:, OUTER_CORNERS] += crossing / 2
    return replace(face, normalized=normalized)


def _corners(normalized: np.ndarray) -> np.ndarray:
    """(B, 2, 3) from the outer to the inner corners of the lips of normalized landmarks (B, 478, 3)."""
    return normalized[:, INNER_CORNERS] - normalized[:, OUTER_CORNERS]


def _corners_crossing(corners: np.ndarray, at_rest: np.ndarray) -> np.ndarray:
    """(B, 2, 3) by how much inner corners are too far from where they are ``at_rest`` (2, 3) within the outer ones.

    ``corners`` (B, 2, 3) are the places of the inner ones relative to the outer ones.
    """
    inwards = at_rest / np.linalg.norm(at_rest, axis=-1, keepdims=True).clip(1e-3)
    share = smoothstep((corners * inwards).sum(-1, keepdims=True), CORNERS_FREE, 0.0)
    beside = corners - at_rest
    distance = np.linalg.norm(beside, axis=-1, keepdims=True).clip(CORNERS_FREE)
    room = CORNERS_LIMIT - CORNERS_FREE
    excess = distance - CORNERS_FREE - room * np.tanh((distance - CORNERS_FREE) / room)
    return (share * excess / distance * beside).astype(np.float32)


def with_shut_lips(face: PosedFace) -> PosedFace:
    """A face whose inner lips lie on one line, midway between where they are."""
    normalized = np.array(face.normalized)
    normalized[:, UPPER] = normalized[:, LOWER] = (normalized[:, UPPER] + normalized[:, LOWER]) / 2
    return replace(face, normalized=normalized)


def _opening(normalized: np.ndarray) -> np.ndarray:
    """(B, 9) how far lips are tracked apart in normalized landmarks (B, 478, 3)."""
    return (normalized[:, LOWER, 1] - normalized[:, UPPER, 1]).clip(0)
