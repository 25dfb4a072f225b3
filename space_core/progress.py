"""Long tasks with progress reports, which can also cancel them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Result = TypeVar("Result")

# Called several times a second with the stage in progress ("portrait", "pose video", "landmarks", "frames"), the steps
# done and the steps in all; and with ("opening", 1, 1) when the opening can be played. An exception it raises ends the
# work.
Progress = Callable[[str, int, int], None]

REPORT_SECONDS = 0.25
# The number that torch starts with: later it may differ, as setting it affects every thread that starts afterwards.
NUM_CORES = torch.get_num_threads()


def run_with_progress(task: Callable[[], Result], on_progress: Callable[[], None]) -> Result:
    """Runs a task in a thread and returns its result; meanwhile ``on_progress`` is called a few times a second.

    An exception raised by ``on_progress`` is passed on at once; the task then runs to its end, and its result is lost.
    """
    on_progress()
    # Always with as many threads of torch's, wherever it is called from: so the result is the same to the last digit.
    executor = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(NUM_CORES,))
    future = executor.submit(task)
    executor.shutdown(wait=False)
    while wait([future], REPORT_SECONDS).not_done:
        on_progress()
    try:
        return future.result()
    finally:
        del future  # its exception and this frame would keep each other, and what the task held, in memory


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Does nothing."""
