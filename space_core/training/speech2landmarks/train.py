"""The training loop of the decoder, and its figures on validation recordings."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from space_core.measures.lips import best_lag
from space_core.motion.speech2landmarks import (
    CONTEXT_FRAMES,
    RECEPTIVE_FRAMES,
    WINDOW_FRAMES,
    MotionDecoder,
)
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, SpeechEncoder
from space_core.motion.speech_features import log_mel, smooth_activity, speech_power
from space_core.training.speech2landmarks.basis import coefficient_opening
from space_core.training.speech2landmarks.clips import ClipMotion
from space_core.training.speech2landmarks.loss import MotionLoss
from space_core.training.speech2landmarks.recordings import SPEEDS, Recording
from space_core.training.speech2landmarks.windows import WORDLESS, Windows, frames_at_speed

BATCH = 24  # windows
LEARNING_RATE, WARM_UP_STEPS, WEIGHT_DECAY, DROPOUT = 1.5e-3, 50, 0.05, 0.1
EMA = 0.99  # of the weights
EVALUATE_EVERY = 100  # steps
LARGEST_LAG = 6  # frames, in figures and alignment
EDGE_FRAMES = 6  # around the ends of a recording, which is cut off within a word
CUT_FRAMES = 3  # around a pause that was cut in
CUT_WEIGHT = 0.3  # of those frames in the loss


def window_targets(
    windows: Windows, motions: list[ClipMotion | None], num_outputs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Motion (N, WINDOW_FRAMES, coefficients + 1) and weights of frames (N, WINDOW_FRAMES) of windows.

    ``motions`` is the motion of each recording, or None for those that are left out: their windows weigh nothing.
    """
    targets = np.zeros((len(windows), WINDOW_FRAMES, num_outputs), np.float32)
    targets[:, :, -1] = 1  # lips are shut outside the recording
    weights = np.ones((len(windows), WINDOW_FRAMES), np.float32)
    for number in range(len(windows)):
        index, speed, first = (int(column[number]) for column in (windows.recording, windows.speed, windows.first))
        if index == WORDLESS:
            continue
        if motions[index] is None:
            weights[number] = 0
            continue
        whole, up, down = motions[index], *SPEEDS[speed]
        length = frames_at_speed(len(whole.weight), speed)
        inside = np.arange(max(first, 0), min(first + WINDOW_FRAMES, length))
        source = np.minimum(inside * down / up, len(whole.weight) - 1)
        low = source.astype(int)
        high, share = np.minimum(low + 1, len(whole.weight) - 1), (source - low)[:, None]
        targets[number, inside - first] = whole.motion[low] * (1 - share) + whole.motion[high] * share
        weights[number, inside - first] = np.minimum(whole.weight[low], whole.weight[high])
        for border in (-first, length - first):
            weights[number, max(border - EDGE_FRAMES, 0) : max(border + EDGE_FRAMES, 0)] = 0
        # The word that a pause cuts off has no defined articulation.
        cuts = np.flatnonzero(np.diff(windows.active[number].numpy().astype(int)))
        for cut in cuts + 1:
            weights[number, max(cut - CUT_FRAMES, 0) : cut + CUT_FRAMES] *= CUT_WEIGHT
    activity = np.stack([smooth_activity(active) for active in windows.active.numpy()])[:, :, None]
    shut = np.where(activity < 0.5, 1.0, targets[:, :, -1:])
    targets = np.concatenate([targets[:, :, :-1] * activity, shut], axis=2)
    return torch.from_numpy(targets), torch.from_numpy(weights)


def train(
    features: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    validation: list[tuple[torch.Tensor, np.ndarray]],
    basis: np.ndarray,
    num_steps: int,
    seed: int,
    checkpoint: Path | None = None,
) -> MotionDecoder:
    """A decoder trained on windows, see ``Windows`` and ``window_targets``; returns the running average of its weights.

    ``validation`` are the features (2 T, 384) of recordings with their lip opening (T,). With a checkpoint, training
    that was interrupted goes on.
    """
    torch.manual_seed(seed)
    decoder, average = (MotionDecoder(len(basis) + 1, dropout) for dropout in (DROPOUT, 0.0))
    average.load_state_dict(decoder.state_dict())
    optimizer = torch.optim.AdamW(
        decoder.parameters(), LEARNING_RATE, (0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    modules = {"decoder": decoder, "average": average, "optimizer": optimizer}
    motion_loss = MotionLoss(basis)
    start = 0
    if checkpoint and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        for name, module in modules.items():
            module.load_state_dict(state[name])
        torch.set_rng_state(state["torch"])
        start = state["step"]
    useful = torch.nonzero(weights.sum(1) > 0)[:, 0]
    begun, losses = time.time(), []
    for step in range(start, num_steps):
        decoder.train()
        rate = min(1, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + np.cos(np.pi * step / num_steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate + 1e-6
        batch = useful[torch.randint(len(useful), (BATCH,))]
        with torch.autocast("cpu", torch.bfloat16):
            outputs = decoder(features[batch].float())
        loss = motion_loss(outputs.float(), targets[batch], weights[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(decoder.parameters()), 1 - decay)
        losses.append(loss.item())
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == num_steps:
            figures = [opening_figures(average, *one, basis) for one in validation]
            summary = "correlation {:.3f} at best lag".format(np.mean(figures, 0)[1]) if figures else ""
            print(f"step {step + 1} loss {np.mean(losses):.4f} {summary} {time.time() - begun:.0f} s", flush=True)
            losses = []
            if checkpoint:
                state = {name: module.state_dict() for name, module in modules.items()}
                torch.save(state | {"torch": torch.get_rng_state(), "step": step + 1}, checkpoint)
    return average.eval()


class Ensemble(nn.Module):
    """The mean of several decoders' outputs."""

    def __init__(self, decoders: list[nn.Module]) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(decoders)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([decoder(features) for decoder in self.decoders]).mean(0)


@torch.inference_mode()
def encode(recording: Recording, encoder: SpeechEncoder) -> torch.Tensor:
    """The encoder's features (2 T, 384), in half precision, of a recording, in windows as at run time."""
    power, parts = speech_power(recording.speech), []
    for first in range(0, len(recording), WINDOW_FRAMES):
        mel = log_mel(recording.speech, power, first - CONTEXT_FRAMES, WINDOW_FRAMES + 2 * CONTEXT_FRAMES)
        with torch.autocast("cpu", torch.bfloat16):
            features = encoder(torch.from_numpy(mel)[None])[0]
        parts.append(features[CONTEXT_FRAMES * TOKENS_PER_FRAME : (CONTEXT_FRAMES + WINDOW_FRAMES) * TOKENS_PER_FRAME])
    return torch.cat(parts)[: len(recording) * TOKENS_PER_FRAME].half()


@torch.inference_mode()
def decode(decoder: nn.Module, features: torch.Tensor) -> np.ndarray:
    """Outputs (T, coefficients + 1) for all of a recording's features (2 T, 384)."""
    silence = RECEPTIVE_FRAMES * TOKENS_PER_FRAME
    with torch.autocast("cpu", torch.bfloat16):
        return decoder.eval()(F.pad(features.float(), (0, 0, silence, silence))[None])[0].float().numpy()


def opening_figures(
    decoder: nn.Module, features: torch.Tensor, opening: np.ndarray, basis: np.ndarray
) -> tuple[int, float, float]:
    """Of lip opening: best lag, correlation there and without lag."""
    predicted = coefficient_opening(decode(decoder, features), basis)
    length = min(len(predicted), len(opening))
    return best_lag(predicted[:length], opening[:length], LARGEST_LAG)
