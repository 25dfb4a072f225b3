"""Processes that draw batches of frames beside this process's threads, on a CPU.

Of two threads only one runs Python at a time, and each operation that they call makes them wait for each other: on two
cores they draw 72 frames a second of 512 × 512, a thread and a process 93, which takes 0.3 GB more.
"""

import os
import pickle
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import IO, Any, cast

import numpy as np

from space_core.errors import ServerFault
from space_core.face.posed_face import PosedFace
from space_core.generator.mesh_warp.frame_memory import FrameMemory
from space_core.processes.children import PerProcess, Watchdog, enlarge_pipe, start
from space_core.processes.worker import worker_command
from space_core.progress import NUM_CORES

DONE, FAILED = b"+", b"-"  # what an answer begins with
MAX_PIXELS = 2 << 20  # of a frame; larger ones keep the cores busy without Python
NUM_PROCESSES = max(1, min(NUM_CORES // 2, 5))  # others encode; three on four cores are no faster than two
START_BATCHES = 75  # drawn without processes, after which they are started: that takes 1.5 s of a core's time each
FIRST_BATCHES = 2  # of a film, which threads draw: the segments of a live stream have no more
WAIT_SECONDS = 20  # for a batch, on a busy machine
MAX_FAILURES = 3 * NUM_PROCESSES  # processes that ended by themselves, after which none is started


class DrawingLease:
    """Draws batches of one film in the processes that are free; may be used by several threads."""

    def __init__(self, prepared: Any, memory: FrameMemory) -> None:
        """``prepared`` is the film's ``PreparedPortrait``, on the host; ``memory`` is that of its frames."""
        self._prepared = prepared
        self._memory = memory
        self._waiting: list[_DrawingProcess] = []  # have the portrait, and nothing to draw
        self._num_batches = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def draw(self, face: PosedFace) -> np.ndarray | None:
        """(B, H, W, 3) uint8 RGB frames of a batch.

        None where all processes are at work or not started, or the process has ended or could not draw it.
        """
        self._num_batches += 1
        if self._num_batches <= FIRST_BATCHES or (process := self._take()) is None:
            return None
        try:
            frames = self._memory.take((len(face), *self._prepared.canvas.still.shape))
            return frames if process.draw(face, frames) else None
        except (OSError, EOFError):  # it has ended
            return None
        finally:
            self._release(process)

    def close(self) -> None:
        """Returns the processes, which forget the portrait; one that draws, as soon as that is done."""
        with self._lock:
            self._is_closed = True
        while (process := self._next_waiting()) is not None:
            _pool.value.give_back(process)

    def _take(self) -> "_DrawingProcess | None":
        if (process := self._next_waiting()) is not None:
            return process
        process = None if self._is_closed else _pool.value.take()
        if process is None:
            return None
        try:
            process.show(self._prepared)
        except OSError:  # it has ended
            _pool.value.give_back(process)
            return None
        return process

    def _next_waiting(self) -> "_DrawingProcess | None":
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def _release(self, process: "_DrawingProcess") -> None:
        with self._lock:
            if not self._is_closed and not process.has_ended:
                self._waiting.append(process)
                return
        _pool.value.give_back(process)


def warm_up() -> None:
    """Starts the processes that are missing, for films to come; returns when they are ready, or failed to start."""
    _pool.value.warm_up()


class _DrawingProcess:
    """A process; see ``drawing_worker``."""

    def __init__(self) -> None:
        self._is_killed = False
        self._is_loaded = threading.Event()  # or has ended before
        self._process = start(
            worker_command("space_core.generator.mesh_warp.drawing_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Of torch's and BLAS's threads; the process draws with one.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(BufferedReader, self._process.stdout)
        for pipe in (self._requests, self._answers):
            enlarge_pipe(pipe.fileno())
        self._watchdog = Watchdog(self._process)
        threading.Thread(target=self._await_readiness, name="drawing-process", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None or self._is_killed

    @property
    def is_ready(self) -> bool:
        return self._is_loaded.is_set() and not self.has_ended

    def wait(self) -> None:
        """Until it is ready or has ended."""
        self._is_loaded.wait(WAIT_SECONDS)

    def show(self, prepared: Any) -> None:
        """Sends a portrait, or None to forget it.

        Raises:
            OSError: the process has ended.
        """
        with self._exchange():
            self._send(prepared)

    def draw(self, face: PosedFace, frames: np.ndarray) -> bool:
        """Draws into ``frames`` (B, H, W, 3) uint8, contiguous.

        Returns:
            Whether it could be drawn.

        Raises:
            OSError, EOFError: the process has ended.
        """
        with self._exchange():
            self._send(face)
            status = self._answers.read(1)
            if not status or (status == DONE and self._answers.readinto(frames.data) < frames.nbytes):
                raise EOFError
            return status == DONE

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._watchdog.close()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # a request that it did not read
                pipe.close()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Of a request and its answer: ends the process where that takes too long or is broken off."""
        if self.has_ended:  # its pipes may be closed, as films may be given up after the processes at exit
            raise BrokenPipeError
        try:
            with self._watchdog.limit(WAIT_SECONDS):
                yield
        except BaseException:
            self._is_killed = True
            self._process.kill()
            raise

    def _send(self, request: Any) -> None:
        pickle.dump(request, self._requests, pickle.HIGHEST_PROTOCOL)
        self._requests.flush()

    def _await_readiness(self) -> None:
        with suppress(ValueError):  # closed meanwhile
            self._answers.read(1)
        self._is_loaded.set()


class _Pool:
    """The processes of all films, each of which one film uses at a time."""

    def __init__(self) -> None:
        self._free: list[_DrawingProcess] = []
        self._taken: set[_DrawingProcess] = set()
        self._num_batches = 0  # that were drawn while none was free
        self._num_failures = 0
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        with self._lock:
            self._start()
            processes = list(self._free)
        for process in processes:
            process.wait()

    def take(self) -> _DrawingProcess | None:
        """A process for the next batch of a film, if there is one that is free."""
        with self._lock:
            for process in self._free:
                if process.is_ready:
                    self._free.remove(process)
                    self._taken.add(process)
                    return process
            self._num_batches += 1
            if self._num_batches > START_BATCHES:
                self._start()
            return None

    def give_back(self, process: _DrawingProcess) -> None:
        with suppress(OSError):  # it has ended; another is started when it is needed
            process.show(None)
        with self._lock:
            self._taken.remove(process)
            self._free.append(process)

    def close(self) -> None:
        with self._lock:
            for process in (*self._free, *self._taken):
                process.close()
            self._free.clear()

    def _start(self) -> None:
        for process in [process for process in self._free if process.has_ended]:
            process.close()
            self._free.remove(process)
            self._num_failures += 1
        with suppress(OSError, ServerFault):  # films are drawn without it
            while len(self._free) + len(self._taken) < NUM_PROCESSES and self._num_failures < MAX_FAILURES:
                self._free.append(_DrawingProcess())


_pool = PerProcess(_Pool)
