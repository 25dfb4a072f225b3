"""The service of the demo: jobs of all visitors, carried out by one backend."""

import contextlib
import gc
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from space_core.errors import FaultReason, ServerFault, SpaceError
from space_core.face.preview import FacePreview
from space_core.fault_reasons import fault_reason
from space_core.media.text_to_speech import write_speech
from space_core.options import AnimationOptions
from space_core.output import Outputs
from space_core.processes.memory import return_freed_memory
from space_core.progress import Progress, run_with_progress
from space_core.timing import FPS
from space_core.web.backend import Backend, FilmResult
from space_core.web.error_handlers import RESTARTING
from space_core.web.faults import fault_sentence, log_fault
from space_core.web.film_slots import FilmSlots, OnRestart
from space_core.web.film_streams import FilmStreams
from space_core.web.job_threads import call_in_thread, iterate_in_thread
from space_core.web.jobs import Film, Job, JobCancelled, JobRequest, Report, SpeechSource, Step, TimeLimit
from space_core.web.logs import log_event
from space_core.web.metrics import Metrics
from space_core.web.preparation import Preparation
from space_core.web.preview_pace import PreviewPace
from space_core.web.progress_clock import ProgressClock
from space_core.web.settings import on_zero_gpu

STREAM = "stream.mp4"
BUSY = "This demo is making a video or talks with somebody else at the moment. Try again in a minute."
CHARACTERS_PER_SECOND = 10  # lower limit of the speed of synthesized speech
DEGRADED_SECONDS = 600.0  # for which ``health`` names a fault at most; monitoring has raised an alert by then
ZERO_GPU_SECONDS = 120  # for which a ZeroGPU Space lends its GPU


