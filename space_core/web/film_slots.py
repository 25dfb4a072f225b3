"""The slots in which films are made: so many at a time, of which live sessions take some."""

import threading
from collections.abc import Callable, Generator

from space_core.web.job_threads import REPEATED_EVERY
from space_core.web.jobs import Report, Step

OnRestart = Callable[[float], None]


class FilmSlots:
    """Films wait for a slot; a live session begins only while none waits, so that it is drawn in real time.

    Attributes:
        is_draining: no more live sessions begin.
    """

    def __init__(self, num_slots: int, max_sessions: int) -> None:
        """``num_slots`` films and sessions at a time, of which at most ``max_sessions`` are sessions."""
        self.is_draining = False
        self._slots = threading.Semaphore(num_slots)
        self._max_sessions = max_sessions
        self._sessions: list[OnRestart] = []
        self._num_waiting = 0  # films
        self._lock = threading.Lock()

    def run(self, make_film: Callable[[], Generator[Report, None, None]]) -> Generator[Report, None, None]:
        """Yields what ``make_film`` does as soon as it has a slot, and until then now and then the stage "live"."""
        with self._lock:
            self._num_waiting += 1
        has_slot = False
        try:
            try:
                while not (has_slot := self._slots.acquire(timeout=REPEATED_EVERY)):
                    yield Step("live", 0, 1)
            finally:
                with self._lock:
                    self._num_waiting -= 1
            yield from make_film()
        finally:
            if has_slot:
                self._slots.release()

    def begin_session(self, on_restart: OnRestart) -> bool:
        """Takes a slot for a live session, until ``end_session``; whether there is one for it.

        ``on_restart`` is called, by ``drain``, with the seconds after which the session will be ended.
        """
        with self._lock:
            has_room = len(self._sessions) < self._max_sessions and not self._num_waiting and not self.is_draining
            has_slot = has_room and self._slots.acquire(blocking=False)
            if has_slot:
                self._sessions.append(on_restart)
        return has_slot

    def end_session(self, on_restart: OnRestart) -> None:
        """Gives the slot of a session back."""
        with self._lock:
            self._sessions.remove(on_restart)
        self._slots.release()

    def num_sessions(self) -> int:
        """How many live sessions there are."""
        return len(self._sessions)

    def drain(self, seconds: float) -> None:
        """Begins no more live sessions, and notifies the present ones that they will be ended in so many seconds."""
        with self._lock:
            self.is_draining = True
            sessions = list(self._sessions)
        for on_restart in sessions:
            on_restart(seconds)
