"""Films and live streams of the web demo, made by replicas of the pipeline under Ray Serve."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from space_core.cluster.messages import Chunk, Failure, FilmRequest, FilmResult, LiveRequest, Step, read_file
from space_core.cluster.ray_session import ray_session
from space_core.cluster.remote_stream import RemoteStream
from space_core.cluster.replica import END_SECONDS, PipelineReplica
from space_core.cluster.shared_application import DEPLOYMENT, shared_application
from space_core.errors import MACHINE_LOST, ServerFault
from space_core.face.preview import FacePreview
from space_core.live.control import LiveControl
from space_core.media.content_credentials import ContentCredentials
from space_core.options import AnimationOptions
from space_core.output import Outputs
from space_core.portrait_cache import CACHE_BYTES, PortraitCache
from space_core.progress import Progress, run_with_progress

DRAIN_SECONDS = 600.0  # for films to be finished on a replica that is to be replaced
IDLE_SECONDS = 300.0  # after which a replica beyond the least number is given up
COUNT_SECONDS = 1.0  # between two counts of the replicas
FILES = ("video", "landmark_video", "motion_file")  # of ``Outputs``, that a replica sends
ATTEMPTS = 2  # at a film whose replica is lost


@dataclass(frozen=True)
class Replicas:
    """The replicas of a page.

    Attributes:
        least: minimum number, always ready.
        most: maximum number, reached while jobs wait.
        cpus: processors of each.
        gpus: GPUs of each, or a fraction; 0 computes on the processors.
        cache_bytes: see ``SpacePipeline``.
    """

    least: int = 1
    most: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    cache_bytes: int = CACHE_BYTES


@dataclass
class RemotePipeline:
    """Lets replicas make films; takes the place of ``SpacePipeline`` in ``AnimationService``.

    Previews are made in this process, so that they do not wait for films. Films are signed in this process, so that the
    key stays on its machine.
    """

    application: str  # its name
    handle: Any  # a ray.serve.handle.DeploymentHandle
    credentials: ContentCredentials | None
    device: str = "ray"
    _num_jobs: int = 0  # unfinished films and live streams
    _num_running: int = 0  # replicas, at the latest count
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _portraits: PortraitCache = field(default_factory=lambda: PortraitCache(torch.device("cpu")))  # for its previews

    def warm_up(self) -> None:
        """Does nothing: a replica starts what it needs with its first films."""

    def preview(self, photo: str, options: AnimationOptions) -> FacePreview:
        """See ``SpacePipeline.preview``."""
        return self._portraits.preview(photo, options)

    def animate_to_file(
        self, photo: str, speech: str | Path, outputs: Outputs, options: AnimationOptions, progress: Progress
    ) -> FilmResult:
        """See ``SpacePipeline.animate_to_file``; the inputs are files, and the speech is its own sound.

        Raises:
            SpaceError: see there.
            ServerFault: see there; or two replicas, one after the other, were lost while they made this film.
        """
        return self._film(photo, speech, [options], outputs, progress)

    def compare_to_file(
        self,
        photo: str,
        speech: str | Path,
        settings: Sequence[AnimationOptions],
        outputs: Outputs,
        *,
        progress: Progress,
    ) -> FilmResult:
        """See ``SpacePipeline.compare_to_file`` and ``animate_to_file``."""
        return self._film(photo, speech, settings, outputs, progress)

    def stream(
        self,
        photo: Path,
        chunks: Iterator[np.ndarray],
        *,
        control: LiveControl,
        skip_after: float,
        progress: Progress,
    ) -> RemoteStream:
        """See ``SpacePipeline.stream`` and ``RemoteStream``. One replica draws it, and nothing else meanwhile."""
        request = LiveRequest(read_file(photo), control.options, skip_after)
        work = ExitStack()
        work.enter_context(self._job())
        return RemoteStream(self.handle, request, chunks, control, progress, work)

    def prepare(self, photo: str, options: AnimationOptions) -> None:
        """Does nothing: which replica will draw a film is known when it begins."""

    def forget_portraits(self, older_than_seconds: float = 0.0) -> None:
        """Has replicas drop the prepared portraits that were not used for that long."""
        asked = self.handle.broadcast("forget_portraits", older_than_seconds)
        asked.results(timeout_s=END_SECONDS, return_exceptions=True)  # one that is being replaced has none any more

    def replicas(self) -> dict[str, int]:
        """The numbers of replicas that run ("replicas") and that are in use ("busy"), and of films and live streams
        that wait for one ("waiting"); returns at once."""
        busy = min(self._num_jobs, self._num_running)
        return {"replicas": self._num_running, "busy": busy, "waiting": self._num_jobs - busy}

    def count_replicas(self, ended: threading.Event) -> None:
        """Asks Ray now and then how many replicas run, until ``ended`` is set."""
        from ray import serve
        from ray.exceptions import RayError

        while not ended.is_set():
            try:
                application = serve.status().applications.get(self.application)
                states = application.deployments[DEPLOYMENT].replica_states if application else {}
                self._num_running = sum(number for state, number in states.items() if state == "RUNNING")
            except RayError:  # the cluster does not answer
                self._num_running = 0
            ended.wait(COUNT_SECONDS)

    def _film(
        self,
        photo: str,
        speech: str | Path,
        settings: Sequence[AnimationOptions],
        outputs: Outputs,
        progress: Progress,
    ) -> FilmResult:
        import ray.exceptions

        stream = outputs.stream
        files = {name: Path(path) for name in FILES if (path := getattr(outputs, name)) is not None}
        videos = tuple(None if setting.pose_video is None else read_file(setting.pose_video) for setting in settings)
        request = FilmRequest(
            read_file(photo),
            read_file(speech),
            videos,
            tuple(settings),
            (*files, *(() if stream is None else ("stream",))),
        )
        with self._job():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._ask(request, files, progress, stream)
                except ray.exceptions.RayTaskError:
                    raise
                except ray.exceptions.RayError as failure:
                    if attempt == ATTEMPTS:
                        raise ServerFault(MACHINE_LOST, "machine_lost") from failure
                    if stream is not None and stream.tell():
                        # What was sent can't be continued by another film, so the page waits for the file.
                        stream, request = None, replace(request, outputs=tuple(files))
            raise AssertionError("every attempt returns or raises")

    @contextmanager
    def _job(self) -> Iterator[None]:
        """Counts a film or live stream as unfinished within this context."""
        with self._lock:
            self._num_jobs += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_jobs -= 1

    def _ask(
        self, request: FilmRequest, files: dict[str, Path], progress: Progress, stream: IO[bytes] | None
    ) -> FilmResult:
        """Lets a replica make a film, and writes what it sends."""
        for path in files.values():
            path.with_suffix(".part").unlink(missing_ok=True)  # of an attempt before
        response = self.handle.options(stream=True).render.remote(request)
        events, latest = iter(response), Step("portrait", 0, 1)

        def repeat() -> None:
            progress(latest.stage, latest.done, latest.total)

        try:
            while True:
                event = run_with_progress(lambda: next(events, None), repeat)
                if isinstance(event, Chunk) and event.output == "stream":
                    assert stream is not None
                    stream.write(event.content)
                    stream.flush()
                elif isinstance(event, Chunk):
                    self._write(event, files[event.output])
                elif isinstance(event, Step):
                    progress(event.stage, event.done, event.total)
                    latest = event
                elif isinstance(event, Failure):
                    raise event.error()
                else:
                    assert isinstance(event, FilmResult)
                    return event
        finally:
            response.cancel()

    def _write(self, chunk: Chunk, path: Path) -> None:
        """Appends a part to a file, which is signed and gets its final name after the last part."""
        unfinished = path.with_suffix(".part")
        with unfinished.open("ab") as file:
            file.write(chunk.content)
        if chunk.is_last:
            if self.credentials is not None and path.suffix == ".mp4":
                signed = path.with_suffix(".signed.part")
                self.credentials.sign(unfinished, signed)
                unfinished.unlink()
                unfinished = signed
            unfinished.replace(path)


@contextmanager
def serving(address: str, replicas: Replicas, credentials: ContentCredentials | None) -> Iterator[RemotePipeline]:
    """Starts replicas on a cluster for this context, and yields the pipeline that uses them.

    Pages with the same ``replicas`` share them.

    Args:
        address: see ``ray_session``.
        replicas: how many and of what kind.
        credentials: sign the films; None leaves them unsigned.

    Raises:
        SpaceError: Ray is not installed, or no cluster answers.
        ServerFault: no replica could be started.
    """
    with ray_session(address, int(-(-replicas.most * replicas.cpus // 1))):
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        deployment = serve.deployment(
            name=DEPLOYMENT,
            max_ongoing_requests=1,
            autoscaling_config={
                "min_replicas": replicas.least,
                "max_replicas": replicas.most,
                "target_ongoing_requests": 1,  # at work and waiting, for each replica
                "upscale_delay_s": 2.0,
                "downscale_delay_s": IDLE_SECONDS,
            },
            ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
            graceful_shutdown_timeout_s=DRAIN_SECONDS,
            health_check_period_s=5.0,
        )(PipelineReplica)
        bound = deployment.bind("cuda" if replicas.gpus else "cpu", replicas.cache_bytes)
        with shared_application(bound, settings=repr(replicas)) as (application, handle):
            remote, ended = RemotePipeline(application, handle, credentials), threading.Event()
            counting = threading.Thread(target=remote.count_replicas, args=(ended,), name="replicas", daemon=True)
            counting.start()
            try:
                yield remote
            finally:
                ended.set()
                counting.join()
