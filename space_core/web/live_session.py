"""A live session: sound comes over a WebSocket as it is spoken, pictures and sound go back as they are drawn."""

import asyncio
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from space_core.errors import ServerFault, SpaceError
from space_core.live.control import LiveControl
from space_core.live.frames import LiveFrame
from space_core.live.gaps import fill_gaps
from space_core.motion.live.options import CHANGEABLE_OPTIONS
from space_core.options import AnimationOptions
from space_core.progress import Progress
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from space_core.web.error_handlers import RESTARTING
from space_core.web.job_threads import END_SECONDS
from space_core.web.jobs import Job, JobCancelled
from space_core.web.live_messages import (
    NO_BEGINNING,
    NO_CONTROL,
    pack_frame,
    parse_beginning,
    parse_message,
    parse_sound,
)
from space_core.web.logs import log_event
from space_core.web.service import AnimationService
from space_core.web.settings import Settings

IDLE_SECONDS = 20.0  # without a message, after which a session ends that is ready for sound
MESSAGES_PER_SECOND = 100  # on average
AHEAD_SECONDS = 2.0  # of sound that may come earlier than it can have been spoken
BEHIND_SECONDS = 4.0  # of sound that may wait to be drawn
SKIP_AFTER = 0.2  # seconds by which drawing may be late before pictures are skipped
UNSENT_FRAMES = 25  # that wait for the visitor's connection, before the drawing waits, too
SEND_SECONDS = 10.0  # in which the connection must take a frame

REFUSED, FAULT, RESTART, ENDED = 1008, 1011, 1012, 1000  # close codes of RFC 6455

TOO_FAST = "Messages come faster than sound can be spoken. Send it as it is recorded, at most 100 times a second."
TOO_SLOW = "This server can't draw live at the moment, not even few pictures. Try again later, or make a video."
SLOW_CONNECTION = "Your connection is too slow for the pictures."
IDLE = f"Nothing has come for {IDLE_SECONDS:g} seconds, so the session was ended."


class LiveFrames(Protocol):
    """What is drawn, frame by frame; see ``LiveStream``."""

    def __iter__(self) -> Iterator[LiveFrame]: ...

    def close(self) -> None: ...


class LivePipeline(Protocol):
    """What draws: ``SpacePipeline``, or ``space_core.cluster.serving.RemotePipeline``."""

    def stream(
        self,
        photo: Path,
        chunks: Iterator[np.ndarray],
        *,
        control: LiveControl,
        skip_after: float,
        progress: Progress,
    ) -> LiveFrames: ...


