"""The clips: speech features paired with coefficients of the motion basis, at several speeds."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.signal import resample_poly

from space_core.measures.corpus import Corpus
from space_core.motion.motion_network import CONTEXT_FRAMES
from space_core.motion.speech2landmarks import HOP_FRAMES
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, SpeechEncoder
from space_core.motion.speech_features import NUM_MELS, STEPS_PER_FRAME, log_mel, speech_activity, speech_power
from space_core.timing import FPS, number_of_frames
from space_core.training.speech2landmarks.basis import clip_offsets, coefficients, motion_basis

SPEEDS = ((20, 17), (25, 23), (1, 1), (23, 25), (17, 20))  # up and down factors of resampling; they shift the pitch too
OWN_SPEED = SPEEDS.index((1, 1))
SHORT_SECONDS = 3.0  # shorter clips are left to fine-tuning
SHUT, OPEN = 0.12, 0.3  # of a clip's range of lip opening: below the first lips are shut, above the second open


@dataclass(frozen=True)
class Clip:
    """A recording and the motion that goes with it, at one or several speeds.

    Attributes:
        name: its id in the manifest, or the file's name.
        opening: (T,) lip opening as tracked, for validation.
        sound: per speed, (4 T, 80) log-mel spectrogram, or (2 T, 384) its features by the encoder.
        motion: per speed, (T, coefficients + 1) coefficients of the basis, in the clip's own range; in the last column
            whether the lips are shut, 0 to 1, 0.5 where unknown.
        lag: by how many frames the motion was moved forwards against the sound.
        tracked: whether the motion was tracked in video rather than predicted by the ensemble.
    """

    name: str
    opening: np.ndarray
    sound: list[torch.Tensor]
    motion: list[torch.Tensor]
    lag: int = 0
    tracked: bool = True


def read_clips(corpus: Corpus) -> tuple[list[Clip], list[Clip], np.ndarray]:
    """The clips to train on, those to validate on, and the motion basis."""
    offsets = {}
    for row in corpus.clips:
        found = clip_offsets(corpus.landmarks(row["id"]))
        if found is not None:
            offsets[row["id"]] = found
    basis = motion_basis([motion for name, (motion, _) in offsets.items() if name not in corpus.held_out])
    training: list[Clip] = []
    validation: list[Clip] = []
    for row in corpus.clips:
        name = row["id"]
        if row["speech"] == "1" and name in offsets and float(row["seconds"]) >= SHORT_SECONDS:
            motion, opening = offsets[name]
            motion = np.column_stack([coefficients(motion, basis), closures(opening)])
            held = name in corpus.held_out
            clip = make_clip(name, corpus.speech(name), motion, opening, SPEEDS[OWN_SPEED:][:1] if held else SPEEDS)
            (validation if held else training).append(clip)
    minutes = sum(len(clip.opening) for clip in training) / FPS / 60
    print(f"{len(offsets)} clips for the basis, {len(training)} with speech ({minutes:.1f} min)", flush=True)
    return training, validation, basis


def closures(opening: np.ndarray) -> np.ndarray:
    """(T,) whether the lips of a clip with this opening (T,) are shut: 1 or 0, 0.5 where that is not sure."""
    low, high = np.percentile(opening, [5, 95])
    relative = (opening - low) / (high - low)
    return np.where(relative < SHUT, 1.0, np.where(relative > OPEN, 0.0, 0.5))


def make_clip(
    name: str, speech: np.ndarray, motion: np.ndarray, opening: np.ndarray, speeds: tuple[tuple[int, int], ...]
) -> Clip:
    """A clip from its sound (N,), its motion (T, coefficients + 1), its lip opening (T,)."""
    activity = speech_activity(speech, speech_power(speech))[: len(motion), None]
    motion = motion[: len(activity)]
    # In pauses the target is a closed mouth, whatever the speaker's does.
    motion = np.concatenate([motion[:, :-1] * activity, np.where(activity < 0.5, 1, motion[:, -1:])], axis=1)
    all_sound, all_motion = [], []
    for up, down in speeds:
        changed = resampled(speech, up, down)
        length = min(number_of_frames(len(changed)), int(len(motion) * up / down))
        all_sound.append(torch.from_numpy(log_mel(changed, speech_power(changed), 0, length)).half())
        all_motion.append(at_speed(motion, (up, down), length))
    return Clip(name, opening, all_sound, all_motion)


def resampled(speech: np.ndarray, up: int, down: int) -> np.ndarray:
    """Speech (N,) lengthened by up / down, with its pitch and formants lowered by the same factor."""
    return resample_poly(speech, up, down).astype(np.float32) if up != down else speech


def at_speed(motion: np.ndarray, speed: tuple[int, int], length: int) -> torch.Tensor:
    """The first ``length`` frames of motion (T, columns) resampled like sound by a factor of up / down."""
    source = np.minimum(np.arange(length) * speed[1] / speed[0], len(motion) - 1)
    columns = [np.interp(source, np.arange(len(motion)), column) for column in motion.T]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def shifted(clip: Clip, lag: int) -> Clip:
    """The clip with its motion ``lag`` frames earlier."""
    if lag == 0:
        return clip
    sound, motion = [], []
    for own_sound, own_motion, (up, down) in zip(clip.sound, clip.motion, SPEEDS, strict=True):
        later = round(lag * up / down)
        frames = range(max(-later, 0), min(len(own_motion) - later, len(own_motion)))
        per_frame = len(own_sound) // len(own_motion)
        sound.append(own_sound[frames.start * per_frame : frames.stop * per_frame])
        motion.append(own_motion[frames.start + later : frames.stop + later])
    return replace(clip, sound=sound, motion=motion, lag=lag)


def encode_clips(clips: list[Clip], encoder: SpeechEncoder) -> dict[str, list[torch.Tensor]]:
    """The encoder's features (2 T, 384), in half precision, of each clip before it is shifted, at each speed."""
    return {clip.name: [encode(mel, encoder).half() for mel in clip.sound] for clip in clips}


