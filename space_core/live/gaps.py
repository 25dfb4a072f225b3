"""Silence in the gaps of a source of live speech, in real time."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from space_core.timing import SAMPLE_RATE

GAP_SECONDS = 0.04  # of silence at a time


def fill_gaps(
    source: "queue.Queue[np.ndarray | None] | Iterable[np.ndarray]", tolerance: float = 0.06
) -> Iterator[np.ndarray]:
    """The chunks of a source as they arrive, and silence in real time where none does, so that the face keeps moving.

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
        # Time that a slow reader has taken is not a gap of the source.
        begun = max(begun, time.monotonic() - given / SAMPLE_RATE - tolerance)


def _pump(source: Iterable[np.ndarray], arriving: queue.Queue[Any]) -> None:
    try:
        for chunk in source:
            arriving.put(chunk)
        arriving.put(None)
    except BaseException as failure:
        arriving.put(failure)
