"""The recordings: clips with speech, short ones joined, and speech without video."""

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from space_core.measures.corpus import Corpus
from space_core.motion.speech_features import SPEECH_POWER, speech_power
from space_core.timing import SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames

SHORT_SECONDS = 3.0  # shorter clips of one speaker are joined into recordings
JOINED_CLIPS = 12  # at most, in a recording
SPEEDS = ((20, 17), (25, 23), (1, 1), (23, 25), (17, 20))  # up and down factors of resampling; they shift the pitch too
OWN_SPEED = SPEEDS.index((1, 1))

# Recordings without video that are the sound of clips kept for validation.
HELD_OUT_SPEECH = {
    "styletalk_kristinoem",
    "styletalk_reagan_clip1",
    "latentsync_demo1_audio",
    "v_express_aud" + 6 * "_b",
    "v_express_aud" + 10 * "_b",
}


@dataclass(frozen=True)
class Recording:
    """Speech, with or without the video clips that it comes from.

    Attributes:
        name: the clip's id, or the file's name.
        speech: (N,) float32, 16 kHz mono.
        clips: ids of the clips that are joined in it, in order; empty without video.
        borders: the first frame of each clip, and the number of frames; the recording's ends without video.
        phonemes: names with their begin and end in seconds, if they are known.
    """

    name: str
    speech: np.ndarray
    clips: tuple[str, ...]
    borders: tuple[int, ...]
    phonemes: tuple[tuple[str, float, float], ...] = ()

    def __len__(self) -> int:
        return self.borders[-1]

    def at_speed(self, speed: int) -> np.ndarray:
        """The speech (M,) lengthened by a factor of ``SPEEDS``, with its pitch and formants lowered by the same."""
        up, down = SPEEDS[speed]
        return self.speech if up == down else resample_poly(self.speech, up, down).astype(np.float32)


def clip_recordings(corpus: Corpus, held_out: bool) -> list[Recording]:
    """The clips with their own speech: those to train on, or those held out for validation."""
    rows = [row for row in corpus.clips if row["speech"] == "1" and (row["id"] in corpus.held_out) == held_out]
    long = [[row["id"]] for row in rows if float(row["seconds"]) >= SHORT_SECONDS or not row["speaker"]]
    short = [row for row in rows if float(row["seconds"]) < SHORT_SECONDS and row["speaker"]]
    joined = []
    for _, group in groupby(sorted(short, key=lambda row: row["speaker"]), key=lambda row: row["speaker"]):
        names = [row["id"] for row in group]
        joined += [names[first : first + JOINED_CLIPS] for first in range(0, len(names), JOINED_CLIPS)]
    return [_joined(corpus, names) for names in long + joined]


def speech_recordings(corpus: Corpus) -> list[Recording]:
    """Speech without video, in the corpus and as gathered into the cache."""
    paths = [path for path in sorted((corpus.folder / "speech").glob("*.flac")) if path.stem not in HELD_OUT_SPEECH]
    return [_read(path) for path in paths + sorted((corpus.cache / "speech").glob("*.flac"))]


def _joined(corpus: Corpus, names: list[str]) -> Recording:
    parts, borders = [], [0]
    for name in names:
        speech = corpus.speech(name)
        length = number_of_frames(len(speech)) if len(names) == 1 else len(speech) // SAMPLES_PER_FRAME
        parts.append(speech[: length * SAMPLES_PER_FRAME] * np.sqrt(SPEECH_POWER / speech_power(speech)))
        borders.append(borders[-1] + length)
    return Recording(names[0], np.concatenate(parts).astype(np.float32), tuple(names), tuple(borders))


def _read(path: Path) -> Recording:
    speech, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    phonemes = path.with_suffix(".json")
    known = tuple(map(tuple, json.loads(phonemes.read_text()))) if phonemes.exists() else ()
    return Recording(path.stem, speech, (), (0, number_of_frames(len(speech))), known)
