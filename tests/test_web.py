"""What the hosted demo promises its operator and its visitors: tested with a tiny page, without the pipeline."""

import errno
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from conftest import EXAMPLES, Refused, another_value, until, uploaded
from gradio.utils import get_function_description
from tiny_page import QUEUE_SIZE, ROOT, is_loaded, program, served

from space_core import ServerFault, SpaceError
from space_core.generators import GENERATORS
from space_core.options import (
    AnimationOptions,
    option_choices,
    option_field,
    option_names,
    option_range,
    option_widgets,
)
from space_core.web import expiry
from space_core.web.application import Callbacks
from space_core.web.endpoints import Endpoints
from space_core.web.jobs import Film, JobCancelled, JobRequest, SpeechSource, Step, Stream
from space_core.web.metrics import Metrics
from space_core.web.page import build_page
from space_core.web.private_files import expire_files
from space_core.web.server import serve
from space_core.web.service import AnimationService
from space_core.web.settings import Settings


@pytest.fixture(scope="module")
def visitor(tmp_path_factory):
    with served(tmp_path_factory.mktemp("page")) as visitor:
        yield visitor


# Settings


def test_flags_override_variables_and_these_override_defaults(monkeypatch):
    monkeypatch.setenv("SPACE_QUEUE_SIZE", "7")
    monkeypatch.setenv("SPACE_KEPT_MINUTES", "25")
    monkeypatch.setenv("SPACE_FORCE_VISIBLE_MARK", "true")
    settings = Settings.from_command_line(["--queue-size", "9", "--no-visible-mark"])
    assert (settings.queue_size, settings.kept_minutes, settings.concurrency) == (9, 25, 1)
    assert (settings.visible_mark, settings.force_visible_mark) == (False, True)


def test_gradios_variables_count_unless_ours_are_set(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "::1")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "8000")
    monkeypatch.setenv("SPACE_PORT", "8001")
    settings = Settings.from_command_line([])
    assert (settings.host, settings.port) == ("::1", 8001)


