"""How fast motion is."""

import numpy as np

from space_core.timing import FPS


def share_above(motion: np.ndarray, frequency: float) -> np.ndarray:
    """(…) the share of the power of motion (T, …) at 25 frames a second that lies above a frequency in hertz, 0…1."""
    window = np.hanning(len(motion)).reshape(-1, *(1,) * (motion.ndim - 1))
    power = np.abs(np.fft.rfft((motion - motion.mean(0)) * window, axis=0)) ** 2
    return power[np.fft.rfftfreq(len(motion), 1 / FPS) > frequency].sum(0) / power.sum(0)
