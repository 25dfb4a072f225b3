"""Builds the generator "liveportrait" from the weights that a user has added."""

import torch

from space_core.assets import user_weights_folder
from space_core.errors import SpaceError
from space_core.generator.liveportrait import load_networks
from space_core.generator.liveportrait.checkpoints import find_checkpoints
from space_core.generator.liveportrait.generator import LivePortraitGenerator
from space_core.neural.training import load_or_train
from space_core.progress import Progress

WEIGHTS = "liveportrait"


def build(device: torch.device, progress: Progress) -> LivePortraitGenerator:
    """See ``space_core.generators``; on first use Landmarks2Latents is trained, which takes minutes on a CPU."""
    folder = user_weights_folder(WEIGHTS)
    networks = load_networks(folder, device)
    return LivePortraitGenerator(networks, load_or_train(networks, folder, progress))


def is_available() -> bool:
    """Whether the five files of weights are there; they are read when the generator is built."""
    try:
        find_checkpoints(user_weights_folder(WEIGHTS))
    except SpaceError:
        return False
    return True
