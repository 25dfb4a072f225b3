"""The appearance extractor F: from a picture to a volume of appearance features."""

import torch
from torch import nn
from torch.nn import functional as F

from space_core.generator.liveportrait.layout import Layout


class ConvBlock2d(nn.Module):
    """Convolution, batch norm, ReLU (leaky with ``slope``)."""

    def __init__(self, channels_in: int, channels_out: int, slope: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), self.slope)


class ResBlock3d(nn.Module):
    """Pre-activation residual block on a volume."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(channels)
        self.norm2 = nn.BatchNorm3d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(residual)))


class AppearanceExtractor(nn.Module):
    """Picture (B, 3, 256, 256), 0…1, to appearance volume (B, 32, 16, 64, 64)."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.channels
        self.volume = layout.volume_channels, layout.volume_depth
        self.first = ConvBlock2d(3, channels)
        self.down_blocks = nn.ModuleList(
            [ConvBlock2d(channels, 2 * channels), ConvBlock2d(2 * channels, 4 * channels)],
        )
        self.second = nn.Conv2d(4 * channels, layout.flat_channels, 1)
        self.resblocks_3d = nn.Sequential()
        for index in range(layout.volume_blocks):
            self.resblocks_3d.add_module(f"3dr{index}", ResBlock3d(layout.volume_channels))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)  # (B, 64, 256, 256)
        for block in self.down_blocks:
            x = F.avg_pool2d(block(x), 2)  # (B, 128, 128, 128), (B, 256, 64, 64)
        x = self.second(x)  # (B, 512, 64, 64)
        return self.resblocks_3d(x.unflatten(1, self.volume))  # (B, 32, 16, 64, 64)
