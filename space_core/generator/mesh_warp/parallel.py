"""Parts of one computation on two cores."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")


def thread_beside() -> ThreadPoolExecutor:
    """A thread that does some of a computation beside the caller's, for a ``with`` block."""
    return ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))


def map_parts(function: Callable[..., Result], *arguments: Iterable) -> list[Result]:
    """The results of a function for parts, in their order, as ``map`` gives them; two are computed at a time.

    Parts should take a millisecond or more outside of Python, whose lock they share.
    """
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        return list(workers.map(function, *arguments))
