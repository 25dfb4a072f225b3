"""Blinks: when the eyes close, and what closing does to the face mesh."""

import numpy as np

from space_core.motion.eyelids import lids, move_lids
from space_core.motion.loudness import loudness, smooth
from space_core.timing import FPS

# Timing. Intervals between blinks are log-normal; people blink more as a phrase ends (Nakano & Kitazawa, 2010).
INTERVAL_SPREAD = 0.55  # of the interval's logarithm
REFRACTORY = round(0.5 * FPS)  # frames from one closure to the next at least
FIRST_CLOSURE = round(0.4 * FPS) + 4  # frame; the first 0.4 s are the photo's
LAST_CLOSURE = 8  # frames before the end: no film ends within a blink
PAUSE_PULL = 0.5  # a pause makes a blink this much more likely than speech does …
PHRASE_END_PULL = 3.0  # … and its beginning this much
PHRASE_END = round(0.6 * FPS)  # frames that count as its beginning
SILENT = 0.2  # loudness below which the voice pauses

# Shape, in frames, as in the median of 380 blinks of the corpus: shut within 0.1 s, open again over twice the time.
CLOSING = (2.0, 3.0)
OPENING = (4.0, 6.5)
HELD_SHARE = 0.2  # of the blinks keep shut for one frame more
LONGEST = 8  # frames: more than closing takes twice, and than opening takes

STREAM = 1  # of random numbers: the seed's other streams move the head and the gaze

UPPER_LID_SHARE = 0.9  # of the way that the upper lid goes; the lower one comes up the rest


def blink_curve(speech: np.ndarray, num_frames: int, per_minute: float, seed: int) -> np.ndarray:
    """When the eyes close.

    Args:
        speech: (N,) float32, 16 kHz mono; its pauses attract blinks.
        num_frames: frames of the result, 25 a second.
        per_minute: blinks a minute on average, 0 to 60; about 15–20 is usual.
        seed: another seed, other blinks; the same seed, the same blinks.

    Returns:
        (num_frames,) float32 from 0 (eyes as they are) to 1 (closed); every blink reaches 1.
    """
    curve = np.zeros(num_frames)
    random = np.random.default_rng([seed, STREAM])
    for closed in _closures(speech, num_frames, per_minute, random):
        closing, opening = random.uniform(*CLOSING), random.uniform(*OPENING)
        hold = int(random.random() < HELD_SHARE)
        frames = np.arange(closed - LONGEST // 2, min(closed + LONGEST, num_frames))
        down = np.clip(1 - (closed - frames) / closing, 0, 1)
        up = np.clip(1 - (frames - closed - hold) / opening, 0, 1)
        # The upper lid falls and stops at once; it rises fast and comes to rest slowly.
        blink = np.where(frames <= closed, down**1.5, up**1.8)
        curve[frames] = np.maximum(curve[frames], blink)
    return curve.astype(np.float32)


def apply_blink(normalized: np.ndarray, closure: np.ndarray) -> np.ndarray:
    """Normalized landmarks (T, 478, 3) with both eyes closed by ``closure`` (T,), 0 as they are … 1 shut.

    Shut is shut for every face, however far its eyes were open. The lids meet on one curved line; the skin above and
    below follows, the irises stay where they are.
    """
    eyes = lids(normalized)
    opening = eyes[:, :, 1] - eyes[:, :, 0]  # (T, 2, 9, 3) from the upper lid to the lower
    way = np.stack([UPPER_LID_SHARE * opening, (UPPER_LID_SHARE - 1) * opening], axis=2)
    return move_lids(normalized, way * np.asarray(closure)[:, None, None, None, None])


def _closures(speech: np.ndarray, num_frames: int, per_minute: float, random: np.random.Generator) -> np.ndarray:
    """The frames in which the eyes are shut."""
    if per_minute <= 0 or num_frames <= FIRST_CLOSURE + LAST_CLOSURE:
        return np.zeros(0, np.int64)
    likely = _likelihood(loudness(speech, num_frames))
    likely[:FIRST_CLOSURE] = 0
    likely[-LAST_CLOSURE:] = 0
    # The renewal process runs on a clock that goes faster where blinks are likely and right on average, so that the
    # number of blinks is what was asked for.
    expected = per_minute / 60 * num_frames / FPS
    clock = np.cumsum(likely) / likely.sum() * expected
    intervals = np.exp(INTERVAL_SPREAD * random.standard_normal(int(2 * expected) + 20) - INTERVAL_SPREAD**2 / 2)
    # The film begins somewhere within an interval, which is more likely to be a long one.
    intervals[0] *= np.exp(INTERVAL_SPREAD**2) * random.random()
    times = np.cumsum(intervals)
    closures = np.searchsorted(clock, times[times < expected])
    for index in range(1, len(closures)):
        closures[index] = max(closures[index], closures[index - 1] + REFRACTORY)
    return closures[closures < num_frames - LAST_CLOSURE]


def _likelihood(loud: np.ndarray) -> np.ndarray:
    """How likely a blink is at each frame, relative to running speech."""
    pausing = smooth(loud, 2) < SILENT
    spoken_before = np.concatenate([np.zeros(PHRASE_END, bool), ~pausing])[: len(pausing)]
    for delay in range(1, PHRASE_END):
        spoken_before[delay:] |= ~pausing[: len(pausing) - delay]
    return 1 + PAUSE_PULL * pausing + PHRASE_END_PULL * (pausing & spoken_before)
