"""A resident pipeline on a machine of a Ray cluster."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from space_core.cluster.messages import (
    NO_PICTURE,
    Chunk,
    Event,
    Failure,
    FilmRequest,
    FilmResult,
    LiveRequest,
    Ready,
    Step,
)
from space_core.errors import ServerFault, SpaceError
from space_core.fault_reasons import fault_reason
from space_core.live.control import LiveControl
from space_core.media.files import temporary_folder
from space_core.output import Outputs
from space_core.pipeline import SpacePipeline
from space_core.processes.configuration import configure_process

CHUNK_BYTES = 1 << 20
END_SECONDS = 10.0  # for a cancelled film to end on its replica


Report = Callable[[Event], None]


class Cancelled(Exception):  # noqa: N818 – not an error
    """Raised in the thread of a film or a stream for which the caller no longer waits."""


class PipelineReplica:
    """A pipeline that stays loaded and makes one film, or draws one live stream, at a time."""

    def __init__(self, device: str, cache_bytes: int) -> None:
        configure_process()
        self._pipeline = SpacePipeline(device, cache_bytes=cache_bytes)

    async def render(self, request: FilmRequest) -> AsyncIterator[Event]:
        """Yields the progress of a film, its files in parts, and its end; the work ends when the iterator is closed."""
        with temporary_folder() as folder:
            async with aclosing(_events_of(partial(self._film, request, folder))) as events:
                async for event in events:
                    if isinstance(event, FilmResult):
                        for name in request.outputs:
                            if name != "stream":
                                for chunk in _chunks(name, _output(folder, name)):
                                    yield chunk
                    yield event

    async def talk(self, request: LiveRequest, sound: Any) -> AsyncIterator[Event]:
        """Yields ``Ready``, the frames of a live stream, and a failure if it ends in one; see ``render``.

        Args:
            request: what is drawn.
            sound: a ``ray.util.queue.Queue`` of chunks, each with the options (``AnimationOptions``) of its moment;
                None ends it. Pictures that were skipped are sent as empty ones.
        """
        with temporary_folder() as folder:
            async with aclosing(_events_of(partial(self._stream, request, folder, sound))) as events:
                async for event in events:
                    yield event

    def forget_portraits(self, older_than_seconds: float) -> None:
        """See ``SpacePipeline.forget_portraits``."""
        self._pipeline.forget_portraits(older_than_seconds)

    def _film(self, request: FilmRequest, folder: Path, report: Report) -> FilmResult:
        sent = 0  # bytes of the stream

        def send_stream() -> None:
            nonlocal sent
            if "stream" in request.outputs:
                with _output(folder, "stream").open("rb") as file:
                    file.seek(sent)
                    while content := file.read(CHUNK_BYTES):
                        report(Chunk("stream", content, False))
                        sent += len(content)

        def progress(stage: str, done: int, total: int) -> None:
            if stage == "frames":
                send_stream()
            report(Step(stage, done, total))

        photo, speech = request.photo.write(folder / "photo"), request.speech.write(folder / "speech")
        settings = [
            setting if video is None else replace(setting, pose_video=video.write(folder / f"pose{number}"))
            for number, (setting, video) in enumerate(zip(request.settings, request.pose_videos, strict=True))
        ]
        files: dict[str, Any] = {name: _output(folder, name) for name in request.outputs if name != "stream"}
        is_streamed = "stream" in request.outputs
        made: Any
        with _output(folder, "stream").open("wb") if is_streamed else nullcontext() as stream:
            outputs = Outputs(**files, stream=stream)
            if len(settings) > 1:
                made = self._pipeline.compare_to_file(photo, speech, settings, outputs, progress=progress)
            else:
                made = self._pipeline.animate_to_file(photo, speech, outputs, settings[0], progress)
        send_stream()
        return FilmResult(made.num_frames, made.num_faces, made.notes)

    def _stream(self, request: LiveRequest, folder: Path, sound: Any, report: Report) -> None:
        control = LiveControl(request.options)

        def chunks() -> Iterator[np.ndarray]:
            while (given := sound.get()) is not None:
                chunk, options = given
                before, now = vars(control.options), vars(options)
                control.update(**{name: value for name, value in now.items() if value != before[name]})
                yield chunk

        photo = request.photo.write(folder / "photo")
        with self._pipeline.stream(photo, chunks(), control=control, skip_after=request.skip_after) as frames:
            report(Ready())
            for frame in frames:
                report(replace(frame, picture=NO_PICTURE) if frame.is_skipped else frame)


async def _events_of(work: Callable[[Report], Event | None]) -> AsyncGenerator[Event, None]:
    """Runs work in a thread of its own; yields what it reports, and at the end what it returns, or its failure.

    When the iterator is closed, the next report in the thread raises ``Cancelled``.
    """
    loop, events = asyncio.get_running_loop(), asyncio.Queue[Event | None]()
    closed = threading.Event()

    def put(event: Event | None) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    def report(event: Event) -> None:
        if closed.is_set():
            raise Cancelled
        put(event)

    def run() -> None:
        last: Event | None = None
        try:
            last = work(report)
        except Cancelled:
            return
        except Exception as failure:
            last = _failure(failure)
        if last is not None:
            put(last)
        put(None)

    thread = threading.Thread(target=run, name="film", daemon=True)
    thread.start()
    try:
        while (event := await events.get()) is not None:
            yield event
    finally:
        closed.set()
        await asyncio.to_thread(thread.join, END_SECONDS)


def _failure(failure: Exception) -> Failure:
    if isinstance(failure, SpaceError):
        return Failure(str(failure), failure.reason if isinstance(failure, ServerFault) else None)
    logging.getLogger("ray.serve").error("a film failed", exc_info=failure)
    return Failure(f"{type(failure).__name__} on a replica.", fault_reason(failure))


def _output(folder: Path, name: str) -> Path:
    return folder / f"{name}{'.npz' if name == 'motion_file' else '.mp4'}"


def _chunks(output: str, path: Path) -> Iterator[Chunk]:
    with path.open("rb") as file:
        content = file.read(CHUNK_BYTES)
        while content:
            following = file.read(CHUNK_BYTES)
            yield Chunk(output, content, not following)
            content = following
