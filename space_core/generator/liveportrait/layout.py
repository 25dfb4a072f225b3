"""The sizes of the five networks; the defaults are those of the published weights."""

from dataclasses import astuple, dataclass

NUM_KEYPOINTS = 21
MOST = 4096  # of everything that a layout counts


@dataclass(frozen=True)
class Layout:
    """Widths, depths and pictures of the networks; smaller ones make small networks of the same structure.

    Attributes:
        input_size: side of the square pictures that go in, pixels; a multiple of 32.
        channels: of the first convolution; each of the two downsampling steps doubles them.
        volume_channels, volume_depth: of the appearance volume.
        volume_blocks: residual blocks of the appearance extractor on the volume.
        motion_channels, motion_blocks: of the four stages of the motion extractor.
        flow_channels: of the hourglass of the warping module; each step down doubles them.
        flow_max_channels: the most that its steps have.
        flow_steps: downsampling steps of the hourglass.
        flow_features: channels to which the volume is compressed for it.
        modulation_channels: between the features and the modulation in the decoder.
    """

    input_size: int = 256
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
    modulation_channels: int = 128

    def __post_init__(self) -> None:
        """Refuses with a ValueError what no networks can have, as in a damaged file."""
        counts = [count for value in astuple(self) for count in (value if isinstance(value, tuple) else (value,))]
        if not all(isinstance(count, int) and 0 < count <= MOST for count in counts) or self.input_size % 32:
            raise ValueError(f"not a layout: {self}")

    @property
    def output_size(self) -> int:
        """Side of the square pictures that come out, pixels."""
        return 2 * self.input_size

    @property
    def volume_size(self) -> int:
        """Height and width of the appearance volume."""
        return self.input_size // 4

    @property
    def flat_channels(self) -> int:
        """Channels of the volume when its depth is folded into them."""
        return self.volume_channels * self.volume_depth

    @property
    def decoder_channels(self) -> int:
        """Channels of the warped picture features that the decoder receives."""
        return 4 * self.channels
