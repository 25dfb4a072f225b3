"""What several tests share: the examples, short recordings, one pipeline, the web demo."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soundfile
import uvicorn
from rendering import posed, rendered

from space_core import SpacePipeline
from space_core.cli import main
from space_core.face.canvas import Canvas
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.generator.mesh_warp import MeshWarpGenerator, drawing_process
from space_core.generator.mesh_warp.generator import PreparedPortrait
from space_core.media import decoding_pool
from space_core.media.content_credentials import ContentCredentials
from space_core.media.images import load_photo
from space_core.media.video_writer import write_video
from space_core.options import option_choices, option_field, option_range
from space_core.processes.garbage_collection import exempt_from_collection
from space_core.progress import NUM_CORES

EXAMPLES = Path(__file__).parents[1] / "examples"
# Files of tests that take more than half a minute on one core, the longest first.
LONGEST = (
    *("test_cluster", "test_browser", "test_app", "test_pipeline", "test_strangers", "test_web", "test_live"),
    *("test_neural", "test_cli", "test_generator", "test_liveportrait_networks", "test_mouth", "test_media"),
    *("test_face_vid2vid", "test_fuzz"),
)
UNLIMITED = {"visitor_requests": 100_000, "visitor_jobs": 100_000}  # settings for tests, which are one visitor
STANDING = ("starter", "detector", "drawing-process")  # beginnings of the names of threads that stay for the next film


def pytest_configure(config: pytest.Config) -> None:
    """Has workers of pytest-xdist, which inherit the environment, share the cores, and take files in our order."""
    if workers := config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))
        config.option.loadscopereorder = False  # by itself it begins with the files of most tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that take longest, so that no worker of pytest-xdist ends long after the others."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spares the garbage collector what is imported, which it would walk through after each of the demo's films."""
    with exempt_from_collection():
        return (yield)


@pytest.fixture(autouse=True)
def no_variables_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are those of a test alone."""
    for variable in list(os.environ):
        if variable.startswith(("SPACE_", "GRADIO_SERVER_", "GRADIO_ROOT_")):
            monkeypatch.delenv(variable)


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is written to the folder for temporary files, as by Gradio's client, goes with the files of the tests.

    Not by an environment variable: Ray would put sockets there, whose paths may have 107 characters.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A photo with one face, (H, W, 3) uint8 RGB."""
    return load_photo(EXAMPLES / "astronaut.jpg")


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> Portrait:
    return prepare_portrait(astronaut, build_detector("mediapipe"))


@pytest.fixture(scope="session")
def wearer() -> Portrait:
    """A portrait with glasses and closed lips."""
    return prepare_portrait(load_photo(EXAMPLES / "grace_hopper.jpg"), build_detector("mediapipe"))


@pytest.fixture(scope="session")
def closed(wearer: Portrait) -> Portrait:
    """A portrait with closed lips."""
    return wearer


@pytest.fixture(scope="session")
def pipeline() -> SpacePipeline:
    return SpacePipeline("cpu")


class RememberingGenerator(MeshWarpGenerator):
    """Prepares a portrait once: the tests of a file draw the same few."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self._latest: deque[tuple[Portrait, bool, PreparedPortrait]] = deque(maxlen=8)  # of about 20 MB each

    def prepare(self, portrait: Portrait, canvas: Canvas | None = None, refined: bool = True) -> PreparedPortrait:
        if canvas is not None:
            return super().prepare(portrait, canvas, refined)
        for known, was_refined, prepared in self._latest:
            if known is portrait and was_refined == refined:
                return prepared
        prepared = super().prepare(portrait, refined=refined)
        self._latest.append((portrait, refined, prepared))
        return prepared


@pytest.fixture(scope="session")
def generator() -> MeshWarpGenerator:
    return RememberingGenerator()


@pytest.fixture(scope="session")
def short_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.9 seconds of an example: 23 frames."""
    return speech_of(0.9, tmp_path_factory.mktemp("speech") / "short.wav")


def speech_of(seconds: float, path: Path) -> Path:
    """Writes the beginning of an example, repeated where it is too short, to a WAV file, and returns its path."""
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    soundfile.write(path, np.resize(sound, round(seconds * rate)), rate)
    return path


