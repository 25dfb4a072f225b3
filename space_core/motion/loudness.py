"""Loudness of the speech per frame, from which head motion and blinks take their timing."""

import numpy as np

from space_core.timing import SAMPLES_PER_FRAME

SILENT_DB = -55.0  # dBFS; a recording that never exceeds it holds no speech
RANGE_DB = 30.0  # from the loudest syllables down to silence, in a clean recording
SMALLEST_RANGE_DB = 8.0  # … and in a noisy one
SMOOTHING = np.array([0.25, 0.75, 1.0, 0.75, 0.25]) / 3.0  # frames; keeps syllables (4–5 a second) apart


def loudness(speech: np.ndarray, num_frames: int) -> np.ndarray:
    """Loudness of 16 kHz mono ``speech`` (N,) relative to its own loudest and quietest parts.

    Returns (num_frames,) float64 from 0 (pause) to about 1 (a loud syllable), whatever the recording's level. A
    recording shorter than ``num_frames`` is silent after its end; a silent one is 0 throughout.
    """
    if num_frames == 0:
        return np.zeros(0)
    level = frame_levels(speech, num_frames)
    return relative_loudness(level, float(np.percentile(level, 95)), float(np.percentile(level, 5)))


def frame_levels(speech: np.ndarray, num_frames: int) -> np.ndarray:
    """The level of each frame (num_frames,) in dB below full scale; silence after the end of speech (N,)."""
    speech = np.asarray(speech, np.float32)[: num_frames * SAMPLES_PER_FRAME]
    frames = np.pad(speech, (0, num_frames * SAMPLES_PER_FRAME - len(speech))).reshape(num_frames, SAMPLES_PER_FRAME)
    # The variance, so that a constant offset of the recording does not count as sound.
    return 10 * np.log10(frames.var(axis=1).astype(np.float64) + 1e-10)


def relative_loudness(level: np.ndarray, loud: float, quiet: float) -> np.ndarray:
    """Loudness (T,) of levels (T,) relative to those of loud syllables and of pauses, all in dB; see ``loudness``."""
    if loud < SILENT_DB:
        return np.zeros(len(level))
    quiet = np.clip(quiet + 3, loud - RANGE_DB, loud - SMALLEST_RANGE_DB)
    relative = np.clip((level - quiet) / (loud - quiet), 0, 1.2)
    return np.convolve(np.pad(relative, 2, mode="edge"), SMOOTHING, mode="valid")


def smooth(curve: np.ndarray, sigma: float) -> np.ndarray:
    """A curve (T, …) filtered by a Gaussian of ``sigma`` frames along its first axis, with the ends extended."""
    kernel = gaussian(sigma)
    radius = len(kernel) // 2
    padded = np.pad(curve, [(radius, radius)] + [(0, 0)] * (curve.ndim - 1), mode="edge")
    flat = padded.reshape(len(padded), -1)
    smoothed = np.stack([np.convolve(column, kernel, mode="valid") for column in flat.T], axis=1)
    return smoothed.reshape(curve.shape)


def gaussian(sigma: float) -> np.ndarray:
    """The kernel (2K + 1,) of a Gaussian filter of ``sigma`` frames, of sum one; K is three sigma."""
    radius = max(1, round(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return kernel / kernel.sum()
