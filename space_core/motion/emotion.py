"""The emotion curve: label weights per frame, from an emotion as the user writes it."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.errors import SpaceError
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY, parse_timeline
from space_core.motion.loudness import smooth
from space_core.motion.prosody import Prosody
from space_core.timing import FPS

TRANSITION = 0.6  # seconds from one emotion of a timeline to the next, centred on the time given
ONSET = 0.6  # seconds in which an expression grows from the photo's face at the beginning of a film
# By how much, relative to its intensity, an expression grows on accented syllables and relaxes in pauses, over frames.
ON_ACCENTS, IN_PAUSES = 0.12, 0.12
ACCENT_SMOOTHING, PAUSE_SMOOTHING = 0.2 * FPS, 0.4 * FPS


def emotion_curve(emotion: str, intensity: float, num_frames: int, first_frame: int = 0) -> np.ndarray:
    """Label weights per frame of an emotion in words.

    Args:
        emotion: a label of ``EMOTIONS``; a blend, ``happy+surprised`` in equal shares or ``0.7 happy + 0.3 sad``;
            either with an intensity of its own, ``happy@0.8``; or a timeline, ``0:neutral, 2.5:happy@0.8,
            6:surprised``: the second from which on each of these applies. The face is neutral before the first of
            them. Transitions are smoothsteps of 0.6 seconds, centred on the time given; an entry for 0 applies from
            the first frame on.
        intensity: 0 none, 1 full, up to 1.5 exaggerated; of entries without an ``@``.
        num_frames: frames, 25 a second.
        first_frame: the first of them.

    Returns:
        (num_frames, 8) float32: label weights, which sum to 1, × intensity, in the order of ``EMOTIONS``.

    Raises:
        SpaceError: the text can't be parsed, or a number is out of range.
    """
    if not 0 <= intensity <= MAX_INTENSITY:
        raise SpaceError(f"The intensity of an emotion is between 0 and {MAX_INTENSITY:g}, not {intensity:g}.")
    timeline = [(second, np.array(weights)) for second, weights in parse_timeline(emotion, intensity)]
    now = np.arange(first_frame, first_frame + num_frames)[:, None] / FPS
    before = intensity * np.eye(len(EMOTIONS))[EMOTIONS.index("neutral")]
    curve = np.tile(before, (num_frames, 1))
    for second, weights in timeline:
        progress = smoothstep((now - second) / TRANSITION + 0.5) if second > 0 else np.ones_like(now)
        curve += progress * (weights - before)
        before = weights
    return curve.astype(np.float32)


def expression_dynamics(emotion: np.ndarray, prosody: Prosody, expressiveness: float) -> np.ndarray:
    """An emotion curve (T, 8) with onset, breathing with the phrases, and emphasis on accented syllables.

    Args:
        emotion: label weights × intensity, see ``emotion_curve``.
        prosody: of the T frames.
        expressiveness: 0 (onset alone) … 1.5, how far the expression follows the speech.

    Returns:
        (T, 8) float32: 0 in the first frame but for the label neutral, at most 1.5 for each label. What is 0 stays 0,
        and in every frame the curve grows with the intensity.
    """
    num_frames = len(emotion)
    accent = smooth(prosody.accent, ACCENT_SMOOTHING) if num_frames else prosody.accent
    relative = accent / accent.max() if accent.any() else accent
    pausing = 1 - smooth(prosody.speaking, PAUSE_SMOOTHING) if num_frames else accent
    factor = dynamics_factor(relative, pausing * prosody.speaking.any(), expressiveness)
    return grown(emotion, factor, np.arange(num_frames))


def dynamics_factor(accent: np.ndarray, pausing: np.ndarray, expressiveness: float | np.ndarray) -> np.ndarray:
    """(T,) by which an expression is greater on accents and smaller in pauses, both (T,) 0 … 1."""
    return 1 + expressiveness * (ON_ACCENTS * accent - IN_PAUSES * pausing)


def grown(emotion: np.ndarray, factor: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """An emotion curve (T, 8) times a factor (T,), from 0 in the film's first frame on; frames (T,) are counted."""
    factor = factor * smoothstep(frames / (ONSET * FPS))
    shown = emotion.copy()
    shown[:, 1:] = np.minimum(emotion[:, 1:] * factor[:, None], MAX_INTENSITY)
    return shown
