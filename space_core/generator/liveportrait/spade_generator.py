"""The SPADE decoder G (Park et al., 2019): from warped picture features to a picture."""

import torch
from torch import nn
from torch.nn import functional as F

from space_core.generator.liveportrait.layout import Layout

SLOPE = 0.2  # of the leaky ReLUs
HIDDEN = 128  # channels between the features and the modulation
NUM_MIDDLE_BLOCKS = 6


class SpectralConv2d(nn.Module):
    """A convolution stored with spectral norm: its weight is ``weight_orig`` divided by its largest singular value.

    ``weight_u`` and ``weight_v`` are the singular vectors that training has found. It is only a form of storage:
    ``fold`` gives the convolution that is computed.
    """

    weight_u: torch.Tensor
    weight_v: torch.Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.weight_orig = nn.Parameter(torch.empty(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out)) if bias else None
        self.register_buffer("weight_u", torch.empty(channels_out))
        self.register_buffer("weight_v", torch.empty(channels_in * kernel**2))

    def fold(self) -> nn.Conv2d:
        """The same convolution with an ordinary weight."""
        singular_value = self.weight_u @ (self.weight_orig.detach().flatten(1) @ self.weight_v)
        channels_out, channels_in, kernel, _ = self.weight_orig.shape
        conv = nn.utils.skip_init(
            nn.Conv2d, channels_in, channels_out, kernel, padding=self.padding, bias=self.bias is not None
        )
        conv.weight = nn.Parameter(self.weight_orig.detach() / singular_value)
        conv.bias = self.bias
        return conv


class SPADE(nn.Module):
    """Instance norm, modulated pixel by pixel by features."""

    def __init__(self, channels: int, feature_channels: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(feature_channels, HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(HIDDEN, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        hidden = self.mlp_shared(F.interpolate(features, size=x.shape[2:]))
        return F.instance_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SPADEResnetBlock(nn.Module):
    """Two modulated convolutions and a shortcut, which is learned where the number of channels changes."""

    def __init__(self, channels_in: int, channels_out: int, feature_channels: int) -> None:
        super().__init__()
        middle = min(channels_in, channels_out)
        self.conv_0 = SpectralConv2d(channels_in, middle, 3)
        self.conv_1 = SpectralConv2d(middle, channels_out, 3)
        self.norm_0 = SPADE(channels_in, feature_channels)
        self.norm_1 = SPADE(middle, feature_channels)
        self.has_shortcut = channels_in != channels_out
        if self.has_shortcut:
            self.conv_s = SpectralConv2d(channels_in, channels_out, 1, bias=False)
            self.norm_s = SPADE(channels_in, feature_channels)

    def forward(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        shortcut = self.conv_s(self.norm_s(x, features)) if self.has_shortcut else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, features), SLOPE))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(x, features), SLOPE))


class SPADEGenerator(nn.Module):
    """Features (B, 256, 64, 64) to pictures (B, 3, 512, 512), 0…1; runs after ``fold_spectral_norm``."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.decoder_channels
        self.fc = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        for index in range(NUM_MIDDLE_BLOCKS):
            self.add_module(f"G_middle_{index}", SPADEResnetBlock(2 * channels, 2 * channels, channels))
        self.up_0 = SPADEResnetBlock(2 * channels, channels, channels)
        self.up_1 = SPADEResnetBlock(channels, layout.channels, channels)
        self.conv_img = nn.Sequential(nn.Conv2d(layout.channels, 3 * 2**2, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.fc(features)  # (B, 512, 64, 64)
        for index in range(NUM_MIDDLE_BLOCKS):
            x = self.get_submodule(f"G_middle_{index}")(x, features)
        x = self.up_0(F.interpolate(x, scale_factor=2), features)  # (B, 256, 128, 128)
        x = self.up_1(F.interpolate(x, scale_factor=2), features)  # (B, 64, 256, 256)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, SLOPE)).float())  # (B, 3, 512, 512)


def fold_spectral_norm(network: nn.Module) -> None:
    """Replaces every ``SpectralConv2d`` within a network by the convolution that it stands for."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SpectralConv2d):
                setattr(module, name, child.fold())
