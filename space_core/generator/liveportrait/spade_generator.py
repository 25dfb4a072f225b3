"""The SPADE decoder G (Park et al., 2019): from warped picture features to a picture."""

import torch
from torch import nn
from torch.nn import functional as F

from space_core.generator.liveportrait.layout import Layout

SLOPE = 0.2  # of the leaky ReLUs
NUM_MIDDLE_BLOCKS = 6


class SpectralConv2d(nn.Module):
    """A convolution with spectral norm: its weight is ``weight_orig`` divided by its largest singular value.

    ``weight_u`` and ``weight_v`` are the singular vectors, which training follows by power iteration. For inference
    ``fold`` gives an ordinary convolution.
    """

    weight_u: torch.Tensor
    weight_v: torch.Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.weight_orig = nn.Parameter(torch.empty(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.register_buffer("weight_u", F.normalize(torch.randn(channels_out), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(channels_in * kernel**2), dim=0))
        nn.init.kaiming_normal_(self.weight_orig)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """For training: a step of power iteration, in float32, then the convolution."""
        with torch.autocast(x.device.type, enabled=False):
            flat = self.weight_orig.flatten(1)
            if self.training:
                with torch.no_grad():
                    self.weight_v = F.normalize(flat.mT @ self.weight_u, dim=0)
                    self.weight_u = F.normalize(flat @ self.weight_v, dim=0)
            weight = self.weight_orig / (self.weight_u @ (flat @ self.weight_v))
        return F.conv2d(x, weight, self.bias, padding=self.padding)

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

    def __init__(self, channels: int, layout: Layout) -> None:
        super().__init__()
        hidden = layout.modulation_channels
        self.mlp_shared = nn.Sequential(nn.Conv2d(layout.decoder_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        hidden = self.mlp_shared(F.interpolate(features, size=x.shape[2:]))
        return F.instance_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SPADEResnetBlock(nn.Module):
    """Two modulated convolutions and a shortcut, which is learned where the number of channels changes."""

    def __init__(self, channels_in: int, channels_out: int, layout: Layout) -> None:
        super().__init__()
        middle = min(channels_in, channels_out)
        self.conv_0 = SpectralConv2d(channels_in, middle, 3)
        self.conv_1 = SpectralConv2d(middle, channels_out, 3)
        self.norm_0 = SPADE(channels_in, layout)
        self.norm_1 = SPADE(middle, layout)
        self.has_shortcut = channels_in != channels_out
        if self.has_shortcut:
            self.conv_s = SpectralConv2d(channels_in, channels_out, 1, bias=False)
            self.norm_s = SPADE(channels_in, layout)

    def forward(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        shortcut = self.conv_s(self.norm_s(x, features)) if self.has_shortcut else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, features), SLOPE))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(x, features), SLOPE))


class SPADEGenerator(nn.Module):
    """Features (B, 256, 64, 64) to pictures (B, 3, 512, 512), 0…1."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels = layout.decoder_channels
        self.fc = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        for index in range(NUM_MIDDLE_BLOCKS):
            self.add_module(f"G_middle_{index}", SPADEResnetBlock(2 * channels, 2 * channels, layout))
        self.up_0 = SPADEResnetBlock(2 * channels, channels, layout)
        self.up_1 = SPADEResnetBlock(channels, layout.channels, layout)
        self.conv_img = nn.Sequential(nn.Conv2d(layout.channels, 3 * 2**2, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.fc(features)  # (B, 512, 64, 64)
        for index in range(NUM_MIDDLE_BLOCKS):
            x = self.get_submodule(f"G_middle_{index}")(x, features)
        x = self.up_0(F.interpolate(x, scale_factor=2), features)  # (B, 256, 128, 128)
        x = self.up_1(F.interpolate(x, scale_factor=2), features)  # (B, 64, 256, 256)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, SLOPE)).float())  # (B, 3, 512, 512)


def fold_spectral_norm(network: nn.Module) -> None:
    """Replaces every ``SpectralConv2d`` within a network by the convolution that it amounts to."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SpectralConv2d):
                setattr(module, name, child.fold())
