"""Breaths that are drawn before speech, in which the mouth opens a little."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.motion.lip_closure import predicted_opening
from space_core.motion.speech_features import TRANSITION_FRAMES

# A breath is drawn before speech: the mouth opens by BREATH_GAP, from BREATH_FRAMES before the first sound on, within
# BREATH_ONSET frames.
# Recorded lips are 0.061 apart in it, in the mean of 17 clips that are trained on; this correlates best with them.
BREATH_GAP, BREATH_FRAMES, BREATH_ONSET = 0.045, 14, 6
# Lips that the first sound shuts (p, b, m) meet MEET_FRAMES before the onset, after closing for CLOSING_FRAMES.
MEET_FRAMES, CLOSING_FRAMES = 2, 4
# A breath is drawn only if speech opens the mouth within SPOKEN_FRAMES, as noise and music do not: not for openings up
# to SPOKEN_FROM, in full from SPOKEN_AT on.
SPOKEN_FROM, SPOKEN_AT, SPOKEN_FRAMES = 0.02, 0.04, 20


def breaths(
    outputs: np.ndarray, activity: np.ndarray, shut_first: dict[int, float], basis: np.ndarray, start: int
) -> np.ndarray:
    """By how much breaths open the mouth (T,), in outer-eye-corner distances, before speech begins.

    Args:
        outputs: (T, coefficients + 1) the network's.
        activity: (T,) of the speech.
        shut_first: the frames in which it rises for speech, and how far the first sound shuts the lips; see
            ``shut_at_onset``.
        basis: (coefficients, 478, 3) of the motion.
        start: index of the recording's first frame, which may lie before these.
    """
    opening = predicted_opening(outputs, basis)
    frames = np.arange(len(activity))
    open_by = np.zeros(len(activity), np.float32)
    for onset, shut in shut_first.items():
        spoken = smoothstep(opening[onset : onset + SPOKEN_FRAMES].max(), SPOKEN_FROM, SPOKEN_AT)
        rise = smoothstep((frames - max(onset - BREATH_FRAMES, start)) / BREATH_ONSET)
        closing = shut * smoothstep((frames - onset + MEET_FRAMES) / CLOSING_FRAMES + 1)
        open_by = np.maximum(open_by, spoken * rise * (1 - closing) * (frames < onset + TRANSITION_FRAMES))
    return BREATH_GAP * open_by * (1 - activity)
