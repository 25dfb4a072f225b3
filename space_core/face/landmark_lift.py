"""Lifts the 68 points of iBUG's face annotation to the whole face mesh."""

from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.assets import weights_path
from space_core.face.normalization import fit_similarity
from space_core.face.topology import EYES, NUM_POINTS, NUM_SURFACE_POINTS, canonical_face

WEIGHTS = weights_path("landmark_lift.safetensors")

# Which of the 68, in iBUG's order, place the mesh. The jaw above the chin (0–5 and 11–16) is left out: detectors
# of points in space put it on and behind the ears, where the mesh does not reach.
USED = (*range(6, 11), *range(17, 68))
# The mesh point at each of those, which start at the image's left.
COUNTERPARTS = (
    *(150, 176, 152, 400, 379),  # chin
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
# Those that neither speech nor expression moves much: nose, corners of the eyes; as places in ``USED``.
STEADY = tuple(USED.index(point) for point in (27, 28, 29, 30, 33, 36, 39, 42, 45))
LOCALITY = 0.05  # how soon the pull of a snapped point fades over the mesh: larger is sooner


def lift(points: np.ndarray) -> np.ndarray:
    """The face mesh (478, 3) through 68 points (68, 3), both in pixels, x right, y down, z away from the camera.

    A linear map fitted to tracked faces fills in the mesh; then the mesh is drawn exactly onto the points used, and
    those between follow. The irises, which the 68 points do not have, lie in the middle of the lids.
    """
    points = np.asarray(points, np.float64)[list(USED)]
    scale, rotation, origin = similarity(points)
    aligned = (points - origin) @ rotation / scale
    fitted = _fitted_map()
    mesh = (fitted["mean"] + (aligned - fitted["points_mean"]).reshape(-1) @ fitted["matrix"]).reshape(NUM_POINTS, 3)
    mesh[:NUM_SURFACE_POINTS] += _pull() @ (aligned - mesh[list(COUNTERPARTS)])
    _centre_irises(mesh)
    return (mesh * scale) @ rotation.T + origin


def similarity(points: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (3, 3), origin (3,) that put the canonical face's steady points onto those of a face (56, 3)."""
    reference = canonical_face().vertices[list(COUNTERPARTS)][list(STEADY)]
    scale, rotation, origin = fit_similarity(reference, points[None, list(STEADY)])
    return float(scale[0]), rotation[0], origin[0]


@cache
def _fitted_map() -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in load_file(WEIGHTS).items()}


@cache
def _pull() -> np.ndarray:
    """(468, 56) how the surface follows when each of the counterparts is moved by one.

    The membrane stretched over the mesh's edges: it does not reach across the mouth or between the lids.
    """
    laplacian = np.zeros((NUM_SURFACE_POINTS, NUM_SURFACE_POINTS))
    for corners in canonical_face().triangles.T[[[0, 1], [1, 2], [2, 0]]]:
        laplacian[corners[0], corners[1]] = laplacian[corners[1], corners[0]] = -1
    np.fill_diagonal(laplacian, LOCALITY - laplacian.sum(1))
    fixed = np.array(COUNTERPARTS)
    free = np.setdiff1d(np.arange(NUM_SURFACE_POINTS), fixed)
    pull = np.zeros((NUM_SURFACE_POINTS, len(fixed)))
    pull[fixed, np.arange(len(fixed))] = 1
    pull[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, fixed)])
    return pull


def _centre_irises(mesh: np.ndarray) -> None:
    """Moves the irises of an aligned mesh (478, 3) to the middle of its lids, in the size that its eyes have."""
    canonical = canonical_face().vertices
    for eye in EYES:
        corners, rim = [eye.upper_lid[0], eye.upper_lid[-1]], list(eye.iris_rim)
        size = np.linalg.norm(np.diff(mesh[corners], axis=0)) / np.linalg.norm(np.diff(canonical[corners], axis=0))
        mesh[eye.pupil, :2] = mesh[list(eye.upper_lid + eye.lower_lid), :2].mean(0)
        mesh[rim] = mesh[eye.pupil] + size * (canonical[rim] - canonical[eye.pupil])
