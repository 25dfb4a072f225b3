"""Where a photo, close to the person, shows the background: what is coloured like the background nearby.

A person's edge is soft, and hair reaches beyond it, so that the background close to it is estimated. But where letters,
shelves and shadows end at a head, the photo shows them better than any estimate.
"""

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur

STEP = 2  # pixels of the surroundings per pixel that is looked at; the next two lengths are in the latter
REACH, EVERY = 14, 2  # to either side, in which colours are compared, and with every so many'th pixel, in a chequer
BLUR = 0.7  # of the picture, standard deviation: grain is no difference
ALIKE = 5  # of 255: a colour that differs by no more in any channel is alike
SOFT = 1.0  # pixels: how far the result is blurred


def without_grain(picture: torch.Tensor) -> np.ndarray:
    """(320, 320, 3) surroundings (1, 3, 640, 640), 0…1, reduced by ``STEP`` and blurred, to compare their colours."""
    planes = [
        cv2.resize(plane, None, fx=1 / STEP, fy=1 / STEP, interpolation=cv2.INTER_AREA) for plane in picture[0].numpy()
    ]
    return blur(cv2.merge(planes), BLUR)


def like_background(seen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(640, 640) 1 where surroundings are coloured like the background that is known nearby … 0.

    Args:
        seen: (320, 320, 3) their colours, see ``without_grain``.
        known: (640, 640) bool, where they show the background for certain.
    """
    planes = cv2.split((seen * 255).round().astype(np.uint8))
    is_known = known[::STEP, ::STEP].astype(np.uint8) * 255
    ranges = [(cv2.subtract(plane, ALIKE), cv2.add(plane, ALIKE)) for plane in planes]
    margins = *4 * (REACH,), cv2.BORDER_CONSTANT
    around, others = cv2.copyMakeBorder(is_known, *margins), [cv2.copyMakeBorder(plane, *margins) for plane in planes]
    like: np.ndarray = is_known
    height, width = is_known.shape
    for row in range(0, 2 * REACH + 1, EVERY):
        for column in range(row % (2 * EVERY), 2 * REACH + 1, 2 * EVERY):
            place = np.s_[row : row + height, column : column + width]
            alike: np.ndarray = around[place]
            for other, (low, high) in zip(others, ranges, strict=True):
                alike = cv2.bitwise_and(alike, cv2.inRange(other[place], low, high))
            like = cv2.bitwise_or(like, alike)
    clear = cv2.erode(like, square(3)).astype(np.float32) / 255
    return blur(cv2.resize(clear, None, fx=STEP, fy=STEP, interpolation=cv2.INTER_LINEAR), SOFT)
