"""How blurred a photo is, so that what is drawn into it can be as blurred."""

import cv2
import numpy as np

from space_core.face.luminance import LUMINANCE
from space_core.generator.mesh_warp.sampling import blur

REBLUR = 1.0  # pixels
STRONG_EDGES, LEAST_EDGE = 0.8, 0.01  # quantile of the gradients at edges, and a gradient per pixel, 0…1
SHARP_EDGES = 0.25  # quantile of the edges' widths; wider edges may be shadows or soft by themselves
LEAST_RATIO = 1.001  # of gradients; below, an edge is too wide to be measured


def edge_blur(picture: np.ndarray) -> float:
    """The standard deviation, in pixels, of the Gaussian that has blurred a picture (H, W, 3), 0…1; at least 0.

    By the ratio of the gradients at edges before and after a known blur (Zhuo and Sim, "Defocus map estimation from a
    single image", 2011, equation 5). Widths beyond about two pixels are underestimated; 0 without any edges.
    """
    grey = picture.astype(np.float32) @ LUMINANCE
    before, after = _gradients(grey), _gradients(blur(grey, REBLUR))
    size = np.hypot(*before)
    # Edges: pixels whose gradient is larger than both next to them across the edge.
    steps = np.stack(before) / np.maximum(size, 1e-6)
    pixels = np.stack(np.meshgrid(*map(np.arange, grey.shape[::-1]))).astype(np.float32)
    beside = (cv2.remap(size, *(pixels + sign * steps), cv2.INTER_LINEAR) for sign in (-1, 1))
    edges = np.logical_and.reduce([size >= other for other in beside])
    edges[[0, -1]] = edges[:, [0, -1]] = False
    if not edges.any():
        return 0.0
    edges &= size > max(np.quantile(size[edges], STRONG_EDGES), LEAST_EDGE)
    ratios = size[edges] / np.maximum(np.hypot(*after)[edges], 1e-6)
    ratios = ratios[ratios > LEAST_RATIO]
    return float(np.quantile(REBLUR / np.sqrt(ratios**2 - 1), SHARP_EDGES)) if len(ratios) else 0.0


def _gradients(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Changes per pixel to the right and downwards of a picture (H, W), (H, W) each."""
    return tuple(cv2.Sobel(grey, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
