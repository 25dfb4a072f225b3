"""Landmarks2Latents (SPACE, section 3.3): from posed landmarks, speech and emotion to a generator's latents.

It is trained where the generator's weights are (``space_core.neural.training``), as it depends on them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from space_core.errors import SpaceError
from space_core.face.normalization import HeadPose
from space_core.face.posed_face import PosedFace
from space_core.face.topology import NUM_POINTS

NUM_KEYPOINTS = 21
NUM_LATENTS = 3 * NUM_KEYPOINTS + 4  # expression, translation, scale: what is predicted
NUM_SPEECH, NUM_EMOTIONS, NUM_POSE = 256, 8, 7  # values a frame: see ``PosedFace`` and ``pose_features``
NUM_SHAPES = 64  # principal components of the motion of the landmarks
CONTEXT = 2  # frames before and after the one that is predicted
WIDTH, SPEECH_WIDTH = 192, 32
ANGLE_UNIT, PATH_UNIT, ZOOM_UNIT = 10.0, 0.1, 0.05  # degrees, normalized units, share: about a deviation of each
LARGEST_OWN = 2.0  # deviations: latents of a portrait beyond those of the training data count as these


@dataclass(frozen=True)
class LatentMotion:
    """What drives the generator in T frames, as changes of the portrait's own latents.

    Attributes:
        expression: (T, 21, 3).
        translation: (T, 3).
        scale: (T, 1).
        angles: (T, 3) pitch, yaw and roll in degrees, with the generator's signs.
    """

    expression: torch.Tensor
    translation: torch.Tensor
    scale: torch.Tensor
    angles: torch.Tensor


class LatentNetwork(nn.Module):
    """A linear map of the landmarks' shape and the head pose, and a residual network of speech and neighbouring frames.

    Both are 0 where the landmarks are the portrait's own, whatever the speech and the emotion.
    """

    basis: torch.Tensor
    latent_scale: torch.Tensor
    own_mean: torch.Tensor
    own_scale: torch.Tensor
    angle_signs: torch.Tensor

    def __init__(self, speech_alone: bool = False) -> None:
        """``speech_alone`` makes the network for comparison that has no landmarks as input: it is 0 in silence."""
        super().__init__()
        self.speech_alone = speech_alone
        num_inputs = NUM_SHAPES + NUM_POSE
        self.register_buffer("basis", torch.zeros(3 * NUM_POINTS, NUM_SHAPES))
        self.register_buffer("latent_scale", torch.ones(NUM_LATENTS))  # deviations of the latents' changes
        self.register_buffer("own_mean", torch.zeros(NUM_LATENTS))
        self.register_buffer("own_scale", torch.ones(NUM_LATENTS))
        self.register_buffer("angle_signs", torch.ones(3))  # of pitch, yaw, roll: the generator's against ours
        self.linear = nn.Linear(num_inputs, NUM_LATENTS, bias=False)
        self.speech_proj = nn.Linear(NUM_SPEECH, SPEECH_WIDTH, bias=False)
        self.input_proj = nn.Linear((2 * CONTEXT + 1) * (num_inputs + SPEECH_WIDTH), WIDTH)
        self.own_proj = nn.Linear(NUM_LATENTS, WIDTH)
        self.film = nn.Linear(NUM_EMOTIONS, 2 * WIDTH, bias=False)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, NUM_LATENTS)
        for layer in (self.film, self.head):
            nn.init.zeros_(layer.weight)

    def forward(
        self, inputs: torch.Tensor, speech: torch.Tensor, emotion: torch.Tensor, own: torch.Tensor
    ) -> torch.Tensor:
        """Changes of the latents, in deviations (B, 67).

        Args:
            inputs: (B, 5, 71) shape and pose of the landmarks relative to the portrait's, of five frames in a row.
            speech: (B, 5, 256) features.
            emotion: (B, 8) of the middle frame.
            own: (B, 67) the portrait's own latents.
        """
        portrait = self.own_proj(((own - self.own_mean) / self.own_scale).clamp(-LARGEST_OWN, LARGEST_OWN))
        audio, modulation = self.speech_proj(speech), self.film(emotion)
        moved = self._residual(inputs, audio, modulation, portrait)
        if self.speech_alone:
            audio, modulation = self.speech_proj(torch.zeros_like(speech)), torch.zeros_like(modulation)
        still = self._residual(torch.zeros_like(inputs), audio, modulation, portrait)
        return self.linear(inputs[:, CONTEXT]) + moved - still

    def _residual(
        self, inputs: torch.Tensor, audio: torch.Tensor, modulation: torch.Tensor, portrait: torch.Tensor
    ) -> torch.Tensor:
        gain, shift = modulation.chunk(2, 1)
        x = self.input_proj(torch.cat([inputs, audio], 2).flatten(1)) + portrait
        x = nn.functional.gelu(x * (1 + gain) + shift)
        return self.head(x + nn.functional.gelu(self.hidden(x)))


class Landmarks2Latents:
    """The network with what it needs; made by ``load_landmarks2latents`` or by the recipe."""

    def __init__(self, network: LatentNetwork, device: torch.device | str = "cpu") -> None:
        self.network = network.eval().to(device)

    @torch.inference_mode()
    def predict(
        self, rest: np.ndarray, photo_pose: HeadPose, own: torch.Tensor, face: PosedFace, frames: slice
    ) -> LatentMotion:
        """The latents of some frames of a face.

        Args:
            rest: (478, 3) the portrait's own normalized landmarks.
            photo_pose: its head pose, of length 1.
            own: (67,) its own latents: expression, translation, scale.
            face: the frames, and up to ``CONTEXT`` neighbours; beyond its ends it is taken to stand still.
            frames: which of the face's frames are asked for.

        Returns:
            Changes; all 0 where the landmarks are the portrait's own.
        """
        first, last, _ = frames.indices(len(face))
        device = self.network.basis.device
        inputs = landmark_features(rest, photo_pose, face, self.network.basis.cpu().numpy())
        speech = np.zeros((len(face), NUM_SPEECH)) if face.speech is None else face.speech
        emotion = np.zeros((len(face), NUM_EMOTIONS)) if face.emotion is None else face.emotion
        places = context_frames(first, last, len(face))
        changes = self.network(
            torch.as_tensor(inputs[places], dtype=torch.float32, device=device),
            torch.as_tensor(np.asarray(speech, np.float32)[places], device=device),
            torch.as_tensor(np.asarray(emotion, np.float32)[first:last], device=device),
            own.to(device).float().expand(last - first, -1),
        )
        changes = changes * self.network.latent_scale
        turned = (face.pose.rotation[first:last] - photo_pose.rotation)[:, [1, 0, 2]]  # pitch, yaw, roll
        return LatentMotion(
            expression=changes[:, :-4].unflatten(1, (NUM_KEYPOINTS, 3)),
            translation=changes[:, -4:-1],
            scale=changes[:, -1:],
            angles=torch.as_tensor(turned, dtype=torch.float32, device=device) * self.network.angle_signs,
        )


def load_landmarks2latents(path: Path, fingerprint: str, device: torch.device) -> Landmarks2Latents:
    """The network of a file.

    Args:
        path: written by ``space_core.neural.training``.
        fingerprint: of the generator's weights; a network that was trained for others is refused.
        device: where it computes.

    Raises:
        SpaceError: the file is missing, damaged, or was trained for other weights.
    """
    again = "Learn it with 'python -m space_core.training.landmarks2latents'."
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = LatentNetwork()
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise SpaceError(f"{path} is missing or damaged. {again}") from error
    if about.get("weights") != fingerprint:
        raise SpaceError(f"{path} was trained for other weights of the generator. {again}")
    return Landmarks2Latents(network, device)


def landmark_features(rest: np.ndarray, photo_pose: HeadPose, face: PosedFace, basis: np.ndarray) -> np.ndarray:
    """(T, 71) the network's inputs: coefficients of the landmarks' motion, then the motion of the head.

    ``basis`` (1434, 64) gives coefficients of at most unit variance; the others are those of ``predict``.
    """
    motion = (face.normalized - rest).reshape(len(face), -1)
    return np.concatenate([motion @ basis, pose_features(photo_pose, face.pose)], 1).astype(np.float32)


def pose_features(photo_pose: HeadPose, pose: HeadPose) -> np.ndarray:
    """(T, 7) rotation, translation and zoom of the head relative to the photo's, each about 1."""
    turned = (pose.rotation - photo_pose.rotation) / ANGLE_UNIT
    moved = (pose.translation - photo_pose.translation) / (photo_pose.scale[:, None] * PATH_UNIT)
    zoomed = np.log(pose.scale / photo_pose.scale)[:, None] / ZOOM_UNIT
    return np.concatenate([turned, moved, zoomed], 1).astype(np.float32)


def context_frames(first: int, last: int, num_frames: int) -> np.ndarray:
    """(last - first, 5) the frames around each of a range; beyond the ends the outermost ones."""
    around = np.arange(-CONTEXT, CONTEXT + 1)
    return np.clip(np.arange(first, last)[:, None] + around, 0, num_frames - 1)
