"""Where films are made for visitors: one pipeline that all of them share, and who still wants what is in the making."""

import contextlib
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from space_core.errors import SpaceError
from space_core.face.preview import FacePreview
from space_core.media.text_to_speech import write_speech
from space_core.options import AnimationOptions
from space_core.pipeline import Progress, SpacePipeline
from space_core.progress import run_with_progress
from space_core.web.logs import event, fault
from space_core.web.metrics import Metrics

OUR_FAULT = "Something went wrong on our side. Try again; if it goes wrong once more, try another photo or recording."
# A film is worth showing how far it is that often, in seconds.
SHOWN_EVERY = 0.2
OPENING = "opening.mp4"
LENT_SECONDS = 120  # for which a ZeroGPU Space lends its GPU


@dataclass(frozen=True)
class Words:
    """What is to be said: the path of a recording or of a video with sound, or a text."""

    recording: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Step:
    """How far the work is: ``done`` of ``total`` steps of a stage, seconds left (None: can't be told yet)."""

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
        inside: the look inside, another MP4; None if it was not asked for.
        landmarks: a motion file (.npz); None if it was not asked for.
        num_frames: of the video.
        num_faces: how many faces the photo shows.
        seconds: that it took.
    """

    video: Path
    inside: Path | None
    landmarks: Path | None
    num_frames: int
    num_faces: int
    seconds: float


@dataclass(frozen=True)
class _JobRequest:
    """What a visitor wants: one setting for a film, two to four for a comparison."""

    photo: str
    words: Words
    settings: tuple[AnimationOptions, ...]
    look_inside: bool = False


@dataclass(eq=False)
class _Job:
    """A film that a visitor wants, until ``given_up`` says why not any more: "stopped" or "left"."""

    given_up: str = ""


class AnimationService:
    """Makes films with one pipeline; several may be asked for at a time, the page decides how many are worked on."""

    def __init__(self, pipeline: SpacePipeline, metrics: Metrics) -> None:
        self.metrics = metrics
        self._pipeline = pipeline
        self._wishes: dict[str, list[_Job]] = {}  # by visitor, one for each film in the making
        self._lock = threading.Lock()
        self._work = _with_gpu(self._at_work)

    def health(self) -> dict[str, Any]:
        """What an operator asks first: whether the networks are loaded, and on which device."""
        return {"loaded": True, "device": str(self._pipeline.device)}

    def look(self, photo: str, options: AnimationOptions) -> FacePreview:
        """Which faces a photo shows; see ``SpacePipeline.preview``."""
        self.metrics.asked("look")
        with self._counting_failures("look"):
            return self._pipeline.preview(photo, options)

    def say(self, text: str, path: Path, max_seconds: float) -> None:
        """Writes a text, spoken, to a WAV."""
        self.metrics.asked("say")
        with self._counting_failures("say"):
            write_speech(text, path, max_seconds)

    def animate(
        self, visitor: str, photo: str, words: Words, options: AnimationOptions, *, look_inside: bool = False
    ) -> Iterator[Step | Opening | Film]:
        """Lets a photo speak.

        Args:
            visitor: whose film this is; see ``stop``.
            photo, options: see ``SpacePipeline.animate``.
            words: what is said.
            look_inside: whether the look inside and the motion file are wanted, too.

        Yields:
            Steps, perhaps an opening, and at last the film; nothing more once the visitor doesn't want it.

        Raises:
            SpaceError: an input can't be used, or we failed.
        """
        yield from self._filmed("animate", visitor, _JobRequest(photo, words, (options,), look_inside))

    def compare(
        self, visitor: str, photo: str, words: Words, settings: Sequence[AnimationOptions]
    ) -> Iterator[Step | Film]:
        """Lets a photo speak with two to four settings, in one grid; see ``animate`` and ``SpacePipeline.compare``."""
        yield from self._filmed("compare", visitor, _JobRequest(photo, words, tuple(settings)))

    def stop(self, visitor: str) -> None:
        """Gives up what is in the making for a visitor, within a second."""
        self._give_up(visitor, "stopped")

    def leave(self, visitor: str) -> None:
        """The same for a visitor who went away."""
        self._give_up(visitor, "left")

    def _give_up(self, visitor: str, reason: str) -> None:
        with self._lock:
            for wish in self._wishes.get(visitor, ()):
                wish.given_up = wish.given_up or reason

    def _filmed(self, endpoint: str, visitor: str, order: _JobRequest) -> Iterator[Step | Opening | Film]:
        """What is told of a film while it is made and when it is done."""
        self.metrics.asked(endpoint)
        clock = _Clock(self.metrics)
        with (
            self._counting_failures(endpoint),
            self._wanted_by(visitor) as wish,
            contextlib.closing(self._work(order)) as work,
        ):
            for told in work:
                if wish.given_up:
                    self.metrics.failed(endpoint, wish.given_up)
                    event(wish.given_up, endpoint=endpoint)
                    return
                if isinstance(told, Film):
                    clock.done()
                    self.metrics.filmed(told.num_frames, told.seconds)
                    event("filmed", endpoint=endpoint, frames=told.num_frames, seconds=round(told.seconds, 2))
                if not isinstance(told, Step):
                    yield told
                elif clock.passes(told):
                    yield replace(told, seconds_left=clock.seconds_left(told))

    def _at_work(self, order: _JobRequest) -> Generator[Step | Opening | Film, None, None]:
        """Carries an order out in a thread and tells of it; closing the iterator ends the thread."""
        told: queue.SimpleQueue = queue.SimpleQueue()
        given_up = threading.Event()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            def progress(stage: str, done: int, total: int) -> None:
                if given_up.is_set():
                    raise _Cancelled
                told.put(Opening(folder / OPENING) if stage == "opening" else Step(stage, done, total))

            def work() -> None:
                try:
                    told.put(self._make(order, folder, progress))
                except _Cancelled:
                    pass  # nobody listens; and what is kept of it would keep the film's data, too
                except BaseException as failure:
                    told.put(failure)

            worker = threading.Thread(target=work, name="film", daemon=True)
            worker.start()
            try:
                while not isinstance(news := told.get(), Film):
                    if isinstance(news, BaseException):
                        raise news
                    yield news
                yield news
            finally:
                given_up.set()
                worker.join()

    def _make(self, order: _JobRequest, folder: Path, progress: Progress) -> Film:
        """Carries an order out."""
        begun = time.monotonic()
        speech, inside, landmarks = order.words.recording, None, None
        if not speech:
            speech = folder / "speech.wav"
            self._speak(order, speech, progress)
        video = folder / "space.mp4"
        if len(order.settings) > 1:
            made = self._pipeline.compare_to_file(order.photo, speech, order.settings, video, progress=progress)
        else:
            if order.look_inside:
                inside, landmarks = folder / "inside.mp4", folder / "landmarks.npz"
            files = {"inside": inside, "landmarks": landmarks, "opening": folder / OPENING}
            made = self._pipeline.animate_to_file(order.photo, speech, video, order.settings[0], progress, **files)
        return Film(video, inside, landmarks, made.num_frames, made.portrait.num_faces, time.monotonic() - begun)

    def _speak(self, order: _JobRequest, path: Path, progress: Progress) -> None:
        """Writes the words, spoken, to a WAV."""
        breaths = [0, 1]  # done, and of how many

        def report(*told: int) -> None:
            breaths[:] = told
            progress("voice", *told)  # raises in the voice's thread, too, once the film is given up

        work = partial(write_speech, order.words.text, path, order.settings[0].max_seconds, report)
        run_with_progress(work, lambda: progress("voice", *breaths))

    @contextlib.contextmanager
    def _wanted_by(self, visitor: str) -> Iterator["_Job"]:
        """A visitor's wish, which may be given up meanwhile."""
        wish = _Job()
        with self._lock:
            self._wishes.setdefault(visitor, []).append(wish)
        try:
            yield wish
        finally:
            with self._lock:
                self._wishes[visitor].remove(wish)
                if not self._wishes[visitor]:
                    del self._wishes[visitor]

    @contextlib.contextmanager
    def _counting_failures(self, endpoint: str) -> Iterator[None]:
        """Counts what goes wrong; what is our fault becomes a plain sentence, and an event in the log."""
        try:
            yield
        except SpaceError:
            self.metrics.failed(endpoint, "input")
            raise
        except GeneratorExit:
            self.metrics.failed(endpoint, "left")
            raise
        except Exception as failure:
            self.metrics.failed(endpoint, "error")
            event("failed", "error", endpoint=endpoint, **fault(failure))
            raise SpaceError(OUR_FAULT) from failure


