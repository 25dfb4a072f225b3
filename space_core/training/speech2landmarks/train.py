"""The training loop of the decoder, and its figures on validation clips."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from space_core.measures.lips import best_lag
from space_core.motion.motion_network import CONTEXT_FRAMES, RECEPTIVE_FRAMES, MotionDecoder
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, SpeechEncoder
from space_core.training.optimization import set_learning_rate, update_average
from space_core.training.speech2landmarks.augmentation import augment, music, noise
from space_core.training.speech2landmarks.basis import coefficient_opening
from space_core.training.speech2landmarks.clips import Clip
from space_core.training.speech2landmarks.loss import MotionLoss
from space_core.training.speech2landmarks.windows import Windows, clip_chances, make_batch

SEED = 3
LEARNING_RATE, LOWEST_RATE, WARM_UP_STEPS, WEIGHT_DECAY, DROPOUT = 1.5e-3, 1e-6, 50, 0.05, 0.1
EMA = 0.99  # of the weights
EVALUATE_EVERY = 100  # steps
MAX_GRADIENT_NORM = 1.0
LARGEST_LAG = 6  # frames, in figures and alignment

Modules = Mapping[str, nn.Module | torch.optim.Optimizer]  # what a checkpoint holds, by name


@dataclass(frozen=True)
class Material:
    """What a decoder is trained on.

    Attributes:
        clips: their sound is spectrograms, which are augmented and encoded at each step, or the encoder's features.
        validation: clips whose figures are printed now and then; may be empty.
        basis: (coefficients, 478, 3) of the motion.
    """

    clips: list[Clip]
    validation: list[Clip]
    basis: np.ndarray


def train(
    material: Material,
    num_steps: int,
    encoder: SpeechEncoder | None = None,
    checkpoint: Path | None = None,
    seed: int = SEED,
) -> MotionDecoder:
    """A decoder trained on the material's clips; returns the running average of its weights.

    Args:
        material: see there.
        num_steps: of optimization.
        encoder: where the clips' sound is spectrograms.
        checkpoint: written now and then; a training that was interrupted goes on from it.
        seed: of weights, order and augmentation.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    clips, validation, basis = material.clips, material.validation, material.basis
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
        batch = make_batch(clips, chances, wordless, draw)
        if encoder:
            batch = replace(batch, sound=_encoded(batch.sound, encoder))
        losses.append(train_step(decoder, optimizer, motion_loss, batch))
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
    batch: Windows,
) -> float:
    """One optimization step on windows whose sound is the encoder's features; returns the loss."""
    decoder.train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = decoder(batch.sound)
    loss = motion_loss(outputs.float(), batch.motion, batch.weight)
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
    """Prints the figures of every validation clip, see ``clip_figures``."""
    print(name)
    for clip in validation:
        lag, best, unshifted, amplitude = clip_figures(decoder, clip, basis)
        print(
            f"{clip.name[-48:]:48s} correlation {unshifted:.2f}, {best:.2f} at lag {lag:+d}, amplitude {amplitude:.2f}"
        )
