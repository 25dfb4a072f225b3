"""MediaPipe's selfie segmentation: MobileNetV3 (Howard et al., 2019) with a decoder that gates its skip connections."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from space_core.assets import weights_path
from space_core.face.blaze_block import halving_convolution
from space_core.face.network_weights import load_network
from space_core.face.regions import sample_upright, upright_region

WEIGHTS = weights_path("person_segmentation.safetensors")

INPUT_SIZE = 256  # side of the network's input, pixels


class PersonSegmentationNetwork(nn.Module):
    """Which pixels show a person."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = halving_convolution(3, 16, 3)
        self.stage_64 = InvertedResidual(16, 16, 16, 3, nn.ReLU, stride=2, squeezed=8)
        self.stage_32 = nn.Sequential(
            InvertedResidual(16, 72, 24, 3, nn.ReLU, stride=2), InvertedResidual(24, 88, 24, 3, nn.ReLU)
        )
        self.stage_16 = nn.Sequential(
            InvertedResidual(24, 96, 32, 5, nn.Hardswish, stride=2, squeezed=24),
            *(InvertedResidual(32, wide, 32, 5, nn.Hardswish, squeezed=wide // 4) for wide in (128, 128, 96, 96)),
        )
        self.context = nn.Conv2d(32, 128, 1)
        self.context_gate = nn.Conv2d(32, 128, 1)
        self.decoder_32 = GatedDecoder(128, 24)
        self.decoder_64 = GatedDecoder(24, 16)
        self.decoder_128 = GatedDecoder(16, 16)
        self.head = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities (N, 1, 256, 256) of a person in images (N, 3, 256, 256), 0 … 1."""
        x128 = F.hardswish(self.stem(images))
        x64 = self.stage_64(x128)
        x32 = self.stage_32(x64)
        x16 = self.stage_16(x32)
        x = F.relu(self.context(x16)) * torch.sigmoid(self.context_gate(_mean(x16)))
        return torch.sigmoid(self.head(self.decoder_128(self.decoder_64(self.decoder_32(x, x32), x64), x128)))


class InvertedResidual(nn.Module):
    """Inverted residual block of MobileNetV3, with squeeze and excitation if ``squeezed``."""

    def __init__(
        self,
        channels_in: int,
        wide: int,
        channels_out: int,
        kernel: int,
        activation: type[nn.Module],
        stride: int = 1,
        squeezed: int = 0,
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and channels_in == channels_out
        self.activation = activation()
        self.expansion = nn.Conv2d(channels_in, wide, 1)
        if stride == 2:
            self.depthwise = halving_convolution(wide, wide, kernel, groups=wide)
        else:
            self.depthwise = nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide)
        self.gate = _gate(wide, squeezed) if squeezed else None
        self.projection = nn.Conv2d(wide, channels_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.activation(self.expansion(x))
        y = self.activation(self.depthwise(y))
        if self.gate is not None:
            y = y * self.gate(_mean(y))
        y = self.projection(y)
        return x + y if self.residual else y


class GatedDecoder(nn.Module):
    """Doubles the resolution and adds what the encoder gave at that resolution, gated by both."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(channels_in, channels, 1)
        self.gate = _gate(channels, channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = self.reduction(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        x = F.relu(self.pointwise(skip * self.gate(_mean(skip + x)) + x))
        return x + F.relu(self.depthwise(x))


def _gate(channels: int, squeezed: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid())


def _mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3), keepdim=True)


class PersonSegmentation:
    """The network with its weights."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._network = load_network(PersonSegmentationNetwork, WEIGHTS, device)
        self._device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32, 0 background … 1 a person, of an image (H, W, 3) uint8 RGB.

        The mean of the network's outputs for the image and for its mirror image.
        """
        height, width, _ = image.shape
        region = upright_region(np.array([width, height]) / 2, np.array([width, height]))
        pixels = torch.tensor(image, device=self._device)  # a copy: the image may be read-only
        inputs = torch.cat([sample_upright(side, region, INPUT_SIZE) for side in (pixels, pixels.flip(1))])
        masks = F.interpolate(self._network(inputs / 255), (height, width), mode="bilinear", align_corners=False)
        return ((masks[0] + masks[1].flip(-1)) / 2)[0].cpu().numpy()
