"""The sizes of the five networks; the defaults are those of the published weights."""

from dataclasses import dataclass

NUM_KEYPOINTS = 21
INPUT_SIZE, OUTPUT_SIZE = 256, 512  # pixels: sides of the square pictures that go in and come out


@dataclass(frozen=True)
class Layout:
    """Widths and depths of the networks; smaller ones make small networks of the same structure.

    Attributes:
        channels: of the first convolution; each of the two downsampling steps doubles them.
        volume_channels, volume_depth: of the appearance volume.
        volume_blocks: residual blocks of the appearance extractor on the volume.
        motion_channels, motion_blocks: of the four stages of the motion extractor.
        flow_channels: of the hourglass of the warping module; each step down doubles them.
        flow_max_channels: the most that its steps have.
        flow_steps: downsampling steps of the hourglass.
        flow_features: channels to which the volume is compressed for it.
    """

    channels: int = 64
    volume_channels: int = 32
    volume_depth: int = 16
    volume_blocks: int = 6
    motion_channels: tuple[int, int, int, int] = (96, 192, 384, 768)
    motion_blocks: tuple[int, int, int, int] = (3, 3, 9, 3)
    flow_channels: int = 32
    flow_max_channels: int = 1024
    flow_steps: int = 5
    flow_features: int = 4

    @property
    def flat_channels(self) -> int:
        """Channels of the volume when its depth is folded into them."""
        return self.volume_channels * self.volume_depth

    @property
    def decoder_channels(self) -> int:
        """Channels of the warped picture features that the decoder receives."""
        return 4 * self.channels
