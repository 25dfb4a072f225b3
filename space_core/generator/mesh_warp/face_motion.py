"""A few frames' posed landmarks as the generator's layers need them."""

from dataclasses import dataclass

import numpy as np
import torch

from space_core.face.normalization import HeadPose, normalize
from space_core.face.portrait import MARGIN


@dataclass(frozen=True)
class FaceMotion:
    """Posed landmarks taken apart, in float32 on the generator's device.

    Attributes:
        posed: (B, 478, 3) in pixels of the surroundings.
        normalized: (B, 478, 3).
        rotation: (B, 3, 3), with ``posed = scale · rotation · normalized + translation``.
        translation: (B, 3).
        scale: (B,).
        pose: the same three as a head pose, on the CPU.
    """

    posed: torch.Tensor
    normalized: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    scale: torch.Tensor
    pose: HeadPose

    def place(self, points: torch.Tensor) -> torch.Tensor:
        """(B, N, 3) where normalized points (N, 3) of the rigid head are, in pixels of the surroundings."""
        return points @ self.rotation.mT * self.scale[:, None, None] + self.translation[:, None]

    def unproject(self, pixels: torch.Tensor, depth: torch.Tensor | float) -> torch.Tensor:
        """(B, h, w, 2) normalized x and y seen at pixels (B, h, w, 2) of the surroundings, at a normalized depth."""
        plane = self.rotation[:, None, None, :2, :2].inverse()
        seen = (pixels - self.translation[:, None, None, :2]) / self.scale[:, None, None, None]
        tilt = self.rotation[:, None, None, :2, 2]
        depth = depth[..., None] if isinstance(depth, torch.Tensor) else depth
        return (plane @ (seen - tilt * depth)[..., None])[..., 0]

    def project(self, points: torch.Tensor, depth: torch.Tensor | float) -> torch.Tensor:
        """(B, h, w, 2) the pixels of the surroundings at which normalized x and y (B, h, w, 2) are seen; B may be 1."""
        turned = (self.rotation[:, None, None, :2, :2] @ points[..., None])[..., 0]
        depth = depth[..., None] if isinstance(depth, torch.Tensor) else depth
        turned = turned + self.rotation[:, None, None, :2, 2] * depth
        return turned * self.scale[:, None, None, None] + self.translation[:, None, None, :2]


def face_motion(landmarks: np.ndarray, device: torch.device) -> FaceMotion:
    """Takes posed landmarks (B, 478, 3), in pixels of the crop, apart."""
    posed = landmarks + [MARGIN, MARGIN, 0]
    normalized, pose = normalize(posed)
    arrays = (posed, normalized, pose.matrices, pose.translation, pose.scale)
    return FaceMotion(*(torch.tensor(array, dtype=torch.float32, device=device) for array in arrays), pose)
