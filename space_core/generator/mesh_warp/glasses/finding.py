"""Glasses in a photo: where their frames are, whether anything is seen through them, and the face without them.

Frames are rigid. A face mesh has no points for them and would bend them with brows and cheeks, so they are cut out
here, and ``worn_glasses`` draws them over the moving face.
"""

import numpy as np
import torch

from space_core.face.topology import EYES
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.glasses.cut_out import Glasses
from space_core.generator.mesh_warp.glasses.frame import SHOWING, TINTED, find_frame, share_of_dark, sunglasses
from space_core.generator.mesh_warp.glasses.rims import find_rims
from space_core.generator.mesh_warp.glasses.searched_face import SearchedFace
from space_core.generator.mesh_warp.sampling import box_mean, sample

SKIN = (50, 280, 117, 346, 205, 425, 6, 197)  # points of cheeks and nose that show skin


def find_glasses(picture: torch.Tensor, photo: FaceMotion, person: np.ndarray) -> Glasses | None:
    """The glasses in a photo.

    Args:
        picture: (1, 3, 640, 640) its surroundings, 0…1.
        photo: its own landmarks in pixels of those.
        person: (640, 640) 0 background … 1 person.

    Returns:
        None where there are none.
    """
    grey, skin = picture[0].mean(0), _skin_brightness(picture, photo)
    smooth = box_mean(grey[None, None], 1) / skin
    face = SearchedFace(picture, photo, torch.from_numpy(person).float(), grey / skin)
    dark = min(share_of_dark(photo, smooth, eye) for eye in EYES)
    if dark > SHOWING:
        return sunglasses(face, smooth)
    rims = find_rims(face, smooth, dark > TINTED)
    return None if rims is None else find_frame(face, rims)


def _skin_brightness(picture: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """() the usual brightness of the skin of cheeks and nose, 0…1."""
    return sample(picture, photo.posed[:, None, list(SKIN), :2]).mean(1).median().clamp(min=0.05)
