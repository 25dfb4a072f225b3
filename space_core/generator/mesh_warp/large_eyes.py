"""Large eyes of shaded drawings, whose white and iris go on far below the tracked lids."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.drawn_eyes import Reach, drawn_eye, redness
from space_core.generator.mesh_warp.eye_in_photo import EyeInPhoto
from space_core.generator.mesh_warp.morphology import square

# They are darker or less red than the cheek, which lies so many widths below the lids; its darkest quarter is no skin.
CHEEK, CHEEK_LIT, DARKER, LESS_RED = (0.9, 1.5), 0.25, 0.6, 0.2
LARGE = Reach(above=0.75, below=0.9, sides=2.0)
# Both eyes have from the first to the second of that below the lids, in squares of their widths: photos have at most a
# tenth on both sides. What is nearer to the lids, or further from the middle in half widths, does not count.
BELOW_LIDS, UNDER_MIDDLE, ENOUGH = 0.08, 0.8, (0.23, 0.26)
OUTLINE = 0.08  # widths: of an outline and its shade


@dataclass(frozen=True)
class LargeEye:
    """An eye of a shaded drawing that is larger than the tracked one.

    Attributes:
        skin: (3,) colour of the face below it.
        shown: (1, h, w) where it is seen, 0…1.
    """

    skin: torch.Tensor
    shown: torch.Tensor


def find_large_eyes(eyes: Sequence[EyeInPhoto]) -> list[LargeEye] | None:
    """Both eyes if they are larger than the tracked ones, else None."""
    found, shares = [], []
    for eye in eyes:
        opening, width = eye.opening, eye.width
        cheek = (opening.above_lower < -CHEEK[0] * width) & (opening.above_lower > -CHEEK[1] * width)
        colours = eye.picture[0, :, (cheek & (opening.along.abs() < 1))[0]]
        if not colours.shape[1]:
            return None
        brightness = colours.mean(0)
        skin = colours[:, brightness >= brightness.quantile(CHEEK_LIT)].median(1).values.clamp(min=0.02)
        redder = redness(eye.picture) - redness(skin[None, :, None, None])
        unlike = (eye.picture.mean(1) < DARKER * skin.mean()) | (redder < -LESS_RED)
        shown = drawn_eye(unlike, eye, LARGE)
        below = (shown > 0) & (opening.above_lower < -BELOW_LIDS * width) & (opening.along.abs() < UNDER_MIDDLE)
        grown = cv2.blur(cv2.dilate(shown[0].numpy(), square(2 * int(OUTLINE * width) + 1)), (5, 5))
        found.append(LargeEye(skin, torch.from_numpy(grown)[None]))
        shares.append(float(below.sum()) / width**2)
    share = float(smoothstep(np.min(shares), *ENOUGH))
    return [LargeEye(eye.skin, eye.shown * share) for eye in found] if share > 0 else None
