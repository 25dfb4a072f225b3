"""A live stream: an iterator whose frames are planned and drawn in threads of its own."""

import math
import queue
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Any, Self

import numpy as np
import torch

from space_core.errors import SpaceError
from space_core.live.control import LiveControl
from space_core.live.frames import Draw, LiveFrame, frames_of
from space_core.live.pace import Pace, PlannedSegment
from space_core.motion.live.planner import LivePlanner
from space_core.motion.motion import Motion
from space_core.processes.memory import out_of_memory_as_fault

# Segments of a few frames that are planned ahead, and frames that are drawn ahead. More of them would increase the
# delay if the source is a file, and change nothing if it is a microphone.
PLANNED_SEGMENTS, DRAWN_FRAMES = 1, 4
LATE_SEGMENTS = 25  # that are planned at most while drawing is late: four seconds
AWAITED_SECONDS = 0.02  # a segment whose sound took longer to come than this had none of it waiting
CLOSED_POLL_SECONDS = 0.05  # between checks whether a stream was closed
NEEDED_POLL_SECONDS = 0.01  # between checks whether another segment is needed


class LiveStream:
    """An iterator of ``LiveFrame``, 25 a second of sound; ends after the sound has ended, or with ``close``.

    Sound is read and frames are drawn in threads of the stream, at most a few frames ahead of the reader: if frames are
    read slowly, sound is read as slowly. An exception of the source is raised by ``next``, after the frames before it.
    """

    def __init__(
        self,
        planner: LivePlanner,
        render: Draw,
        chunks: Iterable[np.ndarray],
        control: LiveControl,
        skip_after: float = math.inf,
    ) -> None:
        """``skip_after`` as in ``SpacePipeline.stream``.

        Raises:
            SpaceError: ``skip_after`` is negative or no number.
        """
        if not skip_after >= 0:
            raise SpaceError(f"skip_after is a number of seconds, 0 or more; got {skip_after}.")
        over, pace = threading.Event(), Pace(skip_after)
        self._over = over
        planned: queue.Queue[PlannedSegment | BaseException | None] = queue.Queue(LATE_SEGMENTS)
        drawn: queue.Queue[LiveFrame | BaseException | None] = queue.Queue(DRAWN_FRAMES)
        self._drawn = drawn
        # Daemons: the one that reads may be waiting for sound that never comes. They do not refer to the stream, so
        # that one without a reader is garbage-collected, and ends.
        planning = partial(_plan, planner, chunks, control, pace, planned, over)
        threading.Thread(target=planning, daemon=True).start()
        self._drawing = threading.Thread(target=partial(_draw, render, pace, planned, drawn, over), daemon=True)
        self._drawing.start()
        weakref.finalize(self, over.set)

    def close(self) -> None:
        """Ends the stream, and waits for the frames that are being drawn; the sound is read no further than to its next
        chunk."""
        self._over.set()
        self._drawing.join()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LiveFrame:
        item = _take(self._drawn, self._over)
        if isinstance(item, LiveFrame):
            return item
        self.close()
        if item is not None:
            raise item
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plan(
    planner: LivePlanner,
    chunks: Iterable[np.ndarray],
    control: LiveControl,
    pace: Pace,
    planned: "queue.Queue[PlannedSegment | BaseException | None]",
    over: threading.Event,
) -> None:
    """Plans the motion of the chunks; runs in a thread of its own."""
    torch.set_num_threads(1)
    arrived, awaited = time.monotonic(), 0.0  # when the latest sound came; how long that of the next segment took

    def put_all(segments: Iterator[Motion]) -> bool:
        nonlocal awaited
        for segment in segments:
            item = PlannedSegment(segment, arrived if awaited > AWAITED_SECONDS else None)
            awaited = 0.0
            # No more of them than are needed, or changes of the options would come late.
            while planned.qsize() >= PLANNED_SEGMENTS and not pace.is_late:
                if over.wait(NEEDED_POLL_SECONDS):
                    return False
            if not _put(planned, item, over):
                return False
        return True

    source = iter(chunks)
    asked = time.monotonic()
    try:
        for chunk in source:
            arrived = time.monotonic()
            awaited += arrived - asked
            if over.is_set():
                return
            planner.change(control.options.motion)
            if not put_all(planner.push(_checked(chunk))):
                return
            asked = time.monotonic()
        put_all(planner.finish())
        _put(planned, None, over)
    except BaseException as failure:
        _put(planned, failure, over)
    finally:
        if isinstance(source, Generator):
            source.close()


def _draw(
    render: Draw,
    pace: Pace,
    planned: "queue.Queue[PlannedSegment | BaseException | None]",
    drawn: "queue.Queue[LiveFrame | BaseException | None]",
    over: threading.Event,
) -> None:
    """Draws the frames of the planned motion; runs in a thread of its own."""
    torch.set_num_threads(1)
    last = LiveFrame(-1, np.zeros((0, 0, 3), np.uint8), np.zeros(0, np.float32))
    try:
        with out_of_memory_as_fault():
            while isinstance(item := _take(planned, over), PlannedSegment):
                with closing(frames_of(render, pace, item, planned.empty(), last)) as frames:
                    for frame in frames:
                        drawn_at = time.monotonic()
                        if not _put(drawn, frame, over):
                            return
                        pace.count_frame(waited=time.monotonic() - drawn_at)
                        last = frame
        _put(drawn, item, over)
    except BaseException as failure:
        _put(drawn, failure, over)


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


def _put(items: queue.Queue[Any], item: Any, over: threading.Event) -> bool:
    """Puts an item as soon as there is room; False where the stream is over before."""
    while not over.is_set():
        with suppress(queue.Full):
            items.put(item, timeout=CLOSED_POLL_SECONDS)
            return True
    return False


def _take(items: queue.Queue[Any], over: threading.Event) -> Any:
    """The next item; None where the stream is over before."""
    while not over.is_set():
        with suppress(queue.Empty):
            return items.get(timeout=CLOSED_POLL_SECONDS)
    return None
