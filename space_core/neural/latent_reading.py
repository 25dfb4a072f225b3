"""The latents that a generator's motion extractor reads in pictures."""

import numpy as np
import torch

from space_core.generator.liveportrait.face_crop import FaceCrop, cut_faces
from space_core.generator.liveportrait.networks import LivePortraitNetworks

BATCH = 4  # pictures that are read at once


def read_latents(networks: LivePortraitNetworks, pictures: np.ndarray, crop: FaceCrop) -> tuple[np.ndarray, np.ndarray]:
    """Latents (T, 67) and angles (T, 3) in pictures (T, H, W, 3) uint8 of a face; see ``Examples``."""
    faces = cut_faces(pictures, crop, networks.layout.input_size)
    found = [networks.extract_motion(faces[first : first + BATCH]) for first in range(0, len(faces), BATCH)]
    latents = [torch.cat([read.expression.flatten(1), read.translation, read.scale], 1).float() for read in found]
    angles = [torch.stack([read.pitch, read.yaw, read.roll], 1) for read in found]
    return torch.cat(latents).cpu().numpy(), torch.cat(angles).cpu().numpy()
