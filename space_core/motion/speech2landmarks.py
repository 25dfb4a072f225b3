"""Speech2Landmarks (SPACE, section 3.2): from speech and the portrait's own landmarks to normalized landmarks."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from space_core.face.topology import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    canonical_face,
)
from space_core.motion.emotion import expressive_motion
from space_core.motion.speech_features import NUM_BANDS, STEPS_PER_FRAME, log_mel, speech_power
from space_core.timing import number_of_frames

WEIGHTS = Path(__file__).parents[2] / "weights" / "speech2landmarks.safetensors"

# The network. It looks 23 frames (0.9 s) ahead and back, and no further.
STEP_CHANNELS = 128  # before steps are joined to frames
CHANNELS = 256
DILATIONS = (1, 2, 4, 8, 4, 2, 1)  # frames; each block looks that far to both sides
CONTEXT = sum(DILATIONS) + 1  # frames on either side; one more for what is heard over steps

FIRST_CHUNK = 50  # frames: what a page needs first is ready first
CHUNK = 100

# Mouths narrower or wider than this, relative to the canonical one, are puckered or grinning, not small or large.
MOUTH_SCALES = (0.8, 1.25)
CLOSED_GAP = 0.012  # between inner lips, in outer-eye-corner distances: the tracker's noise on a closed mouth
HEDGE = 0.03  # by so much the network leaves lips apart that should be shut
CLOSING_PRIOR = 0.002  # regularizes how an open mouth is closed: small moves along likely motion, then the rest exactly

UPPER, LOWER = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])  # pairs of points that meet when lips close
OUTER_UPPER, OUTER_LOWER = list(OUTER_UPPER_LIP[1:-1]), list(OUTER_LOWER_LIP[1:-1])
MOUTH_CORNERS = [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]


class Block(nn.Module):
    """A residual dilated convolution without padding: its output is ``2 * dilation`` frames shorter than its input."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        # A convolution of three frames as one matrix product, several times as fast as nn.Conv1d in bfloat16.
        self.look = nn.Linear(3 * channels, channels)
        self.mix = nn.Linear(channels, channels)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, frames, channels)
        far = self.dilation
        y = self.norm(x)
        y = torch.cat([y[:, : -2 * far], y[:, far:-far], y[:, 2 * far :]], dim=2)
        y = nn.functional.gelu(self.look(y))
        y = self.dropout(y.transpose(1, 2)).transpose(1, 2)  # whole channels
        return x[:, far:-far] + self.mix(y)


