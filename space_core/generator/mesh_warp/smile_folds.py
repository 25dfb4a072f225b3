"""The folds that a photo's smile makes in the cheeks, shallower where the smile is taken back.

A warp brings the corners of the mouth back but carries the folds beside them along, whose light and shade still smile.
Around each fold the skin's brightness is compared with its average: what differs from that at the scale of a fold is
what a relaxed cheek does not have. Lengths are normalized: outer eye corners are one unit apart.
"""

import cv2
import numpy as np

from space_core.generator.mesh_warp.sampling import blur
from space_core.smoothstep import smoothstep

# From the nose to below the corner of the mouth, on the left half of the canonical face.
FOLD = ((-0.235, 0.42), (-0.295, 0.50), (-0.36, 0.575), (-0.41, 0.655), (-0.43, 0.78), (-0.42, 0.87))
AROUND_LIPS = 0.03  # standard deviation of the border of the lips, which are no skin
NEAR = (0.06, 0.16)  # whole up to the first distance from the fold, nothing from the second on
BESIDE_NOSE = (0.18, 0.23)  # distances from the face's middle, from which on there is no nose
FINE, AVERAGED = 0.008, 0.14  # standard deviations by which the skin's pores, and its folds, are blurred away
SOFTENED = 0.9  # share of a fold's difference that is taken away
DARKEST = 0.05  # added to each colour before its logarithm is taken
# Differences of that which are approached but not exceeded: of the dark of a fold, which may be deep, and of the light
# beside it, which in harsh light is no part of it.
DARKER, BRIGHTER = 2.0, 0.5
LEAST_SKIN = 0.05  # share of skin in an average
# Of a fold so much is skin where nothing … all of it is taken away: amid hard shadows or a beard the rest would be
# spots.
SKIN_SHARE = (0.75, 0.9)


def smile_fold_shade(
    picture: np.ndarray, places: np.ndarray, distance: np.ndarray, skin: np.ndarray, lips: np.ndarray, scale: float
) -> np.ndarray:
    """By which share each colour is darkened, or brightened where it is negative, so that a cheek has no fold.

    Args:
        picture: (h, w, 3) the face, 0…1.
        places: (h, w, 2) places of the canonical face that it shows.
        distance: (h, w) of these from ``FOLD`` on one half of the face.
        skin: (h, w) how far there is skin, 0…1.
        lips: (N, 2) their outline in pixels of the picture.
        scale: pixels per unit.

    Returns:
        (h, w, 3) float32.
    """
    mouth = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(mouth, [lips.round().astype(np.int32)], 1.0)
    off_lips = (1 - 2 * blur(mouth, AROUND_LIPS * scale)).clip(0)
    bare = (skin * off_lips)[..., None]
    light = np.log(picture + DARKEST)
    average = blur(light * bare, AVERAGED * scale) / blur(bare, AVERAGED * scale)[..., None].clip(LEAST_SKIN)
    different = blur(light, FINE * scale) - average
    most = np.where(different < 0, np.float32(DARKER), np.float32(BRIGHTER))
    different = most * np.tanh(different / most)
    near = (1 - smoothstep(distance, *NEAR)) * smoothstep(abs(places[..., 0]), *BESIDE_NOSE)
    skin_share = (near * bare[..., 0]).sum() / max((near * off_lips).sum(), 1e-6)
    softened = SOFTENED * float(smoothstep(skin_share, *SKIN_SHARE))
    return 1 - np.exp(-softened * near[..., None] * bare * different)
