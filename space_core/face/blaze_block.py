"""The building block of MediaPipe's face networks: a residual depthwise separable convolution (BlazeFace, 2019)."""

import torch
import torch.nn.functional as F
from torch import nn


def halving_convolution(channels_in: int, channels_out: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    """A convolution of stride 2 that pads as TensorFlow does: the odd pixel at the right and at the bottom.

    The kernel is one larger than it was trained, with zeros in its first row and column.
    """
    return nn.Conv2d(channels_in, channels_out, kernel + 1, stride=2, padding=kernel // 2, groups=groups)


class BlazeBlock(nn.Module):
    """A depthwise 3×3 and a pointwise convolution, added to the block's input, then PReLU or ReLU.

    With stride 2 the input is halved by maximum pooling before the addition. Where there are more channels out than in,
    the last ones get no input added. With several groups, as many blocks of these numbers of channels run side by side.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, groups: int, prelu: bool) -> None:
        super().__init__()
        self.stride, self.groups, self.widened = stride, groups, channels_in if channels_out > channels_in else None
        depth = channels_in * groups
        if stride == 2:
            self.depthwise = halving_convolution(depth, depth, 3, groups=depth)
        else:
            self.depthwise = nn.Conv2d(depth, depth, 3, padding=1, groups=depth)
        self.pointwise = Pointwise(channels_in, channels_out, groups)
        self.activation = nn.PReLU(channels_out * groups) if prelu else nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.max_pool2d(x, 2) if self.stride == 2 else x
        y = self.pointwise(self.depthwise(x))
        if self.widened is None:
            y += skip
        else:
            y.unflatten(1, (self.groups, -1))[:, :, : self.widened] += skip.unflatten(1, (self.groups, -1))
        return self.activation(y)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution. Groups are one matrix product, as torch runs them one by one on the CPU."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__(channels_in * groups, channels_out * groups, 1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, groups · channels in, H, W) to (N, groups · channels out, H, W), both channels-last in memory."""
        if self.groups == 1:
            return super().forward(x)
        assert self.bias is not None
        number, _, height, width = x.shape
        weight, bias = (p.view(self.groups, -1, p[0].numel()) for p in (self.weight, self.bias))
        x = x.permute(0, 2, 3, 1).reshape(-1, self.groups, weight.shape[2]).transpose(0, 1)
        y = torch.baddbmm(bias.mT, x, weight.mT)  # (groups, N · H · W, channels out)
        return y.transpose(0, 1).reshape(number, height, width, -1).permute(0, 3, 1, 2)


def blaze_blocks(channels: int, *outputs: int | tuple[int, int], groups: int = 1, prelu: bool = False) -> nn.Sequential:
    """Blocks one after the other: the number of channels in, and for each block those out, or (those out, stride)."""
    blocks = []
    for output in outputs:
        channels_out, stride = output if isinstance(output, tuple) else (output, 1)
        blocks.append(BlazeBlock(channels, channels_out, stride, groups, prelu))
        channels = channels_out
    return nn.Sequential(*blocks)
