"""The landmarks and head poses of a few frames, in the pixels of the picture into which they are drawn.

The arrays are kept twice: on the host, where the windows to be drawn are chosen, and on the generator's device. So no
frame waits for a value to come back from the device.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from space_core.face.crop_size import MARGIN
from space_core.face.hair_locks import LOCKS
from space_core.face.posed_face import PosedFace
from space_core.generator.mesh_warp.sampling import pairs


@dataclass(frozen=True)
class PixelTransform:
    """Maps pixels of one picture to those of another: ``scale · pixel + offset``, pixel centres at whole numbers.

    Attributes:
        scale: pixels of the other picture per pixel.
        offset: (2,) or (B, 2), where the centre of pixel (0, 0) lies in the other picture.
    """

    scale: float
    offset: np.ndarray

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self.scale * pixels + self.offset

    def inverse(self) -> "PixelTransform":
        return PixelTransform(1 / self.scale, -self.offset / self.scale)

    def then(self, other: "PixelTransform") -> "PixelTransform":
        return PixelTransform(self.scale * other.scale, other(self.offset))


TO_SURROUNDINGS = PixelTransform(1.0, np.full(2, float(MARGIN)))  # of a portrait, from pixels of its crop


@dataclass(frozen=True)
class HostMotion:
    """B frames of a face in float32 on the host; ``FaceMotion`` explains the attributes, ``PosedFace`` the tongue."""

    posed: np.ndarray
    normalized: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray
    tongue: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        """(B, N, 3) where normalized points (N, 3) of the rigid head are, in pixels."""
        return points @ self.rotation.swapaxes(1, 2) * self.scale[:, None, None] + self.translation[:, None]


@dataclass(frozen=True)
class FaceMotion:
    """B frames of a face in float32 on the generator's device.

    Attributes:
        posed: (B, 478, 3) landmarks in pixels, pixel centres at whole numbers.
        normalized: (B, 478, 3) normalized landmarks.
        rotation: (B, 3, 3), with ``posed = scale · rotation · normalized + translation``.
        translation: (B, 3) pixels.
        scale: (B,) pixels per normalized unit.
        hair: (B, 4) how far the ``LOCKS`` of long hair are to the image's right of where the head carries them, pixels.
        host: the same on the host.
    """

    posed: torch.Tensor
    normalized: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    scale: torch.Tensor
    hair: torch.Tensor
    host: HostMotion

    def place(self, points: torch.Tensor) -> torch.Tensor:
        """(B, N, 3) where normalized points (N, 3) of the rigid head are, in pixels."""
        return points @ self.rotation.mT * self.scale[:, None, None] + self.translation[:, None]

    def unproject(self, pixels: torch.Tensor, depth: torch.Tensor | float) -> torch.Tensor:
        """(B, h, w, 2) normalized x and y seen at pixels (B, h, w, 2), at a normalized depth (B, h, w) or float."""
        return self.lines_of_sight(pixels).at(depth)

    def lines_of_sight(self, pixels: torch.Tensor) -> "LinesOfSight":
        """What is seen at pixels (B, h, w, 2), at whatever depth."""
        # Along x and along y on their own: operations over pairs of numbers take several times as long.
        x, y = (
            (pixels[..., axis] - self.translation[:, axis, None, None]) / self.scale[:, None, None] for axis in (0, 1)
        )
        a, b, c, d = self.rotation[:, :2, :2].flatten(1).unbind(1)
        inverse = torch.stack([d, b, a, c]) / (a * d - b * c)
        return LinesOfSight(x, y, self.rotation[:, :2, 2, None, None].unbind(1), inverse[..., None, None].unbind())

    def project(self, points: torch.Tensor, depth: torch.Tensor | float) -> torch.Tensor:
        """(B, h, w, 2) the pixels at which normalized x and y (B, h, w, 2) of a depth are seen; B may be 1."""
        x, y = points.unbind(-1)
        rows = ((self.rotation * self.scale[:, None, None])[:, row, :, None, None].unbind(1) for row in (0, 1))
        return pairs(
            *(
                to_x * x + to_y * y + (to_z * depth + self.translation[:, axis, None, None])
                for axis, (to_x, to_y, to_z) in enumerate(rows)
            )
        )

    def transformed(self, transform: PixelTransform) -> "FaceMotion":
        """The same motion in the pixels of another picture; the transform's offset may differ from frame to frame."""
        offset = np.zeros((len(self.host.posed), 3), np.float32)
        offset[:, :2] = transform.offset
        scale, host, shift = transform.scale, self.host, upload(offset, self.posed.device)
        return FaceMotion(
            posed=self.posed * scale + shift[:, None],
            normalized=self.normalized,
            rotation=self.rotation,
            translation=self.translation * scale + shift,
            scale=self.scale * scale,
            hair=self.hair * scale,
            host=HostMotion(
                posed=host.posed * scale + offset[:, None],
                normalized=host.normalized,
                rotation=host.rotation,
                translation=host.translation * scale + offset,
                scale=host.scale * scale,
                tongue=host.tongue,
            ),
        )


