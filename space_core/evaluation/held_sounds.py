"""Lips in sounds that are held for seconds, as in singing, compared with the same sounds in speech.

    pip install pyworld "setuptools<81"
    python -m space_core.evaluation.held_sounds CORPUS

Sounds of espeak-ng's voices that no training used, and of the validation clips, are held for 0.6 to 4 seconds: at a
steady pitch, with vibrato, as a melody, getting louder. Prints, by kind of sound, how many there are, in how many of
them lips are shut for more than a fifth of the time, and how far they are open, relative to the same sound in speech
(median, first and ninth decile); and how well the held mouth's opening and width, one pair for each sound, correlate
with those in speech.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from space_core.evaluation.lips import SENTENCES, predict, validation_clips
from space_core.face.topology import canonical_face
from space_core.measures import espeak
from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.held_sounds import (
    STEPS_PER_FRAME,
    STEPS_PER_SECOND,
    Course,
    Voice,
    analyse_voice,
    course_of_notes,
    course_of_song,
    perform,
)
from space_core.measures.lips import mouth_measures
from space_core.motion.lips import resting_face
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks
from space_core.motion.speech_features import SPEECH_POWER, speech_power
from space_core.timing import SAMPLE_RATE

SECONDS = (0.6, 1.0, 2.0, 4.0)
STYLES = ("steady", "vibrato", "melody", "louder")
PAUSE = STEPS_PER_SECOND // 2
SHUT, SHUT_SHARE = 0.015, 0.2  # outer-eye-corner distances, 1.3 mm; of a held sound's frames
SETTLING_FRAMES = 3  # at either end of a held sound, that do not count
VOWELS = {
    "a": ("a", "A", "aa"),
    "e": ("e", "E", "eI"),
    "i": ("i", "I"),
    "o": ("o", "O", "0", "oU"),
    "u": ("u", "U"),
}
CONSONANTS = {"m": ("m",), "f": ("f",), "s": ("s",)}
SOUNDS_OF_PERSON = 6  # of a validation clip
SHORT_SECONDS, RECORDED_SECONDS = 3, 15  # shorter clips are left out, of longer ones the beginning is taken


@dataclass(frozen=True)
class Spoken:
    """Speech whose sounds are held.

    Attributes:
        kind: what its sounds are called in the tables.
        voice: analysed.
        measures: (T, 6) of the mouth in it.
        sounds: steps of the voice.
    """

    kind: str
    voice: Voice
    measures: np.ndarray
    sounds: list[range]


@dataclass(frozen=True)
class Performance:
    """How a sound is held: for how many seconds, in which of ``STYLES``, and whether it stands alone."""

    seconds: float
    style: str
    alone: bool


@dataclass(frozen=True)
class HeldSound:
    """A held sound: means (6,) of the mouth's measures in speech and held, the share of held frames with shut lips."""

    kind: str
    seconds: float
    style: str
    in_speech: np.ndarray
    held: np.ndarray
    shut: float


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    model = load_speech2landmarks()
    results = [
        held_sound(model, spoken, sound, performance)
        for spoken in [*espeak_sounds(model), *recorded_sounds(model, corpus)]
        for sound, performance in performances(spoken.sounds)
    ]
    for kind in dict.fromkeys(result.kind for result in results):
        print(f"{kind:12s} {described([result for result in results if result.kind == kind])}")
    vowels = [result for result in results if result.kind not in CONSONANTS]
    for name in SECONDS:
        print(f"{name:3.1f} s        {described([result for result in vowels if result.seconds == name])}")
    for style in STYLES:
        print(f"{style:12s} {described([result for result in vowels if result.style == style])}")
    print(f"{'all vowels':12s} {described(vowels)}")


def performances(sounds: list[range]) -> Iterator[tuple[range, Performance]]:
    """Every sound twice; all combinations of lengths and styles in turn."""
    every = list(product(SECONDS, STYLES))
    for index, sound in enumerate(sounds):
        for number in (2 * index, 2 * index + 9):
            seconds, style = every[number * 3 % len(every)]
            yield sound, Performance(seconds, style, alone=number % 2 == 0)


def espeak_sounds(model: Speech2Landmarks) -> Iterator[Spoken]:
    """Speech of espeak-ng by voice and kind of sound, with the two longest such sounds in it."""
    for name, text in SENTENCES.items():
        speech, phonemes = espeak.synthesize(text, name)
        voice, measures = analyse_voice(speech), measured(model, speech)
        for kind, names in (VOWELS | CONSONANTS).items():
            long = sorted(
                (phoneme for phoneme in phonemes if phoneme.name in names), key=lambda each: each.begin - each.end
            )
            sounds = [_middle_of(phoneme) for phoneme in long[:2] if phoneme.end - phoneme.begin > 0.05]
            yield Spoken(kind, voice, measures, sounds)


