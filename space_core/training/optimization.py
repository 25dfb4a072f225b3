"""What the optimization of several recipes has in common: the schedule of the learning rate, the average of weights."""

import math

import torch
from torch import nn


def set_learning_rate(
    optimizer: torch.optim.Optimizer, highest: float, step: int, num_steps: int, warm_up: int, lowest: float = 0.0
) -> None:
    """Sets the learning rate of a step, counted from 0: a linear warm-up over ``warm_up`` steps, then a cosine.

    ``lowest`` is where the cosine ends; it is added at all steps.
    """
    share = min((step + 1) / warm_up, 1) * 0.5 * (1 + math.cos(math.pi * step / num_steps))
    for group in optimizer.param_groups:
        group["lr"] = highest * share + lowest


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Takes a network's weights into their exponential moving average, of which the share ``decay`` stays."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
