"""Blinks and saccades that go on for as long as a stream does."""

import numpy as np

from space_core.motion.blink import (
    BEFORE_CLOSURE,
    FIRST_CLOSURE_FRAMES,
    LONGEST_FRAMES,
    REFRACTORY_FRAMES,
    STREAM,
    beginning_share,
    blink_course,
    blink_intervals,
    relative_rate,
)
from space_core.motion.gaze import fixations
from space_core.motion.live.prosody import ProsodyWindow
from space_core.timing import FPS

MEAN_RATE = 1.4  # of ``relative_rate``, in a talk with its pauses


class LiveBlinks:
    """The blinks of one stream; counterpart of ``blink_curve``."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng([seed, STREAM])
        self._wait = blink_intervals(1, self._random)[0] * beginning_share(self._random)  # in mean intervals
        self._frame = 0
        self._earliest = FIRST_CLOSURE_FRAMES  # frame in which the eyes may be shut again
        self._coming = np.zeros(BEFORE_CLOSURE + LONGEST_FRAMES)  # the curve from this frame on

    def next(self, window: ProsodyWindow, per_minute: np.ndarray) -> np.ndarray:
        """(T,) float32 eye closure in the next frames, at mean rates (T,)."""
        rate = relative_rate(window.prosody.loudness)[window.planned] * per_minute / (MEAN_RATE * 60 * FPS)
        curve = np.zeros(len(rate), np.float32)
        for index, passed in enumerate(rate):
            self._wait -= passed
            if self._wait <= 0 and self._frame + BEFORE_CLOSURE >= self._earliest:
                self._coming = np.maximum(self._coming, blink_course(self._random))
                self._wait += blink_intervals(1, self._random)[0]
                self._earliest = self._frame + BEFORE_CLOSURE + REFRACTORY_FRAMES
            curve[index] = self._coming[0]
            self._coming = np.append(self._coming[1:], 0.0)
            self._frame += 1
        return curve


class LiveSaccades:
    """The saccades of one stream; counterpart of ``saccades``."""

    def __init__(self, seed: int) -> None:
        self._fixations = fixations(seed)
        self._following = next(self._fixations)
        self._frame = 0
        self._target = np.zeros(2)

    def next(self, count: int) -> np.ndarray:
        """(count, 2) yaw and pitch in degrees in the next frames, at an amount of 1."""
        gaze = np.zeros((count, 2))
        for index in range(count):
            start, first, target = self._following
            gaze[index] = self._target
            if self._frame == start:
                gaze[index], self._target = first, target
                self._following = next(self._fixations)
            self._frame += 1
        return gaze
