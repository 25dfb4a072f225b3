"""How far the brows of a photo frown, which emotions that contradict a frown undo."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.face.smile import smile_of
from space_core.face.topology import canonical_face

# How far the inner ends of the brows' lower and upper rims lie below the rest of the rims, in outer-eye-corner
# distances: USUAL in the median of 400 photos (standard deviation 0.013), and further by FROWNING in a full frown,
# action unit 4.
INNER, REST = (55, 107), (52, 53)
USUAL, FROWNING = 0.024, 0.048
# A frown counts from the first share of a full one on, and in full from the second: less may be brows that rise
# outwards by nature, or are plucked or painted so.
COUNTS = (0.4, 0.8)


def frown_of(rest: np.ndarray) -> float:
    """How far a face (478, 3) with its mouth closed frowns, 0 … 1. One that smiles does not."""
    height = (rest[:, 1] + rest[canonical_face().mirror, 1]) / 2
    frown = (height[list(INNER)].mean() - height[list(REST)].mean() - USUAL) / FROWNING
    return float(smoothstep(frown, *COUNTS) * np.clip(frown, 0, 1) * (1 - min(smile_of(rest), 1)))
