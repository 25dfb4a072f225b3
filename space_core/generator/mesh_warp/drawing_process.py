"""A second process that draws batches of frames beside this process's threads, on a CPU.

Of two threads only one runs Python at a time, and each operation that they call makes them wait for each other: on two
cores they draw 72 frames a second of 512 × 512, a thread and a second process 93, which takes 0.2 GB more.
"""

import atexit
import os
import pickle
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import IO, Any, cast

import numpy as np

from space_core.child_processes import Watchdog, enlarge_pipe, start
from space_core.errors import ServerFault
from space_core.face.posed_face import PosedFace
from space_core.generator.mesh_warp.frame_memory import FrameMemory
from space_core.worker import worker_command

DONE, FAILED = b"+", b"-"  # what an answer begins with
MAX_PIXELS = 2 << 20  # of a frame; larger ones keep the cores busy without Python
START_BATCHES = 75  # drawn without the process, after which the process is started: that takes 1.8 s of a core's time
FIRST_BATCHES = 2  # of a film, which threads draw: the segments of a live stream have no more
WAIT_SECONDS = 20  # for a batch, on a busy machine
MAX_FAILURES = 3  # processes that ended by themselves, after which none is started


class DrawingLease:
    """Draws batches of one film in the process whenever it is free; may be used by several threads."""

    def __init__(self, prepared: Any, memory: FrameMemory) -> None:
        """``prepared`` is the film's ``PreparedPortrait``, on the host; ``memory`` is that of its frames."""
        self._prepared = prepared
        self._memory = memory
        self._process: _DrawingProcess | None = None
        self._num_batches = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def draw(self, face: PosedFace) -> np.ndarray | None:
        """(B, H, W, 3) uint8 RGB frames of a batch.

        None where the process is at work, not started, has ended or could not draw it.
        """
        self._num_batches += 1
        if self._num_batches <= FIRST_BATCHES or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._process is None:
                self._process = None if self._is_closed else _holder.take()
                if self._process is None:
                    return None
                self._process.show(self._prepared)
            frames = self._memory.take((len(face), *self._prepared.canvas.still.shape))
            return frames if self._process.draw(face, frames) else None
        except (OSError, EOFError):  # it has ended
            self._give_back()
            return None
        finally:
            self._lock.release()
            if self._is_closed:
                self.close()

    def close(self) -> None:
        """Returns the process, which forgets the portrait; where a batch is drawn, as soon as that is done."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._give_back()
            finally:
                self._lock.release()

    def _give_back(self) -> None:
        if self._process is not None:
            _holder.give_back(self._process)
            self._process = None


def warm_up() -> None:
    """Starts the process, if there is none, for films to come; returns when it is ready, or failed to start."""
    _holder.warm_up()


class _DrawingProcess:
    """The process; see ``drawing_worker``."""

    def __init__(self) -> None:
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
        return self._process.poll() is not None

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
        try:
            with self._watchdog.limit(WAIT_SECONDS):
                yield
        except BaseException:
            self._process.kill()
            raise

    def _send(self, request: Any) -> None:
        pickle.dump(request, self._requests, pickle.HIGHEST_PROTOCOL)
        self._requests.flush()

    def _await_readiness(self) -> None:
        with suppress(ValueError):  # closed meanwhile
            self._answers.read(1)
        self._is_loaded.set()


class _Holder:
    """The process of all films, which one film uses at a time."""

    def __init__(self) -> None:
        self._process: _DrawingProcess | None = None
        self._is_taken = False
        self._num_batches = 0  # that were drawn without it
        self._num_failures = 0
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        with self._lock:
            self._start()
            process = self._process
        if process is not None:
            process.wait()

    def take(self) -> _DrawingProcess | None:
        """The process for the next batch of a film that has none, if it is there and free."""
        with self._lock:
            if self._is_taken:
                return None
            self._num_batches += 1
            if self._num_batches > START_BATCHES:
                self._start()
            if self._process is None or not self._process.is_ready:
                return None
            self._is_taken = True
            return self._process

    def give_back(self, process: _DrawingProcess) -> None:
        with suppress(OSError):  # it has ended; another is started when it is needed
            process.show(None)
        with self._lock:
            self._is_taken = False

    def close(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.close()
            self._process = None

    def _start(self) -> None:
        if self._process is not None and self._process.has_ended:
            self._process.close()
            self._process = None
            self._num_failures += 1
        if self._process is None and self._num_failures < MAX_FAILURES:
            with suppress(OSError, ServerFault):  # films are drawn without it
                self._process = _DrawingProcess()


_holder = _Holder()
atexit.register(lambda: _holder.close())


def _forget_process() -> None:
    """In a fork, whose parent goes on using the process."""
    global _holder
    _holder = _Holder()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_process)
