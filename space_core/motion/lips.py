"""The lips of face meshes: the gaps between them, and edits that open, close and limit them.

Lengths are in outer-eye-corner distances, the unit of normalized landmarks.
"""

import numpy as np

from space_core.arrays import smoothstep
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP

CLOSED_GAP = 0.012  # between the inner lips: the tracker's noise on a closed mouth
# Lips that a photo shows apart, in the middle, are tracked at their edges: from here to there, they close without it.
APART_IN_PHOTO = (0.022, 0.044)
# Of speech: the jaw opens freely up to the first gap between the inner lips, and never beyond the second.
FREE_GAP, WIDEST_GAP = 0.26, 0.4
CLOSING_PRIOR = 0.002  # ridge of the fit that closes the mouth of a photo by the basis

UPPER, LOWER = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])  # pairs of points that meet when lips close
OUTER_UPPER, OUTER_LOWER = list(OUTER_UPPER_LIP[1:-1]), list(OUTER_LOWER_LIP[1:-1])
MIDDLE = len(UPPER) // 2  # of these pairs, the one in the middle of the mouth
DOWN = np.array([0.0, 1.0, 0.0])
MOUTH_CORNERS = [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]


def lip_gaps(landmarks: np.ndarray) -> np.ndarray:
    """Vertical distances (…, 9) between the inner lips of landmarks (…, 478, 3), left to right, without the corners."""
    return landmarks[..., LOWER, 1] - landmarks[..., UPPER, 1]


def lip_opening(coefficients: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """How far coefficients (T, C) of a basis (C, 478, 3) part the middles of the lips (T,)."""
    return coefficients @ lip_gaps(basis)[:, MIDDLE]


def opening_coefficients(basis: np.ndarray) -> np.ndarray:
    """The coefficients (C,) of a basis (C, 478, 3) of least norm for which ``lip_opening`` is 1."""
    opens = lip_gaps(basis)[:, MIDDLE]
    return opens / (opens @ opens)


def move_lips(landmarks: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Moves the upper lip by ``amount`` (…, 9, 3) and the lower one by its opposite; the outer rims by half of it."""
    moved = landmarks.copy()
    for points, share in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 0.5), (OUTER_LOWER, -0.5)):
        moved[..., points, :] += share * amount
    return moved


def close_lips(motion: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) with the gap between the lips reduced by a share (T,): regression alone rarely closes it."""
    return move_lips(motion, (motion[:, LOWER] - motion[:, UPPER]) / 2 * share[:, None, None])


def limit_opening(motion: np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face, made smaller where it would open the mouth further than a jaw can."""
    gap = lip_gaps(motion).max(-1)
    room = WIDEST_GAP - FREE_GAP
    limited = FREE_GAP + room * np.tanh(np.maximum(gap - FREE_GAP, 0) / room)
    return motion * np.where(gap > FREE_GAP, limited / np.maximum(gap, FREE_GAP), 1)[:, None, None]


def keep_lips_apart(landmarks: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) whose lips touch but never intersect; ``rest`` (478, 3) is the resting face."""
    excess = np.minimum(lip_gaps(landmarks) - np.clip(lip_gaps(rest), 0, CLOSED_GAP), 0)
    return move_lips(landmarks, excess[..., None] / 2 * DOWN)


def resting_face(portrait: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The portrait's normalized landmarks (478, 3) with its mouth closed; a closed mouth is returned as it is.

    Args:
        portrait: (478, 3) normalized landmarks.
        basis: (coefficients, 478, 3) how jaw, cheeks and lips move together when a mouth closes.
    """
    portrait = np.asarray(portrait, np.float64)
    gaps = lip_gaps(portrait)
    closing = np.maximum(gaps - CLOSED_GAP * (1 - smoothstep(gaps.max(), *APART_IN_PHOTO)), 0)
    if not closing.any():
        return portrait
    opening = lip_gaps(basis)  # (coefficients, pairs): by how much each opens the lips
    coefficients = np.linalg.solve(opening @ opening.T + CLOSING_PRIOR * np.eye(len(opening)), opening @ closing)
    closed = portrait - np.tensordot(coefficients, basis, 1)
    # What the basis leaves open or closes too far is split between both lips, including their outer rims.
    excess = lip_gaps(closed) - (gaps - closing)
    return move_lips(closed, excess[..., None] / 2 * DOWN)
