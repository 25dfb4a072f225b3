"""The audio encoder of Whisper (Radford et al., 2022), without its last block."""

import torch
from torch import nn
from torch.nn import functional as F

from space_core.motion.speech_features import NUM_MELS, WHISPER_OFFSET

WIDTH = 384
NUM_HEADS = 6
NUM_BLOCKS = 3  # of the tiny encoder's four: features of the last one predict lip motion worse
TOKENS_PER_FRAME = 2  # in a video frame: 50 a second
MAX_TOKENS = 1500  # 30 s


class MultiHeadAttention(nn.Module):
    """Self-attention; query, key and value are one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, tokens, width)
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, NUM_HEADS, WIDTH // NUM_HEADS)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, tokens, width / heads)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(1, 2).reshape(batch, tokens, WIDTH))


class ResidualAttentionBlock(nn.Module):
    """Self-attention over all tokens, then a two-layer perceptron on each."""

    def __init__(self) -> None:
        super().__init__()
        self.attn_ln = nn.LayerNorm(WIDTH)
        self.attn = MultiHeadAttention()
        self.mlp_ln = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, tokens, width)
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))


class SpeechEncoder(nn.Module):
    """Log-mel spectrogram (batch, 2 * tokens, 80), see ``log_mel``, to features (batch, tokens, 384), 50 a second."""

    positional_embedding: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(NUM_MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(ResidualAttentionBlock() for _ in range(NUM_BLOCKS))
        angles = torch.arange(MAX_TOKENS)[:, None] / 10_000 ** torch.linspace(0, 1, WIDTH // 2)
        self.register_buffer("positional_embedding", torch.cat([angles.sin(), angles.cos()], dim=1), persistent=False)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.conv1(mel.transpose(1, 2) + WHISPER_OFFSET))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x
