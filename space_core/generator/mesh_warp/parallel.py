"""Parts of one computation on two cores."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _InferenceThread(ThreadPoolExecutor):
    """One thread, which computes in torch's inference mode: a thread does not take that mode over from its caller."""

    def __init__(self) -> None:
        super().__init__(1, initializer=torch.set_num_threads, initargs=(1,))

    def submit(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        return super().submit(torch.inference_mode()(function), *args, **kwargs)


def thread_beside() -> ThreadPoolExecutor:
    """A thread that does some of a computation beside the caller's, for a ``with`` block."""
    return _InferenceThread()


def map_parts(function: Callable[..., Result], *arguments: Iterable) -> list[Result]:
    """The results of a function for parts, in their order, as ``map`` gives them; two are computed at a time.

    Parts should take a millisecond or more outside of Python, whose lock they share.
    """
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        return list(workers.map(function, *arguments))
