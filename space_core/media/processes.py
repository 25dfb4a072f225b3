"""Child processes for untrusted files: limited in time and memory, and ended when this process ends."""

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

from space_core.errors import ServerFault

# Sets the limits and replaces itself by the program. Arguments: CPU seconds, bytes, the parent's id, the program …
# A launcher and not Popen's preexec_fn: that would run Python between fork and exec of a process with many threads.
LAUNCHER = """
import ctypes, os, resource, signal, sys
seconds, memory, parent = map(int, sys.argv[1:4])
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != parent: sys.exit(1)
def limit(what, soft, hard):
    most = resource.getrlimit(what)[1]
    if most != resource.RLIM_INFINITY: soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(what, (soft, hard))
limit(resource.RLIMIT_CPU, seconds, seconds + 1)
limit(resource.RLIMIT_CORE, 0, 0)
if memory: limit(resource.RLIMIT_AS, memory, memory)
try: os.execv(sys.argv[4], sys.argv[4:])
except OSError: sys.exit(126)
"""
POLL_SECONDS = 0.5  # the accuracy of a ``Watchdog``


def start(command: list[str], cpu_seconds: float, memory_bytes: int = 0, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own.

    On Linux it is killed when this process ends, however it does, and when it reaches one of its limits; on other
    systems it has no limits.

    Args:
        command: the program's path and its arguments; a list, so that no shell parses names in it.
        cpu_seconds: of all its threads together.
        memory_bytes: of address space; 0 for no limit.
        options: as of ``subprocess.Popen``.

    Raises:
        ServerFault: there is not enough memory, or the limit of processes is reached.
        OSError: the program can't be started; not raised on Linux, where the exit status is 126 then.
    """
    if sys.platform == "linux":
        limits = [str(math.ceil(cpu_seconds)), str(memory_bytes), str(os.getpid())]
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, *limits, *command]
    try:
        # In a group of its own, so that Ctrl-C reaches only this process, which removes unfinished files. By one thread
        # that lives as long as this process: the death signal is sent when the thread ends that started the child.
        started = _starter().submit(lambda: subprocess.Popen(command, start_new_session=True, **options))
        return started.result()
    except BlockingIOError:  # EAGAIN
        raise ServerFault("Too many programs are running here. Try again in a moment.", "internal") from None


@cache
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "starter")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_starter.cache_clear)  # the thread is not there in a fork


class Watchdog:
    """Kills a process that takes too long over something.

    Attributes:
        has_killed: whether it did.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.has_killed = False
        self._process = process
        self._deadline = math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Kills the process if the context lasts longer than ``seconds``."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def close(self) -> None:
        """Ends the watch."""
        self._ended.set()
        if threading.current_thread() is not self._thread:  # in which the garbage collector may close the watched
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            if time.monotonic() > self._deadline:
                self.has_killed = True
                self._process.kill()
                return
