"""The offsets that emotions add to a face, at rest and in speech (SPACE, section 3.2)."""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from space_core.assets import weights_path
from space_core.face.frown import frown_of
from space_core.face.smile import FAINT_COUNTS, hanging_of, smile_of
from space_core.face.topology import (
    CHIN,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_POINTS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
)
from space_core.motion.action_units import unit_shapes
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.expression_limits import limit_expression, widen_narrow_eyes
from space_core.motion.eyelids import lids
from space_core.motion.lips import close_lips

WEIGHTS = weights_path("emotion.safetensors")

NUM_MEASURES = 5  # of articulation
HIDDEN = 24
NUM_MODES = 6  # of the difference between emotional and neutral speech
OPEN_AT = 0.12  # lip opening in speech, in outer-eye-corner distances, from which on …
OPEN_SHARE = 0.5  # … an emotion parts the lips by this share of what it does at rest
# Emotions that contradict a photo's smile subtract it, times this factor: more than 1, as the photo's cheeks still show
# a part of the smile. All of it is subtracted from the intensity SMILE_GONE_AT on.
SMILE_TAKEN_BACK = 1.15
SMILE_GONE_AT = 0.5
# Joy adds less to a photo that already smiles in full, by this share of a full smile: the mouth would get too wide, and
# show teeth that the photo does not have.
SMILE_SPARED = 0.4
CURVED_SMILE = 0.65  # share of a full smile from which on joy does not curve the photo's mouth further
# A subtracted smile leaves the lips curved, so these emotions lower the mouth's corners further: strength of action
# unit 15 for a full smile, at intensity 1. Sadness and disgust lower them enough by themselves.
BELOW_SMILE = {"angry": 0.6, "fear": 0.5, "surprised": 0.3}
# Strength of action unit 4 that these emotions subtract for a full frown, at intensity 1; above 1, as the tracker
# attenuates frowns.
AGAINST_FROWN = {"happy": 1.5, "surprised": 1.2}


def expressive_motion(motion: np.ndarray, emotion: np.ndarray, rest: np.ndarray, closure: np.ndarray) -> np.ndarray:
    """Motion of a face in emotional speech, from that in neutral speech.

    Args:
        motion: (T, 478, 3) offsets from the resting face in neutral speech, in outer-eye-corner distances.
        emotion: (T, 8) label weights × intensity, see ``emotion_curve``.
        rest: (478, 3) the resting face.
        closure: (T,) how far speech holds the lips together: 0 not at all, as in silence … 1 shut. There an emotion
            that parts the lips parts them less.

    Returns:
        (T, 478, 3) offsets from the resting face; exactly ``motion`` where the emotion is neutral. The difference is
        proportional to the intensity, with three exceptions: ``limit_expression`` limits it; a smile of the photo is
        gone from intensity 0.5 on; hanging mouth corners are lifted no further beyond intensity 1. It depends on the
        photo's own smile, hanging mouth corners, frown and narrow eyes.
    """
    network = _load_network()
    weights = torch.from_numpy(np.asarray(emotion, np.float64))
    with torch.inference_mode():
        free = torch.from_numpy(1 - np.asarray(closure, np.float64))
        offsets = network(torch.from_numpy(articulation(motion)), weights, free)
        smile = smile_of(rest, FAINT_COUNTS)
        corners = network.mouth_corners(weights)
        offsets = offsets - smile * corners.taken_back
        offsets = (offsets + max(1 - smile / CURVED_SMILE, 0) * corners.curved).numpy()
        # A mouth that no longer hangs shows more of its teeth, but not where speech shuts it.
        offsets = offsets + close_lips((hanging_of(rest) * corners.lifted).numpy(), np.asarray(closure))
        # Both lips alike: joy must not press together what speech closes.
        offsets = offsets - min(smile, 1) * close_lips(corners.spared.numpy(), np.ones(len(motion)))
        gain = 1 + (weights[:, 1:] @ network.speech_gain).numpy()
    offsets = offsets + _against_photo(emotion, rest, smile)
    offsets = widen_narrow_eyes(offsets, np.tensordot(weights[:, 1:].numpy(), _raised_lids(), 1), rest)
    return gain[:, None, None] * motion + limit_expression(offsets, rest)


def _against_photo(emotion: np.ndarray, rest: np.ndarray, smile: float) -> np.ndarray:
    """Offsets (T, 478, 3) by which an emotion (T, 8) undoes expressions of the resting face that contradict it.

    ``rest`` is (478, 3), ``smile`` its smile as ``smile_of`` measures it.
    """
    lowered = np.multiply.outer(min(smile, 1) * _weighted(emotion, BELOW_SMILE), unit_shapes()["15"])
    frown = np.multiply.outer(frown_of(rest) * _weighted(emotion, AGAINST_FROWN), unit_shapes()["4"])
    # Both lips alike: what speech closes stays closed.
    return close_lips(lowered, np.ones(len(lowered))) - frown


def _weighted(emotion: np.ndarray, strengths: dict[str, float]) -> np.ndarray:
    """(T,) the sum of an emotion's label weights (T, 8), each times its strength, 0 for labels without one."""
    return np.asarray(emotion, np.float64) @ [strengths.get(label, 0.0) for label in EMOTIONS]


