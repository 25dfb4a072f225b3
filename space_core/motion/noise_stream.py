"""Filtered Gaussian noise that goes on for as long as it is asked for."""

import numpy as np

from space_core.motion.loudness import gaussian


class NoiseStream:
    """White noise filtered by symmetric kernels, a few frames at a time."""

    def __init__(self, kernels: np.ndarray, random: np.random.Generator) -> None:
        """``kernels`` (channels, 2K + 1), one for the noise of each channel."""
        self._kernels, self._random = kernels, random
        self._white = random.standard_normal((kernels.shape[1] - 1, len(kernels)))

    def next(self, count: int) -> np.ndarray:
        """(count, channels) what follows."""
        white = np.concatenate([self._white, self._random.standard_normal((count, len(self._kernels)))])
        self._white = white[count:]
        windows = np.lib.stride_tricks.sliding_window_view(white, self._kernels.shape[1], axis=0)
        return np.einsum("tck,ck->tc", windows, self._kernels)


def smooth_noise_stream(duration: float, random: np.random.Generator, channels: int = 1) -> NoiseStream:
    """Noise of standard deviation one, filtered by a Gaussian of that standard deviation in frames."""
    kernel = gaussian(duration) * np.sqrt(2 * np.sqrt(np.pi) * duration)
    return NoiseStream(np.repeat(kernel[None], channels, 0), random)