def test_a_hugging_face_space_listens_everywhere(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/space")
    monkeypatch.setenv("SPACE_HOST", "someone-space.hf.space")  # set by the Space: its public name
    assert Settings.from_command_line([]).host == "0.0.0.0"
    assert Settings.from_command_line(["--host", "127.0.0.1"]).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "http"], "--port [SPACE_PORT, GRADIO_SERVER_PORT] can't be http: it should be a valid integer"),
        (["--concurrency", "9"], "--concurrency [SPACE_CONCURRENCY] can't be 9: it should be less than or equal to 8"),
        (["--max-seconds", "nan"], "--max-seconds [SPACE_MAX_SECONDS] can't be nan"),
        (["--device", "tpu"], "'auto', 'cpu' or 'cuda'"),
        (["--root-path", "space"], "it should begin with /"),
        (["--queues", "3"], "unrecognized arguments: --queues 3"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(arguments, expected, capsys):
    with pytest.raises(SystemExit) as ended:
        Settings.from_command_line(arguments)
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2
    assert expected in sentence


def test_agents_need_their_package(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        Settings.from_command_line(["--mcp"])
    assert 'pip install "mcp<2"' in capsys.readouterr().err


def test_help_lists_every_setting_with_its_variable_and_default(capsys):
    with pytest.raises(SystemExit) as ended:
        Settings.from_command_line(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
        assert f"[SPACE_{name.upper()}" in text
    assert "visitors who may wait [SPACE_QUEUE_SIZE] (default: 20)" in text


@pytest.mark.parametrize("flags", [["--help"], ["--port", "http"]])
def test_help_and_wrong_settings_are_answered_before_anything_large_is_imported(flags):
    command = [sys.executable, "-X", "importtime", "app.py", *flags]
    report = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr
    imported = {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}
    assert "space_core.web.settings" in imported
    assert not {"gradio", "matplotlib", "numpy", "torch"} & imported


# Metrics


def test_metrics_are_in_prometheus_format():
    metrics = Metrics()
    metrics.count_request("animate")
    metrics.count_failure("animate", "stopped")
    metrics.observe_stage("portrait", 0.2)
    metrics.observe_film(num_frames=50, seconds=2)
    metrics.track_queue(lambda: 3)
    lines = metrics.text().decode().splitlines()
    for line in (
        'space_asked_total{endpoint="animate"} 1.0',
        'space_failed_total{endpoint="animate",reason="stopped"} 1.0',
        'space_stage_seconds_sum{stage="portrait"} 0.2',
        "space_frames_total 50.0",
        "space_frames_per_second 25.0",
        "space_queue_length 3.0",
    ):
        assert line in lines


def test_reasons_are_a_fixed_set():
    with pytest.raises(ValueError, match="no reason"):
        Metrics().count_failure("animate", "portrait_of_aunt_mary.jpg")


def test_health_and_metrics_are_served(visitor):
    assert visitor.get("/healthz").json() == {"status": "ready", "loaded": True, "device": "cpu", "queue": 0}
    assert visitor.metric("space_queue_length") == 0
    assert "process_cpu_seconds_total" in visitor.get("/metrics").text


def test_health_is_503_when_no_video_can_be_made(tmp_path):
    with served(tmp_path, health=lambda: {"loaded": False, "device": "cpu"}) as visitor:
        answer = visitor.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "loading")


# Requests


def test_the_page_is_served_and_forbids_other_origins(visitor):
    page = visitor.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "huggingface" not in page.headers["content-security-policy"]


def test_a_space_may_be_framed_by_hugging_face(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/space")
    with served(tmp_path) as visitor:
        policy = visitor.get("/healthz").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://huggingface.co")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", ROOT / "app.py", "app.py", EXAMPLES / "astronaut.jpg", "%2e%2e/%2e%2e/etc/passwd", "/tmp"]
)
def test_no_file_outside_is_served(visitor, path):
    assert visitor.get(f"/gradio_api/file={path}").status_code == 403


@pytest.mark.parametrize("path", ["/etc/passwd", ROOT / "app.py", EXAMPLES / "astronaut.jpg", "../../etc/passwd"])
@pytest.mark.parametrize("endpoint", ["echo", "photo"])
def test_a_file_of_the_machine_is_no_input(visitor, endpoint, path):
    """Gradio, mounted, copied any file that an input named, and handed it out."""
    assert "has to be uploaded here" in visitor.refusal(endpoint, [uploaded(path)])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/vibe-code"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/monitoring/summary"),
        ("GET", "/openapi.json"),
        ("GET", "/?page=other"),
        ("GET", f"/static/{'a' * 300}"),
        ("GET", f"/assets/{'ä' * 200}"),
        ("DELETE", "/"),
    ],
)
def test_routes_that_the_page_does_not_need_are_not_there(visitor, method, path):
    assert visitor.request(method, path).status_code == 404


def test_a_request_to_an_unknown_endpoint_is_refused_as_such(visitor):
    answer = visitor.call("nothing", [])
    assert (answer.status_code, "no such endpoint" in answer.text) == (404, True)


def test_no_address_is_fetched(visitor):
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 – the server's name for it

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{elsewhere.server_port}/photo.jpg"
        refusals = [visitor.refusal(name, [uploaded(address)]) for name in ("photo", "speech", "film", "echo")]
        for value in (uploaded("photo.jpg", url=address), {"url": address}):
            visitor.refusal("photo", [value])
        answers = [visitor.get(f"/gradio_api/{route}={address}") for route in ("file", "proxy")]
        elsewhere.shutdown()
    assert asked == []
    assert all("never fetched" in refusal for refusal in refusals)
    assert [answer.status_code for answer in answers] == [403, 404]
    assert "never fetched" in answers[0].text


# Uploads


def test_an_upload_is_an_input(visitor):
    content = (EXAMPLES / "astronaut.jpg").read_bytes()
    file = visitor.upload(EXAMPLES / "astronaut.jpg")
    assert visitor.ask("photo", [file]) == [str(len(content))]
    served_again = visitor.get(f"/gradio_api/file={file['path']}")
    assert served_again.content == content
    assert served_again.headers["cache-control"] == "private"


