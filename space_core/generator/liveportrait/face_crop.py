"""The crop that LivePortrait's networks take as input: upright, 2.3 times as large as the face, shifted up."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.face.topology import EYES, INNER_UPPER_LIP

SIDE_IN_FACES, SHIFT_UP = 2.3, 0.125  # of the crop: its side in faces, its shift in sides (``crop.py`` of LivePortrait)
# What counts as the face: brows, cheeks and jaw, without the forehead, as in the landmarks that LivePortrait crops by.
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
JAW = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356)


@dataclass(frozen=True)
class FaceCrop:
    """A square that may be rotated.

    Attributes:
        origin: (2,) its top left corner, in pixels of the portrait's crop.
        right, down: (2,) unit vectors along its sides.
        side: pixels of the portrait's crop.
    """

    origin: np.ndarray
    right: np.ndarray
    down: np.ndarray
    side: float

    def matrix(self, size: int, scale: float = 1.0, shift: float | np.ndarray = 0.0) -> np.ndarray:
        """(2, 3) from a picture of the portrait, at ``shift + scale · (pixels of its crop)``, to one of ``size``."""
        zoom = size / (self.side * scale)
        rotation = zoom * np.stack([self.right, self.down])
        # Pixel centres are at whole numbers: half a pixel of the one is not half a pixel of the other.
        corner = shift + scale * self.origin
        return np.concatenate([rotation, (-rotation @ corner + (zoom - 1) / 2)[:, None]], 1)


def face_crop(landmarks: np.ndarray) -> FaceCrop:
    """The crop around landmarks (478, 3) of a portrait, in pixels of its crop."""
    eyes = np.mean([landmarks[eye.pupil, :2] for eye in EYES], axis=0)
    mouth = landmarks[[INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]], :2].mean(0)
    down = (mouth - eyes) / np.linalg.norm(mouth - eyes)
    right = np.array([down[1], -down[0]])
    upright = landmarks[[*BROWS, *JAW], :2] @ np.stack([right, down]).T
    low, high = upright.min(0), upright.max(0)
    side = SIDE_IN_FACES * (high - low).max()
    corner = (low + high) / 2 - side * np.array([0.5, 0.5 + SHIFT_UP])
    return FaceCrop(corner[0] * right + corner[1] * down, right, down, float(side))


def cut_faces(pictures: np.ndarray, crop: FaceCrop, size: int, shift: float = 0.0) -> torch.Tensor:
    """(T, 3, size, size) 0…1, the crop out of pictures (T, H, W, 3) uint8 RGB; see ``FaceCrop.matrix``."""
    matrix = crop.matrix(size, shift=shift)
    cut = [cv2.warpAffine(picture, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE) for picture in pictures]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 255
