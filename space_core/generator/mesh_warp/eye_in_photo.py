"""An eye as a photo shows it: the opening between its lids, how wide it is, and the skin around its lids."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch

from space_core.face.topology import EYES, Eye
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.opening_mask import OpeningMask, opening_mask
from space_core.generator.mesh_warp.sampling import pixels_of

Array = TypeVar("Array", np.ndarray, torch.Tensor)

LIDS_REACH = (0.45, 0.2)  # how far lids of smooth skin reach above and below the open eye, in widths of the eye
AROUND_LIDS = 0.2  # how far around, in their widths, what is their colour is looked for
USUAL_SKIN = 0.6  # quantile of the brightness there that is that of skin


@dataclass(frozen=True)
class EyeInPhoto:
    """An eye in a photo.

    Attributes:
        points: which points of the face mesh it has.
        picture: (1, 3, h, w) both eyes and what is around them, 0…1.
        photo: the photo's own landmarks in pixels of the picture.
        opening: between its lids.
        width: from corner to corner, in pixels.
    """

    points: Eye
    picture: torch.Tensor
    photo: FaceMotion
    opening: OpeningMask
    width: float

    @property
    def outwards(self) -> torch.Tensor:
        """(1, h, w) how far pixels are from the eye's middle towards the temple, in half widths."""
        return -self.opening.along if self.points is EYES[0] else self.opening.along


def find_eye(picture: torch.Tensor, photo: FaceMotion, points: Eye) -> EyeInPhoto:
    """An eye in a picture (1, 3, h, w), 0…1, which shows the photo's landmarks in its pixels."""
    upper, lower = (photo.posed[:, list(lid), :2] for lid in (points.upper_lid, points.lower_lid))
    opening = opening_mask(upper, lower, pixels_of(picture))
    return EyeInPhoto(points, picture, photo, opening, float((upper[0, -1] - upper[0, 0]).norm()))


def lid_distance(normalized: Array, eye: Eye) -> Array:
    """(B,) mean distance between the lids of an eye in normalized landmarks (B, 478, 3), NumPy or torch."""
    across = normalized[:, list(eye.lower_lid[1:-1])] - normalized[:, list(eye.upper_lid[1:-1])]
    return ((across**2).sum(-1) ** 0.5).mean(-1)


def skin_around(picture: torch.Tensor, lids: torch.Tensor) -> torch.Tensor:
    """(3,) the usual colour of the skin around lids (1, h, w) bool."""
    reach = 1 + 2 * int(lids.float().amax((0, 1)).sum() * AROUND_LIDS / 2)
    near = cv2.dilate(lids[0].numpy().astype(np.uint8), square(reach)) > 0
    around = picture[0, :, torch.from_numpy(near) & ~lids[0]]
    if not around.shape[1]:
        return picture.mean((0, 2, 3)).clamp(min=0.02)
    brightness = around.mean(0)
    usual = brightness.quantile(USUAL_SKIN).clamp(min=0.02)
    colour = around[:, brightness.argsort()[brightness.shape[0] // 2 :]].mean(1)
    return colour * usual / colour.mean().clamp(min=0.02)