def test_too_large_an_upload_is_refused_in_plain_words(visitor):
    before = visitor.metric('space_failed_total{endpoint="upload",reason="input"}')
    answer = visitor.upload_bytes("large.wav", bytes(1024 * 1024))
    assert answer.status_code == 413
    assert answer.text == "The upload is larger than the maximum allowed size of 1 MB. Give a smaller file."
    assert visitor.metric('space_failed_total{endpoint="upload",reason="input"}') == before + 1


def test_uploads_are_refused_before_the_disk_is_full(visitor, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2 * 1024 * 1024))
    answer = visitor.upload_bytes("photo.jpg", b"a face")
    assert (answer.status_code, "no room" in answer.text) == (507, True)


def test_a_large_file_in_place_of_an_upload_is_refused(visitor):
    answer = visitor.call("photo", ["x" * 5_000_000])
    assert (answer.status_code, "upload files instead" in answer.text) == (413, True)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Jürgen 写真.jpg", "Jürgen 写真.jpg"),
        ("../../evil.jpg", "evil.jpg"),
        ("a\\..\\b<script>.jpg", "a..bscript.jpg"),
        ("x" * 4000 + ".jpg", "x" * 196 + ".jpg"),
    ],
)
def test_names_of_uploads_stay_in_their_folder(visitor, name, kept):
    (path,) = visitor.upload_bytes(name, b"content of " + name.encode()).json()
    assert Path(path).name == kept
    assert len(Path(path).parent.name) == 64  # the content's hash
    assert Path(path).read_bytes() == b"content of " + name.encode()


def test_old_files_are_removed_but_not_the_examples(tmp_path):
    for name in ("upload/photo.jpg", "example/photo.jpg", "tmpbrokenoff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    example = str(tmp_path / "example" / "photo.jpg")
    assert expire_files(tmp_path, {example}, older_than=3600) == set()
    assert len(expire_files(tmp_path, {example}, older_than=-1)) == 2
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == [example]


def test_what_is_kept_in_memory_of_visitors_expires_with_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(expiry, "EXPIRY_INTERVAL", 0.01)
    ages = []

    def fail_at_first(older_than):
        ages.append(older_than)
        if len(ages) == 1:
            raise OSError

    with served(tmp_path, on_expiry=fail_at_first, kept_minutes=15):
        until(lambda: len(ages) > 1)
    assert set(ages) == {15 * 60}


def test_prepared_portraits_expire():
    ages = []
    AnimationService(SimpleNamespace(forget_portraits=ages.append), Metrics()).expire(900)
    assert ages == [900]


# Options


def test_a_page_without_other_weights_offers_no_choice_of_generators(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACE_WEIGHTS_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build_page(SimpleNamespace(), Settings(), EXAMPLES)
    (component,) = [block for block in page.blocks.values() if block.elem_id == "generator"]
    assert [value for _, value in component.choices] == ["mesh-warp"]
    assert not component.visible


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the demo, its detectors and generators all offered, around no service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("space_core.web.screens.available_generators", lambda: tuple(GENERATORS))
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("page")))
        yield build_page(SimpleNamespace(), Settings(face_alignment=True), EXAMPLES)


@pytest.mark.parametrize(("name", "widget"), option_widgets().items())
def test_an_option_is_on_the_page_and_in_the_api(page, name, widget):
    parameters = page.get_api_info()["named_endpoints"]["/animate"]["parameters"]
    (parameter,) = [parameter for parameter in parameters if parameter["parameter_name"] == name]
    assert parameter["label"] == widget.label
    if name != "mark":  # on until the operator switches it off
        assert parameter["parameter_default"] == option_field(name).default
    (component,) = [block for block in page.blocks.values() if block.elem_id == name.replace("_", "-")]
    assert component.label == widget.label
    assert component.info == widget.info or widget.kind == "video"
    if widget.kind == "slider":
        assert (component.minimum, component.maximum) == option_range(name)
    if widget.kind == "radio":
        assert tuple(value for _, value in component.choices) == option_choices(name)


