"""What is seen between open lips, in figures: contrast, gradient, bright pixels, and brightness from lip to lip."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from space_core.face.luminance import LUMINANCE
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_EYE_CORNERS

CHEEKS = ((50, 101, 36, 205), (280, 330, 266, 425))  # quadrilaterals of skin beside nose and mouth
MIN_OPENING = 0.03  # of the distance between the outer eye corners; lips less apart show no inside to be measured
LIP_EDGE = 0.008  # of the same distance; pixels that near to the lips are as much lip as mouth
MIN_PIXELS = 30
BRIGHT = 0.75  # of the cheeks' luminance; a tooth in the light is at least as bright
NAMES = ("contrast", "gradient", "bright")
PROFILE = (0.08, 0.29, 0.5, 0.71, 0.92)  # places of a profile, from the upper lip to the lower one
PROFILE_COLUMNS = slice(3, 8)  # points of the inner lips, the middle third of the mouth


def mouth_interior(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """Figures of the inside of a mouth: contrast, gradient, share of bright pixels.

    Contrast is the standard deviation of the luminance between the lips, gradient the mean length of its gradient per
    pixel of a face whose outer eye corners are 180 pixels apart; both are divided by the mean luminance of the cheeks.

    Args:
        frame: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) of the face in it, pixels.

    Returns:
        (3,) figures named ``NAMES``; None if the lips are hardly apart.
    """
    points = landmarks[:, :2].astype(np.float32)
    unit = float(np.linalg.norm(points[OUTER_EYE_CORNERS[0]] - points[OUTER_EYE_CORNERS[1]]))
    if np.linalg.norm(points[INNER_UPPER_LIP[5]] - points[INNER_LOWER_LIP[5]]) < MIN_OPENING * unit:
        return None
    inside = _filled(frame, [[*INNER_UPPER_LIP, *INNER_LOWER_LIP[::-1]]], points)
    radius = max(1, round(LIP_EDGE * unit))
    inside = cv2.erode(inside, np.ones((2 * radius + 1,) * 2, np.uint8)) > 0
    cheeks = _filled(frame, CHEEKS, points) > 0
    if inside.sum() < MIN_PIXELS or not cheeks.any():
        return None
    luminance = frame.astype(np.float32) @ LUMINANCE
    luminance /= max(float(luminance[cheeks].mean()), 1.0)
    gradient = np.hypot(*np.gradient(luminance)) * (unit / 180)
    return np.array([luminance[inside].std(), gradient[inside].mean(), (luminance[inside] > BRIGHT).mean()])


def mouth_profile(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Luminance over the mean of the cheeks' (5,) from the upper lip to the lower one, in the middle of a mouth.

    ``frame`` and ``landmarks`` are those of ``mouth_interior``; the places between the lips are ``PROFILE``.
    """
    points = landmarks[:, :2].astype(np.float32)
    luminance = frame.astype(np.float32) @ LUMINANCE
    upper, lower = (points[np.array(lip)[PROFILE_COLUMNS]] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    places = upper + np.array(PROFILE)[:, None, None] * (lower - upper)
    x, y = np.moveaxis(np.round(places).astype(int), -1, 0)
    cheeks = _filled(frame, CHEEKS, points) > 0
    return luminance[y.clip(0, len(frame) - 1), x.clip(0, frame.shape[1] - 1)].mean(1) / luminance[cheeks].mean()


def _filled(frame: np.ndarray, polygons: Iterable[Sequence[int]], points: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 1 inside polygons of landmarks."""
    mask = np.zeros(frame.shape[:2], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(points[list(polygon)]).astype(np.int32)], 1)
    return mask
