"""Frames of posed landmarks, rendered batch by batch."""

from collections.abc import Iterator

import numpy as np

from space_core.face.posed_face import fit_posed_face
from space_core.generator.mesh_warp.generator import MeshWarpGenerator, PreparedPortrait


def render_landmarks(
    generator: MeshWarpGenerator, prepared: PreparedPortrait, landmarks: np.ndarray
) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB of landmarks (T, 478, 3), such as a tracker's, in pixels of the portrait's crop."""
    face, size = fit_posed_face(landmarks), generator.batch_size(prepared)
    for batch in generator.render(prepared, (face[first : first + size] for first in range(0, len(face), size))):
        yield from batch
