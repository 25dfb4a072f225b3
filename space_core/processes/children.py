"""Child processes, such as those for untrusted files: limited in time and memory, and ended when this process ends."""

import atexit
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from space_core.errors import ServerFault

if sys.platform == "linux":
    import resource
    from fcntl import F_SETPIPE_SZ, fcntl

# Asks the system to kill this process when its parent ends, and then becomes the program. Arguments: the parent's id,
# the program, its arguments. Popen's preexec_fn would run Python between fork and exec of a process with many threads.
LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]): sys.exit(1)
try: os.execv(sys.argv[2], sys.argv[2:])
except OSError: sys.exit(126)
"""
# Exit statuses of children: after SIGKILL, and after SIGXCPU, which ends one at its limit of the processor's time.
KILLED, OUT_OF_TIME = -9, -24
PIPE_BYTES = 1 << 20  # the largest pipe that Linux allows without privileges
POLL_SECONDS = 0.5  # the accuracy of a ``Watchdog``
STARVED_SHARE = 0.25


def start(
    command: list[str], cpu_seconds: float = 0, memory_bytes: int = 0, *, death_signal: bool = True, **options: Any
) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own.

    On Linux it is killed when it reaches one of its limits; on other systems it has none.

    Args:
        command: the program's path and its arguments; a list, so that no shell parses names in it.
        cpu_seconds: of all its threads together; 0 for no limit.
        memory_bytes: of address space; 0 for no limit.
        death_signal: whether, on Linux, it is killed when this process ends for any reason. Takes 20 ms more. Not
            needed for a program that writes to a pipe, which ends with an error when the pipe is closed.
        options: as of ``subprocess.Popen``.

    Raises:
        ServerFault: the limit of processes is reached.
        OSError: the program can't be started; with ``death_signal`` the exit status is 126 instead.
    """
    if sys.platform == "linux" and death_signal:
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command]
    try:
        # In a group of its own, so that Ctrl-C reaches only this process, which removes unfinished files. Started by a
        # thread that lives as long as this process: the death signal is sent when the thread that started a child ends.
        started = _starter().submit(lambda: subprocess.Popen(command, start_new_session=True, **options))
        process = started.result()
    except BlockingIOError:  # EAGAIN
        raise ServerFault("Too many programs are running here. Try again in a moment.", "internal") from None
    if sys.platform == "linux":
        if seconds := math.ceil(cpu_seconds):
            _limit(process.pid, resource.RLIMIT_CPU, seconds, seconds + 1)
        _limit(process.pid, resource.RLIMIT_CORE, 0, 0)
        if memory_bytes:
            _limit(process.pid, resource.RLIMIT_AS, memory_bytes, memory_bytes)
    return process


def _limit(process: int, what: int, soft: int, hard: int) -> None:
    """Sets a limit of a child, or leaves a stricter one."""
    if sys.platform == "linux":
        most = resource.getrlimit(what)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        with suppress(ProcessLookupError):  # it has ended
            resource.prlimit(process, what, (soft, hard))


def enlarge_pipe(pipe: int) -> None:
    """Gives a pipe a larger buffer: with Linux' default of 64 KiB, raw 4K frames take twice the time to transfer."""
    if sys.platform == "linux":
        with suppress(OSError):  # the user's limit of pipe memory is reached; the pipe works as it is
            fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


@cache
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "starter")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_starter.cache_clear)  # the thread is not there in a fork


class Closable(Protocol):
    """What can be closed, such as a pipe."""

    def close(self) -> None: ...


Owner = TypeVar("Owner", bound=Closable)


class PerProcess(Generic[Owner]):
    """The one owner of child processes in this process: closed when this process ends.

    Attributes:
        value: the owner. In a fork it is a new one, as the parent goes on using the processes of its own.
    """

    def __init__(self, build: Callable[[], Owner]) -> None:
        self._build = build
        self.value = build()
        atexit.register(lambda: self.value.close())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._replace)

    def _replace(self) -> None:
        self.value = self._build()


class Watchdog:
    """Kills a process that takes too long.

    Attributes:
        has_killed: whether the process was killed.
        has_starved: whether the process got less than ``STARVED_SHARE`` of a processor before: the machine was busy,
            and the process may not be slow.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.has_killed = self.has_starved = False
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
        # The current deadline; when this thread first saw it; and the processor time of the process until then.
        deadline, begun, used = math.inf, 0.0, 0.0
        while not self._ended.wait(POLL_SECONDS):
            now = time.monotonic()
            if deadline != self._deadline:
                deadline, begun, used = self._deadline, now, _cpu_seconds(self._process.pid)
            elif now > deadline:
                self.has_starved = _cpu_seconds(self._process.pid) - used < STARVED_SHARE * (now - begun)
                self.has_killed = True
                self._process.kill()
                return


def _cpu_seconds(process: int) -> float:
    """The processors' time that a process has taken; NaN where it has ended."""
    import psutil  # not for every start of a program: it is seldom needed

    try:
        times = psutil.Process(process).cpu_times()
        return times.user + times.system
    except psutil.Error:
        return math.nan
