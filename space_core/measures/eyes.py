"""How far eyes are open."""

import numpy as np

from space_core.motion.eyelids import eye_width, lids

OPEN, CLOSED = 0.12, 1 / 3  # least height of an open eye in its widths; share of it below which an eye is closed


def eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """(…, 2) the height of each eye of landmarks (…, 478, 3), in its own widths."""
    faces = landmarks.reshape(-1, *landmarks.shape[-2:])
    eyes = lids(faces)[..., :2]
    height = np.linalg.norm(eyes[:, :, 1] - eyes[:, :, 0], axis=-1)[..., 3:6].mean(-1)
    return (height / eye_width(faces)).reshape(*landmarks.shape[:-2], 2)