def whole_mel(speech: np.ndarray) -> torch.Tensor:
    """(4 T, 80) log-mel spectrogram of all of some speech (N,), 16 kHz."""
    return torch.from_numpy(log_mel(speech, speech_power(speech), 0, number_of_frames(len(speech))))


@torch.no_grad()
def encode(mel: torch.Tensor, encoder: SpeechEncoder) -> torch.Tensor:
    """The encoder's features (2 T, 384) of a log-mel spectrogram (4 T, 80), in windows as at run time."""
    parts, length = [], len(mel) // STEPS_PER_FRAME
    for first in range(0, length, HOP_FRAMES):
        window = range(first - CONTEXT_FRAMES, first + HOP_FRAMES + CONTEXT_FRAMES)
        inside = range(max(window.start, 0), min(window.stop, length))
        padded = torch.zeros(len(window) * STEPS_PER_FRAME, NUM_MELS)
        offset = (inside.start - window.start) * STEPS_PER_FRAME
        sound = mel[inside.start * STEPS_PER_FRAME : inside.stop * STEPS_PER_FRAME]
        padded[offset : offset + len(sound)] = sound
        features = encoder(padded[None])[0]
        parts.append(features[CONTEXT_FRAMES * TOKENS_PER_FRAME : (CONTEXT_FRAMES + HOP_FRAMES) * TOKENS_PER_FRAME])
    return torch.cat(parts)[: length * TOKENS_PER_FRAME]


def encoded_clip(clip: Clip, features: dict[str, list[torch.Tensor]]) -> Clip:
    """The clip, shifted or not, with the encoder's features as its sound."""
    sound = []
    for own_features, motion, (up, down) in zip(features[clip.name], clip.motion, SPEEDS, strict=False):
        first = max(-round(clip.lag * up / down), 0)
        sound.append(own_features[first * TOKENS_PER_FRAME : (first + len(motion)) * TOKENS_PER_FRAME])
    return replace(clip, sound=sound)