@pytest.mark.parametrize(("name", "widget"), option_widgets().items())
def test_the_value_of_an_option_reaches_the_service(name, widget, monkeypatch):
    given = []
    monkeypatch.setattr("space_core.web.endpoints.available_generators", lambda: tuple(GENERATORS))

    def animate(visitor, photo, speech, options, **_):
        given.append(options)
        yield Film(Path("space.mp4"), None, None, 25, 1, (), 1.0)

    endpoints = Endpoints(SimpleNamespace(animate=animate), Settings(face_alignment=True))
    defaults = {parameter.name: parameter.default for parameter in signature(endpoints.animate).parameters.values()}
    value = another_value(name)
    shown = option_choices(name).index(value) == 1 if widget.kind == "checkbox" else value
    list(endpoints.animate(*{**defaults, "photo": "a.jpg", "speech": "a.wav", name: shown}.values()))
    assert getattr(given[0], name) == getattr(AnimationOptions(**{name: value}), name)


@pytest.mark.parametrize(
    ("photo", "settings", "name"),
    [
        ("aunt mary.jpg", [{"emotion": "sad"}], "aunt_mary-sad"),
        ("/tmp/été.png", [{"emotion": "0.7 happy + 0.3 sad"}], "été-emotions"),
        ("aunt mary.jpg", [{}, {"emotion": "sad"}], "aunt_mary-compared"),
        ("..", [{}], "_-neutral"),
        ("-i\n\ud800" + "x" * 300, [{}], "_i_" + "x" * 37 + "-neutral"),
    ],
)
def test_files_are_named_after_the_photo_and_what_becomes_of_it(photo, settings, name):
    request = JobRequest(photo, SpeechSource(text="Hello"), tuple(AnimationOptions(**given) for given in settings))
    assert request.name == name


def test_an_option_without_a_widget_is_the_operators_or_the_command_lines():
    assert set(option_names()) - set(option_widgets()) == {"refine", "max_seconds"}


def test_programs_read_what_each_parameter_means():
    endpoints = Endpoints(SimpleNamespace(), Settings())
    for method in (endpoints.animate, endpoints.compare, endpoints.look, endpoints.say):
        summary, parameters, returns = get_function_description(method)
        assert summary and returns
        described = {name for name, description in parameters.items() if description}
        assert described == set(parameters) - {"request", "progress"}


# Jobs


class StubPipeline:
    """Renders until it is released, and reports whether its frame iterator was closed."""

    def __init__(self):
        self.started, self.released, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.failure = None
        self.prepared = []

    def warm_up(self):
        pass

    def preview(self, photo, options):
        return SimpleNamespace(notes=())

    def prepare(self, photo, options):
        self.prepared.append((photo, options.face))

    def animate_to_file(self, photo, speech, outputs, options, progress):
        try:
            self.started.set()
            self.folder = outputs.video.parent
            while not self.released.wait(0.01):
                progress("frames", 0, 1)
            if self.failure:
                raise self.failure
            return SimpleNamespace(num_frames=1, num_faces=1, notes=())
        finally:
            self.closed.set()


@pytest.fixture
def stub():
    stub = StubPipeline()
    yield stub
    stub.released.set()


def animated(stub, metrics=None):
    """A service around a stub, and its iterator for the visitor "anna"."""
    service = AnimationService(stub, metrics or Metrics())
    return service, service.animate("anna", "photo.jpg", SpeechSource("speech.wav"), AnimationOptions())


def test_a_demo_that_ends_while_it_warms_up_has_no_fault(stub):
    stub.failure = RuntimeError("cannot schedule new futures after shutdown")
    stub.released.set()
    service = AnimationService(stub, Metrics())
    with pytest.raises(RuntimeError):
        service.warm_up("photo.jpg", "speech.wav")
    service.end()
    service.warm_up("photo.jpg", "speech.wav")


def test_a_photo_is_prepared_while_its_visitor_still_chooses_but_not_while_a_film_is_made(stub):
    service, reports = animated(stub)
    service.preview("photo.jpg", AnimationOptions(face=2))
    until(lambda: stub.prepared == [("photo.jpg", 2)])
    next(reports)
    service.preview("another.jpg", AnimationOptions())
    reports.close()
    service.preview("third.jpg", AnimationOptions())
    until(lambda: ("third.jpg", 1) in stub.prepared)
    assert ("another.jpg", 1) not in stub.prepared


