"""A visitor's request for a video, from what was asked for to what was made."""

import queue
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from space_core.errors import ServerFault, SpaceError
from space_core.options import AnimationOptions
from space_core.progress import Progress
from space_core.timing import FPS, duration
from space_core.web.metrics import Metrics

SHOWN_EVERY = 0.2  # seconds between two steps that are shown
REPEATED_EVERY = 0.5  # seconds after which the latest step is reported again
END_SECONDS = 5.0  # for a thread to notice that its job has ended
LONGEST_CHUNK = 16.0  # seconds of one of the chunks in which a text is spoken
FRAME_STAGES = ("pose video", "landmarks", "frames")  # whose steps are frames


@dataclass(frozen=True)
class SpeechSource:
    """The path of a recording or of a video with sound, or a text to be spoken."""

    recording: str | None = None
    text: str = ""


@dataclass(frozen=True)
class JobRequest:
    """What a visitor asks for: one setting for an animation, two to four for a comparison."""

    photo: str
    speech: SpeechSource
    settings: tuple[AnimationOptions, ...]
    intermediate_results: bool = False  # the landmark video and the motion file, too


@dataclass(frozen=True)
class Step:
    """Progress: ``done`` of ``total`` steps of a stage, seconds left (None: can't be estimated yet)."""

    stage: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Stream:
    """A film that is being drawn: a fragmented MP4 that grows, and its length in seconds."""

    video: Path
    seconds: float


@dataclass(frozen=True)
class Film:
    """What was made. The files are there until the iterator that gave them goes on.

    Attributes:
        video: an MP4 with sound.
        landmark_video: landmarks and result side by side, another MP4; None if it was not asked for.
        motion_file: an .npz; None if it was not asked for.
        num_frames: of the video.
        num_faces: how many faces the photo shows.
        notes: sentences for the visitor, see ``Animation``.
        seconds: that it took.
    """

    video: Path
    landmark_video: Path | None
    motion_file: Path | None
    num_frames: int
    num_faces: int
    notes: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class Job:
    """A request that is being carried out, until ``cancelled`` says why not any more: "stopped", "left", "restarting".

    ``number`` names it in the log.
    """

    cancelled: str = ""
    number: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True)
class TimeLimit:
    """How long a job may take, in seconds: the same for every job, and so much more for each second of speech."""

    seconds: float = 120.0
    per_speech_second: float = 20.0

    def of(self, speech_seconds: float) -> float:
        """The limit of a job with so many seconds of speech, of all its settings together."""
        return self.seconds + self.per_speech_second * speech_seconds


class JobCancelled(Exception):  # noqa: N818 – not an error
    """Raised in the thread at work, by its progress callback: nobody waits for the result any more."""


Report = Step | Stream | Film
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
            the motion is planned, so that whoever plays it is ready for the first frame.
        limit: of the time; the length of the speech is known from the progress.
        on_stuck: called with a thread that does not end in spite of all that, and is left alone.

    Raises:
        ServerFault: the time is over ("timeout").
        SpaceError: a slow generator would take longer.
        Exception: whatever ``work`` raises.
    """
    reports: queue.SimpleQueue[Report | BaseException] = queue.SimpleQueue()
    closed, begun = threading.Event(), time.monotonic()
    latest, speech_seconds, is_announced = Step("portrait", 0, 1), 0.0, False
    # A thread that is stuck may write there later.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)

        def progress(stage: str, done: int, total: int) -> None:
            if closed.is_set():
                raise JobCancelled
            nonlocal is_announced
            if stage in ("landmarks", "frames") and not is_announced and (folder / stream).exists():
                is_announced = True
                reports.put(Stream(folder / stream, total / FPS))
            reports.put(Step(stage, done, total))

        def run() -> None:
            try:
                reports.put(work(request, folder, progress))
            except JobCancelled:
                pass  # nobody reads the reports; the exception in them would keep the film's arrays in memory
            except BaseException as failure:
                reports.put(failure)

        thread = threading.Thread(target=run, name="film", daemon=True)
        thread.start()
        try:
            while True:
                if time.monotonic() > begun + limit.of(speech_seconds * len(request.settings)):
                    raise _too_late()
                report = _next_report(reports, latest)
                if isinstance(report, BaseException):
                    try:
                        raise report
                    finally:
                        del report  # or the exception and this frame would keep each other in memory
                if isinstance(report, Step):
                    if report.stage == "learning":  # done once, for all jobs
                        begun = time.monotonic()
                    if report.stage == "estimate" and report.total > limit.of(speech_seconds * len(request.settings)):
                        raise _would_be_too_late(report.total)
                    latest = report
                    speech_seconds = max(speech_seconds, _speech_seconds(report))
                yield report
                if isinstance(report, Film):
                    return
        finally:
            closed.set()
            if not _end(thread, folder):
                on_stuck(thread)


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


def _next_report(reports: "queue.SimpleQueue[Report | BaseException]", latest: Step) -> Report | BaseException:
    """The next report; where none comes, the latest step again, so that whoever iterates can end the work."""
    try:
        return reports.get(timeout=REPEATED_EVERY)
    except queue.Empty:
        return latest


def _too_late() -> ServerFault:
    return ServerFault("That took longer than is allowed, and was ended. Give a shorter speech.", "timeout")


def _would_be_too_late(seconds: float) -> SpaceError:
    return SpaceError(
        f"This generator would take {duration(seconds)} here, longer than is allowed. Give a shorter speech, or take "
        "the mesh warp."
    )


def _speech_seconds(step: Step) -> float:
    """How long the speech is as far as a step shows it."""
    if step.stage == "voice":
        return step.total * LONGEST_CHUNK
    return step.total / FPS if step.stage in FRAME_STAGES else 0.0


def _end(thread: threading.Thread, folder: Path) -> bool:
    """Waits for a thread to end, in the last resort by killing the programs that write to its folder."""
    thread.join(END_SECONDS)
    if thread.is_alive():
        for program in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if any(str(folder) in argument for argument in program.cmdline()):
                    program.kill()
        thread.join(END_SECONDS)
    return not thread.is_alive()


class ProgressClock:
    """Measures how long the stages of a film take, and estimates how long the rest of it will."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stage, self._since, self._shown = "", time.monotonic(), 0.0

    def is_due(self, step: Step) -> bool:
        """Whether a step is to be shown: the first of a stage, the last, and a few a second between them."""
        now = time.monotonic()
        if step.stage != self._stage:
            self.end_stage()
            self._stage, self._since, self._shown = step.stage, now, 0.0
        if now - self._shown < SHOWN_EVERY and step.done < step.total:
            return False
        self._shown = now
        return True

    def end_stage(self) -> None:
        """Adds the time of the current stage to the metrics."""
        if self._stage:
            self._metrics.observe_stage(self._stage, time.monotonic() - self._since)

    def seconds_left(self, step: Step) -> float | None:
        """Until the film is made; None before enough of its frames are rendered."""
        elapsed = time.monotonic() - self._since
        if step.stage != "frames" or step.done < 10 or elapsed < 0.5:
            return None
        return elapsed / step.done * (step.total - step.done)
