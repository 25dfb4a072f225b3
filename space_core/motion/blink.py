"""Blinks: their times, their course, and the motion of the lids."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.eyelids import MIN_HEIGHT, lids, move_lids, openness
from space_core.motion.loudness import loudness, smooth
from space_core.timing import FPS

# Timing. Intervals between blinks are log-normal; people blink more as a phrase ends (Nakano & Kitazawa, 2010).
INTERVAL_SPREAD = 0.55  # of the interval's logarithm
REFRACTORY_FRAMES = round(0.5 * FPS)  # from one closure to the next at least
FIRST_CLOSURE_FRAMES = round(0.4 * FPS) + 4  # the eyes stay as in the photo for 0.4 s
LAST_CLOSURE_FRAMES = 9  # before the end, so that no video ends within a blink
PAUSE_RATE = 0.5  # added to the relative blink rate, which is 1 in speech, in pauses …
PHRASE_END_RATE = 3.0  # … and at their beginning
PHRASE_END_FRAMES = round(0.6 * FPS)  # the beginning of a pause
SILENT = 0.2  # loudness; less is a pause

# Course in frames, as in 330 recorded blinks. A tracker reads half-shut eyes as nearly open (a closure of 0.45 in a
# film as 0.18), so what counts is that films, tracked as recordings are, have their quartiles of eye opening.
CLOSING_FRAMES, CLOSING_POWER = (1.5, 3.2), 1.2
SHUT_FRAMES = (0.0, 1.4)  # for which eyes stay shut
# They open quickly by a share, and the rest slowly.
QUICK_SHARE, QUICK_FRAMES = 0.45, 2.0
OPENING_FRAMES = (6.0, 12.0)
BEFORE_CLOSURE, LONGEST_FRAMES = 4, 14  # more than closing, and than staying shut and opening

# Relative change of the rate at intensity 1: people who stare in fear, surprise or anger blink less.
RATE_CHANGES = {"angry": -0.3, "fear": -0.45, "sad": 0.15, "surprised": -0.4}

STREAM = 1  # of random numbers of a seed; others are for head motion and gaze

UPPER_LID_SHARE = 0.9  # of the distance between the lids; the lower lid moves the rest


def blink_curve(speech: np.ndarray, num_frames: int, per_minute: float | np.ndarray, seed: int) -> np.ndarray:
    """Eye closure per frame.

    Args:
        speech: (N,) float32, 16 kHz mono; blinks are more frequent in its pauses.
        num_frames: frames of the result, 25 a second.
        per_minute: mean blink rate, 0 to 60, one number or (num_frames,); 15–20 is typical.
        seed: of the random times; the same seed gives the same blinks.

    Returns:
        (num_frames,) float32 from 0 (eyes as they are) to 1 (closed); every blink reaches 1.
    """
    curve = np.zeros(num_frames)
    random = np.random.default_rng([seed, STREAM])
    for closed in _closures(speech, num_frames, per_minute, random):
        first, last = closed - BEFORE_CLOSURE, min(closed + LONGEST_FRAMES, num_frames)
        curve[first:last] = np.maximum(curve[first:last], blink_course(random)[: last - first])
    return curve.astype(np.float32)


def blink_course(random: np.random.Generator) -> np.ndarray:
    """(frames,) eye closure in a random blink, which is shut BEFORE_CLOSURE frames after its first."""
    closing, shut, opening = (random.uniform(*limits) for limits in (CLOSING_FRAMES, SHUT_FRAMES, OPENING_FRAMES))
    frames = np.arange(-BEFORE_CLOSURE, LONGEST_FRAMES)
    down = np.clip(1 + frames / closing, 0, 1) ** CLOSING_POWER
    opened = frames - shut
    up = 1 - QUICK_SHARE * smoothstep(opened / QUICK_FRAMES) - (1 - QUICK_SHARE) * smoothstep(opened / opening)
    return np.where(frames <= 0, down, up)


def blink_rate_factor(emotion: np.ndarray) -> np.ndarray:
    """(T,) by which an emotion curve (T, 8) multiplies the blink rate; 1 for neutral faces."""
    change = np.array([RATE_CHANGES.get(label, 0.0) for label in EMOTIONS])
    return np.clip(1 + emotion @ change, 0.2, 2.0)


def apply_blink(normalized: np.ndarray, closure: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
    """Normalized landmarks (T, 478, 3) with both eyes closed by ``closure`` (T,), 0 as they are … 1 shut.

    At 1 the lids meet on one curved line, however far the eyes were open. The skin above and below follows; the irises
    do not move. Eyes that are shut in the resting face ``rest`` (478, 3) close no further than they are there, where
    the tracker leaves a gap between the lids.
    """
    eyes = lids(normalized)
    opening = eyes[:, :, 1] - eyes[:, :, 0]  # (T, 2, 9, 3) from the upper lid to the lower
    if rest is not None:
        opening = opening * _share_to_close(opening, rest)
    shift = np.stack([UPPER_LID_SHARE * opening, (UPPER_LID_SHARE - 1) * opening], axis=2)
    return move_lids(normalized, shift * np.asarray(closure)[:, None, None, None, None])


def _share_to_close(opening: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(T, 2, 9, 1) the share of the lids' distances (T, 2, 9, 3) that a blink closes; 1 unless the rest is shut."""
    upper, lower = lids(rest[None])[0].swapaxes(0, 1)
    left_open = np.linalg.norm(lower - upper, axis=-1) * (1 - openness(rest[None])[0])[:, None]
    heights = np.linalg.norm(opening, axis=-1)
    return 1 - np.minimum(left_open / np.maximum(heights, MIN_HEIGHT), 1)[..., None]