def test_while_a_film_is_made_previews_take_turns_however_many_are_asked_for(stub, monkeypatch):
    service, reports = animated(stub)
    now, most, lock = 0, 0, threading.Lock()

    def preview(photo, options):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return SimpleNamespace(notes=())

    monkeypatch.setattr(stub, "preview", preview)
    next(reports)
    with ThreadPoolExecutor(4) as visitors:
        list(visitors.map(lambda _: service.preview("photo.jpg", AnimationOptions()), range(8)))
    assert most == 1
    reports.close()


@pytest.mark.parametrize("end", ["a second is drawn", "a visitor comes"])
def test_the_film_that_warms_the_server_up_is_not_made_to_its_end(stub, end):
    drawn = [0]

    def animate_to_file(photo, speech, outputs, options, progress):
        stub.started.set()
        while not stub.released.wait(0.01):
            progress("frames", drawn[0], 1000)
            drawn[0] = min(drawn[0] + 1, 1000 if end == "a second is drawn" else 20)

    stub.animate_to_file = animate_to_file
    service = AnimationService(stub, Metrics())
    warming = threading.Thread(target=service.warm_up, args=("photo.jpg", "speech.wav"))
    warming.start()
    assert stub.started.wait(10)
    if end == "a visitor comes":
        next(service.animate("anna", "photo.jpg", SpeechSource("speech.wav"), AnimationOptions()))
    warming.join(10)
    assert not warming.is_alive()
    assert drawn[0] < 100


def test_a_film_that_would_take_too_long_is_refused_before_it_is_drawn(stub):
    def animate_to_file(photo, speech, outputs, options, progress):
        progress("landmarks", 0, 250)
        progress("estimate", 0, 2250)
        stub.started.set()
        progress("frames", 0, 250)

    stub.animate_to_file = animate_to_file
    _, reports = animated(stub)
    with pytest.raises(SpaceError, match="would take about 38 minutes here"):
        list(reports)


def test_a_job_reports_progress_and_gives_its_film(stub):
    _, reports = animated(stub)
    assert isinstance(next(reports), Stream)
    stub.released.set()
    *steps, film = reports
    assert steps and all(isinstance(step, Step) for step in steps)
    assert isinstance(film, Film)
    assert not film.video.parent.exists()


@pytest.mark.parametrize("end", ["close", "cancel", "disconnect"])
def test_a_job_that_nobody_waits_for_ends_with_its_thread_and_folder(stub, end):
    threads = set(threading.enumerate())
    service, reports = animated(stub)
    next(reports)
    if end == "close":
        reports.close()
    else:
        getattr(service, end)("anna")
        assert not [report for report in reports if isinstance(report, Film)]
    assert stub.closed.is_set()
    assert not stub.folder.exists()
    assert set(threading.enumerate()) <= threads


def test_nobody_cancels_anothers_job(stub):
    service, reports = animated(stub)
    next(reports)
    service.cancel("bert")
    stub.released.set()
    assert isinstance(list(reports)[-1], Film)


