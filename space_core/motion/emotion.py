"""What each emotion adds to a face, at rest and as it speaks (SPACE, section 3.2)."""

from functools import cache

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from space_core.assets import weights_path
from space_core.errors import SpaceError
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
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY, parse_timeline
from space_core.motion.eyelids import lids, move_lids
from space_core.timing import FPS

WEIGHTS = weights_path("emotion.safetensors")

TRANSITION = 0.6  # seconds from one emotion of a timeline to the next, half of them before the time given
LEAST_EYE_OPENING = 0.65  # of the photo's own, that every emotion leaves
# Shares of the photo's own distance from the upper lids to the brows: brows come down freely by the first, and never by
# the second, however strong the emotion.
BROWS_FREE, BROWS_LIMIT = 0.55, 0.7
BROWS = ((55, 65, 52), (285, 295, 282))  # the lower rims of both, from the inner end to the middle
BROWS_LOW, BROWS_HIGH = 0.0, -0.06  # the heights on the canonical face between which skin starts to go with the brows

# Lips that meet are left alone by an emotion that parts lips; those that speech has opened this far are parted fully.
OPEN_AT = 0.05

NUM_MEASURES = 5  # of articulation
HIDDEN = 24
MODES = 6  # in which lips that speak with emotion differ from neutral ones


def emotion_curve(emotion: str, intensity: float, num_frames: int) -> np.ndarray:
    """What to feel in every frame.

    Args:
        emotion: a label of ``EMOTIONS``; a blend, ``happy+surprised`` in equal shares or ``0.7 happy + 0.3 sad``;
            either with a strength of its own, ``happy@0.8``; or a timeline, ``0:neutral, 2.5:happy@0.8, 6:surprised``:
            from which second on which of these. Before the first of these times the face is neutral. One gives way to
            the next along a smoothstep of 0.6 seconds, centred on the time given; what is given for 0 is there from
            the first frame on.
        intensity: 0 none, 1 full, up to 1.5 exaggerated, wherever no ``@`` says otherwise.
        num_frames: frames, 25 a second.

    Returns:
        (num_frames, 8) float32: label weights, which sum up to 1, × intensity, in the order of ``EMOTIONS``.

    Raises:
        SpaceError: the emotion can't be understood, or a number is out of range.
    """
    if not 0 <= intensity <= MAX_INTENSITY:
        raise SpaceError(f"The intensity of an emotion is between 0 and {MAX_INTENSITY:g}, not {intensity:g}.")
    timeline = [(second, np.array(weights)) for second, weights in parse_timeline(emotion, intensity)]
    now = np.arange(num_frames)[:, None] / FPS
    before = intensity * np.eye(len(EMOTIONS))[EMOTIONS.index("neutral")]
    curve = np.tile(before, (num_frames, 1))
    for second, weights in timeline:
        progress = _smoothstep((now - second) / TRANSITION + 0.5) if second > 0 else np.ones_like(now)
        curve += progress * (weights - before)
        before = weights
    return curve.astype(np.float32)


