"""Eyes of drawings, which go on beyond the tracked lids."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.opening_mask import OpeningMask
from space_core.smoothstep import smoothstep

# What belongs to a drawn eye is connected to what is seen between the tracked lids, and no line thinner than twice
# STROKE, in widths of the eye. What is cut off at the lower limit over more than CUT_OFF widths is no eye but a cheek
# in another light.
STROKE, MIN_CONNECTED, CUT_OFF = 0.05, 0.03, 0.2
# Shaded drawings have large eyes as well, whose white and iris go on far below the tracked lids. They are darker or
# less red than the cheek, which lies so many widths below those lids; its darkest quarter is no skin.
CHEEK, CHEEK_LIT, DARKER, LESS_RED = (0.9, 1.5), 0.25, 0.6, 0.2
# So far they go below the lids in widths, and to the sides in half widths. Both eyes have from the first to the second
# of that below the lids, in squares of their widths: photos have at most a tenth on both sides.
LARGE_BELOW, LARGE_SIDES, BELOW_LIDS, UNDER_MIDDLE, LARGE = 0.9, 2.0, 0.08, 0.8, (0.23, 0.26)
LARGE_ABOVE, OUTLINE = (
    0.75,
    0.08,
)  # how far they go above the lids, and how wide an outline and its shade are, in widths


@dataclass(frozen=True)
class LargeEye:
    """An eye of a shaded drawing that is larger than the tracked one.

    Attributes:
        skin: (3,) colour of the face below it.
        eye: (1, h, w) where it is seen, 0…1.
    """

    skin: torch.Tensor
    eye: torch.Tensor


def large_eyes(picture: torch.Tensor, openings: Sequence[tuple[OpeningMask, float]]) -> list[LargeEye] | None:
    """Both eyes of a picture (1, 3, h, w) if they are larger than the tracked ones, else None.

    Args:
        picture: red, green and blue, 0…1.
        openings: between the tracked lids, and the width of each eye in pixels.
    """
    eyes, shares = [], []
    for opening, width in openings:
        cheek = (opening.above_lower < -CHEEK[0] * width) & (opening.above_lower > -CHEEK[1] * width)
        colours = picture[0, :, (cheek & (opening.along.abs() < 1))[0]]
        if not colours.shape[1]:
            return None
        brightness = colours.mean(0)
        skin = colours[:, brightness >= brightness.quantile(CHEEK_LIT)].median(1).values.clamp(min=0.02)
        redder = redness(picture) - redness(skin[None, :, None, None])
        unlike = (picture.mean(1) < DARKER * skin.mean()) | (redder < -LESS_RED)
        eye = drawn_eye(unlike, opening, width, LARGE_ABOVE, LARGE_BELOW, LARGE_SIDES)
        below = (eye > 0) & (opening.above_lower < -BELOW_LIDS * width) & (opening.along.abs() < UNDER_MIDDLE)
        around = np.ones((2 * int(OUTLINE * width) + 1,) * 2)
        grown = cv2.blur(cv2.dilate(eye[0].numpy(), around), (5, 5))
        eyes.append(LargeEye(skin, torch.from_numpy(grown)[None]))
        shares.append(float(below.sum()) / width**2)
    share = float(smoothstep(np.min(shares), *LARGE))
    return [LargeEye(eye.skin, eye.eye * share) for eye in eyes] if share > 0 else None


def redness(picture: torch.Tensor) -> torch.Tensor:
    """(B, h, w) how much more red than blue a picture (B, 3, h, w) is, relative to its brightness."""
    return (picture[:, 0] - picture[:, 2]) / picture.mean(1).clamp(min=0.02)


def drawn_eye(
    other: torch.Tensor, opening: OpeningMask, width: float, above: float, below: float, sides: float
) -> torch.Tensor:
    """(1, h, w) where a drawing's eye is seen, 0…1, which goes on beyond the tracked lids.

    That is what is unlike skin, ``other`` (1, h, w) bool, and connected to what of it is between those lids; ``above``
    and ``below`` them at most so many widths, and to the ``sides`` so many half widths.
    """
    within = (opening.above_lower > -below * width) & (opening.along.abs() < sides)
    within &= opening.below_upper > -above * width
    size = 2 * max(int(STROKE * width), 1) + 1
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    broad = cv2.morphologyEx((other & within)[0].numpy().astype(np.uint8), cv2.MORPH_OPEN, shape)
    between = (opening.coverage > 0.5)[0].numpy()
    _, parts = cv2.connectedComponents(np.maximum(broad, (other[0].numpy() & between).astype(np.uint8)))
    sizes = np.bincount(parts[between], minlength=parts.max() + 1)
    sizes[0] = 0
    rows = max(STROKE * width, 2)  # the lowest of the search
    lowest = (within & (opening.above_lower < rows - below * width))[0].numpy()
    cut_off = np.bincount(parts[lowest], minlength=len(sizes)) > CUT_OFF * width * rows
    eye = ((sizes > MIN_CONNECTED * between.sum()) & ~cut_off)[parts]
    grown = cv2.dilate(eye.astype(np.float32), shape)
    return torch.from_numpy(cv2.blur(grown, (3, 3)))[None]
