"""How much a random speaker moves, relative to the typical one."""

import numpy as np


def speaker_deviation(
    typical: np.ndarray, spread: np.ndarray, max_spread: float, random: np.random.Generator
) -> np.ndarray:
    """The standard deviation (C,) of each channel of a random speaker's motion; log-normal.

    Args:
        typical: (C,) that of the typical speaker.
        spread: (C,) standard deviation of its logarithm over speakers.
        max_spread: limit of the logarithm's distance from the typical one.
        random: draws C numbers.
    """
    distance = spread * random.standard_normal(len(spread))
    return typical * np.exp(np.clip(distance, -max_spread, max_spread))
