"""What a film shows of a photo: a portrait's crop at any size, or the whole photo."""

from dataclasses import dataclass

import numpy as np

from space_core.arrays import short_repr
from space_core.face.crop import Crop
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.portrait import Portrait, cut


@dataclass(frozen=True)
class Canvas:
    """A picture at rest, into which the moving portrait is drawn.

    Attributes:
        picture: (H, W, 3) uint8 RGB, at the film's own resolution; it may reach beyond what the film shows.
        crop: where the portrait's crop lies in the picture.
        shown: left, top, width and height of what the film shows of it, width and height even.
        original: pixels of the photo per pixel of the picture; below 1 the picture is less sharp than it could be.
        continued: columns at the picture's left, rows at its top and columns at its right that continue a head that the
            photo's edges cut off.
    """

    picture: np.ndarray
    crop: Crop
    shown: tuple[int, int, int, int]
    original: float
    continued: tuple[int, int, int] = (0, 0, 0)

    __repr__ = short_repr


def crop_canvas(portrait: Portrait, size: int) -> Canvas:
    """The portrait's crop and its margin, ``size`` pixels a side."""
    margin = size * MARGIN // SIZE
    return Canvas(
        picture=portrait.surroundings if size == SIZE else cut(portrait.photo, portrait.crop, size, margin),
        crop=Crop(np.array([margin, margin], float), size / SIZE),
        shown=(margin, margin, size, size),
        original=portrait.crop.scale * SIZE / size,
    )


def photo_canvas(portrait: Portrait) -> Canvas:
    """The whole photo; without its last row or column where their number is odd, as H.264 has none such."""
    height, width, _ = portrait.photo.shape
    return Canvas(portrait.photo, portrait.crop, (0, 0, width - width % 2, height - height % 2), 1.0)