def recorded_sounds(model: Speech2Landmarks, corpus: Corpus) -> Iterator[Spoken]:
    """Speech of recorded people, with their longest steady sounds in which the lips are apart."""
    for clip in validation_clips(corpus):
        speech = corpus.speech(clip["id"])[: RECORDED_SECONDS * SAMPLE_RATE]
        if len(speech) < SHORT_SECONDS * SAMPLE_RATE:
            continue
        speech = (speech * np.sqrt(SPEECH_POWER / speech_power(speech))).astype(np.float32)
        voice, measures = analyse_voice(speech), measured(model, speech)
        apart = [sound for sound in voice.steady_sounds if in_speech(measures, sound)[0] > 2 * SHUT]
        yield Spoken("people", voice, measures, sorted(apart, key=len, reverse=True)[:SOUNDS_OF_PERSON])


def held_sound(model: Speech2Landmarks, spoken: Spoken, sound: range, performance: Performance) -> HeldSound:
    """One sound of speech, held."""
    length = round(performance.seconds * STEPS_PER_SECOND)
    if performance.alone:
        course = course_of_notes([sound], [length], [PAUSE, PAUSE])
    else:
        around = STEPS_PER_SECOND
        whole = range(max(sound.start - around, 0), min(sound.stop + around, len(spoken.voice.pitch) - 1))
        course = course_of_song(whole, [sound], [length])
    course, semitones = styled(course, performance.style)
    measures = measured(model, perform(spoken.voice, course, semitones))
    _, is_held, _ = course.frames()
    held = measures[np.flatnonzero(is_held)[SETTLING_FRAMES:-SETTLING_FRAMES]]
    shut = float((held[:, 0] < SHUT).mean())
    return HeldSound(
        spoken.kind, performance.seconds, performance.style, in_speech(spoken.measures, sound), held.mean(0), shut
    )


def styled(course: Course, style: str) -> tuple[Course, np.ndarray]:
    """The course in a style, and by how many semitones its pitch is raised (P,)."""
    times = np.cumsum(course.held) / STEPS_PER_SECOND
    semitones, gain = np.zeros(len(times)), course.gain
    if style == "vibrato":
        semitones = 0.6 * np.sin(2 * np.pi * 5.5 * times) * course.held
    elif style == "melody":
        semitones = np.array([0, 2, 4, 7, 5, -1, 0, 9])[(times / 0.4).astype(int) % 8] * course.held
    elif style == "louder":
        gain = gain * 10 ** (np.where(course.held, -15 * (1 - times / max(times[-1], 1e-9)), 0) / 20)
    return Course(course.source, course.held, gain), semitones


def in_speech(measures: np.ndarray, sound: range) -> np.ndarray:
    """Means (6,) of the mouth's measures (T, 6) in a sound, in steps, of speech."""
    frames = np.arange(sound.start + len(sound) // 4, sound.stop - len(sound) // 4) // STEPS_PER_FRAME
    return measures[np.minimum(frames, len(measures) - 1)].mean(0)


def measured(model: Speech2Landmarks, speech: np.ndarray) -> np.ndarray:
    """The mouth's measures (T, 6) in speech; with opening above that of the resting mouth."""
    face = resting_face(canonical_face().vertices, model.basis)
    measures = mouth_measures(predict(model, speech, face))
    measures[:, 0] -= mouth_measures(face[None])[0, 0]
    return measures


def described(results: list[HeldSound]) -> str:
    """The figures of some held sounds in one line."""
    speech, held = (np.stack([getattr(result, name) for result in results]) for name in ("in_speech", "held"))
    shut = np.mean([result.shut > SHUT_SHARE for result in results])
    low, middle, high = np.percentile(held[:, 0] / np.maximum(speech[:, 0], SHUT), [10, 50, 90])
    opening, width = (np.corrcoef(speech[:, index], held[:, index])[0, 1] for index in (0, 1))
    return (
        f"{len(results):4d} held, {shut:4.0%} shut, open {middle:.2f} ({low:.2f} to {high:.2f}) times as in speech; "
        f"correlation of opening {opening:.2f}, width {width:.2f}"
    )


def _middle_of(phoneme: espeak.Phoneme) -> range:
    begin, end = (round(each * STEPS_PER_SECOND) for each in (phoneme.begin, phoneme.end))
    spare = (end - begin) // 4
    return range(begin + spare, end - spare)


if __name__ == "__main__":
    report(corpus_from_arguments(__doc__))
