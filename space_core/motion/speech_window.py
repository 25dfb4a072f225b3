"""The part of the motion of a few frames that depends on the speech alone, not on the portrait."""

from typing import NamedTuple, Self

import numpy as np

from space_core.motion.breaths import breaths
from space_core.motion.consonants import consonant_shares
from space_core.motion.high_voice import open_in_high_voices
from space_core.motion.lip_closure import (
    SHUT_AT,
    SHUT_FROM,
    close_between_openings,
    open_between_closures,
    shut_at_onset,
)
from space_core.motion.quick_openings import enlarge_quick_openings
from space_core.motion.speech_features import speech_onsets


class SpeechWindow(NamedTuple):
    """The part of the motion of t frames that depends on the speech alone.

    Attributes:
        outputs: (t, coefficients + 1) of the network.
        activity: (t,) speech activity, 0 … 1.
        near_speech: (t,) how near there is speech, 0 … 1.
        labiodental: (t,) how far the mouth takes the shape of /f v/, 0 … 1.
        tongue: (t, 2) how far the tongue's tip is raised, and put between the teeth, 0 … 1; see ``tongue_shares``.
        breath: (t,) by how much a breath opens the mouth, in outer-eye-corner distances.
        features: (t, 256) float16, the encoder's features, input of the decoder; 0 in pauses.
    """

    outputs: np.ndarray
    activity: np.ndarray
    near_speech: np.ndarray
    labiodental: np.ndarray
    tongue: np.ndarray
    breath: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, course: np.ndarray, activity: np.ndarray, near_speech: np.ndarray, features: np.ndarray) -> Self:
        """From the columns (t, coefficients + 5) of ``mouth_course``, and features (t, 256) of any type."""
        outputs, labiodental, tongue, breath = course[:, :-4], course[:, -4], course[:, -3:-1], course[:, -1]
        return cls(outputs, activity, near_speech, labiodental, tongue, breath, features.astype(np.float16))

    def with_breaths_scaled(self, factors: np.ndarray) -> Self:
        """The same window with the opening of breaths multiplied by factors (t,)."""
        return self._replace(breath=self.breath * factors)


def mouth_course(
    outputs: np.ndarray, features: np.ndarray, activity: np.ndarray, high: np.ndarray, basis: np.ndarray, start: int
) -> np.ndarray:
    """The network's outputs, corrected for high voices, quick motion, closures and onsets; consonants; breaths.

    Args:
        outputs: (T, coefficients + 1) coefficients of the basis and closure logits.
        features: (T, 256) the encoder's.
        activity: (T,) of the speech.
        high: (T,) how much each frame belongs to a high voice, see ``high_voice``.
        basis: (coefficients, 478, 3) of the motion.
        start: index of the recording's first frame, which may lie before these.

    Returns:
        (T, coefficients + 5): as ``outputs``; three columns as of ``consonant_shares``; one as of ``breaths``.
    """
    opened = open_in_high_voices(outputs, high, basis)
    shut_first = {onset: shut_at_onset(opened, onset, basis) for onset in speech_onsets(activity)}
    breath = breaths(outputs, activity, shut_first, basis, start)
    coefficients = enlarge_quick_openings(opened[:, :-1], basis)
    shaped = np.column_stack([coefficients, opened[:, -1], consonant_shares(features)])
    shaped = prepare_onsets(shaped, activity, shut_first)
    logit, shares = shaped[:, -4], shaped[:, -3:] * activity[:, None]
    shut = open_between_closures(close_between_openings(logit))
    # Lips are apart where the tongue is between the teeth.
    shaped[:, -4] = shut - shares[:, 2] * np.maximum(shut - SHUT_FROM, 0)
    shaped[:, -3:] = shares
    return np.column_stack([shaped, breath])


def prepare_onsets(outputs: np.ndarray, activity: np.ndarray, shut_first: dict[int, float]) -> np.ndarray:
    """Outputs (T, coefficients + 4) with the shape of a word's beginning in the frames before it.

    A speaker's lips take the shape of the first sound before it is heard. ``shut_first`` are the frames in which
    activity (T,) rises, and how far the first sound shuts the lips; see ``shut_at_onset``.
    """
    prepared = outputs.copy()
    for onset, shut in shut_first.items():
        begin = onset
        while begin > 0 and activity[begin - 1] < activity[begin]:
            begin -= 1
        first = outputs[min(onset + 1, len(outputs) - 1)].copy()
        first[-4] += shut * max(SHUT_AT - first[-4], 0)
        prepared[begin : onset + 1] = first
    return prepared
