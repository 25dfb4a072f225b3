"""A live stream that is drawn by a replica."""

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from space_core.cluster.messages import NO_PICTURE, Failure, LiveRequest, Ready
from space_core.errors import MACHINE_LOST, ServerFault
from space_core.live.control import LiveControl
from space_core.live.frames import LiveFrame
from space_core.progress import Progress, run_with_progress
from space_core.timing import SAMPLES_PER_FRAME

MAX_UNREAD = 50  # frames that are sent and not yet read: one second, besides those that are being planned and drawn
WAIT_SECONDS = 0.02  # between looks at whether frames were read


class RemoteStream:
    """An iterator of ``LiveFrame``; takes the place of ``LiveStream``, see there."""

    def __init__(
        self,
        handle: Any,
        request: LiveRequest,
        chunks: Iterator[np.ndarray],
        control: LiveControl,
        progress: Progress,
        work: ExitStack,
    ) -> None:
        """Waits until a replica is free and has prepared the portrait.

        Args:
            handle: of the replicas, a ``ray.serve.handle.DeploymentHandle``.
            request: what is drawn.
            chunks, control: see ``SpacePipeline.stream``.
            progress: called now and then while the replica is waited for, also for frames.
            work: closed when the stream is.

        Raises:
            SpaceError: see ``SpacePipeline.stream``.
            ServerFault: the replica was lost.
        """
        from ray.util.queue import Queue

        self._over = threading.Event()
        self._num_read = 0  # frames
        self._picture = NO_PICTURE  # the latest that was drawn
        self._progress = progress
        self._work = work
        try:
            self._sound = Queue(actor_options={"num_cpus": 0})
            work.callback(self._sound.shutdown, force=True)
            response = handle.options(stream=True).talk.remote(request, self._sound)
            work.callback(response.cancel)
            self._events = iter(response)
            ready = self._next()
        except BaseException:
            self.close()
            raise
        assert isinstance(ready, Ready)
        threading.Thread(target=self._send, args=(chunks, control), name="sound", daemon=True).start()

    def close(self) -> None:
        """Ends the stream; the sound is read no further than to its next chunk."""
        self._over.set()
        self._work.close()

    def __iter__(self) -> "RemoteStream":
        return self

    def __next__(self) -> LiveFrame:
        frame = self._next()
        if frame is None:
            raise StopIteration
        self._num_read += 1
        if not frame.is_skipped:
            self._picture = frame.picture
        return replace(frame, picture=self._picture)

    def _next(self) -> Any:
        """The next event but failures, which are raised; None after the last one."""
        from ray.exceptions import RayError

        try:
            event = run_with_progress(lambda: next(self._events, None), lambda: self._progress("live", 0, 1))
        except RayError as failure:
            raise ServerFault(MACHINE_LOST, "machine_lost") from failure
        if isinstance(event, Failure):
            raise event.error()
        return event

    def _send(self, chunks: Iterator[np.ndarray], control: LiveControl) -> None:
        """Sends the sound as it comes, each chunk with the options of its moment; in a thread of its own."""
        from ray.exceptions import RayError

        num_samples = 0
        with suppress(RayError):  # the stream has ended
            try:
                for chunk in chunks:
                    while num_samples > (self._num_read + MAX_UNREAD) * SAMPLES_PER_FRAME:
                        if self._over.wait(WAIT_SECONDS):
                            return
                    if self._over.is_set():
                        return
                    self._sound.put((chunk, control.options))
                    num_samples += len(chunk)
            finally:
                if isinstance(chunks, Generator):
                    chunks.close()
                self._sound.put(None)