@dataclass(frozen=True)
class LinesOfSight:
    """What B frames of a face show at h × w pixels each, as far as it does not depend on depth.

    Attributes:
        x, y: (B, h, w) the pixels from the middle of the head, in normalized units.
        slopes: by how much these change with depth, (B, 1, 1) each.
        inverse: of the rotation of x and y, (B, 1, 1) each: from x to x, minus y to x, y to y, and minus x to y.
    """

    x: torch.Tensor
    y: torch.Tensor
    slopes: tuple[torch.Tensor, ...]
    inverse: tuple[torch.Tensor, ...]

    def at(self, depth: torch.Tensor | float) -> torch.Tensor:
        """(B, h, w, 2) normalized x and y at a normalized depth (B, h, w) or float."""
        x, y = self._from_middle(depth)
        x_to_x, y_to_x, y_to_y, x_to_y = self.inverse
        return pairs(x_to_x * x - y_to_x * y, y_to_y * y - x_to_y * x)

    def x_at(self, depth: torch.Tensor | float) -> torch.Tensor:
        """(B, h, w) of these x alone."""
        x, y = self._from_middle(depth)
        return self.inverse[0] * x - self.inverse[1] * y

    def _from_middle(self, depth: torch.Tensor | float) -> tuple[torch.Tensor, torch.Tensor]:
        """``x`` and ``y`` at a depth."""
        return self.x - self.slopes[0] * depth, self.y - self.slopes[1] * depth


def face_motion(face: PosedFace, transform: PixelTransform, device: torch.device) -> FaceMotion:
    """A face in the pixels of a picture, to which ``transform`` maps pixels of the portrait's crop."""
    pose = face.pose
    normalized, rotation = np.asarray(face.normalized, np.float32), pose.matrices.astype(np.float32)
    scale = (pose.scale * transform.scale).astype(np.float32)
    translation = pose.translation * transform.scale
    translation[:, :2] += transform.offset
    translation = translation.astype(np.float32)
    posed = normalized @ rotation.swapaxes(1, 2) * scale[:, None, None] + translation[:, None]
    tongue = np.zeros((len(face), 2), np.float32) if face.tongue is None else np.asarray(face.tongue, np.float32)
    host = HostMotion(posed, normalized, rotation, translation, scale, tongue)
    hair = np.zeros((len(face), len(LOCKS)), np.float32) if face.hair is None else scale[:, None] * face.hair
    return FaceMotion(
        posed=upload(posed, device),
        normalized=upload(normalized, device),
        rotation=upload(rotation, device),
        translation=upload(translation, device),
        scale=upload(scale, device),
        hair=upload(hair, device),
        host=host,
    )


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on the device, without waiting for the copy."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@cache
def index_on(points: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(N,) int64, indices of landmarks on a device; made once, as a copy to the device would wait."""
    return torch.tensor(points, device=device)
