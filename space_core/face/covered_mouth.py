"""Whether a photo hides the mouth: behind a surgical mask, a scarf, a veil."""

import cv2
import numpy as np

from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP

UPPER_FACE = (9, 118, 151, 168, 347)  # skin of the forehead, beside the bridge of the nose, below the eyes
LOWER_FACE = (18, 164, 200, 206, 210, 426, 430)  # around the mouth, on chin and cheeks
# In heights of the face: radius of the samples at these points; standard deviation of the blur that removes grain.
PATCH_RADIUS, BLUR = 0.04, 1 / 120
AROUND_LIPS = (1.25, 1.7)  # what is around the lips lies between enlarged outlines of theirs

# The mouth is covered if the lower part of the face has another colour than the upper part, and no lips are seen: they
# hardly differ from their surroundings and are not redder. Differences are in CIELAB, between the parts of the chroma
# alone. In 480 photos the parts of bare faces with such pale lips, statues and drawings, differ by 7 at most, those of
# covered faces by 7 to 40.
MIN_DIFFERENCE = 9.0
MAX_LIP_DIFFERENCE, MAX_REDDER = 5.0, 1.5


def is_mouth_covered(image: np.ndarray, landmarks: np.ndarray) -> bool:
    """Whether something hides the mouth.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) of the face in its pixels.
    """
    points, height = landmarks[:, :2], float(np.ptp(landmarks[:, 1]))
    blurred = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), height * BLUR)
    colours = cv2.cvtColor(blurred, cv2.COLOR_RGB2LAB)
    outline = points[[*OUTER_UPPER_LIP, *OUTER_LOWER_LIP[::-1]]]
    between = points[[*INNER_UPPER_LIP, *INNER_LOWER_LIP[::-1]]]
    wide, near = (_inside(_enlarged(outline, factor), image.shape) for factor in AROUND_LIPS[::-1])
    lips = _median(colours, _inside(outline, image.shape) & ~_inside(between, image.shape))
    around = _median(colours, wide & ~near)
    upper, lower = (
        _median(colours, _discs(points[list(part)], PATCH_RADIUS * height, image.shape))
        for part in (UPPER_FACE, LOWER_FACE)
    )
    of_lips = lips - around
    return bool(
        np.linalg.norm((upper - lower)[1:]) > MIN_DIFFERENCE
        and np.linalg.norm(of_lips) < MAX_LIP_DIFFERENCE
        and of_lips[1] < MAX_REDDER
    )


def _enlarged(outline: np.ndarray, factor: float) -> np.ndarray:
    centre = outline.mean(0)
    return centre + factor * (outline - centre)


def _inside(outline: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: the pixels within an outline (N, 2)."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    return mask > 0


def _discs(centres: np.ndarray, radius: float, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: the pixels that are nearer than a radius to one of the centres (N, 2)."""
    mask = np.zeros(shape[:2], np.uint8)
    for centre in np.rint(centres).astype(int):
        cv2.circle(mask, tuple(map(int, centre)), max(round(radius), 1), 1, cv2.FILLED)
    return mask > 0


def _median(colours: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3,) the median colour within a mask; NaN, with which every comparison is False, if the mask is empty."""
    return np.median(colours[mask], axis=0) if mask.any() else np.full(3, np.nan)
