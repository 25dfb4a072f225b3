"""The building block of MediaPipe's face networks: a residual depthwise separable convolution (BlazeFace, 2019)."""

import torch
import torch.nn.functional as F
from torch import nn


class BlazeBlock(nn.Module):
    """A depthwise 3×3 and a pointwise convolution, added to the block's input, then PReLU or ReLU.

    With stride 2 the input is halved by maximum pooling before the addition, and the odd pixel of padding is at the right
    and at the bottom, as TensorFlow puts it. Where there are more channels out than in, the last ones get no input added.
    With several groups, as many blocks of these numbers of channels run side by side.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, groups: int = 1, prelu: bool = False
    ) -> None:
        super().__init__()
        self.channels_in, self.stride, self.groups = channels_in, stride, groups
        depth = channels_in * groups
        self.depthwise = nn.Conv2d(depth, depth, 3, stride, padding=stride % 2, groups=depth)
        self.pointwise = nn.Conv2d(depth, channels_out * groups, 1, groups=groups)
        self.activation = nn.PReLU(channels_out * groups) if prelu else nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x
        if self.stride == 2:
            x, skip = F.pad(x, (0, 1, 0, 1)), F.max_pool2d(x, 2)
        y = self.pointwise(self.depthwise(x))
        if y.shape == skip.shape:
            y += skip
        else:
            y.unflatten(1, (self.groups, -1))[:, :, : self.channels_in] += skip.unflatten(1, (self.groups, -1))
        return self.activation(y)


def blaze_blocks(channels: int, *outputs: int | tuple[int, int], groups: int = 1, prelu: bool = False) -> nn.Sequential:
    """Blocks one after the other: the number of channels in, and for each block those out, or (those out, stride)."""
    blocks = []
    for output in outputs:
        channels_out, stride = output if isinstance(output, tuple) else (output, 1)
        blocks.append(BlazeBlock(channels, channels_out, stride, groups, prelu))
        channels = channels_out
    return nn.Sequential(*blocks)
