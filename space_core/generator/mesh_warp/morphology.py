"""The pixels around each that count in erosions, dilations, openings and closings."""

import cv2
import numpy as np


def square(side: int) -> np.ndarray:
    """(side, side) uint8."""
    return np.ones((side, side), np.uint8)


def disc(radius: int) -> np.ndarray:
    """(2 · radius + 1, 2 · radius + 1) uint8, 1 within that radius."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
