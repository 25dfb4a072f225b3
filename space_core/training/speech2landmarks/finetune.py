"""Fine-tuning of the decoder on all clips, short ones included, without augmentation."""

import time
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch

from space_core.motion.motion_network import RECEPTIVE_FRAMES, MotionDecoder
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH
from space_core.training.optimization import set_learning_rate, update_average
from space_core.training.speech2landmarks.loss import MotionLoss
from space_core.training.speech2landmarks.train import DROPOUT, adamw, ema_decay, train_step
from space_core.training.speech2landmarks.windows import Windows, copy_window, random_start, silent_windows

RUNS = ((3, 4e-4), (5, 6e-4))  # seeds and learning rates of runs whose weights are averaged
STEPS, BATCH, WARM_UP_STEPS = 400, 24, 30
EMA = 0.98  # of the weights
SHARES = (0.7, 0.22, 0.08)  # of windows: from clips, from speech without video, from noise and music

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
    and music. For speech without video the target is what the decoder itself predicts, so that it keeps what it learned
    from other voices. With ``keeps_embedding`` the features stay as they are, which other networks read.
    """
    trained = [_run(decoder, examples, loss, shares, keeps_embedding, run).state_dict() for run in runs]
    mean = deepcopy(decoder).eval()
    mean.load_state_dict({name: sum(run[name] for run in trained) / len(trained) for name in trained[0]})
    return mean


def _run(
    decoder: MotionDecoder,
    examples: Sequence[list[Example]],
    motion_loss: MotionLoss,
    shares: Sequence[float],
    keeps_embedding: bool,
    run: tuple[int, float],
) -> MotionDecoder:
    """One run of ``finetune``, with its seed and learning rate; returns the running average of the weights."""
    seed, learning_rate = run
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    average = deepcopy(decoder).eval()
    trained = MotionDecoder(decoder.head.out_features, DROPOUT)
    trained.load_state_dict(decoder.state_dict())
    trained.input_norm.requires_grad_(not keeps_embedding)
    trained.input_proj.requires_grad_(not keeps_embedding)
    optimizer = adamw(trained, learning_rate)
    lengths = [np.sqrt([float(len(weight)) for *_, weight in group]) for group in examples]
    chances = np.concatenate([share * each / each.sum() for each, share in zip(lengths, shares, strict=True)])
    every = [example for group in examples for example in group]
    begun, losses = time.time(), []
    for step in range(STEPS):
        set_learning_rate(optimizer, learning_rate, step, STEPS, WARM_UP_STEPS)
        batch = _batch([every[draw.choice(len(every), p=chances)] for _ in range(BATCH)], draw)
        losses.append(train_step(trained, optimizer, motion_loss, batch))
        update_average(average, trained, ema_decay(EMA, step))
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} loss {np.mean(losses[-50:]):.4f} {time.time() - begun:.0f} s", flush=True)
    return average


def _batch(examples: list[Example], draw: np.random.Generator) -> Windows:
    """Random windows of examples."""
    batch = silent_windows(len(examples), examples[0][1].shape[1], RECEPTIVE_FRAMES, TOKENS_PER_FRAME, WIDTH)
    for index, (features, motion, weight) in enumerate(examples):
        first = random_start(len(weight), draw)
        copy_window(weight, batch.weight[index], first)
        batch.put(index, features, motion, first)
    return batch
