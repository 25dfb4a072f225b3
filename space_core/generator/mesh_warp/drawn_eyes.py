"""The eyes of drawings: whether a photo is a drawing, and what of it is an eye beyond the tracked lids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.eye_in_photo import LIDS_REACH, EyeInPhoto, skin_around
from space_core.generator.mesh_warp.morphology import disc, square

# Drawings have eyes larger than the tracked ones, on skin of one colour: half of what is about as bright and coloured
# as skin around them differs in brightness by less than FLAT, relative to it. Lids cover what is darker there than
# skin, or lighter or less red by UNLIKE, within ``DRAWN``.
FLAT, LIKE_SKIN, OTHER_SHARES, DARKER, UNLIKE = (0.056, 0.066), (0.4, 1.35), 0.25, 0.72, 0.06
# What belongs to a drawn eye is connected to what is seen between the tracked lids, and no line thinner than twice
# STROKE, in widths of the eye. What is cut off at the lower limit over more than CUT_OFF widths is no eye but a cheek
# in another light.
STROKE, MIN_CONNECTED, CUT_OFF = 0.05, 0.03, 0.2


class Reach(NamedTuple):
    """How far a drawn eye goes on beyond the tracked lids at most.

    Attributes:
        above: in widths of the eye.
        below: likewise.
        sides: from its middle, in half widths.
    """

    above: float
    below: float
    sides: float


DRAWN = Reach(above=LIDS_REACH[0], below=0.6, sides=1.3)


@dataclass(frozen=True)
class FlatSkin:
    """Most skin around an eye.

    Attributes:
        colour: (3,) 0…1.
        spread: by how much half of it differs in brightness, relative to it.
    """

    colour: torch.Tensor
    spread: float


def flat_skin(eye: EyeInPhoto) -> FlatSkin:
    """Most skin around an eye."""
    picture, opening, width = eye.picture, eye.opening, eye.width
    near = (opening.below_upper > -LIDS_REACH[0] * width) & (opening.above_lower > -DRAWN.below * width)
    near &= opening.along.abs() < DRAWN.sides
    usual = skin_around(picture, near & (opening.above_lower > -LIDS_REACH[1] * width))
    brightness = picture.mean(1) / usual.mean()
    shares = picture / picture.mean(1).clamp(min=0.02) - (usual / usual.mean())[:, None, None]
    other = (brightness < LIKE_SKIN[0]) | (brightness > LIKE_SKIN[1]) | (shares.square().sum(1).sqrt() > OTHER_SHARES)
    other |= opening.coverage > 0
    reach = 2 * int(STROKE * width) + 3
    other = torch.from_numpy(cv2.dilate(other[0].numpy().astype(np.uint8), square(reach))) > 0
    colours = picture[0, :, near[0] & ~other]
    if not colours.shape[1]:
        return FlatSkin(usual, np.inf)
    brightness, order = colours.mean(0).sort()
    half = len(brightness) // 2
    spread = brightness[half:] - brightness[: len(brightness) - half]
    start = int(spread.argmin())
    colour = colours[:, order[start : start + half + 1]].median(1).values.clamp(min=0.02)
    return FlatSkin(colour, float(spread[start] / colour.mean()))


def share_drawn(skins: Sequence[FlatSkin]) -> float:
    """How far a photo with that skin around its eyes is a drawing, 0…1."""
    return 1 - float(smoothstep(np.mean([skin.spread for skin in skins]), *FLAT))


def unlike_skin(picture: torch.Tensor, skin: torch.Tensor) -> torch.Tensor:
    """(1, h, w) 1 where a drawing is darker, lighter or less red than its skin (3,), else 0."""
    brightness = picture.mean(1) / skin.mean()
    redder = redness(picture) - redness(skin[None, :, None, None])
    return ((brightness < DARKER) | (brightness > 1 + UNLIKE) | (redder < -2 * UNLIKE)).float()


def redness(picture: torch.Tensor) -> torch.Tensor:
    """(B, h, w) how much more red than blue a picture (B, 3, h, w) is, relative to its brightness."""
    return (picture[:, 0] - picture[:, 2]) / picture.mean(1).clamp(min=0.02)


def drawn_eye(other: torch.Tensor, eye: EyeInPhoto, reach: Reach = DRAWN) -> torch.Tensor:
    """(1, h, w) where a drawing's eye is seen, 0…1, which goes on beyond the tracked lids.

    That is what is unlike skin, ``other`` (1, h, w) bool, and connected to what of it is between those lids.
    """
    opening, width = eye.opening, eye.width
    within = (opening.above_lower > -reach.below * width) & (opening.along.abs() < reach.sides)
    within &= opening.below_upper > -reach.above * width
    shape = disc(max(int(STROKE * width), 1))
    broad = cv2.morphologyEx((other & within)[0].numpy().astype(np.uint8), cv2.MORPH_OPEN, shape)
    between = (opening.coverage > 0.5)[0].numpy()
    _, parts = cv2.connectedComponents(np.maximum(broad, (other[0].numpy() & between).astype(np.uint8)))
    sizes = np.bincount(parts[between], minlength=parts.max() + 1)
    sizes[0] = 0
    rows = max(STROKE * width, 2)  # the lowest of the search
    lowest = (within & (opening.above_lower < rows - reach.below * width))[0].numpy()
    cut_off = np.bincount(parts[lowest], minlength=len(sizes)) > CUT_OFF * width * rows
    shown = ((sizes > MIN_CONNECTED * between.sum()) & ~cut_off)[parts]
    grown = cv2.dilate(shown.astype(np.float32), shape)
    return torch.from_numpy(cv2.blur(grown, (3, 3)))[None]
