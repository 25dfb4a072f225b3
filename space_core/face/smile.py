"""How far the mouth of a photo smiles, or hangs: emotions that contradict it take it back, a smile shows more teeth."""

import numpy as np

from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_UPPER_LIP
from space_core.smoothstep import smoothstep

# How far mouth corners lie above the middle of the lips, in outer-eye-corner distances: in faces at rest, and more by a
# full smile (action unit 12). As faces at rest differ by 0.015 (standard deviation), heights count from the third
# number on, and in full from the fourth.
AT_REST, SMILING = 0.02, 0.09
COUNTS_FROM, COUNTS_AT = 0.03, 0.07
# Corners that hang below the middle of the lips count from the first number on, and in full from the second.
HANGS_FROM, HANGS_AT = 0.005, -0.015

MIDDLES = (INNER_UPPER_LIP[5], INNER_LOWER_LIP[5])
CORNERS = (OUTER_UPPER_LIP[0], OUTER_UPPER_LIP[-1])


def smile_of(rest: np.ndarray) -> float:
    """How far a face (478, 3) with its mouth closed smiles, from 0 not at all to 1 in full."""
    height = _corner_height(rest)
    return float(smoothstep(height, COUNTS_FROM, COUNTS_AT) * np.clip((height - AT_REST) / SMILING, 0, 1))


def hanging_of(rest: np.ndarray) -> float:
    """How much of a full smile, 0 … 1, lifts the hanging mouth corners of a face (478, 3) to where others' are."""
    height = _corner_height(rest)
    return float(smoothstep(height, HANGS_FROM, HANGS_AT) * np.clip((AT_REST - height) / SMILING, 0, 1))


def _corner_height(rest: np.ndarray) -> float:
    """How far the mouth corners of a face (478, 3) lie above the middle of its lips."""
    return rest[list(MIDDLES), 1].mean() - rest[list(CORNERS), 1].mean()
