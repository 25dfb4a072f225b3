"""The base class of animations and comparisons: an iterator of pictures, each drawn when it is asked for."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from space_core.face.portrait import Portrait
from space_core.timing import FPS


class FrameIterator(ABC):
    """An iterator of pictures (H, W, 3) uint8 RGB, 25 a second, and a context manager that ends the work.

    Attributes:
        portrait: the prepared photo.
        num_frames: how many frames there are in all.
        notes: sentences for the user about what was asked for and is not shown as it is.
    """

    def __init__(self, portrait: Portrait, num_frames: int, notes: tuple[str, ...]) -> None:
        self.portrait = portrait
        self.num_frames = num_frames
        self.notes = notes

    @property
    def num_faces(self) -> int:
        """How many faces the photo shows."""
        return self.portrait.num_faces

    @property
    def seconds(self) -> float:
        """The length of the film."""
        return self.num_frames / FPS

    @property
    def photo_notes(self) -> tuple[str, ...]:
        """Advice on the photo, each a sentence or two, as in ``FacePreview.notes``."""
        return self.portrait.notes

    @abstractmethod
    def close(self) -> None:
        """Ends the work; no more frames are drawn."""

    @abstractmethod
    def __next__(self) -> np.ndarray:
        """The next picture."""

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
