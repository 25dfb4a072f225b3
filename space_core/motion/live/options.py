"""Options that change while a stream runs: the face follows them smoothly."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.motion.action_units import unit_strengths
from space_core.motion.emotion import TRANSITION, emotion_curve
from space_core.options import MotionOptions
from space_core.timing import FPS

GAZE_TRANSITION = 0.16  # seconds: a slow saccade

# What may change while a stream runs.
CHANGEABLE_OPTIONS = (
    "emotion",
    "intensity",
    "articulation",
    "action_units",
    "expressiveness",
    "head_motion",
    "hair_motion",
    "blinks_per_minute",
    "gaze_yaw",
    "gaze_pitch",
    "saccades",
    "eyes_on_viewer",
)
_NUMBERS = (
    "articulation",
    "expressiveness",
    "head_motion",
    "hair_motion",
    "blinks_per_minute",
    "saccades",
    "eyes_on_viewer",
)


class FollowedOptions:
    """The course of the options of one stream."""

    def __init__(self, options: MotionOptions) -> None:
        self._emotion = _FollowedEmotion(options)
        self._units = _Followed(_units(options), TRANSITION)
        self._gaze = _Followed(_gaze(options), GAZE_TRANSITION)
        self._numbers = _Followed(_numbers(options), TRANSITION)

    def change(self, options: MotionOptions) -> None:
        """Other options from the next frame on."""
        self._emotion.change(options)
        self._units.change(_units(options))
        self._gaze.change(_gaze(options))
        self._numbers.change(_numbers(options))

    def next(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Of the next frames: emotion (count, 8), action units (count, 36), gaze (count, 2) and numbers (count,)."""
        numbers = self._numbers.next(count)
        return (
            self._emotion.next(count),
            self._units.next(count),
            self._gaze.next(count),
            dict(zip(_NUMBERS, numbers.T, strict=True)),
        )


class _Followed:
    """Values (C,) that move smoothly to each new target, within a number of seconds."""

    def __init__(self, target: np.ndarray, seconds: float) -> None:
        self._before = self._shown = self._target = target
        self._frames = seconds * FPS
        self._since = 0  # frames since the last change

    def change(self, target: np.ndarray) -> None:
        if not np.array_equal(target, self._target):
            self._before, self._target, self._since = self._shown, target, 0

    def next(self, count: int) -> np.ndarray:
        progress = smoothstep((self._since + np.arange(1, count + 1)) / self._frames)[:, None]
        self._since += count
        values = self._before + progress * (self._target - self._before)
        self._shown = values[-1]
        return values


class _FollowedEmotion:
    """The emotion curve; the timeline of a new emotion starts when it is given."""

    def __init__(self, options: MotionOptions) -> None:
        self._said = (options.emotion, options.intensity)
        self._before: np.ndarray | None = None  # the weights shown when the emotion changed; None: it never did
        self._shown = emotion_curve(*self._said, 1)[0]
        self._since = 0

    def change(self, options: MotionOptions) -> None:
        said = (options.emotion, options.intensity)
        if said != self._said:
            self._said, self._before, self._since = said, self._shown, 0

    def next(self, count: int) -> np.ndarray:
        curve = emotion_curve(*self._said, count, self._since)
        if self._before is not None:
            progress = smoothstep((self._since + np.arange(1, count + 1)) / (TRANSITION * FPS))[:, None]
            curve = (self._before + progress * (curve - self._before)).astype(np.float32)
        self._since += count
        self._shown = curve[-1]
        return curve


def _units(options: MotionOptions) -> np.ndarray:
    return unit_strengths(options.action_units, 1)[0]


def _gaze(options: MotionOptions) -> np.ndarray:
    return np.array([options.gaze_yaw, options.gaze_pitch])


def _numbers(options: MotionOptions) -> np.ndarray:
    return np.array([getattr(options, name) for name in _NUMBERS])