class LiveSession:
    """A session on one connection; "Talk live" in ``docs/live.md`` describes its messages."""

    def __init__(
        self, socket: WebSocket, pipeline: LivePipeline, service: AnimationService, settings: Settings
    ) -> None:
        self._socket = socket
        self._pipeline = pipeline
        self._service = service
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._sound: queue.Queue[np.ndarray | None] = queue.Queue()  # None at its end
        self._waiting: deque[np.ndarray] = deque()  # the chunks in it
        self._said: deque[tuple[int, int]] = deque([(0, 0)])  # samples of the stream, and of them the visitor's
        self._answers: asyncio.Queue[bytes | dict[str, Any] | Exception | None] = asyncio.Queue()  # None at their end
        self._room = threading.Semaphore(UNSENT_FRAMES)
        self._is_heard = threading.Event()  # nothing reads the sound any more
        self._num_frames = 0  # that the stream has given
        self._num_skipped = 0  # of them
        self._num_said = 0  # samples of the visitor's
        self._idle_from = time.monotonic()  # in the future while the visitor waits for the portrait

    async def run(self) -> None:
        """Answers the connection until it ends; every end but the visitor's is explained in a sentence."""
        await self._socket.accept()
        try:
            photo, options = parse_beginning(await self._receive(NO_BEGINNING), self._settings)
            with self._service.live(self._tell_restart) as job:
                sentence = await self._talk(job, photo, options)
            await self._close("end", sentence, RESTART if sentence == RESTARTING else ENDED)
        except WebSocketDisconnect:
            return
        except SpaceError as error:
            code = RESTART if str(error) == RESTARTING else FAULT if isinstance(error, ServerFault) else REFUSED
            await self._close("error", str(error), code)

    def _tell_restart(self, seconds: float) -> None:
        sentence = f"The demo restarts in {seconds:g} seconds at the latest. This session ends then."
        self._put({"type": "restarting", "message": sentence})

    async def _talk(self, job: Job, photo: Path, options: AnimationOptions) -> str:
        """Exchanges sound and frames until one side ends the session; why the server does, or "".

        Raises:
            SpaceError: what the visitor sends or gives can't be used, or the server or the connection is too slow.
        """
        control = LiveControl(options)
        drawing = threading.Thread(target=self._draw, args=(job, photo, control), name="live", daemon=True)
        listening = asyncio.create_task(self._listen(control))
        begun = time.monotonic()
        self._idle_from = math.inf
        drawing.start()
        try:
            async with asyncio.timeout(self._settings.live_seconds):
                await self._answer()
            return RESTARTING if job.cancelled == "restarting" else ""
        except TimeoutError:
            return f"A session lasts at most {self._settings.live_seconds:g} seconds. Begin another one."
        except WebSocketDisconnect:
            return ""
        finally:
            job.cancelled = job.cancelled or "left"
            listening.cancel()
            self._sound.put(None)
            self._room.release()
            await asyncio.to_thread(drawing.join, END_SECONDS)
            if drawing.is_alive():
                self._service.abandon(drawing)
            seconds = round(time.monotonic() - begun, 2)
            numbers: dict[str, Any] = {"frames": self._num_frames, "skipped": self._num_skipped, "seconds": seconds}
            log_event("talked", endpoint="live", job=job.number, **numbers)

    async def _listen(self, control: LiveControl) -> None:
        """Passes on what the visitor sends, until they end the sound; a failure ends the answers."""
        begun, num_messages, num_samples = time.monotonic(), 0, 0
        try:
            while True:
                message = await self._receive()
                latest = time.monotonic() - begun + AHEAD_SECONDS
                num_messages += 1
                if num_messages > MESSAGES_PER_SECOND * latest:
                    raise SpaceError(TOO_FAST)
                if isinstance(message, bytes):
                    chunk = parse_sound(message)
                    num_samples += len(chunk)
                    seconds = num_samples / SAMPLE_RATE
                    if seconds > latest:
                        raise SpaceError(TOO_FAST)
                    if seconds > self._num_said / SAMPLE_RATE + BEHIND_SECONDS:
                        raise SpaceError(TOO_SLOW)
                    self._waiting.append(chunk)
                    self._sound.put(chunk)
                elif message == {"end": True}:
                    self._sound.put(None)
                    return
                else:
                    self._change(control, message)
        except Exception as failure:
            self._answers.put_nowait(failure)

    def _change(self, control: LiveControl, changes: dict[str, Any]) -> None:
        """Changes options of the session; a wrong one is answered and changes nothing."""
        try:
            if not changes or set(changes) - set(CHANGEABLE_OPTIONS):
                raise SpaceError(NO_CONTROL)
            control.update(**changes)
        except SpaceError as refusal:
            self._answers.put_nowait({"type": "refused", "message": str(refusal)})

    async def _answer(self) -> None:
        """Sends what is drawn until its end."""
        while (answer := await self._answers.get()) is not None:
            if isinstance(answer, Exception):
                raise answer
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    if isinstance(answer, bytes):
                        await self._socket.send_bytes(answer)
                        self._room.release()
                    else:
                        await self._socket.send_json(answer)
            except TimeoutError:
                raise SpaceError(SLOW_CONNECTION) from None

    def _draw(self, job: Job, photo: Path, control: LiveControl) -> None:
        """Draws; in a thread of its own."""

        def progress(stage: str, done: int, total: int) -> None:
            if job.cancelled:
                raise JobCancelled

        try:
            stream = self._pipeline.stream(
                photo, self._chunks(), control=control, skip_after=SKIP_AFTER, progress=progress
            )
            with closing(stream) as frames:
                self._idle_from = time.monotonic()
                self._put({"type": "ready", "frames_per_second": FPS, "samples_per_second": SAMPLE_RATE})
                for frame in frames:
                    self._room.acquire()
                    if job.cancelled:
                        break
                    self._num_frames = frame.index + 1
                    self._num_skipped += frame.is_skipped
                    self._service.metrics.count_live_frame(frame.is_skipped)
                    self._num_said = self._said_at(SAMPLES_PER_FRAME * self._num_frames)
                    self._put(pack_frame(frame, self._num_said))
            self._is_heard.wait(END_SECONDS)  # until all threads of the stream have ended
            self._put(None)
        except JobCancelled:
            self._put(None)
        except Exception as failure:
            self._put(failure)

    def _chunks(self) -> Iterator[np.ndarray]:
        """The sound as it comes, with silence in the gaps."""
        try:
            for chunk in fill_gaps(self._sound):
                num_samples, num_said = self._said[-1]
                if self._waiting and chunk is self._waiting[0]:
                    self._waiting.popleft()
                    num_said += len(chunk)
                self._said.append((num_samples + len(chunk), num_said))
                yield chunk
        finally:
            self._is_heard.set()

    def _said_at(self, num_samples: int) -> int:
        """How many samples of the visitor's are within so many of the stream."""
        while len(self._said) > 1 and self._said[1][0] <= num_samples:
            self._said.popleft()
        first, num_said = self._said[0]
        is_partly_said = len(self._said) > 1 and self._said[1][1] > num_said
        return num_said + is_partly_said * (num_samples - first)

    def _put(self, answer: bytes | dict[str, Any] | Exception | None) -> None:
        with suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._answers.put_nowait, answer)

    async def _receive(self, advice: str = NO_CONTROL) -> bytes | dict[str, Any]:
        """The visitor's next message: sound, or JSON.

        Raises:
            SpaceError: see ``parse_message``; or it does not come.
            WebSocketDisconnect: the visitor has left.
        """
        message = None
        while message is None:
            try:
                message = await asyncio.wait_for(self._socket.receive(), IDLE_SECONDS)
            except TimeoutError:
                if time.monotonic() >= self._idle_from + IDLE_SECONDS:
                    raise SpaceError(IDLE) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", ENDED))
        return parse_message(message.get("text"), message.get("bytes"), advice)

    async def _close(self, kind: str, sentence: str, code: int) -> None:
        """Says why the session ends, and ends it."""
        with suppress(WebSocketDisconnect, RuntimeError):  # the visitor has left
            await self._socket.send_json({"type": kind, "message": sentence})
            await self._socket.close(code)
