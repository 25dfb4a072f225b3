"""The training loop of the decoder, and its figures on validation clips."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from space_core.measures.lips import best_lag
from space_core.motion.motion_network import CONTEXT_FRAMES, RECEPTIVE_FRAMES, MotionDecoder
from space_core.motion.speech2landmarks import WINDOW_FRAMES
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH, SpeechEncoder
from space_core.motion.speech_features import NUM_MELS, STEPS_PER_FRAME, smooth_activity
from space_core.training.optimization import set_learning_rate, update_average
from space_core.training.speech2landmarks.augmentation import augment, music, noise
from space_core.training.speech2landmarks.basis import coefficient_opening
from space_core.training.speech2landmarks.clips import Clip
from space_core.training.speech2landmarks.loss import MotionLoss

SEED = 3
TRACKED_SHARE = 0.3  # of windows that come from tracked clips rather than pseudo-labelled recordings
BATCH, ENSEMBLE_BATCH = 16, 24  # windows; with and without the encoder
LEARNING_RATE, LOWEST_RATE, WARM_UP_STEPS, WEIGHT_DECAY, DROPOUT = 1.5e-3, 1e-6, 50, 0.05, 0.1
EMA = 0.99  # of the weights
EVALUATE_EVERY = 100  # steps
WORDLESS_SHARE = 0.08  # of windows with noise or music alone
SOUNDING_SHARE = 0.7  # of these that are not silent
PAUSED_SHARE = 0.35  # of windows with a pause cut into them
PAUSE_FRAMES = (14, 70)  # shortest and longest pause
EDGE_FRAMES = 6  # at the ends of a recording, which is cut off within a word
PAUSE_EDGE_FRAMES, PAUSE_EDGE_WEIGHT = 3, 0.3  # at both ends of a pause, and how much these frames count
MAX_GRADIENT_NORM = 1.0
LARGEST_LAG = 6  # frames, in figures and alignment

Modules = Mapping[str, nn.Module | torch.optim.Optimizer]  # what a checkpoint holds, by name


def train(
    clips: list[Clip],
    validation: list[Clip],
    basis: np.ndarray,
    num_steps: int,
    encoder: SpeechEncoder | None = None,
    checkpoint: Path | None = None,
    seed: int = SEED,
) -> MotionDecoder:
    """A decoder trained on the clips; returns the running average of its weights.

    With an encoder, the clips' sound is spectrograms, which are augmented and encoded at each step; else it is the
    encoder's features.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    decoder, average = (MotionDecoder(len(basis) + 1, dropout) for dropout in (DROPOUT, 0.0))
    average.load_state_dict(decoder.state_dict())
    optimizer = adamw(decoder, LEARNING_RATE)
    modules: Modules = {"decoder": decoder, "average": average, "optimizer": optimizer}
    motion_loss = MotionLoss(basis)
    start = load_checkpoint(checkpoint, modules, draw) if checkpoint and checkpoint.exists() else 0
    chances = clip_chances(clips)
    wordless = torch.cat([sound(draw) for _ in range(12) for sound in (music, noise)]) if encoder else None
    begun, losses = time.time(), []
    for step in range(start, num_steps):
        set_learning_rate(optimizer, LEARNING_RATE, step, num_steps, WARM_UP_STEPS, LOWEST_RATE)
        sound, motion, weight = make_batch(clips, chances, wordless, draw)
        if encoder:
            sound = _encoded(sound, encoder)
        losses.append(train_step(decoder, optimizer, motion_loss, sound, motion, weight))
        update_average(average, decoder, ema_decay(EMA, step))
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == num_steps:
            figures = _validation_figures(average, validation, basis) if validation else ""
            print(f"step {step + 1} loss {np.mean(losses):.4f} {figures} {time.time() - begun:.0f} s", flush=True)
            losses = []
            if checkpoint:
                save_checkpoint(checkpoint, modules, draw, step + 1)
    return average.eval()


def adamw(decoder: MotionDecoder, learning_rate: float) -> torch.optim.AdamW:
    """The optimizer of what is trained of a decoder."""
    parameters = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameters, learning_rate, (0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True)


