"""Prosody of speech that is still arriving."""

from typing import NamedTuple

import numpy as np

from space_core.motion.loudness import frame_levels, relative_loudness
from space_core.motion.prosody import Prosody, frame_pitch, prosody_of
from space_core.timing import FPS, SAMPLES_PER_FRAME, number_of_frames

KEPT_FRAMES = 8 * FPS  # of prosody: more than any filter of it reaches back
LEVEL_FRAMES = 60 * FPS  # whose levels say what is loud and what is quiet
LOUD_DB = -20.0  # relative to the speech's power; quieter frames are no speech
DELAY_FRAMES = 4  # by which motion that depends on what follows comes later than in a film
SILENT_LEVEL = -100.0  # dB
# Beyond what is known, speech is taken to go on as loud as it was on average: filters that held its last value instead
# would jump with every syllable.
BEYOND_FRAMES, AVERAGED_FRAMES = 3 * FPS, 2 * FPS


class ProsodyWindow(NamedTuple):
    """Prosody around frames that are planned.

    Attributes:
        prosody: of the frames that are kept, of those to plan, of those ahead and of a guess beyond.
        planned: the frames to plan.
        delayed: as many frames, DELAY_FRAMES before them.
    """

    prosody: Prosody
    planned: slice
    delayed: slice


class LiveProsody:
    """The prosody of one stream; counterpart of ``analyze_prosody``."""

    def __init__(self) -> None:
        self._levels = np.full(KEPT_FRAMES, SILENT_LEVEL)
        self._semitones = np.full(KEPT_FRAMES, np.nan)
        self._recent = np.zeros(0)  # levels
        self._before = np.zeros(SAMPLES_PER_FRAME, np.float32)  # the sound of the frame before

    def next(self, sound: np.ndarray, count: int, power: float) -> ProsodyWindow:
        """Prosody around the next ``count`` frames, whose sound (N,) goes on beyond them as far as it is known.

        ``power`` is the speech's mean power.
        """
        ahead = number_of_frames(len(sound))
        levels = np.concatenate([self._levels, frame_levels(sound, ahead)])
        pitch = frame_pitch(np.concatenate([self._before, sound]), 1 + ahead)[1:]
        semitones = np.concatenate([self._semitones, pitch])
        recent = np.concatenate([self._recent, levels[KEPT_FRAMES:]])
        spoken = recent[recent > 10 * np.log10(power) + LOUD_DB]
        loud = float(np.percentile(spoken, 95)) if len(spoken) else SILENT_LEVEL
        loudness = relative_loudness(levels, loud, float(np.percentile(recent, 5)))
        beyond = np.full(BEYOND_FRAMES, loudness[-AVERAGED_FRAMES:].mean())
        prosody = prosody_of(
            np.concatenate([loudness, beyond]), np.concatenate([semitones, np.full(BEYOND_FRAMES, np.nan)])
        )

        self._levels, self._semitones = levels[count:][:KEPT_FRAMES], semitones[count:][:KEPT_FRAMES]
        self._recent = recent[: len(self._recent) + count][-LEVEL_FRAMES:]
        self._before = sound[(count - 1) * SAMPLES_PER_FRAME :][:SAMPLES_PER_FRAME]
        planned = slice(KEPT_FRAMES, KEPT_FRAMES + count)
        return ProsodyWindow(prosody, planned, slice(planned.start - DELAY_FRAMES, planned.stop - DELAY_FRAMES))
