"""Held sounds: speech whose steady sounds last as long as singers', with the motion that they have in speech."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from space_core.measures.espeak import BILABIALS
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
from space_core.motion.loudness import smooth
from space_core.motion.motion_network import MotionDecoder
from space_core.motion.speech_encoder import SpeechEncoder
from space_core.motion.speech_features import SPEECH_POWER, speech_power
from space_core.timing import SAMPLE_RATE
from space_core.training.speech2landmarks.augmentation import augment
from space_core.training.speech2landmarks.basis import coefficient_opening, linear_measures
from space_core.training.speech2landmarks.clips import encode, whole_mel
from space_core.training.speech2landmarks.finetune import Example
from space_core.training.speech2landmarks.train import decode

SEED = 7
EXCERPT_SECONDS = 15  # of a recording
PERFORMANCES = 3  # of each recording: as a song, as single notes, as a song
HELD_SECONDS = (0.35, 4.5)
SONG_SECONDS, NOTES = 2.5, 4  # of the recording in a song; number of notes at most
HOLD_CHANCE, HUM_CHANCE = 0.3, 0.9  # of a steady sound in a song, with lips apart or shut
HUM_WEIGHT = 8.0  # of sounds with shut lips, which are rarer, among single notes
AUGMENTED_SHARE = 0.35
SURE_LOGIT = 1.0  # from which on a sound's lips are known to be shut or, below minus it, apart
HELD_LOGIT = 4.0  # of held sounds at least, shut, or minus it, apart
MIN_OPENING = 0.035  # of lips in a sound that is sung, in outer-eye-corner distances: 3 mm
HELD_SMOOTHING = 2.0  # frames
HUMMED, HUM_EDGE = "m", 0.3  # a sound that is held even if it is not steady, and the share of its length at either end
# Phonemes by either program's names that are not held. A held n can hardly be told from a held m, which is hummed more.
NOT_HELD = set("pbtdkgfvszSZTDhx?nN") | {"ts", "tS", "dZ", "hh", "sh", "ch", "jh", "th", "dh", "zh", "pau", "ng", "n^"}
APART_OPENING = 0.05  # of lips in sounds whose names are not known, that are not n


def held_examples(
    paths: list[Path], decoder: MotionDecoder, encoder: SpeechEncoder, basis: np.ndarray
) -> Iterator[Example]:
    """Recordings with some sounds held, each time with what a decoder predicts from the recording itself.

    ``basis`` (coefficients, 478, 3) is that of the motion.
    """
    draw = np.random.default_rng(SEED)
    torch.manual_seed(SEED)  # of the augmentation
    for path in paths:
        speech, _ = soundfile.read(path, dtype="float32", stop=EXCERPT_SECONDS * SAMPLE_RATE)
        speech *= np.sqrt(SPEECH_POWER / speech_power(speech))
        outputs = decode(decoder, encode(whole_mel(speech), encoder)).numpy().astype(np.float64)
        voice = analyse_voice(speech)
        apart = _sounds(voice, outputs, coefficient_opening(outputs, basis), _phonemes(path))
        if not apart:
            continue
        for number in range(PERFORMANCES):
            course = _song(voice, apart, draw) if number % 2 == 0 else _notes(apart, draw)
            if course is None:
                continue
            semitones, gain = _melody(course, draw), _swell(course, draw)
            sound = perform(voice, Course(course.source, course.held, course.gain * gain), semitones)
            mel = whole_mel(sound)
            if draw.random() < AUGMENTED_SHARE:
                mel = augment(mel[None])[0]
            motion = torch.from_numpy(held_motion(outputs, course, apart, basis)).float()
            features = encode(mel, encoder)
            length = min(len(motion), len(features) // 2)
            yield features[: 2 * length].half(), motion[:length], torch.ones(length)


def held_motion(outputs: np.ndarray, course: Course, apart: dict[range, bool], basis: np.ndarray) -> np.ndarray:
    """Targets (T, coefficients + 1) of a performance, from a decoder's outputs (S, coefficients + 1) for the recording.

    ``apart`` says of each sound, in steps of the recording, whether lips are apart in it.
    """
    source, held, gain = course.frames()
    places = np.clip(source, 0, len(outputs) - 1)
    motion = np.stack([np.interp(places, np.arange(len(outputs)), column) for column in outputs.T], axis=1)
    share = smooth(held.astype(float), 1.0)[:, None]
    motion += share * (smooth(motion, HELD_SMOOTHING) - motion)
    steps = (source + 0.5) * STEPS_PER_FRAME
    opened = np.zeros(len(steps), bool)
    for sound, lips_apart in apart.items():
        inside = held & (steps >= sound.start - 1) & (steps <= sound.stop + 1)
        opened |= inside & lips_apart
    logit = motion[:, -1]
    logit = np.where(opened, np.minimum(logit, -HELD_LOGIT), np.where(held, np.maximum(logit, HELD_LOGIT), logit))
    measures = linear_measures(basis)[:, [0, 1, 5]]  # opening, while width and the lips' forward motion stay
    opening = np.linalg.pinv(measures)[0]
    missing = np.maximum(MIN_OPENING - coefficient_opening(motion, basis), 0) * smooth(opened.astype(float), 1.5)
    coefficients = (motion[:, :-1] + missing[:, None] * opening) * gain[:, None]
    logit = np.where(gain < 0.5, HELD_LOGIT, logit)
    return np.column_stack([coefficients, 1 / (1 + np.exp(-logit))])


def _sounds(
    voice: Voice, outputs: np.ndarray, opening: np.ndarray, phonemes: list[tuple[str, float, float]]
) -> dict[range, bool]:
    """The steady sounds that can be held, in order, with whether lips are apart in them."""
    found = {}
    for sound in voice.steady_sounds:
        middle = (sound.start + sound.stop) / 2
        frame = min(int(middle / STEPS_PER_FRAME), len(outputs) - 1)
        logit = outputs[frame, -1]
        spoken = [name for name, begin, end in phonemes if begin <= middle / STEPS_PER_SECOND < end]
        if spoken and spoken[0] not in NOT_HELD:
            found[sound] = spoken[0] not in BILABIALS
        elif not spoken and (logit > SURE_LOGIT or (logit < -SURE_LOGIT and opening[frame] > APART_OPENING)):
            found[sound] = bool(logit < 0)
    for name, begin, end in phonemes:
        spare = HUM_EDGE * (end - begin)
        hum = range(round(STEPS_PER_SECOND * (begin + spare)), round(STEPS_PER_SECOND * (end - spare)))
        if name == HUMMED and hum and all(sound.stop <= hum.start or sound.start >= hum.stop for sound in found):
            found[hum] = False
    return dict(sorted(found.items(), key=lambda item: item[0].start))


def _song(voice: Voice, apart: dict[range, bool], draw: np.random.Generator) -> Course | None:
    """Some seconds of a recording in which some sounds are held."""
    length = min(int(SONG_SECONDS * STEPS_PER_SECOND), len(voice.pitch) - 1)
    first = int(draw.integers(len(voice.pitch) - length))
    inside = [sound for sound in apart if sound.start > first and sound.stop < first + length]
    chances = (HOLD_CHANCE if apart[sound] else HUM_CHANCE for sound in inside)
    chosen = [sound for sound, chance in zip(inside, chances, strict=True) if draw.random() < chance] or inside[:1]
    lengths = [_length(draw) for _ in chosen]
    return course_of_song(range(first, first + length), chosen, lengths, draw.uniform(0.9, 2.0)) if chosen else None


def _notes(apart: dict[range, bool], draw: np.random.Generator) -> Course:
    """Some sounds of a recording, each alone."""
    sounds = list(apart)
    weights = np.array([1.0 if apart[sound] else HUM_WEIGHT for sound in sounds])
    count = min(int(draw.integers(1, NOTES + 1)), len(sounds))
    chosen = [sounds[index] for index in draw.choice(len(sounds), count, replace=False, p=weights / weights.sum())]
    lengths = [_length(draw) for _ in chosen]
    pauses = draw.choice([0.02, 0.1, 0.6, 1.2], len(chosen) + 1) * STEPS_PER_SECOND
    return course_of_notes(chosen, lengths, [int(pause) for pause in pauses])


def _length(draw: np.random.Generator) -> int:
    return int(np.exp(draw.uniform(*np.log(HELD_SECONDS))) * STEPS_PER_SECOND)


def _melody(course: Course, draw: np.random.Generator) -> np.ndarray:
    """(P,) semitones: a register, in held sounds steps and vibrato, or neither."""
    times = np.arange(len(course.source)) / STEPS_PER_SECOND
    semitones = np.full(len(times), draw.normal(0, 3))
    if draw.random() < 0.5:
        notes = np.cumsum(draw.integers(-4, 5, len(times)))
        semitones += np.clip(notes, -7, 9)[(times / draw.uniform(0.25, 1.0)).astype(int)] * course.held
    if draw.random() < 0.5:
        semitones += draw.uniform(0.2, 1) * np.sin(2 * np.pi * draw.uniform(4, 7) * times) * course.held
    return semitones + 0.15 * smooth(draw.standard_normal(len(times)), 4.0) * course.held


def _swell(course: Course, draw: np.random.Generator) -> np.ndarray:
    """(P,) gain that rises and falls within seconds."""
    count = 2 + len(course.source) // STEPS_PER_SECOND
    decibels = np.clip(draw.normal(0, draw.choice([1, 4, 8]), count), -16, 8)
    return 10 ** (np.interp(np.linspace(0, count - 1, len(course.source)), np.arange(count), decibels) / 20)


def _phonemes(path: Path) -> list[tuple[str, float, float]]:
    names = path.with_suffix(".json")
    return json.loads(names.read_text()) if names.exists() else []