@pytest.mark.parametrize(
    ("failure", "message", "reason"),
    [
        (SpaceError("There is no face."), "There is no face.", "input"),
        (ServerFault("The disk is full.", "disk_full"), "disk of this server is full", "disk_full"),
        (OSError(errno.ENOSPC, "no space left for aunt mary.jpg"), "disk of this server is full", "disk_full"),
        (ServerFault("ffmpeg ended.", "encoder_died"), "could not be written, which is the server's", "encoder_died"),
        (ServerFault("Two replicas ended.", "machine_lost"), "machine that drew this was lost", "machine_lost"),
        (MemoryError(), "no memory left", "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "no memory left", "out_of_memory"),
        (ServerFault("ffmpeg was ended.", "timeout"), "took longer", "timeout"),
        (ValueError("a name"), "on our side", "internal"),
    ],
)
def test_a_job_that_fails_ends_with_a_sentence_for_the_visitor(stub, failure, message, reason):
    metrics = Metrics()
    _, reports = animated(stub, metrics)
    next(reports)
    stub.failure = failure
    stub.released.set()
    with pytest.raises(SpaceError, match=message):
        list(reports)
    assert not stub.folder.exists()
    assert f'space_failed_total{{endpoint="animate",reason="{reason}"}} 1.0' in metrics.text().decode()


def test_a_text_that_is_being_spoken_is_given_up_with_its_visitor(monkeypatch, tmp_path):
    def write_speech(text, path, max_seconds, progress):
        progress(0, 2)
        service.disconnect("anna")
        with pytest.raises(JobCancelled) as cancelled:
            progress(1, 2)
        raise cancelled.value

    monkeypatch.setattr("space_core.web.service.write_speech", write_speech)
    metrics = Metrics()
    service = AnimationService(SimpleNamespace(), metrics)
    assert not service.say("anna", "Hello.", tmp_path / "speech.wav", 10)
    assert 'space_failed_total{endpoint="say",reason="left"} 1.0' in metrics.text().decode()


# The queue


def test_a_visitor_for_whom_the_queue_has_no_place_is_refused_and_who_leaves_it_makes_room(tmp_path):
    with served(tmp_path) as visitor:
        visitor.begin("work", [])
        assert visitor.occupied.wait(10)
        waiting = [visitor.begin("work", []) for _ in range(QUEUE_SIZE)]
        assert visitor.get("/healthz").json()["queue"] == QUEUE_SIZE
        refused = visitor.call("work", [])
        assert refused.status_code == 429
        assert refused.json()["detail"] == "All places in the queue are taken (2). Try again in a few minutes."
        assert visitor.metric('space_failed_total{endpoint="work",reason="full"}') == 1
        with visitor.stream("GET", f"/gradio_api/call/work/{waiting[0]}"):
            pass  # listens, and disconnects
        until(lambda: visitor.get("/healthz").json()["queue"] < QUEUE_SIZE)
        assert visitor.metric('space_failed_total{endpoint="work",reason="left"}') == 1
        assert visitor.call("work", []).status_code == 200


def test_every_request_waits_in_the_queue(visitor):
    assert visitor.post("/gradio_api/run/work", json={"data": []}).status_code == 404


# A program of its own


def test_visitors_files_are_removed_when_the_program_ends_and_no_name_is_logged(tmp_path):
    leftover = tmp_path / "space-visitors-killed"
    leftover.mkdir()
    (leftover / "photo.jpg").write_bytes(b"a face")
    with program(tmp_path, "--grace-seconds", "1") as (process, folder, visitor):
        assert list(tmp_path.glob("space-visitors-*")) == [folder]  # not the one that a killed program left
        assert folder.stat().st_mode & 0o777 == 0o700
        (path,) = visitor.upload_bytes("aunt mary.jpg", b"a face").json()
        assert Path(path).is_relative_to(folder / "page")
        with pytest.raises(Refused, match=r"went wrong on our side.* as fault [0-9a-f]{8}\.") as refusal:
            visitor.ask("fail", ["aunt mary.jpg"])
        visitor.begin("work", [60])  # is still at work when the program gets the signal
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=20)[1]
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert not folder.exists()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines] == ["serving", "fault", "ended"]
    assert (lines[1]["level"], lines[1]["error"], lines[1]["reason"]) == ("error", "ValueError", "internal")
    assert lines[1]["fault"] in str(refusal.value)
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    assert "mary" not in log


def test_a_port_that_is_taken_ends_the_program_with_one_sentence():
    with socket.socket() as taken, gr.Blocks(analytics_enabled=False) as page:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(port=taken.getsockname()[1])
        with pytest.raises(SystemExit, match=f"can't listen on port {settings.port} of 127.0.0.1"):
            serve(page, settings, Metrics(), Callbacks(is_loaded, lambda _: None, lambda _: None))


@pytest.mark.slow
def test_a_demo_whose_port_is_taken_says_nothing_else():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "app.py", "--port", str(taken.getsockname()[1])]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and not ended.stdout
    assert re.fullmatch(r"space: can't listen on port .*\n", ended.stderr)
