"""The basis of mesh motion: offsets of tracked clips from their closed mouth, and their principal components."""

import numpy as np
from scipy.signal import savgol_filter

from space_core.face.normalization import normalize
from space_core.face.topology import EYES, NUM_SURFACE_POINTS, OVAL, RIGID_POINTS, canonical_face
from space_core.measures.lips import lip_opening, mouth_measures
from space_core.motion.lips import LOWER, MOUTH_CORNERS, OUTER_LOWER, OUTER_UPPER, UPPER, lip_gaps

NUM_COEFFICIENTS = 16
SMOOTHING_FRAMES = 7  # of a third-order Savitzky-Golay filter: removes the tracker's jitter, keeps plosives
CLOSED_SHARE = 0.15  # the least open frames of a clip show its resting face
REFERENCE_RANGE = 0.15  # lip opening from closed to wide, in outer-eye-corner distances, to which every clip is scaled
SMALLEST_RANGE = 0.05  # of a clip's lip opening
LIP_WEIGHT, JAW_WEIGHT = 4.0, 1.5  # of points in the PCA; others 1
OPEN_MOUTH, STEP = 0.1, 0.1  # lip opening, and share of a coefficient, with which measures are differentiated
MASK_REACH = 0.12  # from points that never move to points that move freely, in outer-eye-corner distances


def clip_offsets(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Motion of a tracked clip (T, 478, 3) relative to its closed mouth, and its lip opening (T,).

    The motion is scaled to REFERENCE_RANGE. Returns None if the mouth hardly moves or too few frames show a face.
    """
    normalized = normalized_motion(landmarks)
    if normalized is None:
        return None
    opening = lip_opening(normalized)
    low, high = np.percentile(opening, [5, 95])
    if high - low < SMALLEST_RANGE:
        return None
    gap = lip_gaps(normalized).mean(-1)
    rest = np.median(normalized[gap <= np.quantile(gap, CLOSED_SHARE)], axis=0)
    return (normalized - rest) * movable()[:, None] * REFERENCE_RANGE / (high - low), opening


def normalized_motion(landmarks: np.ndarray) -> np.ndarray | None:
    """The normalized landmarks (T, 478, 3) of a tracked clip (T, 478, 3): smoothed, symmetric, without head rotation.

    Symmetric, as speech is and as the half of a face that turns away is tracked badly. A frame without a face repeats
    the nearest one with a face. Returns None if too few frames show one.
    """
    seen = ~np.isnan(landmarks[:, 0, 0])
    if seen.sum() < 2 * SMOOTHING_FRAMES:
        return None
    index = np.arange(len(landmarks))
    nearest = np.clip(np.searchsorted(index[seen], index), 0, seen.sum() - 1)
    normalized, pose = normalize(landmarks[index[seen][nearest]])
    # Remove the tracker's dependence on head rotation, which is not expression.
    turning = pose.rotation - pose.rotation.mean(0)
    turning /= max(turning.std(), 1.0)
    flat = normalized.reshape(len(normalized), -1)
    ridge = 0.2 * len(flat) * np.eye(3)
    flat = flat - turning @ np.linalg.solve(turning.T @ turning + ridge, turning.T @ (flat - flat.mean(0)))
    normalized = savgol_filter(flat, SMOOTHING_FRAMES, 3, axis=0).reshape(normalized.shape)
    return (normalized + normalized[:, canonical_face().mirror] * [-1, 1, 1]) / 2


def movable() -> np.ndarray:
    """(478,) how far each point takes part in speech: 0 over bone, at lids and in eyes, 1 elsewhere, a ramp between."""
    vertices = canonical_face().vertices
    still = [*RIGID_POINTS, *range(NUM_SURFACE_POINTS, len(vertices))]
    still += [point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]
    distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, still, :2], axis=-1).min(1)
    mask = np.clip(distance / MASK_REACH, 0, 1)
    # The tip of the nose is still and near, but must not hold the upper lip back.
    mask[[*OUTER_UPPER, *OUTER_LOWER, *UPPER, *LOWER, *MOUTH_CORNERS]] = 1
    return mask


def motion_basis(clips: list[np.ndarray]) -> np.ndarray:
    """(coefficients, 478, 3) principal components of motion (T, 478, 3), scaled to coefficients of unit variance."""
    weights = point_weights()[:, None]
    motion = np.concatenate([clip[::2] for clip in clips])
    flat = (motion * weights).reshape(len(motion), -1)
    covariance = flat.T @ flat / len(flat)
    variances, components = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:NUM_COEFFICIENTS]
    print("basis explains", (variances[order].cumsum() / variances.sum()).round(3))
    basis = (components[:, order] * np.sqrt(variances[order])).T.reshape(NUM_COEFFICIENTS, -1, 3) / weights
    # Signs are chosen so that every component opens the mouth.
    return basis * np.sign(lip_gaps(basis).mean(-1))[:, None, None]


def point_weights() -> np.ndarray:
    """(478,) weight of each point in the PCA and in the loss."""
    weights = np.ones(len(canonical_face().vertices))
    vertices = canonical_face().vertices
    weights[list(OVAL[10:27])] = JAW_WEIGHT
    mouth = vertices[MOUTH_CORNERS].mean(0)
    near = np.linalg.norm((vertices - mouth)[:, :2] / [0.36, 0.24], axis=-1) < 1
    weights[near] = LIP_WEIGHT
    return weights


def coefficients(offsets: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(T, coefficients) weighted least-squares fit of the basis to offsets (T, 478, 3)."""
    weights = point_weights()[:, None]
    flat = (basis * weights).reshape(len(basis), -1)
    return (offsets * weights).reshape(len(offsets), -1) @ np.linalg.pinv(flat)


def linear_measures(basis: np.ndarray) -> np.ndarray:
    """(coefficients, 6) by how much each coefficient changes the measures of the mouth, see ``mouth_measures``."""
    face = canonical_face().vertices.copy()
    face[LOWER, 1] += OPEN_MOUTH  # lip opening is linear away from closed lips
    return (mouth_measures(face + STEP * basis) - mouth_measures(face[None])) / STEP


def coefficient_opening(motion: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Lip opening (T,) of motion (T, coefficients + 1), 0 at rest."""
    return np.maximum(motion[:, : len(basis)] @ lip_gaps(basis)[:, 4], 0)