def articulation(motion: np.ndarray) -> np.ndarray:
    """Five measures of the mouth (T, 5) float64 in motion (T, 478, 3), 0 at rest, in outer-eye-corner distances.

    Lip opening in the middle and near the corners, increase of mouth width, drop of the chin, protrusion of the lips.
    """
    motion = np.asarray(motion, np.float64)
    gaps = motion[:, INNER_LOWER_LIP, 1] - motion[:, INNER_UPPER_LIP, 1]
    width = motion[:, OUTER_UPPER_LIP[-1], 0] - motion[:, OUTER_UPPER_LIP[0], 0]
    forward = -(motion[:, OUTER_UPPER_LIP[5], 2] + motion[:, OUTER_LOWER_LIP[5], 2]) / 2
    return np.stack([gaps[:, 4:7].mean(1), gaps[:, [1, 2, 8, 9]].mean(1), width, motion[:, CHIN, 1], forward], axis=1)


class MouthCorners(NamedTuple):
    """Offsets (T, 478, 3) of the mouth's corners under an emotion.

    Attributes:
        taken_back: subtracted from a photo that smiles in full, by emotions that contradict a smile.
        spared: what joy adds less to a photo that smiles in full.
        lifted: what joy adds to a photo whose corners hang in full.
        curved: what joy adds to a photo that does not smile.
    """

    taken_back: torch.Tensor
    spared: torch.Tensor
    lifted: torch.Tensor
    curved: torch.Tensor


class EmotionNetwork(nn.Module):
    """Articulation and emotion to offsets of the mesh.

    One hidden layer of the articulation, modulated by the emotion (FiLM; Perez et al., AAAI 2018): ``gamma`` scales its
    features, ``beta`` is the offset of the resting face. Only the difference from no emotion is modelled, so the output
    is 0 without emotion, proportional to each label weight, and ``beta`` + ``beta_open`` where the articulation is 0.
    ``beta_open`` parts the lips, as far as speech leaves them free.
    """

    modes: torch.Tensor
    beta: torch.Tensor
    beta_open: torch.Tensor
    speech_gain: torch.Tensor
    smile: torch.Tensor
    curve: torch.Tensor
    against_smile: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        num_emotions, num_values = len(EMOTIONS) - 1, NUM_POINTS * 3  # neutral adds nothing
        self.articulation_proj = nn.Linear(NUM_MEASURES, HIDDEN, bias=False)  # no bias: 0 at rest
        self.gamma = nn.Parameter(torch.zeros(num_emotions, HIDDEN))
        self.mode_head = nn.Linear(HIDDEN, NUM_MODES, bias=False)
        self.register_buffer("modes", torch.zeros(NUM_MODES, num_values))  # offsets of the mesh, in speech
        self.register_buffer("beta", torch.zeros(num_emotions, num_values))  # offsets of the mesh, at rest
        self.register_buffer("beta_open", torch.zeros(num_emotions, num_values))  # parts the lips
        self.register_buffer("speech_gain", torch.zeros(num_emotions))  # relative increase of speech motion
        self.register_buffer("smile", torch.zeros(num_values))  # offsets of the mesh in a full, closed-lipped smile
        # Added to joy's mouth on a face that does not smile yet: its corners rise above the middle of the lips.
        self.register_buffer("curve", torch.zeros(num_values))
        self.register_buffer("against_smile", torch.zeros(num_emotions))  # 1 where a photo's smile is taken back

    def forward(self, articulation: torch.Tensor, emotion: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
        """(T, 5), (T, 8) and (T,), from 0 shut lips to 1 lips that speech leaves free, to offsets (T, 478, 3)."""
        weights, opening = emotion[:, 1:], (articulation[:, :1] / OPEN_AT).clamp(0, 1)
        parting = free[:, None] * (1 - (1 - OPEN_SHARE) * opening**2 * (3 - 2 * opening))
        in_speech = self.mode_coefficients(articulation, emotion) @ self.modes
        offsets = in_speech + weights @ self.beta + parting * (weights @ self.beta_open)
        return offsets.reshape(len(offsets), NUM_POINTS, 3)

    def mouth_corners(self, emotion: torch.Tensor) -> MouthCorners:
        """Offsets of the mouth's corners under an emotion (T, 8), for photos with other mouths than a neutral one."""
        weights = emotion[:, 1:]
        against, intensity = weights @ self.against_smile, weights.sum(1)
        taken_back = SMILE_TAKEN_BACK * against / intensity.clamp(min=SMILE_GONE_AT)
        joy = intensity - against
        lifted = joy.clamp(max=1)
        # Hanging corners lack height, no width: a smile's own would push the skin beside them into folds.
        upwards = self.smile * self.smile.new_tensor([0.0, 1.0, 1.0]).repeat(NUM_POINTS)
        shares = (
            (taken_back, self.smile),
            (SMILE_SPARED * joy, self.smile),
            (lifted, upwards),
            (lifted, self.curve),
        )
        return MouthCorners(*((share[:, None] * shape).reshape(len(share), NUM_POINTS, 3) for share, shape in shares))

    def mode_coefficients(self, articulation: torch.Tensor, emotion: torch.Tensor) -> torch.Tensor:
        """(T, 5) and (T, 8) to coefficients (T, modes) of the difference between emotional and neutral speech."""
        features = torch.tanh(self.articulation_proj(articulation))
        return self.mode_head(features * (emotion[:, 1:] @ self.gamma))


@cache
def _load_network() -> EmotionNetwork:
    """The trained network, in float64."""
    network = EmotionNetwork()
    network.load_state_dict(load_file(WEIGHTS))
    return network.double().eval()


@cache
def _raised_lids() -> np.ndarray:
    """(7, 2, 9) how far each emotion that widens the eyes moves their upper lids along y; 0 of the others."""
    moved = lids(_load_network().beta.numpy().reshape(-1, NUM_POINTS, 3))[..., 1]
    widens = (moved[:, :, 1] - moved[:, :, 0]).mean((1, 2)) > 0
    return moved[:, :, 0] * widens[:, None, None]
