"""A face whose glasses are sought, and where its eyes and brows are."""

from dataclasses import dataclass

import numpy as np
import skimage
import torch

from space_core.arrays import distance_to
from space_core.face.topology import Brow, Eye
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.sampling import EXTENT


@dataclass(frozen=True)
class SearchedFace:
    """A face whose glasses are sought.

    Attributes:
        picture: (1, 3, 640, 640) the portrait's surroundings, 0…1.
        photo: its own landmarks in pixels of those.
        person: (640, 640) 0 background … 1 person.
        brightness: (640, 640) relative to the skin's.
    """

    picture: torch.Tensor
    photo: FaceMotion
    person: torch.Tensor
    brightness: torch.Tensor


def middle_of(photo: FaceMotion, eye: Eye) -> torch.Tensor:
    """(2,) the middle between the corners of an eye, pixels."""
    return photo.posed[0, [eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0)


def brow_mask(photo: FaceMotion, brow: Brow, below: float, above: float) -> np.ndarray:
    """(640, 640) bool, a brow, and what is so far below and above it, normalized; less than the brow where negative."""
    lower, upper = (photo.host.posed[0, list(line), :2] for line in brow)
    down = photo.host.rotation[0, :2, 1] * photo.host.scale[0]
    outline = np.concatenate([lower + below * down, (upper - above * down)[::-1]])
    return skimage.draw.polygon2mask((EXTENT, EXTENT), outline[:, ::-1])


def normalized_distance_to(mask: np.ndarray, photo: FaceMotion) -> torch.Tensor:
    """(640, 640) how far each pixel is from those where a mask (640, 640) is true, normalized."""
    return torch.from_numpy(distance_to(mask)) / float(photo.scale)
