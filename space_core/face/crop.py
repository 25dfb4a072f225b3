"""Where a portrait's crop lies in its photo."""

from dataclasses import dataclass

import numpy as np

from space_core.face.crop_size import MARGIN


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
