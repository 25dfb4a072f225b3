"""An animation: an iterator of frames, each drawn when it is asked for."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import tee
from typing import Any

import numpy as np
from PIL import Image

from space_core.arrays import short_repr
from space_core.face.crop_size import SIZE
from space_core.face.drawing import draw_normalized, draw_posed
from space_core.face.portrait import Portrait, cut
from space_core.face.posed_face import PosedFace
from space_core.frame_iterator import FrameIterator
from space_core.generator import generator
from space_core.media.visible_mark import marked
from space_core.motion.motion import Motion
from space_core.options import RenderingOptions
from space_core.processes.memory import out_of_memory_as_fault
from space_core.progress import Progress


@dataclass(frozen=True)
class Frame:
    """One frame of a film.

    Attributes:
        picture: (H, W, 3) uint8 RGB, without the visible mark.
        motion: what the face does in it, a ``Motion`` of one frame.
    """

    picture: np.ndarray
    motion: Motion

    __repr__ = short_repr


class Animation(FrameIterator):
    """An iterator of ``num_frames`` pictures (H, W, 3) uint8 RGB, 25 a second.

    Without ``framing`` and ``size`` in the options they are 512 × 512. Closing it, or leaving its ``with`` block, ends
    the work.

    Attributes:
        portrait: the prepared photo.
        num_frames: how many frames there are in all.
        options: the rendering options.
        notes: sentences for the user about what was asked for and is not shown as it is, such as far turns of a pose
            video.
    """

    def __init__(
        self,
        portrait: Portrait,
        num_frames: int,
        options: RenderingOptions,
        frames: Generator[Frame, None, None],
        notes: tuple[str, ...],
    ) -> None:
        super().__init__(portrait, num_frames, notes)
        self.options = options
        self._frames = frames

    def frames(self) -> Iterator[Frame]:
        """The frames that follow, each with its motion."""
        return self._frames

    def shown(self, frame: Frame) -> np.ndarray:
        """(H, W, 3) uint8 RGB, a frame's picture as the film shows it, with the visible mark if it has one."""
        return with_mark(frame.picture, self.options)

    def stages(self, frame: Frame) -> np.ndarray:
        """(512, 1536, 3) uint8 RGB: a frame's normalized landmarks, posed landmarks and crop side by side."""
        # The whole photo's mark may lie outside of the crop, which then needs one of its own.
        pictures = draw_normalized(frame.motion.edited[0]), draw_posed(frame.motion.posed[0])
        return np.concatenate([*pictures, with_mark(self._crop(frame.picture), self.options)], axis=1)

    def close(self) -> None:
        """Ends the work; no more frames are drawn."""
        self._frames.close()

    def __next__(self) -> np.ndarray:
        return self.shown(next(self._frames))

    def _crop(self, picture: np.ndarray) -> np.ndarray:
        """(512, 512, 3) uint8 RGB, the portrait's crop out of a frame."""
        if self.options.shows_whole_photo:
            return cut(picture, self.portrait.crop, margin=0)
        return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def with_mark(picture: np.ndarray, options: RenderingOptions) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB with the visible mark, if the options ask for one."""
    return marked(picture) if options.mark == "visible" else picture


def render_frames(
    renderer: generator.Generator[Any], prepared: Any, segments: Iterator[Motion], num_frames: int, progress: Progress
) -> Generator[Frame, None, None]:
    """Stage 3: the frames of a film of ``num_frames``, each with the motion it shows.

    ``prepared`` is the portrait as ``renderer`` prepared it; ``segments`` are consumed as frames are drawn.
    """
    size, done = renderer.batch_size(prepared), 0

    def batches() -> Iterator[tuple[Motion, PosedFace]]:
        num_planned = 0
        for segment in segments:
            progress("frames", done, num_frames)
            face, first = segment.face, 0
            while first < len(segment):
                # The first batches are half as large, so that a stream begins sooner.
                count = size if num_planned > size else -(-size // 2)
                part = slice(first, min(first + count, len(segment)))
                yield segment[part], face[part]
                num_planned, first = num_planned + part.stop - first, part.stop

    planned, shown = tee(batches())
    progress("frames", 0, num_frames)
    with (
        out_of_memory_as_fault(),
        closing(renderer.render(prepared, (face for _, face in planned))) as rendered,
    ):
        for pictures in rendered:
            motion, _ = next(shown)
            for index, picture in enumerate(pictures):
                progress("frames", done, num_frames)
                yield Frame(picture, motion[index : index + 1])
                done += 1
            del pictures, picture  # so that their memory is used again for frames that are still to be drawn
    progress("frames", num_frames, num_frames)
