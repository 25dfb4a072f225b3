"""The topology of the MediaPipe face mesh: which points are what, which triangles join them, the canonical face.

Left and right are the image's, not the person's. Rings of a lip or a lid run from its left corner to its right one.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.assets import weights_path

CANONICAL_FACE = weights_path("canonical_face.safetensors")

NUM_SURFACE_POINTS = 468
NUM_POINTS = 478  # the surface and two irises of five points

# The face's outline, clockwise from the top of the forehead.
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
CHIN = 152
CHEEKS = (50, 101, 205, 280, 330, 425)  # points on their skin

OUTER_UPPER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
INNER_UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)


@dataclass(frozen=True)
class Eye:
    """The points of one eye."""

    upper_lid: tuple[int, ...]
    lower_lid: tuple[int, ...]
    pupil: int
    iris_rim: tuple[int, ...]


LEFT_EYE = Eye(
    upper_lid=(33, 246, 161, 160, 159, 158, 157, 173, 133),
    lower_lid=(33, 7, 163, 144, 145, 153, 154, 155, 133),
    pupil=468,
    iris_rim=(469, 470, 471, 472),
)
RIGHT_EYE = Eye(
    upper_lid=(362, 398, 384, 385, 386, 387, 388, 466, 263),
    lower_lid=(362, 382, 381, 380, 374, 373, 390, 249, 263),
    pupil=473,
    iris_rim=(474, 475, 476, 477),
)
EYES = (LEFT_EYE, RIGHT_EYE)
OUTER_EYE_CORNERS = (33, 263)

Brow = tuple[tuple[int, ...], tuple[int, ...]]  # points of its lower and of its upper rim, from its outer end
BROWS: tuple[Brow, Brow] = (
    ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107)),
    ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336)),
)
LOWER_BROW_RIMS = (BROWS[0][0], BROWS[1][0][::-1])  # from the left to the right

# Points over bone that neither speech nor expression moves much: forehead, temples, bridge and tip of the nose, corners
# of the eyes. The head pose is fitted to these alone.
RIGID_POINTS = (
    *(10, 151, 9, 8, 168, 6, 197, 195, 5, 4),
    *(109, 67, 103, 54, 21, 162, 127, 234, 33, 133, 130, 243),
    *(338, 297, 332, 284, 251, 389, 356, 454, 263, 362, 359, 463),
)


@dataclass(frozen=True)
class CanonicalFace:
    """The average face of the corpus: frontal, symmetric, its outer eye corners one unit apart, centred between them.

    Attributes:
        vertices: (478, 3) float64, x right, y down, z away from the camera.
        triangles: (852, 3) int64, the surface with holes for mouth and eyes.
        mirror: (478,) int64, the index of each point's counterpart on the other half.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    mirror: np.ndarray


@cache
def canonical_face() -> CanonicalFace:
    """The canonical face, read once."""
    arrays = load_file(CANONICAL_FACE)
    return CanonicalFace(arrays["vertices"].astype(np.float64), arrays["triangles"], arrays["mirror"])


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of a surface at its vertices (V, 3), in the sense of its triangles (N, 3)."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], np.cross(b - a, c - a))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)


def face_normals(points: np.ndarray) -> np.ndarray:
    """(468, 3) outward unit normals of the surface of a face that looks at the viewer, at its points (468, 3)."""
    normals = vertex_normals(points, canonical_face().triangles)
    return normals * -np.sign(normals[:, 2].sum())
