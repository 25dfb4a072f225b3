"""The discriminator: patches of pictures at two resolutions (Wang et al., 2018)."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of the leaky ReLUs
NUM_SCALES, NUM_STEPS = 2, 3  # resolutions; convolutions that halve the picture


class PatchDiscriminator(nn.Module):
    """Pictures (B, 3, H, W), 0…1, to the features of every layer; the last are logits, higher for recorded pictures."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [3, *(channels << step for step in range(NUM_STEPS))]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, 2, 1)) for before, after in pairwise(widths)
        )
        self.head = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """The features of each layer for pictures (B, 3, H, W) 0 … 1, and the logits (B, 1, h, w) last."""
        features = [2 * pictures - 1]
        for layer in self.layers:
            features.append(F.leaky_relu(layer(features[-1]), SLOPE))
        return [*features[1:], self.head(features[-1])]


class Discriminator(nn.Module):
    """A ``PatchDiscriminator`` for each resolution; a list of their features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(channels) for _ in range(NUM_SCALES))

    def forward(self, pictures: torch.Tensor) -> list[list[torch.Tensor]]:
        """By scale, the features of each layer for pictures (B, 3, H, W) 0 … 1, and the logits (B, 1, h, w) last."""
        found = []
        for scale in self.scales:
            found.append(scale(pictures))
            pictures = F.avg_pool2d(pictures, 2)
        return found


def discriminator_loss(recorded: list[list[torch.Tensor]], drawn: list[list[torch.Tensor]]) -> torch.Tensor:
    """The hinge loss of the discriminator, of its outputs for recorded and for drawn pictures; see ``forward``."""
    losses = [
        F.relu(1 - real[-1].float()).mean() + F.relu(1 + fake[-1].float()).mean()
        for real, fake in zip(recorded, drawn, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_loss(drawn: list[list[torch.Tensor]]) -> torch.Tensor:
    """The adversarial loss of the generator, of the discriminator's outputs for drawn pictures."""
    return -torch.stack([fake[-1].float().mean() for fake in drawn]).mean()


def feature_matching(recorded: list[list[torch.Tensor]], drawn: list[list[torch.Tensor]]) -> torch.Tensor:
    """Mean absolute difference of the discriminator's features of recorded and drawn pictures, logits left out."""
    pairs = [
        pair for real, fake in zip(recorded, drawn, strict=True) for pair in zip(real[:-1], fake[:-1], strict=True)
    ]
    return torch.stack([F.l1_loss(fake.float(), real.detach().float()) for real, fake in pairs]).mean()
