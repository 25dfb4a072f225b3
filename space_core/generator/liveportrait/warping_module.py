"""The warping module W: the appearance volume, moved from the source's keypoints to the driving ones."""

import torch
from torch import nn
from torch.nn import functional as F

from space_core.generator.liveportrait.appearance_extractor import ConvBlock2d
from space_core.generator.liveportrait.layout import NUM_KEYPOINTS, Layout

KEYPOINT_VARIANCE = 0.01  # of the heatmaps' Gaussians; the volume's sides are -1…1
NUM_FLOWS = NUM_KEYPOINTS + 1  # one for each keypoint, and one that moves nothing


class ConvBlock3d(nn.Module):
    """Convolution, batch norm, ReLU on a volume."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class Encoder(nn.Module):
    """Halves height and width at every step; returns the input and the result of every step."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(map(ConvBlock3d, channels, channels[1:]))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = [x]
        for block in self.down_blocks:
            levels.append(F.avg_pool3d(block(levels[-1]), (1, 2, 2)))
        return levels


class Decoder(nn.Module):
    """Doubles height and width at every step and appends what the encoder had there; a block at the end."""

    def __init__(self, channels_in: int, channels: list[int]) -> None:
        super().__init__()
        # The lowest level has no neighbour of its own size that would be appended.
        before = [channels[-1], *(2 * width for width in channels[-2:0:-1])]
        self.up_blocks = nn.ModuleList(map(ConvBlock3d, before, channels[-2::-1]))
        channels_out = channels[0] + channels_in
        self.conv = nn.Conv3d(channels_out, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        *skips, x = levels
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = torch.cat([block(F.interpolate(x, scale_factor=(1, 2, 2))), skip], 1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    """Encoder and decoder of (B, C, D, H, W) with skip connections; C + ``flow_channels`` channels come out."""

    def __init__(self, channels_in: int, layout: Layout) -> None:
        super().__init__()
        widths = (layout.flow_channels << step for step in range(layout.flow_steps + 1))
        channels = [min(width, layout.flow_max_channels) for width in widths]
        self.encoder = Encoder([channels_in, *channels[1:]])
        self.decoder = Decoder(channels_in, channels)
        self.channels_out = channels[0] + channels_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


class DenseMotionNetwork(nn.Module):
    """Where each cell of the warped volume comes from, and how much of it is visible."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.hourglass = Hourglass(NUM_FLOWS * (layout.flow_features + 1), layout)
        channels = self.hourglass.channels_out
        self.mask = nn.Conv3d(channels, NUM_FLOWS, 7, padding=3)
        self.compress = nn.Conv3d(layout.volume_channels, layout.flow_features, 1)
        self.norm = nn.BatchNorm3d(layout.flow_features)
        self.occlusion = nn.Conv2d(channels * layout.volume_depth, 1, 7, padding=3)

    def forward(
        self, volume: torch.Tensor, source: torch.Tensor, driving: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Places in the volume (B, D, H, W, 3), -1…1, and visibility (B, 1, H, W), 0…1.

        Args:
            volume: (B, C, D, H, W).
            source, driving: (B, 21, 3) keypoints.
        """
        batch, _, *size = volume.shape
        grid = volume_grid(volume)  # (D, H, W, 3)
        shifts = (source - driving)[:, :, None, None, None]  # (B, 21, 1, 1, 1, 3)
        still = grid.expand(batch, 1, *grid.shape)
        flows = torch.cat([still, grid + shifts], 1)  # (B, 22, D, H, W, 3)

        features = F.relu(self.norm(self.compress(volume)))  # (B, 4, D, H, W)
        features = features[:, None].expand(-1, NUM_FLOWS, -1, -1, -1, -1).flatten(0, 1)
        moved = sample_volume(features, flows.flatten(0, 1)).unflatten(0, (batch, NUM_FLOWS))  # (B, 22, 4, D, H, W)
        heatmaps = _heatmaps(driving, grid) - _heatmaps(source, grid)  # (B, 21, D, H, W)
        heatmaps = F.pad(heatmaps, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]  # (B, 22, 1, D, H, W)
        x = torch.cat([heatmaps.to(moved.dtype), moved], 2).flatten(1, 2)  # (B, 110, D, H, W)

        x = self.hourglass(x)  # (B, 142, D, H, W)
        weights = self.mask(x).float().softmax(1)  # (B, 22, D, H, W)
        places = (flows * weights[..., None]).sum(1)  # (B, D, H, W, 3)
        visible = torch.sigmoid(self.occlusion(x.reshape(batch, -1, *size[1:])))  # (B, 1, H, W)
        return places, visible


class WarpingModule(nn.Module):
    """Appearance volume (B, 32, 16, 64, 64) and keypoints to warped picture features (B, 256, 64, 64)."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork(layout)
        self.third = ConvBlock2d(layout.flat_channels, layout.decoder_channels, slope=0.01)
        self.fourth = nn.Conv2d(layout.decoder_channels, layout.decoder_channels, 1)

    def forward(self, volume: torch.Tensor, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """See ``DenseMotionNetwork.forward`` for the arguments."""
        places, visible = self.dense_motion_network(volume, source, driving)
        warped = sample_volume(volume, places).flatten(1, 2)  # (B, 512, 64, 64)
        return self.fourth(self.third(warped)) * visible


def sample_volume(volume: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, C, D, H, W) trilinear samples of a volume at places (B, D, H, W, 3), x, y, z in -1…1; zero outside of it."""
    # The eight bits of bfloat16 would put a place wrong by a tenth of a cell.
    sampled = volume.float() if volume.dtype == torch.bfloat16 else volume
    return F.grid_sample(sampled, places.to(sampled.dtype), align_corners=False)


def volume_grid(volume: torch.Tensor) -> torch.Tensor:
    """(D, H, W, 3) float32 x, y and z of a volume's cells; the first and last are at -1 and 1."""
    axes = [torch.linspace(-1, 1, size, device=volume.device) for size in volume.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def _heatmaps(keypoints: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """(B, K, D, H, W) a Gaussian around each of the keypoints (B, K, 3)."""
    squared = (grid - keypoints[:, :, None, None, None]).square().sum(-1)
    return torch.exp(squared / (-2 * KEYPOINT_VARIANCE))
