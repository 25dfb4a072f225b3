"""The interface of every generator: a portrait is prepared once, then frames are rendered from a face in motion."""

import collections.abc
from collections.abc import Iterable
from typing import Protocol, TypeVar

import numpy as np

from space_core.face.canvas import Canvas
from space_core.face.portrait import Portrait
from space_core.face.posed_face import PosedFace

Prepared = TypeVar("Prepared")


class Generator(Protocol[Prepared]):
    """Turns a portrait and its face in motion into frames."""

    def prepare(self, portrait: Portrait, canvas: Canvas | None = None, refined: bool = True) -> Prepared:
        """Does once what every frame of this portrait needs; the result stays on the generator's device.

        The frames show the canvas, or without one the crop, 512 × 512. ``refined`` enables the networks that improve
        what geometry has drawn.
        """
        ...

    def render(
        self, prepared: Prepared, faces: Iterable[PosedFace]
    ) -> collections.abc.Generator[np.ndarray, None, None]:
        """For each batch of frames, in order, the pictures (T, H, W, 3) uint8 RGB.

        Reads a few batches ahead and holds a bounded number of frames. Closing the iterator ends the work.
        """
        ...

    def batch_size(self, prepared: Prepared) -> int:
        """The number of frames in a batch that renders fastest."""
        ...

    def seconds_per_frame(self, prepared: Prepared) -> float | None:
        """How long a frame takes, measured, where users should be warned of it beforehand; else None."""
        ...
