"""Motion of the eyelids and of the skin around them, for blinks and gaze."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.face.topology import EYES, LEFT_EYE, canonical_face

# Rings of skin around the left eye, each from left to right, beside the lids' points without the corners.
SKIN_ABOVE = ((247, 30, 29, 27, 28, 56, 190), (113, 225, 224, 223, 222, 221, 189))
SKIN_BELOW = ((25, 110, 24, 23, 22, 26, 112), (31, 228, 229, 230, 231, 232, 233))
# Share of the lid's motion by which each ring moves; small above, where the lid folds (as in recorded blinks).
FOLLOWS_ABOVE = (0.22, 0.07)
FOLLOWS_BELOW = (0.6, 0.25)
# Mean heights in widths of the eye, seen from the front: up to the first an eye is shut, from the second on it is open.
# Of shut eyes the tracker reports 0.04 to 0.09, of the narrowest that show an iris 0.10 to 0.12.
SHUT, OPEN = 0.085, 0.11
# In a wink one eye is lower than the first share of the other's height; from the second on both are as open.
WINK = (0.3, 0.4)
MIN_HEIGHT = 1e-6  # of an eye, normalized: less is none


def skin_of_lids() -> tuple[np.ndarray, np.ndarray]:
    """Points (2, 2, 2, 7): eye, upper or lower, ring, position along the lid; each ring's share of motion (2, 2)."""
    left = np.array([SKIN_ABOVE, SKIN_BELOW])
    # The right eye's rings are the left one's mirrored, and run from left to right too.
    right = canonical_face().mirror[left][..., ::-1]
    return np.stack([left, right]), np.array([FOLLOWS_ABOVE, FOLLOWS_BELOW])


def lids(landmarks: np.ndarray) -> np.ndarray:
    """The lids (T, 2, 2, 9, 3) of landmarks (T, 478, 3): eye, upper or lower, point from left to right."""
    return landmarks[:, [[eye.upper_lid, eye.lower_lid] for eye in EYES]]


def move_lids(landmarks: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) with their lids moved by ``shift`` (T, 2, 2, 9, 3) and the skin around following.

    The shift of the corners of the eyes is ignored.
    """
    moved = landmarks.copy()
    shift = shift[..., 1:-1, :]
    moved[:, [[eye.upper_lid[1:-1], eye.lower_lid[1:-1]] for eye in EYES]] += shift
    skin, follows = skin_of_lids()
    moved[:, skin] += shift[:, :, :, None] * follows[:, :, None, None]
    return moved


def openness(landmarks: np.ndarray) -> np.ndarray:
    """(T, 2) how far each eye of landmarks (T, 478, 3) is open, from 0 (shut) to 1.

    Both are as open as the wider one, unless one is clearly shut: the tracker finds eyes of turned heads too low.
    """
    eyes = lids(landmarks)
    # Without depth, by which the tracker keeps even shut lids apart.
    heights = np.linalg.norm((eyes[:, :, 1] - eyes[:, :, 0])[..., 1:-1, :2], axis=-1).mean(-1)
    own = smoothstep(heights / eye_width(landmarks), SHUT, OPEN)
    alike = smoothstep(heights / np.maximum(heights[:, ::-1], MIN_HEIGHT), *WINK)
    return np.maximum(own, alike * own[:, ::-1])


def eye_width(landmarks: np.ndarray) -> np.ndarray:
    """(T, 2) the distance between the corners of each eye of landmarks (T, 478, 3)."""
    corners = landmarks[:, [[eye.upper_lid[0], eye.upper_lid[-1]] for eye in EYES]]
    return np.linalg.norm(corners[:, :, 1] - corners[:, :, 0], axis=-1)


NUM_LID_POINTS = len(LEFT_EYE.upper_lid)
