"""When speech closes the lips: the network's closure logit, sharpened as recorded lips move."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.motion.lips import lip_opening

SHUT_FROM, SHUT_AT = -0.2, 1.8  # logits of the closure head between which lips are brought together
# A peak of the logit between two openings shuts the lips: a quick p, b or m. Heights from and at which it does, up to
# how many frames the openings are away, and logits of peaks from which on it does and from which on it does so in full.
PEAK_FROM, PEAK_AT, PEAK_REACH, PEAK_LEAST, PEAK_SURE = 1.5, 3.0, 3, -1.5, -0.5
# A dip of the logit between two closures opens the lips: a short vowel between p, b or m. Depths from and at which it
# does, up to how many frames the closures are away, and the logit above which all count alike.
DIP_FROM, DIP_AT, DIP_REACH, SURELY_SHUT = 0.5, 2.0, 4, 5.0
# Before a first sound that shuts the lips (p, b, m) the network parts them by at most the first of these lengths in the
# two frames up to the onset, before most others by the second and more.
SHUT_ONSET, OPEN_ONSET = 0.007, 0.015
# How far speech holds lips together that it does not shut: where the gap is at least the last number, and where they
# touch. It falls as slowly as lips open, so that lips an emotion parts rise and fall with those of neutral speech.
WIDE_HOLD, NARROW_HOLD, NARROW_GAP = 0.3, 0.95, 0.12


def closure_share(logit: np.ndarray) -> np.ndarray:
    """How far lips are brought together (T,), from 0 not at all to 1 until they touch, for closure logits (T,)."""
    return np.clip((logit - SHUT_FROM) / (SHUT_AT - SHUT_FROM), 0, 1)


def predicted_opening(outputs: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """How far the network parts the middles of the lips (T,), in outer-eye-corner distances.

    ``outputs`` (T, C + 1) are coefficients of ``basis`` (C, 478, 3) and the closure logit, which reduces it.
    """
    return lip_opening(outputs[:, :-1], basis) * (1 - closure_share(outputs[:, -1]))


def shut_at_onset(outputs: np.ndarray, onset: int, basis: np.ndarray) -> float:
    """How far lips are shut, 0 … 1, before the first sound of speech that begins in the frame ``onset``.

    ``outputs`` (T, C + 1) are the network's coefficients of ``basis`` (C, 478, 3) and its closure logits.
    """
    opening = lip_opening(outputs[max(onset - 1, 0) : onset + 1, :-1], basis).mean()
    return float(1 - smoothstep(opening, SHUT_ONSET, OPEN_ONSET))


def held_together(shut: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """How far speech holds lips together (T,), for closure shares (T,) and the lip gap of speech (T,)."""
    return np.maximum(shut, WIDE_HOLD + (NARROW_HOLD - WIDE_HOLD) * smoothstep(1 - gap / NARROW_GAP))


def close_between_openings(logit: np.ndarray) -> np.ndarray:
    """Closure logits (T,), higher where a peak between two openings would not shut the lips."""
    height = _height_of_peaks(np.minimum(logit, SURELY_SHUT), PEAK_REACH)
    closed = np.clip((height - PEAK_FROM) / (PEAK_AT - PEAK_FROM), 0, 1)
    closed = closed * np.clip((logit - PEAK_LEAST) / (PEAK_SURE - PEAK_LEAST), 0, 1)
    return logit + closed * np.maximum(SHUT_AT - logit, 0)


def open_between_closures(logit: np.ndarray) -> np.ndarray:
    """Closure logits (T,), lower where a dip between two closures, such as in "mama", would leave the lips shut."""
    depth = _height_of_peaks(-np.minimum(logit, SURELY_SHUT), DIP_REACH)
    opened = np.clip((depth - DIP_FROM) / (DIP_AT - DIP_FROM), 0, 1)
    shut = np.clip(logit, SHUT_FROM, SHUT_AT)
    return np.where(opened > 0, np.minimum(logit, shut - opened * (shut - SHUT_FROM)), logit)


def _height_of_peaks(curve: np.ndarray, reach: int) -> np.ndarray:
    """How far a curve (T,) is above the lowest values up to ``reach`` frames before and after, the higher of both."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(curve, reach, "edge"), 2 * reach + 1)
    return curve - np.maximum(around[:, : reach + 1].min(1), around[:, reach:].min(1))
