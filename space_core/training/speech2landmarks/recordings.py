"""The recordings of fine-tuning: clips with their own speech, short ones of a speaker joined, and their motion."""

from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch

from space_core.face.topology import canonical_face
from space_core.measures.corpus import Corpus
from space_core.measures.lips import best_lag, lip_opening, mouth_measures
from space_core.motion.lips import lip_gaps
from space_core.motion.speech_features import SPEECH_POWER, log_mel, speech_activity, speech_power
from space_core.timing import SAMPLES_PER_FRAME, number_of_frames
from space_core.training.speech2landmarks.alignment import MIN_CORRELATION, MIN_GAIN
from space_core.training.speech2landmarks.basis import (
    CLOSED_SHARE,
    SMALLEST_RANGE,
    coefficient_opening,
    coefficients,
    movable,
    normalized_motion,
)
from space_core.training.speech2landmarks.clips import SHORT_SECONDS, closures
from space_core.training.speech2landmarks.train import LARGEST_LAG

JOINED_CLIPS = 12  # at most, in a recording
SCALES = (0.5, 2.0)  # by which the motion of a recording may be scaled to the average amplitude
BORDER_FRAMES = 5  # at the beginning and the end of a clip, where words are cut off


@dataclass(frozen=True)
class Recording:
    """Clips that are joined, and their motion.

    Attributes:
        clips: their ids, in order.
        borders: the first frame of each clip, and the number of frames T.
        speech: (N,) float32, 16 kHz mono, every clip at the same level.
        offsets: (T, 478, 3) offsets of the face from its closed mouth, symmetric, without head motion.
        opening: (T,) lip opening.
        weight: (T,) of each frame in the loss.
    """

    clips: tuple[str, ...]
    borders: tuple[int, ...]
    speech: np.ndarray
    offsets: np.ndarray
    opening: np.ndarray
    weight: np.ndarray

    def mel(self) -> torch.Tensor:
        """(4 T, 80) log-mel spectrogram."""
        return torch.from_numpy(log_mel(self.speech, speech_power(self.speech), 0, self.borders[-1]))

    def amplitudes(self) -> np.ndarray:
        """(6,) standard deviations of the measures of the mouth."""
        return mouth_measures(canonical_face().vertices + self.offsets[self.weight > 0]).std(0)

    def shifted(self, lag: int) -> "Recording":
        """The recording with its motion ``lag`` frames earlier."""
        index = np.arange(len(self.weight)) + lag
        inside = np.clip(index, 0, len(index) - 1)
        weight = np.where(index == inside, self.weight[inside], 0)
        return replace(self, offsets=self.offsets[inside], opening=self.opening[inside], weight=weight)

    def motion(self, basis: np.ndarray, average: np.ndarray) -> np.ndarray:
        """(T, coefficients + 1) coefficients of the basis, and whether lips are shut: 0 to 1, 0.5 where unknown.

        The motion is scaled to the ``average`` amplitudes (6,) of all recordings. In pauses the target is a closed
        mouth, whatever the speaker's does.
        """
        scale = np.exp(np.log(average / self.amplitudes()).mean())
        activity = speech_activity(self.speech, speech_power(self.speech))[: len(self.weight)]
        motion = coefficients(self.offsets * np.clip(scale, *SCALES), basis) * activity[:, None]
        return np.column_stack([motion, np.where(activity < 0.5, 1, closures(self.opening))])


def read_recordings(corpus: Corpus) -> list[Recording]:
    """The clips to train on; those whose mouth hardly moves or whose face is not seen are left out."""
    rows = [row for row in corpus.clips if row["speech"] == "1" and row["id"] not in corpus.held_out]
    is_short = {row["id"]: float(row["seconds"]) < SHORT_SECONDS and bool(row["speaker"]) for row in rows}
    groups = [[row["id"]] for row in rows if not is_short[row["id"]]]
    short = sorted((row for row in rows if is_short[row["id"]]), key=lambda row: row["speaker"])
    for _, clips in groupby(short, key=lambda row: row["speaker"]):
        names = [row["id"] for row in clips]
        groups += [names[first : first + JOINED_CLIPS] for first in range(0, len(names), JOINED_CLIPS)]
    found = (_read(corpus, names) for names in groups)
    return [recording for recording in found if recording is not None]


def aligned(recording: Recording, predicted: np.ndarray, basis: np.ndarray) -> Recording | None:
    """The recording without the lag between its sound and its motion; None if the motion does not fit the sound.

    ``predicted`` (T, coefficients + 1) is a decoder's output. Clips that are joined share one lag; each is compared
    without its own mean.
    """
    curves = [coefficient_opening(predicted, basis)[: len(recording.opening)], recording.opening.copy()]
    for curve in curves:
        for begin, end in zip(recording.borders, recording.borders[1:], strict=False):
            curve[begin:end] -= curve[begin:end].mean()
    lag, best, unshifted = best_lag(curves[0], curves[1], LARGEST_LAG)
    if best <= unshifted + MIN_GAIN:
        lag, best = 0, unshifted
    return recording.shifted(lag) if best > MIN_CORRELATION else None


def _read(corpus: Corpus, names: list[str]) -> Recording | None:
    speech, borders, normalized, weights = [], [0], [], []
    for name in names:
        sound = corpus.speech(name)
        length = number_of_frames(len(sound)) if len(names) == 1 else len(sound) // SAMPLES_PER_FRAME
        speech.append(sound[: length * SAMPLES_PER_FRAME] * np.sqrt(SPEECH_POWER / speech_power(sound)))
        borders.append(borders[-1] + length)
        found = normalized_motion(corpus.landmarks(name))
        weight = np.zeros(length)
        if found is None:
            found = np.full((1, 478, 3), np.nan)
        else:
            weight[BORDER_FRAMES : min(length, len(found)) - BORDER_FRAMES] = 1
        normalized.append(found[np.clip(np.arange(length), 0, len(found) - 1)])
        weights.append(weight)
    landmarks, weight = np.concatenate(normalized), np.concatenate(weights)
    seen = ~np.isnan(landmarks[:, 0, 0])
    if not (weight > 0).any():
        return None
    landmarks = landmarks[np.maximum.accumulate(np.where(seen, np.arange(len(seen)), seen.argmax()))]
    opening, gap = lip_opening(landmarks), lip_gaps(landmarks).mean(-1)
    low, high = np.percentile(opening[seen], [5, 95])
    if high - low < SMALLEST_RANGE:
        return None
    rest = np.median(landmarks[seen & (gap <= np.quantile(gap[seen], CLOSED_SHARE))], axis=0)
    offsets = (landmarks - rest) * movable()[:, None]
    return Recording(tuple(names), tuple(borders), np.concatenate(speech).astype(np.float32), offsets, opening, weight)
