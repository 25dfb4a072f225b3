"""The seam every generator fits: a portrait prepared once, then frames from landmarks."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from space_core.face.canvas import Canvas
from space_core.face.portrait import Portrait


class Generator(Protocol):
    """Turns a portrait and its posed landmarks into frames."""

    def prepare(self, portrait: Portrait, canvas: Canvas | None = None, refined: bool = True) -> Any:
        """Does once what every frame of this portrait needs; the result stays on the generator's device.

        The frames show the canvas, or without one the crop, 512 × 512. ``refined`` says whether a network may improve
        what geometry has drawn.
        """
        ...

    def render(self, prepared: Any, landmarks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB for chunks of posed landmarks (t, 478, 3), in pixels of the crop.

        Holds a bounded number of frames at any time.
        """
        ...
