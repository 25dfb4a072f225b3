"""The motion extractor M: a ConvNeXt V2 (Woo et al., 2023) from a picture to keypoints, expression and head pose."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from space_core.generator.liveportrait.layout import NUM_KEYPOINTS, Layout

NUM_BINS = 66  # of each angle
BIN_DEGREES, FIRST_BIN = 3.0, -97.5  # width of a bin and the angle of the first one, degrees
EPSILON = 1e-6


@dataclass(frozen=True)
class Latents:
    """What drives the generator, for B frames.

    Attributes:
        pitch, yaw, roll: (B,) of the head, degrees.
        translation: (B, 3); the third is not used.
        expression: (B, 21, 3) displacements of the keypoints by the expression.
        scale: (B, 1).
        canonical: (B, 21, 3) keypoints of this person, frontal and without expression.
    """

    pitch: torch.Tensor
    yaw: torch.Tensor
    roll: torch.Tensor
    translation: torch.Tensor
    expression: torch.Tensor
    scale: torch.Tensor
    canonical: torch.Tensor


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GlobalResponseNorm(nn.Module):
    """Global response normalization of (B, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        response = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)  # (B, 1, 1, C)
        relative = response / (response.mean(-1, keepdim=True) + EPSILON)
        return x + self.gamma * (x * relative) + self.beta


class Block(nn.Module):
    """ConvNeXt V2 block: depthwise convolution, then a perceptron on each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, EPSILON)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = self.norm(self.dwconv(x).movedim(1, -1))  # (B, H, W, C)
        pixels = self.pwconv2(self.grn(F.gelu(self.pwconv1(pixels))))
        return x + pixels.movedim(-1, 1)


class ConvNeXt(nn.Module):
    """Four stages, global average, and one linear head for each quantity."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.motion_channels
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, channels[0], 4, stride=4), ChannelNorm(channels[0], EPSILON))]
        )
        for before, after in pairwise(channels):
            self.downsample_layers.append(
                nn.Sequential(ChannelNorm(before, EPSILON), nn.Conv2d(before, after, 2, stride=2))
            )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(count)))
            for width, count in zip(channels, layout.motion_blocks, strict=True)
        )
        width = channels[-1]
        self.norm = nn.LayerNorm(width, EPSILON)
        self.fc_kp = nn.Linear(width, 3 * NUM_KEYPOINTS)
        self.fc_scale = nn.Linear(width, 1)
        self.fc_pitch = nn.Linear(width, NUM_BINS)
        self.fc_yaw = nn.Linear(width, NUM_BINS)
        self.fc_roll = nn.Linear(width, NUM_BINS)
        self.fc_t = nn.Linear(width, 3)
        self.fc_exp = nn.Linear(width, 3 * NUM_KEYPOINTS)

    def forward(self, x: torch.Tensor) -> Latents:
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))  # at 1/4, 1/8, 1/16 and 1/32 of the picture's resolution
        x = self.norm(x.mean((-2, -1)))  # (B, 768)
        return Latents(
            pitch=_degrees(self.fc_pitch(x)),
            yaw=_degrees(self.fc_yaw(x)),
            roll=_degrees(self.fc_roll(x)),
            translation=self.fc_t(x),
            expression=self.fc_exp(x).unflatten(1, (NUM_KEYPOINTS, 3)),
            scale=self.fc_scale(x),
            canonical=self.fc_kp(x).unflatten(1, (NUM_KEYPOINTS, 3)),
        )


class MotionExtractor(nn.Module):
    """Picture (B, 3, 256, 256), 0…1, to ``Latents``."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.detector = ConvNeXt(layout)

    def forward(self, image: torch.Tensor) -> Latents:
        return self.detector(image)


def _degrees(logits: torch.Tensor) -> torch.Tensor:
    """(B,) the expected angle of a distribution over bins (B, 66)."""
    bins = torch.arange(NUM_BINS, dtype=torch.float32, device=logits.device)
    return (logits.float().softmax(1) * bins).sum(1) * BIN_DEGREES + FIRST_BIN
