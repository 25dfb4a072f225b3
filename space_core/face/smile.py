"""How far the mouth of a photo smiles, or hangs: emotions that contradict it take it back, a smile shows more teeth."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_UPPER_LIP

# How far mouth corners lie above the middle of the lips, and from each other, in outer-eye-corner distances: in faces
# at rest, by how much these differ (standard deviations), and more by a full smile (``SMILE`` of the emotion recipes).
AT_REST = np.array([0.02, 0.56])
DEVIATION = np.array([0.015, 0.045])
SMILING = np.array([0.08, 0.205])
# The share of a full smile that explains both differs by 0.15 between faces at rest: it counts from the first number
# on, and in full from the second. Where missing a faint smile does harm and finding one too many does none, it counts
# earlier. No mouth smiles more than WIDEST.
COUNTS, FAINT_COUNTS = (0.2, 0.5), (0.05, 0.3)
WIDEST = 1.3
# Corners that hang below the middle of the lips count from the first number on, and in full from the second.
HANGS_FROM, HANGS_AT = 0.005, -0.015

MIDDLES = (INNER_UPPER_LIP[5], INNER_LOWER_LIP[5])
CORNERS = (OUTER_UPPER_LIP[0], OUTER_UPPER_LIP[-1])


def smile_of(rest: np.ndarray, counts: tuple[float, float] = COUNTS) -> float:
    """How far a face (478, 3) with its mouth closed smiles, from 0 not at all to 1 in full, up to 1.3.

    ``counts`` are the shares of a full smile from which on it counts at all, and in full.
    """
    weights = SMILING / DEVIATION**2
    smile = weights @ (_mouth(rest) - AT_REST) / (weights @ SMILING)
    return float(smoothstep(smile, *counts) * np.clip(smile, 0, WIDEST))


def hanging_of(rest: np.ndarray) -> float:
    """How much of a full smile, 0 … 1, lifts the hanging mouth corners of a face (478, 3) to where others' are."""
    height = _mouth(rest)[0]
    return float(smoothstep(height, HANGS_FROM, HANGS_AT) * np.clip((AT_REST[0] - height) / SMILING[0], 0, 1))


def _mouth(rest: np.ndarray) -> np.ndarray:
    """(2,) how far the mouth corners of a face (478, 3) lie above the middle of its lips, and from each other."""
    left, right = CORNERS
    height = rest[list(MIDDLES), 1].mean() - rest[list(CORNERS), 1].mean()
    return np.array([height, rest[right, 0] - rest[left, 0]])
