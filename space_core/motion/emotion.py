"""Emotions as labels, blends and timelines: from what the user writes to label weights per frame."""

import re

import numpy as np

from space_core.errors import SpaceError
from space_core.timing import FPS

# The labels of MEAD (Wang et al., ECCV 2020).
EMOTIONS = ("neutral", "angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")
MAX_INTENSITY = 1.5
MAX_TEXT = 1000  # characters
TRANSITION = 0.6  # seconds from one emotion of a timeline to the next, centred on the time given

_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_EXAMPLES = "write for instance 'happy', '0.7 happy + 0.3 sad' or '0:neutral, 2.5:happy@0.8'"


def emotion_curve(emotion: str, intensity: float, num_frames: int) -> np.ndarray:
    """Label weights per frame of an emotion in words.

    Args:
        emotion: a label of ``EMOTIONS``; a blend, ``happy+surprised`` in equal shares or ``0.7 happy + 0.3 sad``;
            either with an intensity of its own, ``happy@0.8``; or a timeline, ``0:neutral, 2.5:happy@0.8,
            6:surprised``: the second from which on each of these applies. The face is neutral before the first of
            them. Transitions are smoothsteps of 0.6 seconds, centred on the time given; an entry for 0 applies from
            the first frame on.
        intensity: 0 none, 1 full, up to 1.5 exaggerated; of entries without an ``@``.
        num_frames: frames, 25 a second.

    Returns:
        (num_frames, 8) float32: label weights, which sum to 1, × intensity, in the order of ``EMOTIONS``.

    Raises:
        SpaceError: the text can't be parsed, or a number is out of range.
    """
    if not 0 <= intensity <= MAX_INTENSITY:
        raise SpaceError(f"The intensity of an emotion is between 0 and {MAX_INTENSITY:g}, not {intensity:g}.")
    timeline = _read_timeline(emotion, intensity)
    now = np.arange(num_frames)[:, None] / FPS
    before = _weights({"neutral": 1.0}, intensity)
    curve = np.tile(before, (num_frames, 1))
    for second, weights in timeline:
        progress = _smoothstep((now - second) / TRANSITION + 0.5) if second > 0 else np.ones_like(now)
        curve += progress * (weights - before)
        before = weights
    return curve.astype(np.float32)


def check_emotion(emotion: str) -> str:
    """Returns the emotion as it was given if ``emotion_curve`` can parse it, else raises ``SpaceError``."""
    _read_timeline(emotion, 1.0)
    return emotion


def _read_timeline(emotion: str, intensity: float) -> list[tuple[float, np.ndarray]]:
    """Pairs of the second from which on they apply and label weights (8,) × intensity, in order of time."""
    if not isinstance(emotion, str) or not emotion.strip():
        raise SpaceError(f"The emotion is empty; {_EXAMPLES}.")
    if len(emotion) > MAX_TEXT:
        raise SpaceError(f"The emotion is {len(emotion)} characters long; at most {MAX_TEXT} are read.")
    entries = emotion.split(",")
    timeline = {}
    for entry in entries:
        second, colon, what = entry.rpartition(":")
        if not entry.strip():
            raise SpaceError(
                f"There is nothing between two commas, or after the last one, in the emotion; {_EXAMPLES}."
            )
        if colon and not re.fullmatch(_NUMBER, second.strip()):
            raise SpaceError(f"{_shown(second)} before the colon is no time in seconds; {_EXAMPLES}.")
        if not colon and len(entries) > 1:
            raise SpaceError(f"{_shown(entry)} lacks its time in seconds, as in '2.5:happy'; a blend is joined by +.")
        time = float(second) if colon else 0.0
        if time in timeline:
            raise SpaceError(f"The emotion says twice what is felt from second {time:g} on; say it once.")
        timeline[time] = _read_blend(what, intensity)
    return sorted(timeline.items(), key=lambda at: at[0])


def _read_blend(text: str, intensity: float) -> np.ndarray:
    """Label weights (8,) × intensity of a blend such as ``0.7 happy + 0.3 sad @ 0.8``."""
    blend, at, strength = text.partition("@")
    if at:
        if not re.fullmatch(_NUMBER, strength.strip()) or float(strength) > MAX_INTENSITY:
            raise SpaceError(
                f"The strength after the @ is a number between 0 and {MAX_INTENSITY:g}, not {_shown(strength)}."
            )
        intensity = float(strength)
    shares = dict.fromkeys(EMOTIONS, 0.0)
    for part in blend.split("+"):
        share, label = re.fullmatch(rf"({_NUMBER})?(.*)", part.strip(), re.DOTALL).groups()
        label = label.strip().lower()
        if label not in EMOTIONS:
            raise SpaceError(f"There is no emotion called {_shown(label)}; choose from: {', '.join(EMOTIONS)}.")
        shares[label] += float(share or 1)
    if not 0 < sum(shares.values()) < float("inf"):
        raise SpaceError(f"The shares of {_shown(blend)} don't add up to a number above 0; {_EXAMPLES}.")
    return _weights(shares, intensity)


def _weights(shares: dict[str, float], intensity: float) -> np.ndarray:
    """Label weights (8,) × intensity of shares that need not sum to 1."""
    weights = np.array([shares.get(label, 0.0) for label in EMOTIONS])
    return intensity * (weights / weights.sum())


def _shown(text: str) -> str:
    """A short, printable form of a part of the user's text."""
    text = repr(text.strip())
    return text if len(text) <= 40 else f"{text[:38]}…'"


def _smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a smooth rise between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
