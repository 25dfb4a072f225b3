"""Jobs in threads of their own, with a limit of time: the caller can give one up at any moment."""

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from space_core.errors import ServerFault, SpaceError
from space_core.progress import Progress
from space_core.timing import FPS, duration
from space_core.web.jobs import Film, JobCancelled, JobRequest, Report, Step, Stream, TimeLimit

REPEATED_EVERY = 0.5  # seconds after which the latest step is reported again
END_SECONDS = 5.0  # for a thread to notice that its job has ended
LONGEST_CHUNK = 16.0  # seconds of one of the chunks in which a text is spoken
FRAME_STAGES = ("pose video", "landmarks", "frames")  # whose steps are frames

# Makes a film in a folder and reports progress.
Work = Callable[[JobRequest, Path, Progress], Film]
OnStuck = Callable[[threading.Thread], None]
Result = TypeVar("Result")


def iterate_in_thread(
    work: Work, request: JobRequest, stream: str, limit: TimeLimit, on_stuck: OnStuck
) -> Generator[Report, None, None]:
    """Yields the progress of work in a thread of its own, and its film at last.

    When the iterator is closed or the time is over, the thread's next progress call raises ``JobCancelled``. A thread
    that makes none gets its programs killed: ffmpeg that no longer reads. The folder in which it worked is removed.

    Args:
        work: called in the thread, with the request, a temporary folder and the progress callback.
        request: see ``JobRequest``.
        stream: the name of the file in the folder, if work writes one, that holds the film so far: it is reported when
            the motion is planned, so that players are ready for the first frame.
        limit: of the time; the length of the speech is known from the progress.
        on_stuck: called with a thread that does not end in spite of all that, and is left alone.

    Raises:
        ServerFault: the time is over ("timeout").
        SpaceError: a slow generator would take longer.
        Exception: whatever ``work`` raises.
    """
    # A thread that is stuck may write there later.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        film, deadline = _FilmThread(work, request, Path(folder), stream), _Deadline(limit, len(request.settings))
        try:
            while True:
                deadline.check()
                report = film.next_report()
                if isinstance(report, Step):
                    deadline.follow(report)
                yield report
                if isinstance(report, Film):
                    return
        finally:
            if not film.end():
                on_stuck(film.thread)


def call_in_thread(work: Callable[[], Result], seconds: float, on_stuck: OnStuck) -> Result:
    """The result of work that takes at most so many seconds; ``on_stuck`` as for ``iterate_in_thread``.

    Raises:
        ServerFault: the time is over ("timeout").
        Exception: whatever ``work`` raises.
    """
    future: Future[Result] = Future()
    thread = threading.Thread(target=_run_into, args=(future, work), name="job", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        on_stuck(thread)
        raise _too_late()
    try:
        return future.result()
    finally:
        del future  # its exception and this frame would keep each other in memory


def _run_into(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as failure:
        future.set_exception(failure)


class _FilmThread:
    """A thread that makes a film, and what it has reported so far."""

    def __init__(self, work: Work, request: JobRequest, folder: Path, stream: str) -> None:
        """Starts it; see ``iterate_in_thread``."""
        self._work, self._request, self._folder, self._stream = work, request, folder, folder / stream
        self._reports: queue.SimpleQueue[Report | BaseException] = queue.SimpleQueue()
        self._latest = Step("portrait", 0, 1)
        self._is_stream_reported = False
        self._closed = threading.Event()
        self.thread = threading.Thread(target=self._run, name="film", daemon=True)
        self.thread.start()

    def next_report(self) -> Report:
        """The next report; where none comes, the latest step again, so that the caller can end the work.

        Raises:
            Exception: what the work raised.
        """
        try:
            report = self._reports.get(timeout=REPEATED_EVERY)
        except queue.Empty:
            return self._latest
        if isinstance(report, BaseException):
            try:
                raise report
            finally:
                del report  # or the exception and this frame would keep each other in memory
        if isinstance(report, Step):
            self._latest = report
        return report

    def end(self) -> bool:
        """Cancels the work and waits for the thread to end, in the last resort by killing the programs that write to
        its folder; whether it has ended."""
        self._closed.set()
        self.thread.join(END_SECONDS)
        if self.thread.is_alive():
            for program in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if any(str(self._folder) in argument for argument in program.cmdline()):
                        program.kill()
            self.thread.join(END_SECONDS)
        return not self.thread.is_alive()

    def _run(self) -> None:
        try:
            self._reports.put(self._work(self._request, self._folder, self._progress))
        except JobCancelled:
            pass  # the reports are no longer read; the exception in them would keep the film's arrays in memory
        except BaseException as failure:
            self._reports.put(failure)

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._closed.is_set():
            raise JobCancelled
        if stage in ("landmarks", "frames") and not self._is_stream_reported and self._stream.exists():
            self._is_stream_reported = True
            self._reports.put(Stream(self._stream, total / FPS))
        self._reports.put(Step(stage, done, total))


class _Deadline:
    """Until when a film has to be made; it is the later, the longer the speech is found to be."""

    def __init__(self, limit: TimeLimit, num_settings: int) -> None:
        self._limit, self._num_settings = limit, num_settings
        self._begun, self._speech_seconds = time.monotonic(), 0.0

    def check(self) -> None:
        """Raises ``ServerFault`` once the time is over."""
        if time.monotonic() > self._begun + self._seconds:
            raise _too_late()

    def follow(self, step: Step) -> None:
        """Takes what a step shows into account.

        Raises:
            SpaceError: a slow generator would take longer.
        """
        if step.stage == "learning":  # done once, for all jobs
            self._begun = time.monotonic()
        if step.stage == "estimate" and step.total > self._seconds:
            raise SpaceError(
                f"This generator would take {duration(step.total)} here, longer than is allowed. Give a shorter "
                "speech, or take the mesh warp."
            )
        self._speech_seconds = max(self._speech_seconds, _speech_seconds(step))

    @property
    def _seconds(self) -> float:
        return self._limit.of(self._speech_seconds * self._num_settings)


def _speech_seconds(step: Step) -> float:
    """How long the speech is as far as a step shows it."""
    if step.stage == "voice":
        return step.total * LONGEST_CHUNK
    return step.total / FPS if step.stage in FRAME_STAGES else 0.0


def _too_late() -> ServerFault:
    return ServerFault("That took longer than is allowed, and was ended. Give a shorter speech.", "timeout")
