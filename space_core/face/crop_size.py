"""A portrait's crop: how large it is, and where it lies in its photo."""

from dataclasses import dataclass

import numpy as np

SIZE = 512  # side of the crop and of every frame, pixels
MARGIN = 64  # how far the surroundings reach beyond the crop, pixels: what a turning head may bring into view


@dataclass(frozen=True)
class Crop:
    """Where a portrait's crop lies in its photo: ``photo = origin + crop * scale``, all in pixels.

    Attributes:
        origin: (2,) x and y in the photo of the crop's top left corner; may lie outside the photo.
        scale: photo pixels per crop pixel.
    """

    origin: np.ndarray
    scale: float

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the crop in pixels of the photo."""
        return self.origin + points * self.scale

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the photo in pixels of the crop."""
        return (points - self.origin) / self.scale


AROUND_CROP = Crop(np.full(2, float(MARGIN)), 1.0)  # where it lies in a portrait's surroundings
