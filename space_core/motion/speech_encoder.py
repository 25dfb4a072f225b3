"""The encoder of Whisper (Radford et al., 2022), as far as lips need it: log-mel steps to what is being said."""

import torch
from torch import nn
from torch.nn import functional as F

from space_core.motion.speech_features import FLOOR_FOR_WHISPER, NUM_BANDS

WIDTH = 384
HEADS = 6
LAYERS = 3  # of the tiny encoder's four: the last one forgets sounds for words
TOKENS_PER_FRAME = 2
LONGEST = 1500  # tokens, 30 s


class Layer(nn.Module):
    """Self-attention over all tokens, then two linear maps over each."""

    def __init__(self) -> None:
        super().__init__()
        self.attend_norm = nn.LayerNorm(WIDTH)
        self.attend = nn.Linear(WIDTH, 3 * WIDTH)
        self.gather = nn.Linear(WIDTH, WIDTH)
        self.think_norm = nn.LayerNorm(WIDTH)
        self.think = nn.Linear(WIDTH, 4 * WIDTH)
        self.conclude = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, tokens, width)
        batch, tokens, _ = x.shape
        heads = self.attend(self.attend_norm(x)).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value)
        x = x + self.gather(seen.transpose(1, 2).reshape(batch, tokens, WIDTH))
        return x + self.conclude(F.gelu(self.think(self.think_norm(x))))


class SpeechEncoder(nn.Module):
    """Log-mel steps (batch, 2 * tokens, 80), see ``log_mel``, to (batch, tokens, 384), 50 tokens a second."""

    def __init__(self) -> None:
        super().__init__()
        self.hear = nn.Conv1d(NUM_BANDS, WIDTH, 3, padding=1)
        self.join = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        angles = torch.arange(LONGEST)[:, None] / 10_000 ** torch.linspace(0, 1, WIDTH // 2)
        self.register_buffer("places", torch.cat([angles.sin(), angles.cos()], dim=1), persistent=False)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.hear(steps.transpose(1, 2) + FLOOR_FOR_WHISPER))
        x = F.gelu(self.join(x)).transpose(1, 2)
        x = x + self.places[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x