def _closures(
    speech: np.ndarray, num_frames: int, per_minute: float | np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(blinks,) int, the frames in which the eyes are first shut."""
    mean = float(np.mean(per_minute)) if num_frames else 0.0
    if mean <= 0 or num_frames <= FIRST_CLOSURE_FRAMES + LAST_CLOSURE_FRAMES:
        return np.zeros(0, np.int64)
    rate = relative_rate(loudness(speech, num_frames)) * per_minute / mean
    rate[:FIRST_CLOSURE_FRAMES] = 0
    rate[-LAST_CLOSURE_FRAMES:] = 0
    # A renewal process on a clock that runs at the relative rate, scaled to the expected number of blinks.
    expected = mean / 60 * num_frames / FPS
    clock = np.cumsum(rate) / rate.sum() * expected
    intervals = blink_intervals(int(2 * expected) + 20, random)
    intervals[0] *= beginning_share(random)
    times = np.cumsum(intervals)
    closures = np.searchsorted(clock, times[times < expected])
    for index in range(1, len(closures)):
        closures[index] = max(closures[index], closures[index - 1] + REFRACTORY_FRAMES)
    return closures[closures < num_frames - LAST_CLOSURE_FRAMES]


def blink_intervals(count: int, random: np.random.Generator) -> np.ndarray:
    """(count,) random intervals between blinks, of mean one."""
    return np.exp(INTERVAL_SPREAD * random.standard_normal(count) - INTERVAL_SPREAD**2 / 2)


def beginning_share(random: np.random.Generator) -> float:
    """By which the first interval is multiplied.

    A film begins at a random time within an interval, with a probability proportional to the interval's length.
    """
    return float(np.exp(INTERVAL_SPREAD**2) * random.random())


def relative_rate(loud: np.ndarray) -> np.ndarray:
    """(T,) blink rate at each frame relative to continuous speech, of a loudness curve (T,)."""
    pausing = smooth(loud, 2) < SILENT
    spoken_before = np.concatenate([np.zeros(PHRASE_END_FRAMES, bool), ~pausing])[: len(pausing)]
    for delay in range(1, PHRASE_END_FRAMES):
        spoken_before[delay:] |= ~pausing[: len(pausing) - delay]
    return 1 + PAUSE_RATE * pausing + PHRASE_END_RATE * (pausing & spoken_before)
