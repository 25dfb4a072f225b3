"""The smoothstep: how shares and transitions of the motion ease in and out."""

import numpy as np


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a smooth rise between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