@pytest.fixture
def command_line(pipeline: SpacePipeline, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command line in this process, with the pipeline that is there, and returns its exit status."""
    monkeypatch.setattr("space_core.pipeline.SpacePipeline", lambda *_: pipeline)
    return lambda command, *arguments: main([command, "--quiet", *map(str, arguments)])


@pytest.fixture(scope="session")
def far_turn_video(generator: MeshWarpGenerator, portrait: Portrait, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a head that turns by more than 30 degrees within ten frames."""
    path = tmp_path_factory.mktemp("pose") / "far.mp4"
    prepared = generator.prepare(portrait)
    turns = [rendered(generator, prepared, posed(portrait, yaw=yaw))[0] for yaw in np.linspace(-27, 27, 10)]
    write_video(iter(turns), path, None, len(turns))
    return path


@contextmanager
def no_work_left() -> Iterator[None]:
    """Checks that the threads and programs that are started meanwhile end."""
    process = psutil.Process()
    decoding_pool.warm_up()
    if NUM_CORES > 1:
        drawing_process.warm_up()
    threads, num_programs = set(threading.enumerate()), len(process.children())
    yield
    until(lambda: all(thread in threads or thread.name.startswith(STANDING) for thread in threading.enumerate()))
    # Not which programs: one that has decoded many photos is replaced by another.
    until(lambda: len(process.children()) <= num_programs)


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def on_small_disk(folder: Path, size: str) -> list[str]:
    """The beginning of a command for which a folder is a disk of its own, of so many bytes ("300k")."""
    mounted = f'mount -t tmpfs -o size={size} none "{folder}" && "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no disk can be made here")
    return command


@contextmanager
def running(app) -> Iterator[str]:
    """An ASGI application, served in a thread; its address, such as http://127.0.0.1:40123."""
    from space_core.web.connections import limited_connections

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        protocol = limited_connections(trusted_proxies="")
        server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving(pipeline: SpacePipeline, **settings) -> Iterator[str]:
    """The web demo around a pipeline, with an operator's settings; its address.

    Unless they say otherwise, tests may ask for as much as they like.
    """
    # Later than the other imports: most tests need no page.
    from space_core.web.appearance import APPEARANCE
    from space_core.web.application import Callbacks, build_app
    from space_core.web.live_page import add_live
    from space_core.web.metrics import Metrics
    from space_core.web.page import build_page
    from space_core.web.service import AnimationService
    from space_core.web.settings import Settings

    settings, metrics = Settings(**{**UNLIMITED, **settings}), Metrics()
    service = AnimationService(pipeline, metrics, settings.time_limit)
    page = build_page(service, settings, EXAMPLES)
    routes = partial(
        add_live, pipeline=pipeline, service=service, settings=settings, example=EXAMPLES / "astronaut.jpg"
    )
    callbacks = Callbacks(
        service.health, service.disconnect, service.expire, service.note_fault, service.cancel, add_routes=routes
    )
    app = build_app(page, settings, metrics, callbacks, streams=service.streams, **APPEARANCE)
    with running(app) as address:
        yield address


def another_value(name: str) -> Any:
    """A value of an option that is not its default."""
    if name == "emotion":
        return "0:sad, 1:happy@0.5"
    if name == "action_units":
        return "1:0.5, 12L:0.8"
    if name == "pose_video":
        return "nod.mp4"
    possible = option_choices(name) or option_range(name)
    return next(value for value in possible if value != option_field(name).default)


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Waits for a condition to become true; the test fails if it does not."""
    given_up = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        if condition():
            return
        asked = time.monotonic()
        if asked > given_up:
            pytest.fail(f"did not happen within {seconds} seconds")
        # A server that is asked all the time would be slower to do what is waited for.
        time.sleep(min(max(0.01, 4 * (asked - begun)), 0.1))


@pytest.fixture(scope="session")
def visitors_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the demos of the tests keep visitors' files; variables of the host are ignored."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith(("SPACE_", "GRADIO_")):
                patch.delenv(variable)
        folder = tmp_path_factory.mktemp("visitors")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def signing_pipeline() -> SpacePipeline:
    """A pipeline that signs its videos with Content Credentials, as the demo's does."""
    return SpacePipeline("cpu", ContentCredentials())


@pytest.fixture(scope="session")
def demo(signing_pipeline: SpacePipeline, visitors_folder: Path) -> Iterator[str]:
    """The address of the web demo as it is without any settings."""
    with serving(signing_pipeline) as address:
        yield address


class Visitor(httpx.Client):
    """Sends requests to the demo's API by plain HTTP, as curl does; also ones that Gradio's own client refuses."""

    def __init__(self, address: str) -> None:
        super().__init__(base_url=address, timeout=120)

    def upload_bytes(self, name: str, content: bytes) -> httpx.Response:
        return self.post("/gradio_api/upload", files={"files": (name, content)})

    def upload(self, path: Path, name: str | None = None) -> dict[str, Any]:
        """The API's value for an uploaded file; ``name`` is what the visitor says the file is called."""
        answer = self.upload_bytes(name or path.name, path.read_bytes())
        answer.raise_for_status()
        return uploaded(answer.json()[0])

    def call(self, endpoint: str, values: list, **more: Any) -> httpx.Response:
        """The answer to a request, as it is."""
        # By json itself, which writes NaN, infinity and numbers of any length.
        content = json.dumps({"data": values, **more})
        return self.post(f"/gradio_api/call/{endpoint}", content=content, headers={"content-type": "application/json"})

    def begin(self, endpoint: str, values: list, **more: Any) -> str:
        """Requests something; the id of the event that is made for it."""
        answer = self.call(endpoint, values, **more)
        answer.raise_for_status()
        return answer.json()["event_id"]

    def result(self, endpoint: str, event: str) -> list:
        """The last result of an endpoint.

        Raises:
            Refused: with the message that it gave instead.
        """
        stream = self.get(f"/gradio_api/call/{endpoint}/{event}").text
        end, data = stream.strip().split("\n\n")[-1].split("\n")
        content = json.loads(data.removeprefix("data: "))
        if end != "event: complete":
            raise Refused(content["error"])
        return content

    def ask(self, endpoint: str, values: list) -> list:
        """``begin`` and ``result``."""
        return self.result(endpoint, self.begin(endpoint, values))

    def refusal(self, endpoint: str, values: list) -> str:
        """The message with which an endpoint refuses a request."""
        with pytest.raises(Refused) as refusal:
            self.ask(endpoint, values)
        return str(refusal.value)

    def metric(self, name: str) -> float:
        """One of the operator's metrics; 0 as long as there is none."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[-1]) if lines else 0.0


class Refused(Exception):  # noqa: N818 – no error of any program
    """The demo's message that it can't do something."""


def uploaded(path: str | Path, **more: Any) -> dict[str, Any]:
    """The API's value for a file of which the visitor says that it was uploaded."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}
