"""Speech2Landmarks (SPACE, section 3.2): from speech and the portrait's own landmarks to normalized landmarks."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from space_core.assets import weights_path
from space_core.face.topology import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    canonical_face,
)
from space_core.motion.emotion import expressive_motion
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH, SpeechEncoder
from space_core.motion.speech_features import log_mel, speaking, speech_power

WEIGHTS = weights_path("speech2landmarks.safetensors")

# The network. It hears two seconds before and after what it tells, and looks closely at the nearest 0.9 s.
CHANNELS = 256
DILATIONS = (1, 2, 4, 8, 4, 2, 1)  # frames; each block looks that far to both sides
REACH = sum(DILATIONS)
CONTEXT = 50

# Windows of frames told at once, one fading into the next; a page gets the first one first.
WINDOW = 100
FADE = 24
HOP = WINDOW - FADE

# Mouths narrower or wider than this, relative to the canonical one, are puckered or grinning, not small or large.
MOUTH_SCALES = (0.8, 1.25)
CLOSED_GAP = 0.012  # between inner lips, in outer-eye-corner distances: the tracker's noise on a closed mouth
SHUT_FROM, SHUT_AT = -0.5, 1.5  # logits between which lips close
CLOSING_PRIOR = 0.002  # regularizes how an open mouth is closed: small moves along likely motion, then the rest exactly

UPPER, LOWER = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])  # pairs of points that meet when lips close
OUTER_UPPER, OUTER_LOWER = list(OUTER_UPPER_LIP[1:-1]), list(OUTER_LOWER_LIP[1:-1])
DOWN = np.array([0.0, 1.0, 0.0])
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


class Articulator(nn.Module):
    """What is being said (batch, 2 * (T + 2 * REACH), 384) to what the face does (batch, T, outputs)."""

    def __init__(self, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.weigh = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(2 * dropout)
        self.join = nn.Linear(TOKENS_PER_FRAME * WIDTH, CHANNELS)
        self.blocks = nn.Sequential(*(Block(CHANNELS, dilation, dropout) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(CHANNELS)
        self.speak = nn.Linear(CHANNELS, num_outputs)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.weigh(tokens)).reshape(len(tokens), -1, TOKENS_PER_FRAME * WIDTH)
        return self.speak(self.norm(self.blocks(self.join(x))))


class MotionNetwork(nn.Module):
    """Log-mel steps to coefficients of the motion basis, each of about unit variance, and whether the lips are shut.

    The last output is a logit: above zero, lips more likely touch than not.
    """

    def __init__(self, num_coefficients: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = SpeechEncoder()
        self.articulator = Articulator(num_coefficients + 1, dropout)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """(batch, 4 * (T + 2 * CONTEXT), 80) to (batch, T, coefficients + 1)."""
        beyond = (CONTEXT - REACH) * TOKENS_PER_FRAME
        return self.articulator(self.encoder(steps)[:, beyond:-beyond])


class Speech2Landmarks:
    """The trained network and the basis of mesh motion it speaks in; made by ``load_speech2landmarks``."""

    def __init__(self, basis: np.ndarray, network: nn.Module, device: torch.device) -> None:
        """``basis`` (coefficients, 478, 3): offsets from the resting face, in outer-eye-corner distances."""
        self.basis = basis
        self.network = network
        self.device = device

    def speak(self, speech: np.ndarray, portrait: np.ndarray, emotion: np.ndarray) -> Iterator[np.ndarray]:
        """Normalized landmarks of the portrait saying the speech.

        Args:
            speech: (N,) float32, 16 kHz mono, any level.
            portrait: (478, 3) the portrait's own normalized landmarks.
            emotion: (T, 8) label weights × intensity in every frame, see ``emotion_curve``.

        Yields:
            (t, 478, 3) float32, about three seconds at a time, in order, ``number_of_frames(N)`` altogether. Silence
            shows ``resting_face(portrait)`` under the emotion; lids and irises move with the emotion alone.
        """
        speech = np.asarray(speech, np.float32)
        rest = resting_face(portrait, self.basis)
        size = mouth_scale(rest)
        first = 0
        for told, spoken in self._tell(speech):
            motion = size * np.tensordot(told[:, :-1], self.basis, 1)
            motion = close_lips(motion, shut_share(told[:, -1])) * spoken[:, None, None]
            landmarks = rest + expressive_motion(motion, emotion[first : first + len(told)], rest)
            yield keep_lips_apart(landmarks, rest).astype(np.float32)
            first += len(told)

    @torch.inference_mode()
    def _tell(self, speech: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What the network tells (t, coefficients + 1) and whether somebody speaks (t,), from one end to the other."""
        power = speech_power(speech)
        spoken = speaking(speech, power)
        ramp = (np.arange(FADE, dtype=np.float32)[:, None] + 0.5) / FADE
        before = None
        for first in range(-FADE // 2, len(spoken), HOP):
            steps = log_mel(speech, power, first - CONTEXT, WINDOW + 2 * CONTEXT)
            told = self.network(torch.from_numpy(steps)[None].to(self.device))[0].float().cpu().numpy()
            if before is not None:
                told[:FADE] = before + ramp * (told[:FADE] - before)
            before = told[HOP:]
            here = slice(max(first, 0), min(first + HOP, len(spoken)))
            yield told[here.start - first : here.stop - first], spoken[here]


@cache
def load_speech2landmarks(device: str | torch.device = "cpu") -> Speech2Landmarks:
    """The trained network on a device, read once."""
    device = torch.device(device)
    with safe_open(WEIGHTS, "pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    basis = arrays.pop("basis").numpy()
    network = MotionNetwork(len(basis))
    network.load_state_dict(unpacked(arrays))
    return Speech2Landmarks(basis, network.eval().to(device), device)


def packed(arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights for a file: matrices in eight bits with a factor for every row, all else in half precision."""
    small = {}
    for name, array in arrays.items():
        if array.ndim < 2:
            small[name] = array.half()
            continue
        factor = (array.flatten(1).abs().amax(1) / 127).clamp(min=1e-8)
        small[name] = (array / factor.reshape(-1, *[1] * (array.ndim - 1))).round().to(torch.int8)
        small[f"{name}.factor"] = factor
    return {name: array.contiguous() for name, array in small.items()}


def unpacked(arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights (float32) from what ``packed`` made of them."""
    whole = {}
    for name, array in arrays.items():
        if name.endswith(".factor"):
            continue
        factor = arrays.get(f"{name}.factor", torch.ones(1))
        whole[name] = array.float() * factor.reshape(-1, *[1] * (array.ndim - 1))
    return whole


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
    return _move_lips(closed, excess[..., None] / 2 * DOWN)


def mouth_scale(rest: np.ndarray) -> float:
    """How large a resting mouth is, relative to the canonical face's; motion is scaled by it."""
    width, canonical = (np.linalg.norm(np.subtract(*face[MOUTH_CORNERS])) for face in (rest, canonical_face().vertices))
    return float(np.clip(width / canonical, *MOUTH_SCALES))


def lip_gaps(landmarks: np.ndarray) -> np.ndarray:
    """Vertical distances (…, 9) between the inner lips of landmarks (…, 478, 3), left to right, corners left out."""
    return landmarks[..., LOWER, 1] - landmarks[..., UPPER, 1]


def shut_share(logit: np.ndarray) -> np.ndarray:
    """How far lips are brought together (T,), 0 as they are to 1, where the network says (T,) that they are shut."""
    return np.clip((logit - SHUT_FROM) / (SHUT_AT - SHUT_FROM), 0, 1)


def close_lips(motion: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) whose lips are brought together by a share (T,) of the way: regression alone only hedges."""
    return _move_lips(motion, (motion[:, LOWER] - motion[:, UPPER]) / 2 * share[:, None, None])


def keep_lips_apart(landmarks: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) whose lips touch but never pass through each other."""
    excess = np.minimum(lip_gaps(landmarks) - np.clip(lip_gaps(rest), 0, CLOSED_GAP), 0)
    return _move_lips(landmarks, excess[..., None] / 2 * DOWN)


def _move_lips(landmarks: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Moves the upper lip by ``amount`` (…, 9, 3), the lower one against it; the inner rim fully, the outer by half."""
    moved = landmarks.copy()
    for points, share in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 0.5), (OUTER_LOWER, -0.5)):
        moved[..., points, :] += share * amount
    return moved
