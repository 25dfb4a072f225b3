"""Raises long quiet passages of a recording, such as those of a second speaker who is far from the microphone.

A recording has one level for the network, that of its loudest speech. Lips hardly open where someone else speaks 25 dB
below it, or where all of the speech is that much quieter than the music before it.
"""

import numpy as np

from space_core.motion.loudness import smooth
from space_core.motion.speech_features import BLOCK_SAMPLES, SILENT_POWER, block_powers, gated_power

# In blocks of a tenth of a second. A passage is quiet if what is heard in PASSAGE_BLOCKS before or after is.
PASSAGE_BLOCKS, MIN_BLOCKS = 30, 10  # the second is how many of the first have to be heard
NEAR_BLOCKS = 2  # around a loud block stay as they are
SMOOTHING = 2.0  # of the gain, standard deviation

# In decibels.
HEARD = -45.0  # relative to the whole recording; blocks below are background
FREE, MOST = 10.0, 15.0  # by which speech may be quieter than the whole, and the greatest gain
FADES_FROM, FADES_TO = 28.0, 34.0  # how quiet a passage is that is less and less likely to be speech
STEADY, VARYING = 1.5, 3.0  # standard deviation of the level of blocks, of noise and of speech


def raise_quiet_passages(speech: np.ndarray, whole: float | None = None) -> np.ndarray:
    """Speech (N,) float32, 16 kHz mono, with its long quiet passages raised to 10 dB below the rest, by at most 15 dB.

    Single words and phrases that are quieter than others are not raised, nor are pauses, steady noise and background.
    Most recordings have no long quiet passage, and are returned unchanged.

    Args:
        speech: a whole recording, or a part of one.
        whole: mean power of the whole recording, if ``speech`` is a part of it.
    """
    power = block_powers(speech[: len(speech) // BLOCK_SAMPLES * BLOCK_SAMPLES])
    gain = _gains(power, gated_power(power) if whole is None else whole)
    if not gain.any():
        return speech
    middles = (np.arange(len(gain)) + 0.5) * BLOCK_SAMPLES
    decibels = np.interp(np.arange(len(speech)), middles, smooth(gain, SMOOTHING))
    return (speech * 10 ** (decibels / 20)).astype(np.float32)


def _gains(power: np.ndarray, whole: float) -> np.ndarray:
    """Gains (B,) in decibels for blocks of a recording, of their power (B,) and its mean power."""
    if len(power) < MIN_BLOCKS:
        return np.zeros(len(power))
    below = 10 * np.log10(whole / np.maximum(power, SILENT_POWER))
    heard = (power > SILENT_POWER) & (below < -HEARD)
    count = _sums(heard)
    mean, level, square = (_sums(heard * each) / np.maximum(count, 1) for each in (power, below, below**2))
    mean = np.where(count < MIN_BLOCKS, power.max(), mean)
    quieter = mean.argmin(0)[None]
    mean, level, square = (np.take_along_axis(each, quieter, 0)[0] for each in (mean, level, square))
    padded = np.pad(power, NEAR_BLOCKS, "edge")
    nearby = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR_BLOCKS + 1).max(-1)
    quiet = 10 * np.log10(whole / np.maximum(np.maximum(mean, nearby), SILENT_POWER))
    varying = np.clip((np.sqrt(np.maximum(square - level**2, 0)) - STEADY) / (VARYING - STEADY), 0, 1)
    likely = np.clip((FADES_TO - quiet) / (FADES_TO - FADES_FROM), 0, 1)
    return np.clip(quiet - FREE, 0, MOST) * varying * likely


def _sums(values: np.ndarray) -> np.ndarray:
    """Sums (2, B) of values (B,) over the passage that ends with each block, and over the one that begins with it."""
    padded = np.pad(values, PASSAGE_BLOCKS)
    sums = np.lib.stride_tricks.sliding_window_view(padded, PASSAGE_BLOCKS + 1).sum(-1)
    return np.stack([sums[: len(values)], sums[PASSAGE_BLOCKS:]])
