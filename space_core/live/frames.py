"""The frames of a live stream, drawn segment by segment."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from space_core.animation import with_mark
from space_core.arrays import short_repr
from space_core.generator import generator
from space_core.live.pace import Pace, PlannedSegment
from space_core.motion.motion import Motion
from space_core.options import RenderingOptions
from space_core.timing import SAMPLES_PER_FRAME

# The pictures (H, W, 3) uint8 RGB of some frames of a segment, one by one, given their numbers in it (N,).
Draw = Callable[[Motion, np.ndarray], Generator[np.ndarray, None, None]]


@dataclass(frozen=True)
class LiveFrame:
    """One frame of a live stream, 1/25 s long.

    Attributes:
        index: from 0.
        picture: (H, W, 3) uint8 RGB, with the visible mark if the options ask for one.
        sound: (640,) float32, 16 kHz mono, the sound that belongs to it; the last frame's is filled up with silence.
        is_skipped: whether no picture was drawn for it, to keep up with the sound: ``picture`` is that of an earlier
            frame.
    """

    index: int
    picture: np.ndarray
    sound: np.ndarray
    is_skipped: bool = False

    __repr__ = short_repr


def frames_of(
    render: Draw, pace: Pace, planned: PlannedSegment, is_newest: bool, last: LiveFrame
) -> Generator[LiveFrame, None, None]:
    """The frames of a segment, which follow ``last``; as many of them get a picture as can be drawn in time."""
    motion, picture, seconds = planned.motion, last.picture, 0.0
    assert motion.speech is not None
    sound = np.pad(motion.speech, (0, len(motion) * SAMPLES_PER_FRAME - len(motion.speech)))
    count = pace.pictures_of(planned, is_newest)
    chosen = np.arange(count) * len(motion) // max(count, 1)  # at even distances, from the first one on
    with closing(render(motion, chosen)) as pictures:
        for number, piece in enumerate(sound.reshape(len(motion), SAMPLES_PER_FRAME)):
            begun = time.monotonic()
            if is_drawn := number in chosen:
                picture = next(pictures)
            seconds += time.monotonic() - begun
            yield LiveFrame(last.index + 1 + number, picture, piece, not is_drawn)
    if count:
        pace.count_pictures(count, seconds)


def render_segment(
    renderer: generator.Generator[Any],
    prepared: Any,
    options: RenderingOptions,
    num_parts: int,
    segment: Motion,
    frames: np.ndarray,
) -> Generator[np.ndarray, None, None]:
    """See ``Draw``; in ``num_parts`` batches, which a generator draws at the same time on as many cores."""
    face = segment.face[frames]
    size = -(-len(face) // num_parts)
    parts = [face[first : first + size] for first in range(0, len(face), size)]
    with closing(renderer.render(prepared, parts)) as rendered:
        for pictures in rendered:
            for picture in pictures:
                yield with_mark(picture, options)