def expressive_motion(motion: np.ndarray, emotion: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """What a face does that speaks with emotion.

    Args:
        motion: (T, 478, 3) what neutral speech does to the resting face, in outer-eye-corner distances.
        emotion: (T, 8) label weights × intensity, see ``emotion_curve``.
        rest: (478, 3) the face at rest.

    Returns:
        (T, 478, 3) offsets from the resting face; exactly ``motion`` where the emotion is neutral. What the emotion
        adds is in proportion to its intensity, save for what would shut the eyes or press the brows onto them.
    """
    network = _learnt()
    felt = torch.from_numpy(np.asarray(emotion, np.float64))
    with torch.inference_mode():
        offsets = network(torch.from_numpy(articulation(motion)), felt).numpy()
        gain = 1 + (felt[:, 1:] @ network.liveliness).numpy()
    return gain[:, None, None] * motion + _with_brows_up(_with_open_eyes(offsets, rest), rest)


def articulation(motion: np.ndarray) -> np.ndarray:
    """How the lips of a motion (T, 478, 3) speak: (T, 5) float64, all 0 at rest, in outer-eye-corner distances.

    How far they are open in the middle and near the corners, how much wider the mouth is, how far the chin has dropped,
    how far the lips have come forward.
    """
    motion = np.asarray(motion, np.float64)
    gaps = motion[:, INNER_LOWER_LIP, 1] - motion[:, INNER_UPPER_LIP, 1]
    width = motion[:, OUTER_UPPER_LIP[-1], 0] - motion[:, OUTER_UPPER_LIP[0], 0]
    forward = -(motion[:, OUTER_UPPER_LIP[5], 2] + motion[:, OUTER_LOWER_LIP[5], 2]) / 2
    return np.stack([gaps[:, 4:7].mean(1), gaps[:, [1, 2, 8, 9]].mean(1), width, motion[:, CHIN, 1], forward], axis=1)


class EmotionNetwork(nn.Module):
    """Articulation under an emotion, to what the emotion adds to the face.

    A layer that listens to the articulation alone, modulated as the emotion says (FiLM; Perez et al., AAAI 2018):
    ``gamma`` scales its features, ``beta`` shifts what they show. Less the same without emotion; so there is nothing
    without emotion, it is in proportion to every weight, and a face at rest shows ``beta`` alone. Lips
    that speech opens are parted further by ``ajar``, lips that meet are not.
    """

    def __init__(self) -> None:
        super().__init__()
        num_felt, num_values = len(EMOTIONS) - 1, NUM_POINTS * 3  # neutral adds nothing
        self.listen = nn.Linear(NUM_MEASURES, HIDDEN, bias=False)  # no bias: a face at rest has no features
        self.gamma = nn.Parameter(torch.zeros(num_felt, HIDDEN))
        self.show = nn.Linear(HIDDEN, MODES, bias=False)
        self.register_buffer("modes", torch.zeros(MODES, num_values))  # of the mesh, in speech
        self.register_buffer("beta", torch.zeros(num_felt, num_values))  # offsets of the mesh, at rest
        self.register_buffer("ajar", torch.zeros(num_felt, num_values))  # added where lips are open
        self.register_buffer("liveliness", torch.zeros(num_felt))  # by how much speech motion grows

    def forward(self, articulation: torch.Tensor, emotion: torch.Tensor) -> torch.Tensor:
        """(T, 5) and (T, 8) to offsets (T, 478, 3)."""
        felt, opened = emotion[:, 1:], (articulation[:, :1] / OPEN_AT).clamp(0, 1)
        opened = opened**2 * (3 - 2 * opened)
        offsets = self.in_speech(articulation, emotion) @ self.modes + felt @ self.beta + opened * (felt @ self.ajar)
        return offsets.reshape(len(offsets), NUM_POINTS, 3)

    def in_speech(self, articulation: torch.Tensor, emotion: torch.Tensor) -> torch.Tensor:
        """(T, 5) and (T, 8) to coefficients (T, modes) of what speech with emotion adds to the resting face."""
        features = torch.tanh(self.listen(articulation))
        return self.show(features * (emotion[:, 1:] @ self.gamma))


def _with_brows_up(offsets: np.ndarray, face: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3), less of what would press brows that are low already onto the eyes."""
    pairs = [(list(eye.upper_lid[3:6]), list(brow)) for eye, brow in zip(EYES, BROWS, strict=True)]
    heights = np.array([face[lid, 1].mean() - face[brow, 1].mean() for lid, brow in pairs]).clip(1e-3)
    down = np.stack([offsets[:, brow, 1].mean(1) for _, brow in pairs], axis=1)
    nearer = (down - np.stack([offsets[:, lid, 1].mean(1) for lid, _ in pairs], axis=1)) / heights
    room = BROWS_LIMIT - BROWS_FREE
    excess = np.maximum(nearer - BROWS_FREE - room * np.tanh((nearer - BROWS_FREE) / room), 0) * heights
    excess = np.where(nearer > BROWS_FREE, excess, 0)
    share = np.clip(excess / np.maximum(down, 1e-9), 0, 1).max(1)  # of the way down that is too much
    lowered = offsets.copy()
    lowered[..., 1] *= 1 - share[:, None] * _going_with_brows()
    return lowered


@cache
def _going_with_brows() -> np.ndarray:
    """(478,) how far each point goes with the brows: fully above the lids, not at all on and below them."""
    share = _smoothstep((canonical_face().vertices[:, 1] - BROWS_LOW) / (BROWS_HIGH - BROWS_LOW))
    share[[point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]] = 0
    return share


def _smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a smooth rise between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _with_open_eyes(offsets: np.ndarray, face: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3), less what would shut eyes that are half shut already."""
    before, after = lids(face[None]), lids(face + offsets)
    missing = LEAST_EYE_OPENING * (before[:, :, 1] - before[:, :, 0]) - (after[:, :, 1] - after[:, :, 0])
    lift = np.zeros_like(after)
    lift[:, :, 0, :, 1] = -np.clip(missing[..., 1], 0, None)
    return move_lids(face + offsets, lift) - face


@cache
def _learnt() -> EmotionNetwork:
    """The trained network, in float64."""
    network = EmotionNetwork()
    network.load_state_dict(load_file(WEIGHTS))
    return network.double().eval()
