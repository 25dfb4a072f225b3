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
from space_core.training.speech2landmarks.augmentation import augment, music, noise
from space_core.training.speech2landmarks.basis import coefficient_opening
from space_core.training.speech2landmarks.clips import Clip
from space_core.training.speech2landmarks.loss import MotionLoss

SEED = 3
TRACKED_SHARE = 0.3  # of windows that come from tracked clips rather than pseudo-labelled recordings
BATCH, ENSEMBLE_BATCH = 16, 24  # windows; with and without the encoder
LEARNING_RATE, WARM_UP_STEPS, WEIGHT_DECAY, DROPOUT = 1.5e-3, 50, 0.05, 0.1
EMA = 0.99  # of the weights
EVALUATE_EVERY = 100  # steps
WORDLESS_SHARE = 0.08  # of windows with noise or music alone
PAUSED_SHARE = 0.35  # of windows with a pause cut into them
LARGEST_LAG = 6  # frames, in figures and alignment


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
    optimizer = torch.optim.AdamW(
        decoder.parameters(), LEARNING_RATE, (0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    modules = {"decoder": decoder, "average": average, "optimizer": optimizer}
    motion_loss = MotionLoss(basis)
    start = load_checkpoint(checkpoint, modules, draw) if checkpoint and checkpoint.exists() else 0
    chances = clip_chances(clips)
    wordless = torch.cat([sound(draw) for _ in range(12) for sound in (music, noise)]) if encoder else None
    begun, losses = time.time(), []
    for step in range(start, num_steps):
        decoder.train()
        rate = min(1, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + np.cos(np.pi * step / num_steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate + 1e-6
        sound, motion, valid = make_batch(clips, chances, wordless, draw)
        with torch.autocast("cpu", torch.bfloat16):
            if encoder:
                with torch.no_grad():
                    beyond = (CONTEXT_FRAMES - RECEPTIVE_FRAMES) * TOKENS_PER_FRAME
                    sound = encoder(augment(sound))[:, beyond:-beyond].float()
            outputs = decoder(sound)
        loss = motion_loss(outputs.float(), motion, valid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(decoder.parameters()), 1 - decay)
        losses.append(loss.item())
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == num_steps:
            figures = ""
            if validation:
                results = [clip_figures(average, clip, basis) for clip in validation]
                figures = "correlation {:.3f} at lag {:+.1f}, amplitude {:.2f}".format(*np.mean(results, 0)[[2, 0, 3]])
            print(f"step {step + 1} loss {np.mean(losses):.4f} {figures} {time.time() - begun:.0f} s", flush=True)
            losses = []
            if checkpoint:
                save_checkpoint(checkpoint, modules, draw, step + 1)
    return average.eval()


Modules = Mapping[str, nn.Module | torch.optim.Optimizer]


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
    window = WINDOW_FRAMES + 2 * around
    all_sound = torch.zeros(size, window * per_frame, bands)
    all_motion = torch.zeros(size, WINDOW_FRAMES, clips[0].motion[0].shape[1])
    all_motion[:, :, -1] = 1
    active = np.ones((size, WINDOW_FRAMES), bool)
    valid = torch.ones(size, WINDOW_FRAMES)
    for index in range(size):
        if wordless is not None and draw.random() < WORDLESS_SHARE:
            if draw.random() < 0.7:
                first = draw.integers(len(wordless) - window * per_frame)
                last = draw.integers(window, 3 * window) * per_frame // 2  # some recordings end within the window
                all_sound[index, :last] = wordless[first : first + window * per_frame][:last]
            continue
        clip = clips[draw.choice(len(clips), p=chances)]
        speed = draw.integers(len(clip.sound))
        sound, motion = clip.sound[speed], clip.motion[speed]
        first = int(draw.integers(-WINDOW_FRAMES // 3, max(len(motion) - 2 * WINDOW_FRAMES // 3, 1)))
        # The window's context reaches beyond the frames to predict; the clip may end before either.
        inside = max(first - around, 0), min(first + WINDOW_FRAMES + around, len(motion))
        offset = inside[0] - (first - around)
        part = sound[inside[0] * per_frame : inside[1] * per_frame]
        all_sound[index, offset * per_frame : offset * per_frame + len(part)] = part
        inside = max(first, 0), min(first + WINDOW_FRAMES, len(motion))
        all_motion[index, inside[0] - first : inside[1] - first] = motion[inside[0] : inside[1]]
        # Outside the clip there is silence; the frames at its ends are cut off within a word and don't count.
        for border in (-first, len(motion) - first):
            valid[index, max(border - 6, 0) : max(border + 6, 0)] = 0
        if wordless is not None and draw.random() < PAUSED_SHARE:
            length = int(draw.integers(14, 70))
            begin = int(draw.integers(-10, WINDOW_FRAMES - 10))
            low, high = max(begin + around, 0), min(begin + length + around, window)
            all_sound[index, low * per_frame : high * per_frame] = 0
            active[index, max(begin, 0) : max(begin + length, 0)] = False
            # The word that the pause cuts off has no defined articulation.
            for border in (begin, begin + length):
                valid[index, max(border - 3, 0) : max(border + 3, 0)] *= 0.3
    activity = torch.from_numpy(np.stack([smooth_activity(one) for one in active]))[:, :, None]
    shut = torch.where(activity < 0.5, 1.0, all_motion[:, :, -1:])
    return all_sound, torch.cat([all_motion[:, :, :-1] * activity, shut], dim=2), valid


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
