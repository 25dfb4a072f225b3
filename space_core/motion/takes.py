"""How one take of a sentence differs from another: how far the mouth moves and breathes, how high its corners are.

All vary slowly while a person speaks, independently of the sound: random processes with the statistics of
recorded speakers, given what is predicted from their speech; see ``weights/speech2landmarks.md``.
"""

from typing import NamedTuple

import numpy as np

from space_core.arrays import smoothstep
from space_core.motion.action_unit_labels import UNIT_COLUMNS
from space_core.motion.noise_stream import smooth_noise_stream
from space_core.motion.upper_face import EASE_IN

STREAM = 5  # of random numbers of a seed; others are for head motion, blinks, gaze and the upper face
BREATHING_STREAM = (STREAM, 1)
DURATION = 13.0  # frames, of the Gaussian that filters white noise: correlation 0.4 a second later
ARTICULATION_SPREAD = 0.14  # standard deviation of the logarithm of the amplitude
# Standard deviation of how far the mouth is open in a pause, over its mean: in 64 recorded pauses a tenth
# is open by less than 0.3 of the mean, another tenth by more than 1.6.
BREATHING_SPREAD = 0.45
# Standard deviations of the corners' mean height and of the difference between them, millimetres. Recorded are 0.9 and
# 0.45, but more of the first makes films agree less with recordings.
CORNERS, ASYMMETRY = 0.45, 0.45
CORNERS_PER_UNIT = 8.3  # millimetres by which action unit 12 raises the corners
FARTHEST = 2.0  # standard deviations


class TakeFrames(NamedTuple):
    """What varies in T frames of a take.

    Attributes:
        articulation: (T, 1) float32 factors of the articulation.
        breathing: (T,) float32 factors of how far the mouth is open in pauses.
        units: (T, 36) strengths of action units.
    """

    articulation: np.ndarray
    breathing: np.ndarray
    units: np.ndarray


class TakeVariation:
    """The variation of one take, a few frames at a time; the same however many at a time."""

    def __init__(self, seed: int) -> None:
        self._noise = smooth_noise_stream(DURATION, np.random.default_rng([seed, STREAM]), channels=3)
        self._breathing = smooth_noise_stream(DURATION, np.random.default_rng([seed, *BREATHING_STREAM]))
        self._frames = 0

    def next(self, share: np.ndarray) -> TakeFrames:
        """What varies in the next T frames, of which a share (T,) is speech, 0 in silence, see ``speech_share``."""
        frames = self._frames + np.arange(len(share))
        self._frames += len(share)
        noise = _limited(self._noise.next(len(share)))
        factors = np.exp(ARTICULATION_SPREAD * noise[:, :1] - ARTICULATION_SPREAD**2)  # its mean square is 1
        shown = share * smoothstep(frames / EASE_IN)  # a film starts with the photo's face
        strengths = np.zeros((len(share), len(UNIT_COLUMNS)))
        for side, sign in (("L", 0.5), ("R", -0.5)):
            raised = CORNERS * noise[:, 1] + sign * ASYMMETRY * noise[:, 2]
            strengths[:, UNIT_COLUMNS.index("12" + side)] = shown * raised / CORNERS_PER_UNIT
        breathing = 1 + BREATHING_SPREAD * _limited(self._breathing.next(len(share)))[:, 0]
        return TakeFrames(factors.astype(np.float32), breathing.astype(np.float32), strengths)


def _limited(noise: np.ndarray) -> np.ndarray:
    """Noise of unit variance, compressed to at most ``FARTHEST``."""
    return FARTHEST * np.tanh(noise / FARTHEST)
