"""Fine-tuning of the decoder on all clips, short ones included, without augmentation."""

import time
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch

from space_core.motion.motion_network import RECEPTIVE_FRAMES, MotionDecoder
from space_core.motion.speech2landmarks import WINDOW_FRAMES
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH
from space_core.training.speech2landmarks.loss import MotionLoss
from space_core.training.speech2landmarks.train import DROPOUT, WEIGHT_DECAY

RUNS = ((3, 4e-4), (5, 6e-4))  # seeds and learning rates of runs whose weights are averaged
STEPS, BATCH, WARM_UP_STEPS = 400, 24, 30
EMA = 0.98  # of the weights
SHARES = (0.7, 0.22, 0.08)  # of windows: from clips, from speech without video, from noise and music
EDGE_FRAMES = 6  # at the ends of a recording, which is cut off within a word

# The encoder's features (2 T, 384), motion (T, coefficients + 1), weight of each frame (T,).
Example = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def finetune(
    decoder: MotionDecoder,
    examples: Sequence[list[Example]],
    loss: MotionLoss,
    shares: Sequence[float] = SHARES,
    runs: Sequence[tuple[int, float]] = RUNS,
    keeps_embedding: bool = False,
) -> MotionDecoder:
    """The decoder, trained further: the mean of the weights of all runs.

    ``examples`` are groups, from each of which that share of the windows comes: clips, speech without video, and noise
    and music. For speech without video the target is what the decoder itself predicts, so that it keeps what it learnt
    from other voices. With ``keeps_embedding`` the features stay as they are, which other networks read.
    """
    trained = [
        _run(decoder, examples, loss, shares, keeps_embedding, seed, learning_rate).state_dict()
        for seed, learning_rate in runs
    ]
    mean = deepcopy(decoder).eval()
    mean.load_state_dict({name: sum(run[name] for run in trained) / len(trained) for name in trained[0]})
    return mean


def _run(
    decoder: MotionDecoder,
    examples: Sequence[list[Example]],
    motion_loss: MotionLoss,
    shares: Sequence[float],
    keeps_embedding: bool,
    seed: int,
    learning_rate: float,
) -> MotionDecoder:
    """One run of ``finetune``; returns the running average of the weights."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    average = deepcopy(decoder).eval()
    trained = MotionDecoder(decoder.head.out_features, DROPOUT)
    trained.load_state_dict(decoder.state_dict())
    trained.input_norm.requires_grad_(not keeps_embedding)
    trained.input_proj.requires_grad_(not keeps_embedding)
    optimizer = torch.optim.AdamW(
        [one for one in trained.parameters() if one.requires_grad],
        learning_rate,
        (0.9, 0.98),
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    lengths = [np.sqrt([float(len(weight)) for *_, weight in group]) for group in examples]
    chances = np.concatenate([share * each / each.sum() for each, share in zip(lengths, shares, strict=True)])
    every = [example for group in examples for example in group]
    begun, losses = time.time(), []
    for step in range(STEPS):
        trained.train()
        rate = min(1, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        for parameters in optimizer.param_groups:
            parameters["lr"] = learning_rate * rate
        features, motion, weight = _batch([every[draw.choice(len(every), p=chances)] for _ in range(BATCH)], draw)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = trained(features)
        loss = motion_loss(outputs.float(), motion, weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(trained.parameters()), 1 - decay)
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} loss {np.mean(losses[-50:]):.4f} {time.time() - begun:.0f} s", flush=True)
    return average


def _batch(examples: list[Example], draw: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random windows of examples: features, motion (batch, WINDOW_FRAMES, coefficients + 1), weights of frames."""
    around, tokens = RECEPTIVE_FRAMES, TOKENS_PER_FRAME
    features = torch.zeros(len(examples), tokens * (WINDOW_FRAMES + 2 * around), WIDTH)
    motion = torch.zeros(len(examples), WINDOW_FRAMES, examples[0][1].shape[1])
    motion[:, :, -1] = 1  # lips are shut outside the recording
    weight = torch.ones(len(examples), WINDOW_FRAMES)
    for index, (sound, target, frames) in enumerate(examples):
        length = len(frames)
        first = int(draw.integers(-WINDOW_FRAMES // 3, max(length - 2 * WINDOW_FRAMES // 3, 1)))
        low, high = max(first - around, 0), min(first + WINDOW_FRAMES + around, length)
        offset = tokens * (low - first + around)
        features[index, offset : offset + tokens * (high - low)] = sound[tokens * low : tokens * high].float()
        low, high = max(first, 0), min(first + WINDOW_FRAMES, length)
        motion[index, low - first : high - first] = target[low:high]
        weight[index, low - first : high - first] = frames[low:high]
        for border in (-first, length - first):
            weight[index, max(border - EDGE_FRAMES, 0) : max(border + EDGE_FRAMES, 0)] = 0
    return features, motion, weight
