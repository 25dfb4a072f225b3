"""Windows of augmented sound, encoded once: what every decoder of the recipe is trained on."""

from dataclasses import dataclass, fields

import numpy as np
import torch

from space_core.motion.speech2landmarks import CONTEXT_FRAMES, RECEPTIVE_FRAMES, WINDOW_FRAMES
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, SpeechEncoder
from space_core.motion.speech_features import NUM_MELS, STEPS_PER_FRAME, log_mel, speech_power
from space_core.training.speech2landmarks.augmentation import augment, music, noise
from space_core.training.speech2landmarks.recordings import SPEEDS, Recording

BATCH = 16  # windows that are encoded at once
SEED = 3
CLEAN_SHARE = 0.25  # of windows that are not augmented
PAUSED_SHARE = 0.3  # of windows with a pause cut into them
WORDLESS = -1  # the recording of windows that hold no speech

WHOLE = WINDOW_FRAMES + 2 * CONTEXT_FRAMES  # frames that the encoder sees


@dataclass(frozen=True)
class Windows:
    """N windows of WINDOW_FRAMES frames.

    Attributes:
        features: (N, 2 * (WINDOW_FRAMES + 2 * RECEPTIVE_FRAMES), 384) the encoder's output, half precision.
        recording: (N,) index of the recording, or WORDLESS.
        speed: (N,) index in SPEEDS.
        first: (N,) first frame in the recording at that speed; may be negative.
        active: (N, WINDOW_FRAMES) bool, false where a pause was cut in.
    """

    features: torch.Tensor
    recording: torch.Tensor
    speed: torch.Tensor
    first: torch.Tensor
    active: torch.Tensor

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, chosen: torch.Tensor) -> "Windows":
        return Windows(*(getattr(self, field.name)[chosen] for field in fields(self)))


def encode_windows(recordings: list[Recording], count: int, wordless: int, encoder: SpeechEncoder) -> Windows:
    """``count`` windows of the recordings, longer ones more often, and ``wordless`` ones of noise and music."""
    torch.manual_seed(SEED)
    draw = np.random.default_rng(SEED)
    chances = np.sqrt([float(len(recording)) for recording in recordings])
    order = [*draw.choice(len(recordings), count, p=chances / chances.sum()), *[WORDLESS] * wordless]
    draw.shuffle(order)
    sounds = torch.cat([sound(draw) for _ in range(12) for sound in (music, noise)]) if wordless else None
    mels: dict[tuple[int, int], torch.Tensor] = {}
    parts = []
    for begin in range(0, len(order), BATCH):
        batch = [_draw_window(int(index), recordings, mels, sounds, draw) for index in order[begin : begin + BATCH]]
        mel = torch.stack([sound for sound, *_ in batch])
        augmented = torch.from_numpy(draw.random(len(batch)) >= CLEAN_SHARE)
        mel = torch.where(augmented[:, None, None], augment(mel), mel)
        beyond = (CONTEXT_FRAMES - RECEPTIVE_FRAMES) * TOKENS_PER_FRAME
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            features = encoder(mel)[:, beyond:-beyond].half()
        speed, first, active = (torch.tensor(np.array(column)) for column in list(zip(*batch, strict=True))[1:])
        recording = torch.tensor(np.array(order[begin : begin + BATCH]))
        parts.append(Windows(features, recording, speed, first, active))
    return Windows(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Windows)))


def _draw_window(
    index: int,
    recordings: list[Recording],
    mels: dict[tuple[int, int], torch.Tensor],
    sounds: torch.Tensor | None,
    draw: np.random.Generator,
) -> tuple[torch.Tensor, int, int, np.ndarray]:
    """A spectrogram (4 * WHOLE, 80), its speed, its first frame, and where no pause was cut in (WINDOW_FRAMES,)."""
    mel, active = torch.zeros(WHOLE * STEPS_PER_FRAME, NUM_MELS), np.ones(WINDOW_FRAMES, bool)
    if index == WORDLESS:
        if draw.random() < 0.7:  # else silence
            begin = draw.integers(len(sounds) - len(mel))
            last = draw.integers(WHOLE, 3 * WHOLE) * STEPS_PER_FRAME // 2  # some end within the window
            mel[:last] = sounds[begin : begin + len(mel)][:last]
        return mel, 0, 0, active
    speed = int(draw.integers(len(SPEEDS)))
    length = frames_at_speed(len(recordings[index]), speed)
    if (index, speed) not in mels:
        speech = recordings[index].at_speed(speed)
        mels[index, speed] = torch.from_numpy(log_mel(speech, speech_power(speech), 0, length)).half()
    first = int(draw.integers(-WINDOW_FRAMES // 3, max(length - 2 * WINDOW_FRAMES // 3, 1)))
    # The recording may begin or end within the window or its context; outside it there is silence.
    inside = range(max(first - CONTEXT_FRAMES, 0), min(first + WINDOW_FRAMES + CONTEXT_FRAMES, length))
    part = mels[index, speed][inside.start * STEPS_PER_FRAME : inside.stop * STEPS_PER_FRAME]
    offset = (inside.start - (first - CONTEXT_FRAMES)) * STEPS_PER_FRAME
    mel[offset : offset + len(part)] = part
    if draw.random() < PAUSED_SHARE:
        begin, pause = int(draw.integers(-10, WINDOW_FRAMES - 10)), int(draw.integers(14, 70))
        mel[max(begin + CONTEXT_FRAMES, 0) * STEPS_PER_FRAME : (begin + pause + CONTEXT_FRAMES) * STEPS_PER_FRAME] = 0
        active[max(begin, 0) : max(begin + pause, 0)] = False
    return mel, speed, first, active


def frames_at_speed(length: int, speed: int) -> int:
    """The number of frames of a recording of ``length`` frames at a speed of ``SPEEDS``."""
    up, down = SPEEDS[speed]
    return length * up // down
