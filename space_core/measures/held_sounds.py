"""Speech whose sounds are held for seconds, as singers do, analysed and synthesized by WORLD (Morise et al., 2016).

pip install pyworld "setuptools<81"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyworld

from space_core.motion.loudness import smooth
from space_core.timing import FPS, SAMPLE_RATE

STEP_MS = 5.0  # of the analysis
STEPS_PER_SECOND = 200
STEPS_PER_FRAME = STEPS_PER_SECOND // FPS

# A sound is steady where its spectrum changes by less than this, is voiced, and not much quieter than the recording.
STEADY_DB = 0.8  # per step, root mean square over bands
QUIET_DB = -18.0
SHORTEST, LONGEST = 8, 24  # steps of a steady sound that are kept
BANDS = 24
DRIFT = 0.3  # of the speed of speech with which a held sound moves to and fro within what was steady
EDGE_STEPS = 16  # before and after a sound that stands alone


@dataclass(frozen=True)
class Voice:
    """A recording by WORLD, in steps of STEP_MS.

    Attributes:
        pitch: (S,) in Hz, 0 where unvoiced.
        envelope: (S, 513) power spectrum.
        aperiodicity: (S, 513) share of noise.
    """

    pitch: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray

    @cached_property
    def steady_sounds(self) -> list[range]:
        """The steps in which a voiced sound hardly changes, in order."""
        power = np.add.reduceat(self.envelope, np.unique(np.geomspace(4, 500, BANDS).astype(int)), axis=1)
        bands = 10 * np.log10(power + 1e-12)
        level = 10 * np.log10(self.envelope.sum(1) + 1e-12)
        shape = smooth(bands - bands.mean(1, keepdims=True), 2.0)
        change = np.sqrt((np.gradient(shape, axis=0) ** 2).mean(1))
        loud = level > np.percentile(level, 90) + QUIET_DB
        steady = (self.pitch > 0) & loud & (change < STEADY_DB)
        borders = np.flatnonzero(np.diff(np.pad(steady.astype(int), 1)))
        found = (range(begin, end) for begin, end in zip(borders[::2].tolist(), borders[1::2].tolist(), strict=True))
        return [_middle(sound, LONGEST) for sound in found if len(sound) >= SHORTEST]


@dataclass(frozen=True)
class Course:
    """How a recording is performed: for each step of the performance the one of the recording, pitch and level.

    Attributes:
        source: (P,) steps of the recording, fractions included.
        held: (P,) whether a sound is held.
        gain: (P,) of the amplitude, 0 in pauses.
    """

    source: np.ndarray
    held: np.ndarray
    gain: np.ndarray

    def frames(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each video frame (T,) of the performance: that of the recording, whether it is held, its gain."""
        middles = np.arange(STEPS_PER_FRAME // 2, len(self.source), STEPS_PER_FRAME)
        return self.source[middles] / STEPS_PER_FRAME - 0.5, self.held[middles], self.gain[middles]


def analyse_voice(speech: np.ndarray) -> Voice:
    """The voice of speech (N,) float32, 16 kHz mono."""
    speech = speech.astype(np.float64)
    rough, times = pyworld.dio(speech, SAMPLE_RATE, frame_period=STEP_MS)
    pitch = pyworld.stonemask(speech, rough, times, SAMPLE_RATE)
    return Voice(
        pitch,
        pyworld.cheaptrick(speech, pitch, times, SAMPLE_RATE),
        pyworld.d4c(speech, pitch, times, SAMPLE_RATE),
    )


def perform(voice: Voice, course: Course, semitones: np.ndarray) -> np.ndarray:
    """Sound (N,) float32 of a voice in a course of P steps, its pitch raised by semitones (P,)."""
    source = np.clip(course.source, 0, len(voice.pitch) - 1)
    left = np.minimum(source.astype(int), len(voice.pitch) - 2)
    share = source - left
    nearest = np.rint(source).astype(int)
    voiced = voice.pitch[nearest] > 0
    pitch = _between(voice.pitch, left, share)
    pitch = np.where((voice.pitch[left] > 0) & (voice.pitch[left + 1] > 0), pitch, voice.pitch[nearest])
    envelope = np.exp(_between(np.log(voice.envelope + 1e-16), left, share[:, None])) * course.gain[:, None] ** 2
    pitch = np.where(voiced, np.clip(pitch * 2 ** (semitones / 12), 60, 900), 0)
    aperiodicity = np.clip(_between(voice.aperiodicity, left, share[:, None]), 1e-4, 1 - 1e-4)
    return pyworld.synthesize(pitch, envelope + 1e-16, aperiodicity, SAMPLE_RATE, STEP_MS).astype(np.float32)


def course_of_song(whole: range, sounds: Sequence[range], lengths: Sequence[int], slowness: float = 1.0) -> Course:
    """Steps ``whole`` of a recording, some sounds held for so many steps; the others last longer by a factor."""
    parts, begin = [], whole.start
    for sound, length in zip(sounds, lengths, strict=True):
        middle = sound.start + len(sound) // 4
        parts += [_said(begin, middle, slowness), _held(sound, middle, length)]
        begin = round(parts[-1].source[-1])
    return _joined([*parts, _said(begin, whole.stop, slowness)])


def course_of_notes(sounds: Sequence[range], lengths: Sequence[int], pauses: Sequence[int]) -> Course:
    """Sounds that are held, each alone, with a pause before each of them and one more at the end, all in steps."""
    parts = []
    for sound, length, pause in zip(sounds, lengths, pauses, strict=False):
        middle = sound.start + len(sound) // 4
        held = _held(sound, middle, length)
        end = round(held.source[-1])
        note = _joined([_said(max(sound.start - EDGE_STEPS, 0), middle, 1.0), held, _said(end, end + EDGE_STEPS, 1.0)])
        edge = np.minimum(np.arange(len(note.source)) / EDGE_STEPS, 1)
        parts += [_pause(sound.start, pause), Course(note.source, note.held, np.minimum(edge, edge[::-1]))]
    return _joined([*parts, _pause(sounds[-1].stop, pauses[-1])])


def _said(begin: int, end: int, slowness: float) -> Course:
    source = np.linspace(begin, end, max(round((end - begin) * slowness), 0), endpoint=False)
    return Course(source, np.zeros(len(source), bool), np.ones(len(source)))


def _held(sound: range, first: int, length: int) -> Course:
    """A sound from step ``first`` of it on, for so many steps, moving slowly to and fro in the middle half of it."""
    reach = max(len(sound) // 2, 1)
    source = first + reach / 2 * (1 - np.cos(np.pi * DRIFT * np.arange(length) / reach))
    return Course(source, np.ones(length, bool), np.ones(length))


def _pause(at: int, length: int) -> Course:
    return Course(np.full(length, float(at)), np.zeros(length, bool), np.zeros(length))


def _joined(parts: Sequence[Course]) -> Course:
    columns = zip(*((part.source, part.held, part.gain) for part in parts), strict=True)
    return Course(*(np.concatenate(column) for column in columns))


def _middle(sound: range, longest: int) -> range:
    spare = max(len(sound) - longest, 0) // 2
    return sound[spare : len(sound) - spare]


def _between(values: np.ndarray, left: np.ndarray, share: np.ndarray) -> np.ndarray:
    return values[left] + share * (values[left + 1] - values[left])
