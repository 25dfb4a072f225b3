"""How blurred a photo is, so that what is drawn into it can be as blurred."""

import math

import cv2
import numpy as np

from space_core.face.luminance import LUMINANCE

REBLUR = 1.0  # pixels
STRONG_EDGES, MIN_EDGE = 0.8, 0.01  # quantile of the gradients at edges, and a gradient per pixel, 0…1
SHARP_EDGES = 0.25  # quantile of the edges' widths; wider edges may be shadows or soft by themselves
MIN_RATIO = 1.001  # of gradients; below, an edge is too wide to be measured
# Pixels; where edges are wider, or noise hides that they are, they are measured again in a picture of half the size:
# noise is lost there, and edges of sharp photos are narrower than the second of these. Down to so many pixels a side.
MEASURED, SHARP_IN_HALF, MIN_SIDE = 1.5, 1.15, 20

# Pixels of the portrait's crop. Photos that are blurred by no more count as sharp; of more than the second nobody says
# how much it is.
SHARP, MAX_BLUR = 1.35, 5.0


def edge_blur(picture: np.ndarray) -> float:
    """The standard deviation, in pixels, of the Gaussian that has blurred a picture (H, W, 3), 0…1; at least 0.

    By the ratio of the gradients at edges before and after a known blur (Zhuo and Sim, "Defocus map estimation from a
    single image", 2011, equation 5), in a picture that is reduced until its edges are about as wide as that blur. 0
    without any edges.
    """
    grey: np.ndarray = picture.astype(np.float32) @ LUMINANCE
    measured, size = _width_of_edges(grey), 1
    while min(grey.shape) >= 2 * MIN_SIDE:
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
        in_half = _width_of_edges(grey)
        if measured <= MEASURED and in_half <= SHARP_IN_HALF:
            break
        measured, size = in_half, 2 * size
    if size == 1:
        return measured
    reducing = (size**2 - 1) / 12  # variance of the means of size × size pixels
    return math.sqrt(max((measured * size) ** 2 - reducing, 0.0))


def softening_of(blur: float, scale: float) -> float:
    """The standard deviation, in pixels, of the Gaussian that makes something sharp as blurred as a soft photo.

    0 for photos that count as sharp.

    Args:
        blur: the photo's, in the same pixels.
        scale: such pixels per pixel of the portrait's crop.
    """
    blur, sharp = min(blur, MAX_BLUR * scale), SHARP * scale
    return blur * math.sqrt(1 - (sharp / blur) ** 4) if blur > sharp else 0.0


def _width_of_edges(grey: np.ndarray) -> float:
    """``edge_blur`` of a picture (H, W) as it is; widths beyond about two pixels are underestimated."""
    before, after = _gradients(grey), _gradients(cv2.GaussianBlur(grey, (0, 0), REBLUR, borderType=cv2.BORDER_REFLECT))
    size = np.hypot(*before)
    # Edges: pixels whose gradient is larger than both next to them across the edge.
    steps = np.stack(before) / np.maximum(size, 1e-6)
    pixels = np.stack(np.meshgrid(*map(np.arange, grey.shape[::-1]))).astype(np.float32)
    beside = (cv2.remap(size, x, y, cv2.INTER_LINEAR) for x, y in (pixels + sign * steps for sign in (-1, 1)))
    edges = np.logical_and.reduce([size >= other for other in beside])
    edges[[0, -1]] = edges[:, [0, -1]] = False
    if not edges.any():
        return 0.0
    edges &= size > max(np.quantile(size[edges], STRONG_EDGES), MIN_EDGE)
    ratios = size[edges] / np.maximum(np.hypot(*after)[edges], 1e-6)
    ratios = ratios[ratios > MIN_RATIO]
    return float(np.quantile(REBLUR / np.sqrt(ratios**2 - 1), SHARP_EDGES)) if len(ratios) else 0.0


def _gradients(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Changes per pixel to the right and downwards of a picture (H, W), (H, W) each."""
    return cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
