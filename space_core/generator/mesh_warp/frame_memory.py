"""Memory of frames that is used again: the system takes longer to give fresh memory than a frame takes to fill."""

import weakref
from collections import deque

import numpy as np


class FrameMemory:
    """Hands out arrays for frames; memory whose array and all views of it are gone is handed out again.

    It holds as much as is in use at a time, and frees what it holds when it is itself gone. May be used by several
    threads.
    """

    def __init__(self) -> None:
        self._unused: deque[np.ndarray] = deque()

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array (…) uint8 of that shape, its values undefined."""
        size = int(np.prod(shape))
        try:
            memory = self._unused.pop()
        except IndexError:
            memory = np.empty(size, np.uint8)
        if memory.size < size:
            memory = np.empty(size, np.uint8)
        # Views of an array that is made from a buffer refer to that array, not to the buffer's owner.
        array = np.frombuffer(memory.data, np.uint8, size)
        weakref.finalize(array, self._unused.append, memory).atexit = False
        return array.reshape(shape)
