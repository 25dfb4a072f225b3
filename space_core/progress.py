"""Work that takes its time, run_with_progress: meanwhile somebody is told, and may give it up."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Result = TypeVar("Result")

REPORT_SECONDS = 0.25
# As torch found them: later on the number may be another, as its setting reaches every thread that starts after it.
NUM_CORES = torch.get_num_threads()


def run_with_progress(work: Callable[[], Result], report: Callable[[], None]) -> Result:
    """What a piece of work gives; meanwhile ``report`` is called a few times a second, and may raise to give it up.

    Work that is given up runs to its end, unheard.
    """
    report()
    # Always with as many threads of torch's, wherever it is called from: so the result is the same to the last digit.
    executor = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(NUM_CORES,))
    future = executor.submit(work)
    executor.shutdown(wait=False)
    while wait([future], REPORT_SECONDS).not_done:
        report()
    return future.result()
