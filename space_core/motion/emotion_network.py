"""The offsets that emotions add to a face, at rest and in speech (SPACE, section 3.2)."""

from functools import cache

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from space_core.assets import weights_path
from space_core.face.topology import (
    CHIN,
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_POINTS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    canonical_face,
)
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.eyelids import lids, move_lids

WEIGHTS = weights_path("emotion.safetensors")

NUM_MEASURES = 5  # of articulation
HIDDEN = 24
NUM_MODES = 6  # of the difference between emotional and neutral speech
# Lip opening, in outer-eye-corner distances, from which on ``beta_open`` is added in full; nothing where lips touch.
OPEN_AT = 0.05

LEAST_EYE_OPENING = 0.65  # of the resting face's, that every emotion leaves
# The brows come down freely by the first share of their distance from the upper lids, and never by the second.
BROWS_FREE, BROWS_LIMIT = 0.55, 0.7
BROWS = ((55, 65, 52), (285, 295, 282))  # the lower rims of both, from the inner end to the middle
BROWS_LOW, BROWS_HIGH = 0.0, -0.06  # y on the canonical face between which skin starts to move with the brows


def expressive_motion(motion: np.ndarray, emotion: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Motion of a face in emotional speech, from that in neutral speech.

    Args:
        motion: (T, 478, 3) offsets from the resting face in neutral speech, in outer-eye-corner distances.
        emotion: (T, 8) label weights × intensity, see ``emotion_curve``.
        rest: (478, 3) the resting face.

    Returns:
        (T, 478, 3) offsets from the resting face; exactly ``motion`` where the emotion is neutral. The difference is
        proportional to the intensity, except where it would shut the eyes or push the brows onto them.
    """
    network = _load_network()
    weights = torch.from_numpy(np.asarray(emotion, np.float64))
    with torch.inference_mode():
        offsets = network(torch.from_numpy(articulation(motion)), weights).numpy()
        gain = 1 + (weights[:, 1:] @ network.speech_gain).numpy()
    return gain[:, None, None] * motion + _limit_brows(_limit_lids(offsets, rest), rest)


def articulation(motion: np.ndarray) -> np.ndarray:
    """Five measures of the mouth (T, 5) float64 in motion (T, 478, 3), 0 at rest, in outer-eye-corner distances.

    Lip opening in the middle and near the corners, increase of mouth width, drop of the chin, protrusion of the lips.
    """
    motion = np.asarray(motion, np.float64)
    gaps = motion[:, INNER_LOWER_LIP, 1] - motion[:, INNER_UPPER_LIP, 1]
    width = motion[:, OUTER_UPPER_LIP[-1], 0] - motion[:, OUTER_UPPER_LIP[0], 0]
    forward = -(motion[:, OUTER_UPPER_LIP[5], 2] + motion[:, OUTER_LOWER_LIP[5], 2]) / 2
    return np.stack([gaps[:, 4:7].mean(1), gaps[:, [1, 2, 8, 9]].mean(1), width, motion[:, CHIN, 1], forward], axis=1)


class EmotionNetwork(nn.Module):
    """Articulation and emotion to offsets of the mesh.

    One hidden layer of the articulation, modulated by the emotion (FiLM; Perez et al., AAAI 2018): ``gamma`` scales its
    features, ``beta`` is the offset of the resting face. Only the difference from no emotion is modelled, so the output
    is 0 without emotion, proportional to each label weight, and ``beta`` alone where the articulation is 0. Where the
    lips are open, ``beta_open`` is added.
    """

    def __init__(self) -> None:
        super().__init__()
        num_emotions, num_values = len(EMOTIONS) - 1, NUM_POINTS * 3  # neutral adds nothing
        self.articulation_proj = nn.Linear(NUM_MEASURES, HIDDEN, bias=False)  # no bias: 0 at rest
        self.gamma = nn.Parameter(torch.zeros(num_emotions, HIDDEN))
        self.mode_head = nn.Linear(HIDDEN, NUM_MODES, bias=False)
        self.register_buffer("modes", torch.zeros(NUM_MODES, num_values))  # offsets of the mesh, in speech
        self.register_buffer("beta", torch.zeros(num_emotions, num_values))  # offsets of the mesh, at rest
        self.register_buffer("beta_open", torch.zeros(num_emotions, num_values))  # added where the lips are open
        self.register_buffer("speech_gain", torch.zeros(num_emotions))  # relative increase of speech motion

    def forward(self, articulation: torch.Tensor, emotion: torch.Tensor) -> torch.Tensor:
        """(T, 5) and (T, 8) to offsets (T, 478, 3)."""
        weights, opening = emotion[:, 1:], (articulation[:, :1] / OPEN_AT).clamp(0, 1)
        opening = opening**2 * (3 - 2 * opening)
        in_speech = self.mode_coefficients(articulation, emotion) @ self.modes
        offsets = in_speech + weights @ self.beta + opening * (weights @ self.beta_open)
        return offsets.reshape(len(offsets), NUM_POINTS, 3)

    def mode_coefficients(self, articulation: torch.Tensor, emotion: torch.Tensor) -> torch.Tensor:
        """(T, 5) and (T, 8) to coefficients (T, modes) of the difference between emotional and neutral speech."""
        features = torch.tanh(self.articulation_proj(articulation))
        return self.mode_head(features * (emotion[:, 1:] @ self.gamma))


def _limit_brows(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with less downward motion where it would push low brows onto the eyes."""
    pairs = [(list(eye.upper_lid[3:6]), list(brow)) for eye, brow in zip(EYES, BROWS, strict=True)]
    heights = np.array([rest[lid, 1].mean() - rest[brow, 1].mean() for lid, brow in pairs]).clip(1e-3)
    down = np.stack([offsets[:, brow, 1].mean(1) for _, brow in pairs], axis=1)
    nearer = (down - np.stack([offsets[:, lid, 1].mean(1) for lid, _ in pairs], axis=1)) / heights
    room = BROWS_LIMIT - BROWS_FREE
    excess = np.maximum(nearer - BROWS_FREE - room * np.tanh((nearer - BROWS_FREE) / room), 0) * heights
    excess = np.where(nearer > BROWS_FREE, excess, 0)
    share = np.clip(excess / np.maximum(down, 1e-9), 0, 1).max(1)  # of the downward motion to take back
    limited = offsets.copy()
    limited[..., 1] *= 1 - share[:, None] * _brow_weights()
    return limited


@cache
def _brow_weights() -> np.ndarray:
    """(478,) how far each point moves with the brows: 1 above the lids, 0 on and below them."""
    share = np.clip((canonical_face().vertices[:, 1] - BROWS_LOW) / (BROWS_HIGH - BROWS_LOW), 0, 1)
    share = share * share * (3 - 2 * share)
    share[[point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]] = 0
    return share


def _limit_lids(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with the upper lids raised where they would shut eyes that are already half shut."""
    before, after = lids(rest[None]), lids(rest + offsets)
    missing = LEAST_EYE_OPENING * (before[:, :, 1] - before[:, :, 0]) - (after[:, :, 1] - after[:, :, 0])
    lift = np.zeros_like(after)
    lift[:, :, 0, :, 1] = -np.clip(missing[..., 1], 0, None)
    return move_lids(rest + offsets, lift) - rest


@cache
def _load_network() -> EmotionNetwork:
    """The trained network, in float64."""
    network = EmotionNetwork()
    network.load_state_dict(load_file(WEIGHTS))
    return network.double().eval()
