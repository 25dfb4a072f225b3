"""Memory of this process: the fault for a lack of it, and the return of freed memory to the system."""

import ctypes
import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from space_core.errors import ServerFault, SpaceError

# What torch, OpenCV, the loader of libraries and the system say in exceptions of their own.
NO_MEMORY = re.compile(
    r"can(no|')t allocate|not enough memory|out of memory|insufficient memory|failed to allocate|failed to map segment"
    r"|can't start new thread",
    re.IGNORECASE,
)


@contextmanager
def out_of_memory_as_fault() -> Iterator[None]:
    """Raises ``ServerFault`` where what runs in this context finds no memory."""
    try:
        yield
    except SpaceError:
        raise
    except Exception as failure:
        if not is_out_of_memory(failure):
            raise
        raise out_of_memory() from failure


def is_out_of_memory(failure: BaseException) -> bool:
    """Whether an exception says that there is not enough memory."""
    if isinstance(failure, OSError) and failure.errno is not None:
        return failure.errno == errno.ENOMEM
    return isinstance(failure, MemoryError) or NO_MEMORY.search(str(failure)) is not None


def out_of_memory() -> ServerFault:
    """The fault for a lack of memory."""
    return ServerFault(
        "There is not enough memory for this. Try again later, or with a smaller photo.", "out_of_memory"
    )


def return_freed_memory() -> None:
    """Gives memory that was freed back to the system; by itself, glibc keeps most of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # only glibc has it
            trim(0)
