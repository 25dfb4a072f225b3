"""Processes that decode photos, with limits of time and memory; one is always ready, as starting one takes 0.2 s."""

import json
import os
import subprocess
import threading
from contextlib import closing, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np

from space_core.errors import ServerFault, SpaceError
from space_core.media.files import shown_name
from space_core.processes import children
from space_core.processes.children import KILLED, OUT_OF_TIME, Watchdog
from space_core.processes.memory import out_of_memory
from space_core.processes.worker import worker_command

CPU_SECONDS = 1.8  # for a photo; the slowest that are accepted take 1.3
WAIT_SECONDS = 30  # for an answer, on a busy machine
MEMORY_BYTES = 2 << 30  # of address space; 64 megapixels take 1 GB
MAX_WORKERS = 3  # that decode at the same time; further photos wait
MAX_PHOTOS = 50  # that one process decodes
SLOW_PHOTO = -27  # exit status after SIGPROF, see ``decoding_worker``


def decode(path: Path, max_side: int) -> tuple[np.ndarray, float]:
    """``image_decoding.decode_file`` in another process.

    Raises:
        SpaceError: see there; or decoding takes too long, or crashes.
        ServerFault: there is not enough memory, or the machine is too busy.
    """
    return _pool.value.decode(path, max_side)


def warm_up() -> None:
    """Starts a process, if there is none, for the next photo; returns at once."""
    _pool.value.warm_up()


class _Worker:
    """One process; see ``decoding_worker``."""

    def __init__(self) -> None:
        self.num_photos = 0
        self.process = children.start(
            worker_command("space_core.media.decoding_worker", CPU_SECONDS),
            cpu_seconds=MAX_PHOTOS * (CPU_SECONDS + 1),
            memory_bytes=MEMORY_BYTES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each thread takes address space
        )

    def ask(self, path: Path, max_side: int) -> tuple[dict[str, Any] | None, np.ndarray | None]:
        """The answer and the pixels; None if the process has ended."""
        self.num_photos += 1
        request, answers = cast(Any, self.process.stdin), cast(BufferedReader, self.process.stdout)
        try:
            request.write(json.dumps({"path": str(path), "max_side": max_side}).encode() + b"\n")
            request.flush()
        except OSError:
            return None, None
        line = answers.readline()
        if not line.endswith(b"\n"):
            return None, None
        answer = json.loads(line)
        if "refusal" in answer:
            return answer, None
        photo = np.empty((answer["height"], answer["width"], 3), np.uint8)
        return (answer, photo) if answers.readinto(photo.data) == photo.nbytes else (None, None)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):  # a request that it did not read
                    pipe.close()


class _Pool:
    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_WORKERS)

    def warm_up(self) -> None:
        with self._lock:
            if not self._idle:
                self._idle.append(_Worker())

    def decode(self, path: Path, max_side: int) -> tuple[np.ndarray, float]:
        with self._places:
            worker = self._take()
            answer = None
            try:
                with closing(Watchdog(worker.process)) as watchdog, watchdog.limit(WAIT_SECONDS):
                    answer, photo = worker.ask(path, max_side)
            finally:
                if answer is None:
                    with suppress(subprocess.TimeoutExpired):
                        worker.process.wait(1)  # so that its own exit status is seen
                if answer is None or worker.num_photos >= MAX_PHOTOS:
                    worker.close()
                    self.warm_up()
                else:
                    with self._lock:
                        self._idle.append(worker)
        if answer is None:
            raise _failure(path, worker.process.returncode, watchdog.has_killed)
        if photo is None:
            raise SpaceError(answer["refusal"])
        return photo, float(answer["scale"])

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.close()
        return _Worker()

    def close(self) -> None:
        with self._lock:
            for worker in self._idle:
                worker.close()
            self._idle.clear()


def _failure(path: Path, status: int, is_late: bool) -> SpaceError:
    """The error for a process that ended, by its exit status, while it decoded a photo."""
    if is_late:
        return ServerFault("Reading the photo took too long, as this machine is busy. Try again later.", "timeout")
    if status in (SLOW_PHOTO, OUT_OF_TIME):
        return SpaceError(f"The photo {shown_name(path)} takes too long to read. Save it again as a JPEG.")
    if status == KILLED:  # by the system, which has no memory left
        return out_of_memory()
    if status < 0:
        return SpaceError(f"{shown_name(path)} is damaged: no image can be read from it. Save or upload it again.")
    return ServerFault("The photo could not be read, and the fault is ours. Try again.", "internal")


_pool = children.PerProcess(_Pool)
