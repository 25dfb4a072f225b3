"""A visitor's request for a video, from what was asked for to what was made."""

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from space_core.options import AnimationOptions
from space_core.progress import Progress
from space_core.web.metrics import Metrics

SHOWN_EVERY = 0.2  # seconds between two steps that are shown


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
class Opening:
    """The first seconds of a film whose rest is still being made."""

    video: Path


@dataclass(frozen=True)
class Film:
    """What was made. The files are there until the iterator that gave them goes on.

    Attributes:
        video: an MP4 with sound.
        landmark_video: landmarks and result side by side, another MP4; None if it was not asked for.
        motion_file: an .npz; None if it was not asked for.
        num_frames: of the video.
        num_faces: how many faces the photo shows.
        seconds: that it took.
    """

    video: Path
    landmark_video: Path | None
    motion_file: Path | None
    num_frames: int
    num_faces: int
    seconds: float


@dataclass(eq=False)
class Job:
    """A request that is being carried out, until ``cancelled`` says why not any more: "stopped" or "left"."""

    cancelled: str = ""


class JobCancelled(Exception):  # noqa: N818 – not an error
    """Raised in the thread at work, by its progress callback: nobody waits for the result any more."""


Report = Step | Opening | Film
# Makes a film in a folder and reports progress.
Work = Callable[[JobRequest, Path, Progress], Film]


def iterate_in_thread(work: Work, request: JobRequest, opening: str) -> Generator[Report, None, None]:
    """Yields the progress of work in a thread of its own, and its film at last.

    Closing the iterator has the thread's next progress call raise ``JobCancelled``, waits for the thread to end, and
    removes the folder in which it worked.

    Args:
        work: called in the thread, with the request, a temporary folder and the progress callback.
        request: see ``JobRequest``.
        opening: the name of the file in the folder that is complete when progress reports the stage "opening".

    Raises:
        Exception: whatever ``work`` raises.
    """
    reports: queue.SimpleQueue[Report | BaseException] = queue.SimpleQueue()
    closed = threading.Event()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def progress(stage: str, done: int, total: int) -> None:
            if closed.is_set():
                raise JobCancelled
            reports.put(Opening(folder / opening) if stage == "opening" else Step(stage, done, total))

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
            while not isinstance(report := reports.get(), Film):
                if isinstance(report, BaseException):
                    raise report
                yield report
            yield report
        finally:
            closed.set()
            thread.join()


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
