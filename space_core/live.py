"""Speech that arrives in pieces: the frames of a portrait that says it, a moment after it was heard."""

import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from space_core.animation import with_mark
from space_core.errors import SpaceError
from space_core.generator import generator
from space_core.memory import out_of_memory_as_fault
from space_core.motion.live_options import CHANGEABLE_OPTIONS
from space_core.motion.live_planner import LivePlanner
from space_core.motion.motion import Motion
from space_core.options import AnimationOptions, RenderingOptions
from space_core.timing import SAMPLE_RATE, SAMPLES_PER_FRAME

# Segments of a few frames that are planned, and frames that are drawn, before they are asked for. More of them would
# add to the delay where the source is a file, and nothing where it is a microphone.
PLANNED_SEGMENTS, DRAWN_FRAMES = 1, 4
GAP_SECONDS = 0.04  # of silence at a time
WAIT_SECONDS = 0.05  # between looks at whether a stream was closed


@dataclass(frozen=True)
class LiveFrame:
    """One frame of a live stream, 1/25 s long.

    Attributes:
        index: from 0.
        picture: (H, W, 3) uint8 RGB, with the visible mark if the options ask for one.
        sound: (640,) float32, 16 kHz mono, the sound that belongs to it; the last frame's is filled up with silence.
    """

    index: int
    picture: np.ndarray
    sound: np.ndarray


class LiveControl:
    """The options of a stream that may change while it runs; may be used from several threads."""

    def __init__(self, options: AnimationOptions | None = None) -> None:
        self._options = options or AnimationOptions()
        self._lock = threading.Lock()

    @property
    def options(self) -> AnimationOptions:
        """The present options."""
        return self._options

    def update(self, **changes: Any) -> None:
        """Changes options by name; the face follows within 0.8 s, from the next frames on that are planned.

        Args:
            changes: of ``CHANGEABLE_OPTIONS``, see ``AnimationOptions``. The seconds of an emotion's timeline are
                counted from the change.

        Raises:
            SpaceError: a value is out of range, or an option can't change while a stream runs.
        """
        if fixed := [name for name in changes if name not in CHANGEABLE_OPTIONS]:
            raise SpaceError(
                f"{' and '.join(fixed)} can't change while a stream runs; what can is {', '.join(CHANGEABLE_OPTIONS)}."
            )
        with self._lock:
            self._options = replace(self._options, **changes)


class LiveStream:
    """An iterator of ``LiveFrame``, 25 a second of sound; ends after the sound has ended, or with ``close``.

    Sound is read and frames are drawn in threads of its own, a few frames ahead of the reader at most: who reads
    slowly holds back the reading of sound. An exception of the source is raised at its place.
    """

    def __init__(
        self,
        planner: LivePlanner,
        render: Callable[[Motion], Iterator[np.ndarray]],
        chunks: Iterable[np.ndarray],
        control: LiveControl,
    ) -> None:
        """``render`` draws the pictures of a segment of motion, one by one."""
        over = self._over = threading.Event()
        planned: queue.Queue[Motion | BaseException | None] = queue.Queue(PLANNED_SEGMENTS)
        drawn: queue.Queue[LiveFrame | BaseException | None] = queue.Queue(DRAWN_FRAMES)
        self._drawn = drawn
        # Daemons: the one that hears may be waiting for sound that never comes. They don't know the stream, so that one
        # that nobody reads any more ends.
        hearing = partial(_plan, planner, chunks, control, planned, over)
        threading.Thread(target=hearing, daemon=True).start()
        self._drawing = threading.Thread(target=partial(_draw, render, planned, drawn, over), daemon=True)
        self._drawing.start()
        weakref.finalize(self, over.set)

    def close(self) -> None:
        """Ends the stream, and waits for the frames that are being drawn; the sound is read no further than to its next
        chunk."""
        self._over.set()
        self._drawing.join()

    def __iter__(self) -> "LiveStream":
        return self

    def __next__(self) -> LiveFrame:
        item = _take(self._drawn, self._over)
        if isinstance(item, LiveFrame):
            return item
        self.close()
        if item is not None:
            raise item
        raise StopIteration

    def __enter__(self) -> "LiveStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plan(
    planner: LivePlanner,
    chunks: Iterable[np.ndarray],
    control: LiveControl,
    planned: "queue.Queue[Motion | BaseException | None]",
    over: threading.Event,
) -> None:
    """The thread that hears: motion of the chunks."""
    torch.set_num_threads(1)

    def put_all(segments: Iterator[Motion]) -> bool:
        return all(_put(planned, segment, over) for segment in segments)

    source = iter(chunks)
    try:
        for chunk in source:
            if over.is_set():
                return
            planner.change(control.options.motion)
            if not put_all(planner.push(_checked(chunk))):
                return
        put_all(planner.finish())
        _put(planned, None, over)
    except BaseException as failure:
        _put(planned, failure, over)
    finally:
        if isinstance(source, Generator):
            source.close()