class AnimationService:
    """Carries out jobs with one backend. May be called from several threads; the page's queue limits how many at once.

    A visitor is identified by the session of their page or program; all jobs of a visitor can be cancelled.
    """

    def __init__(
        self,
        pipeline: Backend,
        metrics: Metrics,
        limit: TimeLimit | None = None,
        replicas: Callable[[], dict[str, int]] | None = None,
        num_slots: int = 1,
        max_sessions: int = 1,
    ) -> None:
        """Makes films with a backend.

        Args:
            pipeline: makes them.
            metrics: count requests, failures and films.
            limit: time limit of each job.
            replicas: returns the numbers of replicas, for ``health`` and the metrics; None if the backend has none.
            num_slots: how many films are made at a time; a live session takes the slot of one.
            max_sessions: how many live sessions there are at a time.
        """
        self.metrics = metrics
        self._replicas = replicas or dict
        self.streams = FilmStreams()
        self._pipeline = pipeline
        self._limit = limit or TimeLimit()
        self._fault: tuple[FaultReason, float] | None = None  # since the last success: the latest, and its moment
        self._stuck: list[threading.Thread] = []
        metrics.track_stuck(self._num_stuck)
        if replicas is not None:
            metrics.track_replicas(replicas)
        self._jobs: dict[str, list[Job]] = {}  # by visitor
        self._lock = threading.Lock()
        self._slots = FilmSlots(num_slots, max_sessions)
        self._is_ending = False
        metrics.track_live(self._slots.num_sessions)
        self._preparation = Preparation(pipeline, lambda: bool(self._jobs))
        self._preview_pace = PreviewPace(lambda: bool(self._jobs))
        self._run = _with_gpu(self._run_in_thread)

    def health(self) -> dict[str, Any]:
        """The state of the service, for ``/healthz``.

        Returns:
            "loaded", "device"; "degraded", the reason of the latest fault, or None if it is older than
            ``DEGRADED_SECONDS`` or a job has succeeded since; "stuck", the number of jobs that can't be ended; and the
            numbers of replicas, if there are any.
        """
        reason, moment = self._fault or (None, 0.0)
        degraded = reason if time.monotonic() < moment + DEGRADED_SECONDS else None
        state = {"loaded": True, "device": str(self._pipeline.device), "degraded": degraded, "stuck": self._num_stuck()}
        return {**state, **self._replicas()}

    def note_fault(self, reason: FaultReason) -> None:
        """Records a fault of the server that appeared outside of this service, for ``health``."""
        self._fault = reason, time.monotonic()

    def warm_up(self, photo: str, recording: str) -> None:
        """Does one-time initialization ahead, so that it does not slow the first visitor's film.

        A film is drawn and discarded; it ends after a second of film, or as soon as there is work for a visitor.
        """
        request = JobRequest(photo, SpeechSource(recording), (AnimationOptions(),))
        try:
            self._pipeline.warm_up()
            with contextlib.closing(self._run(request)) as reports:
                for report in reports:
                    has_drawn = isinstance(report, Step) and report.stage == "frames" and report.done >= FPS
                    if has_drawn or self._jobs or self._is_ending:
                        return
        except Exception:
            if not self._is_ending:  # when no more threads can be started
                raise

    def preview(self, photo: str, options: AnimationOptions) -> FacePreview:
        """See ``SpacePipeline.preview``; afterwards the photo is prepared for a film in the background."""
        self.metrics.count_request("look")
        with self._count_failures("look", Job()), self._preview_pace.turn():
            work = partial(self._pipeline.preview, photo, options)
            preview = call_in_thread(work, self._limit.seconds, self.abandon)
        if not on_zero_gpu():  # which computes within jobs alone
            self._preparation.request(photo, options)
        return preview

    def say(self, visitor: str, text: str, path: Path, max_seconds: float) -> bool:
        """Synthesizes a text and writes it to a WAV.

        Returns:
            Whether it was written; False if the visitor cancelled it.

        Raises:
            SpaceError: see ``write_speech``.
            ServerFault: the server failed.
        """
        self.metrics.count_request("say")
        with self._job_of(visitor) as job, self._count_failures("say", job):

            def progress(done: int, total: int) -> None:
                if job.cancelled:
                    raise JobCancelled

            try:
                work = partial(write_speech, text, path, max_seconds, progress)
                call_in_thread(work, self._limit.of(len(text) / CHARACTERS_PER_SECOND), self.abandon)
            except JobCancelled:
                self._count_cancelled("say", job)
                return False
            except ServerFault:
                job.cancelled = "left"  # ends a thread that was given up
                raise
            self._fault = None
            return True

    def animate(
        self,
        visitor: str,
        photo: str,
        speech: SpeechSource,
        options: AnimationOptions,
        *,
        intermediate_results: bool = False,
    ) -> Generator[Report, None, None]:
        """Animates a photo.

        Args:
            visitor: whose film this is; see ``cancel``.
            photo, options: see ``SpacePipeline.animate``.
            speech: what is said.
            intermediate_results: whether the landmark video and the motion file are made, too.

        Yields:
            Steps; the stream of the film when drawing begins; the film at the end. Nothing more once it is cancelled.

        Raises:
            SpaceError: an input can't be used.
            ServerFault: the server failed.
        """
        yield from self._carry_out("animate", visitor, JobRequest(photo, speech, (options,), intermediate_results))

    def compare(
        self, visitor: str, photo: str, speech: SpeechSource, settings: Sequence[AnimationOptions]
    ) -> Generator[Report, None, None]:
        """Animates a photo with two to four settings in one grid; see ``animate`` and ``SpacePipeline.compare``."""
        yield from self._carry_out("compare", visitor, JobRequest(photo, speech, tuple(settings)))

    @contextlib.contextmanager
    def live(self, on_restart: OnRestart) -> Iterator[Job]:
        """A live session, in the slot of a film. It can't be cancelled by a session's name, only by its connection.

        Args:
            on_restart: see ``FilmSlots.begin_session``.

        Raises:
            SpaceError: no slot is free, films wait for one, or the server is about to end; or what is raised within.
        """
        self.metrics.count_request("live")
        if not self._slots.begin_session(on_restart):
            is_draining = self._slots.is_draining
            reason = "restarting" if is_draining else "full"
            self.metrics.count_failure("live", reason)
            log_event("refused", reason=reason, endpoint="live")
            raise SpaceError(RESTARTING if is_draining else BUSY)
        try:
            with self._job_of(secrets.token_hex()) as job, self._count_failures("live", job):
                yield job
        finally:
            self._slots.end_session(on_restart)

    def num_live(self) -> int:
        """How many live sessions there are."""
        return self._slots.num_sessions()

    def drain(self, seconds: float) -> None:
        """See ``FilmSlots.drain``."""
        self._slots.drain(seconds)

    def cancel(self, visitor: str) -> None:
        """Ends the jobs of a visitor who asks for that, within a second."""
        self._cancel(visitor, "stopped")

    def disconnect(self, visitor: str) -> None:
        """Ends the jobs of a visitor who has left."""
        self._cancel(visitor, "left")

    def end(self) -> None:
        """Ends all jobs, because the server ends."""
        self._is_ending = True
        self._preparation.end()
        with self._lock:
            visitors = list(self._jobs)
        for visitor in visitors:
            self._cancel(visitor, "restarting")

    def expire(self, older_than: float) -> None:
        """Removes prepared portraits, which hold whole photos, that were not used for ``older_than`` seconds."""
        self._pipeline.forget_portraits(older_than)

    def _cancel(self, visitor: str, reason: str) -> None:
        with self._lock:
            for job in self._jobs.get(visitor, ()):
                job.cancelled = job.cancelled or reason

    def _carry_out(self, endpoint: str, visitor: str, request: JobRequest) -> Generator[Report, None, None]:
        """Runs a job, counts it, and yields its progress and film."""
        self.metrics.count_request(endpoint)
        clock = ProgressClock(self.metrics)
        with (
            self._job_of(visitor) as job,
            self._count_failures(endpoint, job),
            contextlib.closing(self._slots.run(partial(self._run, request))) as reports,
        ):
            for report in reports:
                if job.cancelled:
                    self._count_cancelled(endpoint, job)
                    return
                if isinstance(report, Film):
                    clock.end_stage()
                    self.metrics.observe_film(report.num_frames, report.seconds)
                    self._fault = None
                    numbers: dict[str, Any] = {"frames": report.num_frames, "seconds": round(report.seconds, 2)}
                    log_event("filmed", endpoint=endpoint, job=job.number, **numbers)
                if not isinstance(report, Step):
                    yield report
                elif clock.is_due(report):
                    yield replace(report, seconds_left=clock.seconds_left(report))

    def _run_in_thread(self, request: JobRequest) -> Generator[Report, None, None]:
        # A generator, as spaces.GPU asks for.
        try:
            yield from iterate_in_thread(self._make_film, request, STREAM, self._limit, self.abandon)
        finally:
            gc.collect()  # exceptions of failed jobs are in reference cycles that hold arrays and temporary files
            return_freed_memory()

    def _make_film(self, request: JobRequest, folder: Path, progress: Progress) -> Film:
        """Makes the film of a request in a folder; in the thread of ``iterate_in_thread``."""
        begun = time.monotonic()
        photo, speech, settings, name = request.photo, request.speech.recording, request.settings, request.name
        recording = speech or self._speak(request, folder / "speech.wav", progress)
        video = folder / f"{name}.mp4"
        landmark_video = folder / f"{name}-inside.mp4" if request.intermediate_results else None
        motion_file = folder / f"{name}-landmarks.npz" if request.intermediate_results else None
        made: FilmResult
        with (folder / STREAM).open("wb") as stream:
            if len(settings) > 1:
                outputs = Outputs(video, stream=stream)
                made = self._pipeline.compare_to_file(photo, recording, settings, outputs, progress=progress)
            else:
                outputs = Outputs(video, None, landmark_video, motion_file, stream)
                made = self._pipeline.animate_to_file(photo, recording, outputs, settings[0], progress)
        seconds = time.monotonic() - begun
        return Film(video, landmark_video, motion_file, made.num_frames, made.num_faces, made.notes, seconds)

    def _speak(self, request: JobRequest, path: Path, progress: Progress) -> Path:
        """Synthesizes the request's text, writes it to a WAV and returns its path."""
        pieces = [0, 1]  # done, and of how many

        def report(done: int, total: int) -> None:
            pieces[:] = done, total
            progress("voice", done, total)  # raises in the voice's thread, too, once the job is cancelled

        work = partial(write_speech, request.speech.text, path, request.settings[0].max_seconds, report)
        run_with_progress(work, lambda: progress("voice", *pieces))
        return path

    @contextlib.contextmanager
    def _job_of(self, visitor: str) -> Iterator[Job]:
        """A job that is known as the visitor's within this context."""
        job = Job()
        with self._lock:
            self._jobs.setdefault(visitor, []).append(job)
        try:
            yield job
        finally:
            with self._lock:
                self._jobs[visitor].remove(job)
                if not self._jobs[visitor]:
                    del self._jobs[visitor]

    def _count_cancelled(self, endpoint: str, job: Job) -> None:
        self.metrics.count_failure(endpoint, job.cancelled)
        log_event(job.cancelled, endpoint=endpoint, job=job.number)

    def abandon(self, thread: threading.Thread) -> None:
        """Gives up a thread that does not end; it counts as stuck as long as it lives."""
        with self._lock:
            self._stuck.append(thread)
        log_event("stuck", level="error")

    def _num_stuck(self) -> int:
        with self._lock:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            return len(self._stuck)

    @contextlib.contextmanager
    def _count_failures(self, endpoint: str, job: Job) -> Iterator[None]:
        """Counts and logs exceptions within this context; other ones than ``SpaceError`` become a ``ServerFault``."""
        try:
            yield
        except GeneratorExit:
            self.metrics.count_failure(endpoint, "left")
            raise
        except Exception as failure:
            if isinstance(failure, SpaceError) and not isinstance(failure, ServerFault):
                self.metrics.count_failure(endpoint, "input")
                raise
            self.note_fault(fault_reason(failure))
            self.metrics.count_failure(endpoint, fault_reason(failure))
            log_fault(failure, endpoint=endpoint, job=job.number)
            raise ServerFault(fault_sentence(failure), fault_reason(failure)) from failure


def _with_gpu(run: Callable) -> Callable:
    """The same work with a GPU on a ZeroGPU Space, which lends one for the time of a call."""
    if not on_zero_gpu():
        return run
    import spaces  # installed on such a Space only

    return spaces.GPU(duration=ZERO_GPU_SECONDS)(run)
