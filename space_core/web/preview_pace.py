"""How fast previews follow one another: while films are made, these have most of the processors."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST_PAUSE = 1.0  # seconds between two previews


class PreviewPace:
    """While films are made, previews take turns, and at most half of the time, however many visitors ask for them."""

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        """``is_busy``: whether films are being made."""
        self._is_busy = is_busy
        self._turn = threading.Lock()
        self._free_at = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A context for a preview. One that comes after a pause does not wait, so a visitor alone notices nothing."""
        if not self._is_busy():
            yield
            return
        with self._turn:
            time.sleep(max(0.0, self._free_at - time.monotonic()))
            begun = time.monotonic()
            try:
                yield
            finally:
                ended = time.monotonic()
                self._free_at = ended + min(ended - begun, LONGEST_PAUSE)