def _draw(
    render: Callable[[Motion], Iterator[np.ndarray]],
    planned: "queue.Queue[Motion | BaseException | None]",
    drawn: "queue.Queue[LiveFrame | BaseException | None]",
    over: threading.Event,
) -> None:
    """The thread that draws: frames of the motion."""
    torch.set_num_threads(1)
    index = 0
    try:
        with out_of_memory_as_fault():
            while isinstance(segment := _take(planned, over), Motion):
                sound = segment.speech
                assert sound is not None
                pieces = np.pad(sound, (0, len(segment) * SAMPLES_PER_FRAME - len(sound)))
                pieces = pieces.reshape(len(segment), SAMPLES_PER_FRAME)
                for picture, piece in zip(render(segment), pieces, strict=True):
                    if not _put(drawn, LiveFrame(index, picture, piece), over):
                        return
                    index += 1
        _put(drawn, segment, over)
    except BaseException as failure:
        _put(drawn, failure, over)


def render_segment(
    renderer: generator.Generator, prepared: Any, options: RenderingOptions, segment: Motion
) -> Iterator[np.ndarray]:
    """The pictures (H, W, 3) uint8 RGB of a segment, drawn at once, half of it on each of two cores."""
    face = segment.face
    half = -(-len(face) // 2)
    parts = [face[first : first + half] for first in range(0, len(face), half)]
    with closing(renderer.render(prepared, parts)) as rendered:
        for pictures in rendered:
            for picture in pictures:
                yield with_mark(picture, options)


def fill_gaps(
    source: "queue.Queue[np.ndarray | None] | Iterable[np.ndarray]", tolerance: float = 0.06
) -> Iterator[np.ndarray]:
    """The chunks of a source as they arrive, and silence in real time where none does, so that the face goes on living.

    Args:
        source: a queue of chunks, which None ends; or an iterable, which is read in a thread of its own. Sound that
            arrives faster than real time, such as from text to speech, is passed on at once.
        tolerance: seconds by which chunks may be late before silence takes their place.
    """
    arriving: queue.Queue[Any] = source if isinstance(source, queue.Queue) else queue.Queue(1)
    if arriving is not source:
        threading.Thread(target=_pump, args=(source, arriving), daemon=True).start()
    silence = np.zeros(round(GAP_SECONDS * SAMPLE_RATE), np.float32)
    begun, given = time.monotonic(), 0
    while True:
        due = begun + given / SAMPLE_RATE + GAP_SECONDS + tolerance
        try:
            chunk = arriving.get(timeout=max(due - time.monotonic(), 0))
        except queue.Empty:
            chunk = silence
        if chunk is None:
            return
        if isinstance(chunk, BaseException):
            raise chunk
        given += len(chunk)
        yield chunk
        # A reader that was slow, not the source, must not look like a gap.
        begun = max(begun, time.monotonic() - given / SAMPLE_RATE - tolerance)


def _pump(source: Iterable[np.ndarray], arriving: queue.Queue[Any]) -> None:
    try:
        for chunk in source:
            arriving.put(chunk)
        arriving.put(None)
    except BaseException as failure:
        arriving.put(failure)


def _checked(chunk: np.ndarray) -> np.ndarray:
    """A chunk of sound (N,) as float32 within -1 … 1.

    Raises:
        SpaceError: it is something else.
    """
    if not isinstance(chunk, np.ndarray) or chunk.ndim != 1 or chunk.dtype.kind != "f":
        raise SpaceError("A chunk of sound is a one-dimensional NumPy array of float32, 16 kHz mono.")
    if not np.isfinite(chunk).all() or np.abs(chunk).max(initial=0) > 1:
        raise SpaceError("The samples of a chunk of sound are between -1 and 1.")
    return chunk.astype(np.float32)


def _put(items: queue.Queue, item: Any, over: threading.Event) -> bool:
    """Puts an item as soon as there is room; False where the stream is over before."""
    while not over.is_set():
        with suppress(queue.Full):
            items.put(item, timeout=WAIT_SECONDS)
            return True
    return False


def _take(items: queue.Queue, over: threading.Event) -> Any:
    """The next item; None where the stream is over before."""
    while not over.is_set():
        with suppress(queue.Empty):
            return items.get(timeout=WAIT_SECONDS)
    return None