def train_step(
    decoder: MotionDecoder,
    optimizer: torch.optim.Optimizer,
    motion_loss: MotionLoss,
    features: torch.Tensor,
    motion: torch.Tensor,
    weight: torch.Tensor,
) -> float:
    """One optimization step on the encoder's features, motion and weights of a batch, see ``make_batch``; its loss."""
    decoder.train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = decoder(features)
    loss = motion_loss(outputs.float(), motion, weight)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(decoder.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    return loss.item()


def ema_decay(highest: float, step: int) -> float:
    """The decay of the weights' average after a step, counted from 0: less at first, when the weights are random."""
    return min(highest, (step + 1) / (step + 20))


@torch.no_grad()
def _encoded(sound: torch.Tensor, encoder: SpeechEncoder) -> torch.Tensor:
    """The features of augmented spectrograms, without those that only the encoder needs as context."""
    beyond = (CONTEXT_FRAMES - RECEPTIVE_FRAMES) * TOKENS_PER_FRAME
    with torch.autocast("cpu", torch.bfloat16):
        return encoder(augment(sound))[:, beyond:-beyond].float()


def _validation_figures(decoder: nn.Module, validation: list[Clip], basis: np.ndarray) -> str:
    """Mean figures of the validation clips, in words."""
    lag, _, correlation, amplitude = np.mean([clip_figures(decoder, clip, basis) for clip in validation], 0)
    return f"correlation {correlation:.3f} at lag {lag:+.1f}, amplitude {amplitude:.2f}"


def save_checkpoint(path: Path, modules: Modules, draw: np.random.Generator, step: int) -> None:
    """Writes the state of a training after so many steps, random numbers included."""
    state = {name: module.state_dict() for name, module in modules.items()}
    torch.save(state | {"draw": draw.bit_generator.state, "torch": torch.get_rng_state(), "step": step}, path)


def load_checkpoint(path: Path, modules: Modules, draw: np.random.Generator) -> int:
    """Restores the state of a training; returns the number of steps made."""
    state = torch.load(path, weights_only=False)
    for name, module in modules.items():
        module.load_state_dict(state[name])
    draw.bit_generator.state = state["draw"]
    torch.set_rng_state(state["torch"])
    return state["step"]


def clip_chances(clips: list[Clip]) -> np.ndarray:
    """The probability of each clip: the square root of its length, so that a few long clips don't outweigh the rest."""
    chances = np.sqrt([float(len(clip.opening)) for clip in clips])
    tracked = np.array([clip.tracked for clip in clips])
    if not tracked.all():
        chances[tracked] *= TRACKED_SHARE / chances[tracked].sum()
        chances[~tracked] *= (1 - TRACKED_SHARE) / chances[~tracked].sum()
    return chances / chances.sum()


def make_batch(
    clips: list[Clip], chances: np.ndarray, wordless: torch.Tensor | None, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sound (batch, steps, bands), motion (batch, WINDOW_FRAMES, coefficients + 1), weights (batch, WINDOW_FRAMES).

    With ``wordless`` (steps, 80), sound is spectrograms, some with pauses cut into them, some of noise and music alone;
    else it is the encoder's features.
    """
    size, around, per_frame, bands = (
        (BATCH, CONTEXT_FRAMES, STEPS_PER_FRAME, NUM_MELS)
        if wordless is not None
        else (ENSEMBLE_BATCH, RECEPTIVE_FRAMES, TOKENS_PER_FRAME, WIDTH)
    )
    sound = torch.zeros(size, (WINDOW_FRAMES + 2 * around) * per_frame, bands)
    motion = torch.zeros(size, WINDOW_FRAMES, clips[0].motion[0].shape[1])
    motion[:, :, -1] = 1  # lips are shut outside the clip
    active = np.ones((size, WINDOW_FRAMES), bool)
    weight = torch.ones(size, WINDOW_FRAMES)
    for index in range(size):
        if wordless is not None and draw.random() < WORDLESS_SHARE:
            if draw.random() < SOUNDING_SHARE:
                _put_wordless_sound(sound[index], wordless, per_frame, draw)
            continue
        clip = clips[draw.choice(len(clips), p=chances)]
        _put_clip(sound[index], motion[index], weight[index], clip, around, per_frame, draw)
        if wordless is not None and draw.random() < PAUSED_SHARE:
            _put_pause(sound[index], active[index], weight[index], draw)
    activity = torch.from_numpy(np.stack([smooth_activity(one) for one in active]))[:, :, None]
    shut = torch.where(activity < 0.5, 1.0, motion[:, :, -1:])
    return sound, torch.cat([motion[:, :, :-1] * activity, shut], dim=2), weight


def _put_wordless_sound(sound: torch.Tensor, wordless: torch.Tensor, per_frame: int, draw: np.random.Generator) -> None:
    """Puts a part of ``wordless`` into a window's spectrogram, in place."""
    first = draw.integers(len(wordless) - len(sound))
    num_frames = len(sound) // per_frame
    last = draw.integers(num_frames, 3 * num_frames) * per_frame // 2  # some recordings end within the window
    sound[:last] = wordless[first : first + len(sound)][:last]


def _put_clip(
    sound: torch.Tensor,
    motion: torch.Tensor,
    weight: torch.Tensor,
    clip: Clip,
    around: int,
    per_frame: int,
    draw: np.random.Generator,
) -> None:
    """Puts a random part of a clip, at one of its speeds, into a window, in place.

    Its sound has so many frames of context ``around`` the window, and so many rows ``per_frame``.
    """
    speed = draw.integers(len(clip.sound))
    length = len(clip.motion[speed])
    first = random_start(length, draw)
    copy_window(clip.sound[speed][: length * per_frame], sound, (first - around) * per_frame)
    copy_window(clip.motion[speed], motion, first)
    # Outside the clip there is silence; the frames at its ends are cut off within a word and don't count.
    for border in (-first, length - first):
        frames_around(weight, border, EDGE_FRAMES).zero_()


def _put_pause(sound: torch.Tensor, active: np.ndarray, weight: torch.Tensor, draw: np.random.Generator) -> None:
    """Cuts a pause into a window, in place."""
    window = WINDOW_FRAMES + 2 * CONTEXT_FRAMES
    length, first = int(draw.integers(*PAUSE_FRAMES)), int(draw.integers(-10, WINDOW_FRAMES - 10))
    low, high = max(first + CONTEXT_FRAMES, 0), min(first + length + CONTEXT_FRAMES, window)
    sound[low * STEPS_PER_FRAME : high * STEPS_PER_FRAME] = 0
    active[max(first, 0) : max(first + length, 0)] = False
    # The word that the pause cuts off has no defined articulation.
    for border in (first, first + length):
        frames_around(weight, border, PAUSE_EDGE_FRAMES).mul_(PAUSE_EDGE_WEIGHT)


def random_start(length: int, draw: np.random.Generator) -> int:
    """The first frame of a window of a recording of so many frames, which may reach beyond both ends by a third."""
    return int(draw.integers(-WINDOW_FRAMES // 3, max(length - 2 * WINDOW_FRAMES // 3, 1)))


def copy_window(recording: torch.Tensor, window: torch.Tensor, first: int) -> None:
    """Copies the rows that a recording has from ``first`` on into a window, in place; the window's others stay."""
    begin, end = max(first, 0), min(first + len(window), len(recording))
    window[begin - first : end - first] = recording[begin:end]


def frames_around(weight: torch.Tensor, border: int, reach: int) -> torch.Tensor:
    """The part of (WINDOW_FRAMES,) weights that lies within ``reach`` of a border between frames."""
    return weight[max(border - reach, 0) : max(border + reach, 0)]


class Ensemble(nn.Module):
    """The mean of several decoders' outputs."""

    def __init__(self, decoders: list[nn.Module]) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(decoders)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([decoder(features) for decoder in self.decoders]).mean(0)


@torch.inference_mode()
def decode(decoder: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Outputs (T, coefficients + 1) for all of a recording's features (2 T, 384)."""
    silence = RECEPTIVE_FRAMES * TOKENS_PER_FRAME
    return decoder.eval()(F.pad(features.float(), (0, 0, silence, silence))[None])[0]


def predicted_opening(decoder: nn.Module, clip: Clip, basis: np.ndarray) -> np.ndarray:
    """The lip opening (T,) predicted from an encoded clip at its own speed."""
    return coefficient_opening(decode(decoder, clip.sound[len(clip.sound) // 2]).numpy(), basis)


def clip_figures(decoder: nn.Module, clip: Clip, basis: np.ndarray) -> tuple[int, float, float, float]:
    """Of lip opening: best lag, correlation there and without lag, standard deviation relative to the truth."""
    predicted = predicted_opening(decoder, clip, basis)
    length = min(len(predicted), len(clip.opening))
    figures = best_lag(predicted[:length], clip.opening[:length], LARGEST_LAG)
    return *figures, predicted.std() / clip.opening.std()


def report(name: str, decoder: nn.Module, validation: list[Clip], basis: np.ndarray) -> None:
    """Prints the figures of every validation clip."""
    print(name)
    for clip in validation:
        lag, best, unshifted, amplitude = clip_figures(decoder, clip, basis)
        print(
            f"{clip.name[-48:]:48s} correlation {unshifted:.2f}, {best:.2f} at lag {lag:+d}, amplitude {amplitude:.2f}"
        )
