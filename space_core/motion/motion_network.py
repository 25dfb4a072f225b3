"""The network of Speech2Landmarks (SPACE, section 3.2): from a log-mel spectrogram to the motion of a face mesh."""

import torch
from torch import nn

from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH, SpeechEncoder

# In video frames: the encoder sees CONTEXT_FRAMES (2 s) before and after the frames to predict, the decoder
# RECEPTIVE_FRAMES (0.9 s) of that.
CHANNELS = 256
DILATIONS = (1, 2, 4, 8, 4, 2, 1)  # frames
RECEPTIVE_FRAMES = sum(DILATIONS)
CONTEXT_FRAMES = 50


class TemporalBlock(nn.Module):
    """A residual dilated convolution without padding: its output is ``2 * dilation`` frames shorter than its input."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        # A convolution over three frames as one matrix product, several times as fast as nn.Conv1d in bfloat16.
        self.context_proj = nn.Linear(3 * channels, channels)
        self.out_proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, frames, channels)
        step = self.dilation
        y = self.norm(x)
        y = torch.cat([y[:, : -2 * step], y[:, step:-step], y[:, 2 * step :]], dim=2)
        y = nn.functional.gelu(self.context_proj(y))
        y = self.dropout(y.transpose(1, 2)).transpose(1, 2)  # whole channels
        return x[:, step:-step] + self.out_proj(y)


class MotionDecoder(nn.Module):
    """Speech features (batch, 2 * (T + 2 * RECEPTIVE_FRAMES), 384) to outputs (batch, T, num_outputs)."""

    def __init__(self, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(2 * dropout)
        self.input_proj = nn.Linear(TOKENS_PER_FRAME * WIDTH, CHANNELS)
        self.blocks = nn.Sequential(*(TemporalBlock(CHANNELS, dilation, dropout) for dilation in DILATIONS))
        self.output_norm = nn.LayerNorm(CHANNELS)
        self.head = nn.Linear(CHANNELS, num_outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``embed`` and ``decode``."""
        return self.decode(self.embed(features))

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Features (batch, 2 * frames, 384) as one vector for each video frame (batch, frames, 256)."""
        x = self.dropout(self.input_norm(features)).reshape(len(features), -1, TOKENS_PER_FRAME * WIDTH)
        return self.input_proj(x)

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        """What ``embed`` gave for T + 2 * RECEPTIVE_FRAMES frames to outputs (batch, T, num_outputs)."""
        return self.head(self.output_norm(self.blocks(x)))


class MotionNetwork(nn.Module):
    """Log-mel spectrogram to coefficients of the motion basis, each of about unit variance, and a closure logit.

    The logit is the last output; above 0 the lips more likely touch than not.
    """

    def __init__(self, num_coefficients: int) -> None:
        super().__init__()
        self.encoder = SpeechEncoder()
        self.decoder = MotionDecoder(num_coefficients + 1)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(batch, 4 * (T + 2 * CONTEXT_FRAMES), 80) to (batch, T, coefficients + 1)."""
        return self.with_features(mel)[0]

    def with_features(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs, and the encoder's features of the same frames as the decoder takes them in (batch, T, 256)."""
        beyond = (CONTEXT_FRAMES - RECEPTIVE_FRAMES) * TOKENS_PER_FRAME
        frames = self.decoder.embed(self.encoder(mel)[:, beyond:-beyond])
        return self.decoder.decode(frames), frames[:, RECEPTIVE_FRAMES:-RECEPTIVE_FRAMES]