class MotionNetwork(nn.Module):
    """Log-mel steps to coefficients of the motion basis, each of about unit variance."""

    def __init__(self, num_coefficients: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.hear = nn.Linear(5 * NUM_BANDS, STEP_CHANNELS)
        self.tell_apart = Block(STEP_CHANNELS, 1, dropout)
        self.join = nn.Linear(STEPS_PER_FRAME * STEP_CHANNELS, CHANNELS)
        self.blocks = nn.Sequential(*(Block(CHANNELS, dilation, dropout) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(CHANNELS)
        self.speak = nn.Linear(CHANNELS, num_coefficients)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """(batch, 4 * (T + 2 * CONTEXT), 80) to (batch, T, coefficients)."""
        x = torch.cat([steps[:, step : step - 4 or None] for step in range(5)], dim=2)
        x = self.tell_apart(nn.functional.gelu(self.hear(x)))[:, 1:-1]  # a frame less on either side
        x = self.join(x.reshape(len(x), -1, STEPS_PER_FRAME * STEP_CHANNELS))
        return self.speak(self.norm(self.blocks(x)))


class Speech2Landmarks:
    """The trained network and the basis of mesh motion it speaks in; made by ``load_speech2landmarks``."""

    def __init__(self, basis: np.ndarray, network: nn.Module, device: torch.device) -> None:
        """``basis`` (coefficients, 478, 3): offsets from the resting face, in outer-eye-corner distances."""
        self.basis = basis
        self.network = network
        self.device = device

    def speak(
        self, speech: np.ndarray, portrait: np.ndarray, emotion: np.ndarray, chunk: int = CHUNK
    ) -> Iterator[np.ndarray]:
        """Normalized landmarks of the portrait saying the speech.

        Args:
            speech: (N,) float32, 16 kHz mono, any level.
            portrait: (478, 3) the portrait's own normalized landmarks.
            emotion: (T, 8) label weights × intensity in every frame, see ``emotion_curve``.
            chunk: the longest chunk, in frames; the landmarks don't depend on it.

        Yields:
            (t, 478, 3) float32, in order, ``number_of_frames(N)`` altogether. Silence shows ``resting_face(portrait)``
            under the emotion; lids and irises move with the emotion alone.
        """
        speech = np.asarray(speech, np.float32)
        rest = resting_face(portrait, self.basis)
        size = mouth_scale(rest)
        power = speech_power(speech)
        num_frames = number_of_frames(len(speech))
        first, length = 0, min(FIRST_CHUNK, chunk)
        while first < num_frames:
            length = min(length, num_frames - first)
            motion = close_firmly(size * np.tensordot(self._coefficients(speech, power, first, length), self.basis, 1))
            landmarks = rest + expressive_motion(motion, emotion[first : first + length], rest)
            yield keep_lips_apart(landmarks, rest).astype(np.float32)
            first, length = first + length, chunk

    @torch.inference_mode()
    def _coefficients(self, speech: np.ndarray, power: float, first: int, length: int) -> np.ndarray:
        steps = log_mel(speech, power, first - CONTEXT, length + 2 * CONTEXT)
        return self.network(torch.from_numpy(steps)[None].to(self.device))[0].float().cpu().numpy()


@cache
def load_speech2landmarks(device: str | torch.device = "cpu") -> Speech2Landmarks:
    """The trained network on a device, read once."""
    device = torch.device(device)
    with safe_open(WEIGHTS, "pt") as file:
        arrays = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    basis = arrays.pop("basis").numpy()
    network = MotionNetwork(len(basis))
    network.load_state_dict(arrays)
    return Speech2Landmarks(basis, network.eval().to(device), device)


def resting_face(portrait: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The portrait (478, 3) with its mouth closed: what silence shows. A closed mouth is left exactly as it is.

    ``basis`` (coefficients, 478, 3) says how the jaw, the cheeks and the lips move together when a mouth closes.
    """
    portrait = np.asarray(portrait, np.float64)
    closing = np.maximum(lip_gaps(portrait) - CLOSED_GAP, 0)
    if not closing.any():
        return portrait
    gaps = lip_gaps(basis)  # (coefficients, pairs): how much each opens the lips
    coefficients = np.linalg.solve(gaps @ gaps.T + CLOSING_PRIOR * np.eye(len(gaps)), gaps @ closing)
    closed = portrait - np.tensordot(coefficients, basis, 1)
    # What the basis leaves open or presses too far is shared by both lips, whole rather than their rims alone.
    excess = lip_gaps(closed) - (lip_gaps(portrait) - closing)
    return _move_lips(closed, excess / 2)


def mouth_scale(rest: np.ndarray) -> float:
    """How large a resting mouth is, relative to the canonical face's; motion is scaled by it."""
    width, canonical = (np.linalg.norm(np.subtract(*face[MOUTH_CORNERS])) for face in (rest, canonical_face().vertices))
    return float(np.clip(width / canonical, *MOUTH_SCALES))


def lip_gaps(landmarks: np.ndarray) -> np.ndarray:
    """Vertical distances (…, 9) between the inner lips of landmarks (…, 478, 3), left to right, corners left out."""
    return landmarks[..., LOWER, 1] - landmarks[..., UPPER, 1]


def close_firmly(motion: np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) whose lips shut where the network all but shuts them: it hedges, as every regression does."""
    return _move_lips(motion, HEDGE / 2 * -np.expm1(-np.maximum(lip_gaps(motion), 0) / HEDGE))


def keep_lips_apart(landmarks: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) whose lips touch but never pass through each other."""
    excess = np.minimum(lip_gaps(landmarks) - np.clip(lip_gaps(rest), 0, CLOSED_GAP), 0)
    return _move_lips(landmarks, excess / 2)


def _move_lips(landmarks: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Moves the upper lip down and the lower one up by ``amount`` (…, 9), the inner rim fully, the outer by half."""
    moved = landmarks.copy()
    for points, share in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 0.5), (OUTER_LOWER, -0.5)):
        moved[..., points, 1] += share * amount
    return moved
