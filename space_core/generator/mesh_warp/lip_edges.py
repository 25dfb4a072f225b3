"""The inner edges of the lips where a photo shows them, which is a little beside where they are tracked."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from space_core.face.posed_face import PosedFace
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.lip_seam import CLOSED, LOWER, UPPER, seam_shift
from space_core.generator.mesh_warp.lip_strips import strips_shift
from space_core.smoothstep import smoothstep

# Open lips end where the photo shows them if they are open by this share of the photo's opening; lips that meet do so
# along their tracked line.
OPEN_AGAIN = 0.6


@dataclass(frozen=True)
class LipEdges:
    """How far a photo's inner lip edges are beside the tracked ones.

    Attributes:
        shift: (2, 9, 3) float32 of the upper and the lower lip, normalized, from the left to the right.
        opening: how far the lips are tracked apart in the photo, normalized; 0 if they are closed.
    """

    shift: np.ndarray
    opening: float


def find_lip_edges(picture: torch.Tensor, photo: FaceMotion) -> LipEdges:
    """The lips' edges in a picture (1, 3, h, w), 0…1, on the host, of a photo with these landmarks in its pixels."""
    opening = float(_opening(photo.host.normalized)[0].max())
    if opening <= CLOSED:
        return LipEdges(np.stack(2 * [seam_shift(picture, photo)]), 0.0)
    return LipEdges(strips_shift(picture, photo), opening)


def moved_to_edges(face: PosedFace, edges: LipEdges) -> PosedFace:
    """A face whose lips end where the photo shows it."""
    normalized = np.array(face.normalized)
    share = smoothstep(_opening(normalized).max(1), 0.0, OPEN_AGAIN * edges.opening) if edges.opening else 1.0
    for lip, shift in zip((UPPER, LOWER), edges.shift, strict=True):
        normalized[:, lip] += np.reshape(share, (-1, 1, 1)).astype(np.float32) * shift
    return replace(face, normalized=normalized)


def with_shut_lips(face: PosedFace) -> PosedFace:
    """A face whose inner lips lie on one line, midway between where they are."""
    normalized = np.array(face.normalized)
    normalized[:, UPPER] = normalized[:, LOWER] = (normalized[:, UPPER] + normalized[:, LOWER]) / 2
    return replace(face, normalized=normalized)


def _opening(normalized: np.ndarray) -> np.ndarray:
    """(B, 9) how far lips are tracked apart in normalized landmarks (B, 478, 3)."""
    return (normalized[:, LOWER, 1] - normalized[:, UPPER, 1]).clip(0)
