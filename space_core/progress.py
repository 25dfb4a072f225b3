"""Long tasks with progress reports, which can also cancel them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")

# Called several times a second with the stage in progress ("learning", "portrait", "pose video", "landmarks",
# "frames"), the steps done and the steps in all; and with ("estimate", 0, seconds) before a slow generator draws for
# about so many seconds. An exception it raises ends the work.
Progress = Callable[[str, int, int], None]

REPORT_SECONDS = 0.25
# The number that torch starts with: later it may differ, as setting it affects every thread that starts afterwards.
NUM_CORES = torch.get_num_threads()


def run_with_progress(task: Callable[[], Result], on_progress: Callable[[], None]) -> Result:
    """Runs a task in a thread and returns its result; meanwhile ``on_progress`` is called a few times a second.

    An exception raised by ``on_progress`` is passed on at once; the task then runs to its end, and its result is lost.
    """
    on_progress()
    future = start(task)
    while wait([future], REPORT_SECONDS).not_done:
        on_progress()
    try:
        return future.result()
    finally:
        del future  # its exception and this frame would keep each other, and what the task held, in memory


def start(task: Callable[[], Result]) -> Future[Result]:
    """Starts a task in a thread of its own."""
    # With one thread of torch's: several tasks run at once, beside the drawing, and the threads of one task would wait
    # for each other.
    executor = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    future = executor.submit(task)
    executor.shutdown(wait=False)
    return future


class SharedItems(Generic[Result]):
    """The items of an iterator, which may be iterated over several times; each is computed when it is first asked for.

    All items are kept. An exception of the iterator is raised at its place, each time.
    """

    def __init__(self, items: Iterator[Result]) -> None:
        """Starts with the first item, before it is asked for."""
        self._items = items
        self._started: list[Future[Result | None]] = [start(self._next)]
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Result]:
        for index in count():
            with self._lock:
                if len(self._started) == index:
                    self._started.append(start(self._next))
            item = self._started[index].result()
            if item is None:
                return
            yield item

    def _next(self) -> Result | None:
        return next(self._items, None)


def without_frames(progress: Progress) -> Progress:
    """The same reports but those of frames."""

    def report(stage: str, done: int, total: int) -> None:
        if stage != "frames":
            progress(stage, done, total)

    return report


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Does nothing."""
