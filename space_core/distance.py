"""Distances in pictures."""

import cv2
import numpy as np


def distance_to(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32, how far each pixel is from those where a mask (H, W) is true or 1; far where none is."""
    return cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