class _Cancelled(Exception):  # noqa: N818 – not an error
    """Nobody wants the film any more."""


def _with_gpu(work: Callable) -> Callable:
    """The same work with a GPU at hand on a ZeroGPU Space, which lends one for the time of a call."""
    if not os.environ.get("SPACES_ZERO_GPU"):
        return work
    import spaces  # there on such a Space alone

    return spaces.GPU(duration=LENT_SECONDS)(work)


class _Clock:
    """How long the stages of a film take, and how long the rest of it will."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stage, self._since, self._shown = "", time.monotonic(), 0.0

    def passes(self, step: Step) -> bool:
        """Whether a step is worth showing: the first of a stage, and then a few a second."""
        now = time.monotonic()
        if step.stage != self._stage:
            self.done()
            self._stage, self._since, self._shown = step.stage, now, 0.0
        if now - self._shown < SHOWN_EVERY and step.done < step.total:
            return False
        self._shown = now
        return True

    def done(self) -> None:
        """Takes down what the stage took that ends here."""
        if self._stage:
            self._metrics.stage(self._stage, time.monotonic() - self._since)

    def seconds_left(self, step: Step) -> float | None:
        """Of the film, once enough of its frames are drawn to tell."""
        took = time.monotonic() - self._since
        if step.stage != "frames" or step.done < 10 or took < 0.5:
            return None
        return took / step.done * (step.total - step.done)
