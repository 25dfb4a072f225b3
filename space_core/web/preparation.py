"""Portraits that are prepared in the background while their visitors still choose what is said."""

import threading
from collections.abc import Callable

from space_core.errors import SpaceError
from space_core.options import AnimationOptions
from space_core.web.backend import Backend
from space_core.web.faults import log_fault


class Preparation:
    """Prepares one portrait at a time, in a thread that ends when there is none left. May be used from several threads.

    At most one more is remembered, the latest: a film whose portrait is not prepared prepares it itself.
    """

    def __init__(self, pipeline: Backend, is_busy: Callable[[], bool]) -> None:
        """
        Args:
            pipeline: keeps the portraits, within its budget.
            is_busy: whether films are being made, which come first: nothing is prepared then.
        """
        self._pipeline = pipeline
        self._is_busy = is_busy
        self._next: tuple[str, AnimationOptions] | None = None
        self._is_running = False
        self._has_ended = False
        self._lock = threading.Lock()

    def request(self, photo: str, options: AnimationOptions) -> None:
        """Has a photo prepared for a film with these options; returns at once."""
        with self._lock:
            if self._has_ended:
                return
            self._next = photo, options
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="preparation", daemon=True).start()

    def end(self) -> None:
        """Prepares nothing more, because the server ends."""
        with self._lock:
            self._has_ended, self._next = True, None

    def _run(self) -> None:
        while (wanted := self._take()) is not None:
            if self._is_busy():
                continue
            try:
                self._pipeline.prepare(*wanted)
            except SpaceError:
                pass  # the visitor reads why when they ask for a film
            except Exception as failure:
                if not self._has_ended:  # when no more threads can be started
                    log_fault(failure, endpoint="prepare")

    def _take(self) -> tuple[str, AnimationOptions] | None:
        with self._lock:
            wanted, self._next = self._next, None
            self._is_running = wanted is not None
            return wanted
