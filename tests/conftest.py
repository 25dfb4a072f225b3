"""What several tests share: the examples, short recordings, one pipeline, the web demo."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import uvicorn

from space_core import SpacePipeline
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.media.content_credentials import ContentCredentials
from space_core.media.images import load_photo

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A photo with one face, (H, W, 3) uint8 RGB."""
    return load_photo(EXAMPLES / "astronaut.jpg")


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> Portrait:
    return prepare_portrait(astronaut, build_detector("mediapipe"))


@pytest.fixture(scope="session")
def pipeline() -> SpacePipeline:
    return SpacePipeline("cpu")


@pytest.fixture(scope="session")
def short_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.3 seconds of an example."""
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    path = tmp_path_factory.mktemp("speech") / "short.wav"
    soundfile.write(path, sound[: round(1.3 * rate)], rate)
    return path


@contextmanager
def serving(pipeline: SpacePipeline, **settings) -> Iterator[str]:
    """The web demo around a pipeline, with an operator's settings; its address, such as http://127.0.0.1:40123."""
    # Later than the other imports: most tests need no page.
    from space_core.web.appearance import APPEARANCE
    from space_core.web.metrics import Metrics
    from space_core.web.page import build_page
    from space_core.web.server import build_app
    from space_core.web.service import AnimationService
    from space_core.web.settings import Settings

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        settings = Settings(**settings)
        metrics = Metrics()
        service = AnimationService(pipeline, metrics)
        page = build_page(service, settings, EXAMPLES)
        callbacks = {"health": service.health, "on_disconnect": service.disconnect, "on_expiry": service.expire}
        app = build_app(page, settings, metrics, **callbacks, **APPEARANCE)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def visitors_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the demos of the tests keep visitors' files; the host's settings don't count."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith(("SPACE_", "GRADIO_")):
                patch.delenv(variable)
        folder = tmp_path_factory.mktemp("visitors")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def signing_pipeline() -> SpacePipeline:
    """A pipeline that puts Content Credentials into its videos, as the demo's does."""
    return SpacePipeline("cpu", ContentCredentials())


@pytest.fixture(scope="session")
def demo(signing_pipeline: SpacePipeline, visitors_folder: Path) -> Iterator[str]:
    """The address of the web demo as it is without any settings."""
    with serving(signing_pipeline) as address:
        yield address


class Visitor(httpx.Client):
    """Speaks the demo's API by plain HTTP, as curl does; can send what Gradio's own client refuses to."""

    def __init__(self, address: str) -> None:
        super().__init__(base_url=address, timeout=120)

    def upload(self, path: Path, name: str | None = None) -> dict[str, Any]:
        """What the API takes for an uploaded file; ``name`` is what the visitor says the file is called."""
        answer = self.post("/gradio_api/upload", files={"files": (name or path.name, path.read_bytes())})
        answer.raise_for_status()
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def begin(self, endpoint: str, values: list, **more: Any) -> str:
        """Asks for something; the event to listen to."""
        # By json itself, which writes NaN, infinity and numbers of any length.
        answer = self.post(
            f"/gradio_api/call/{endpoint}",
            content=json.dumps({"data": values, **more}),
            headers={"content-type": "application/json"},
        )
        answer.raise_for_status()
        return answer.json()["event_id"]

    def result(self, endpoint: str, event: str) -> list:
        """What an endpoint gives at last.

        Raises:
            Refused: it gave a message instead.
        """
        told = self.get(f"/gradio_api/call/{endpoint}/{event}").text
        end, data = told.strip().split("\n\n")[-1].split("\n")
        content = json.loads(data.removeprefix("data: "))
        if end != "event: complete":
            raise Refused(content["error"])
        return content

    def ask(self, endpoint: str, values: list) -> list:
        """``begin`` and ``result``."""
        return self.result(endpoint, self.begin(endpoint, values))

    def figure(self, name: str) -> float:
        """One of the operator's figures; 0 as long as there is none."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[-1]) if lines else 0.0


class Refused(Exception):  # noqa: N818 – no fault of anybody's program
    """The demo said why it can't do something."""
