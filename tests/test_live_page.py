"""Live sessions: what the WebSocket /live promises, with a stand-in for the pipeline."""

import io
import json
import struct
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from conftest import EXAMPLES, Visitor, running, until
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from space_core import AnimationOptions
from space_core.live.frames import LiveFrame
from space_core.media.video_writer import METADATA
from space_core.web import live_session
from space_core.web.application import Callbacks, build_app
from space_core.web.jobs import Film, SpeechSource, Step
from space_core.web.live_page import add_live
from space_core.web.metrics import Metrics
from space_core.web.service import AnimationService
from space_core.web.settings import Settings

FRAME = bytes(1280)  # the sound of one, silent


class StandIn:
    """A pipeline whose frames are plain, and sound as what came; every third picture is skipped."""

    device = "cpu"

    def __init__(self):
        self.options, self.control = None, None
        self.closed, self.released = threading.Event(), threading.Event()

    def stream(self, photo, chunks, *, control, skip_after, progress):
        self.options, self.control = control.options, control
        return self._frames(chunks)

    def _frames(self, chunks):
        sound, index = np.zeros(0, np.float32), 0
        try:
            for chunk in chunks:
                sound = np.concatenate([sound, chunk])
                while len(sound) >= 640:
                    yield LiveFrame(index, np.full((64, 64, 3), index, np.uint8), sound[:640], index % 3 == 2)
                    sound, index = sound[640:], index + 1
        finally:
            self.closed.set()

    def animate_to_file(self, photo, speech, outputs, options, progress):
        while not self.released.wait(0.01):
            progress("frames", 0, 1)
        return SimpleNamespace(num_frames=1, num_faces=1, notes=())


@contextmanager
def served(tmp_path, **settings):
    """A page with live sessions; ``talk`` connects to it, ``photo`` is an upload."""
    settings, pipeline, metrics = Settings(**settings), StandIn(), Metrics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
        with gr.Blocks(analytics_enabled=False) as page:
            gr.Textbox()
        service = AnimationService(pipeline, metrics)
        routes = partial(add_live, pipeline=pipeline, service=service, settings=settings)
        callbacks = Callbacks(service.health, service.disconnect, lambda seconds: None, add_routes=routes)
        with running(build_app(page, settings, metrics, callbacks)) as address:
            with Visitor(address) as visitor:
                photo = visitor.upload(EXAMPLES / "astronaut.jpg")["path"]
                talk = partial(connect, address.replace("http", "ws") + "/live", max_size=None)
                yield SimpleNamespace(
                    address=address, visitor=visitor, photo=photo, talk=talk, pipeline=pipeline, service=service
                )
            pipeline.released.set()


@pytest.fixture
def live(tmp_path):
    with served(tmp_path) as live:
        yield live


def begin(socket, photo, **options):
    """Begins a session; its first answer."""
    socket.send(json.dumps({"photo": photo, "options": options}))
    return json.loads(socket.recv(10))


def frame(message):
    """The number of a frame, how much was said, its samples, and its picture."""
    index, num_said, count = struct.unpack_from("<III", message)
    sound, picture = np.frombuffer(message, "<i2", count, 12), message[12 + 2 * count :]
    picture = Image.open(io.BytesIO(picture)) if picture else None
    return SimpleNamespace(index=index, num_said=num_said, sound=sound, picture=picture)


def end(socket):
    """The last message and the code with which the server closes a session."""
    message = "{}"
    with suppress(ConnectionClosed):
        while True:
            message = socket.recv(10)
    return json.loads(message), socket.protocol.close_code


def test_sound_comes_back_with_pictures_that_are_marked(live):
    sound = (1 + np.arange(2000) % 3000).astype("<i2")
    with live.talk() as socket:
        ready = {"type": "ready", "frames_per_second": 25, "samples_per_second": 16000}
        assert begin(socket, live.photo, emotion="happy", intensity=0.5) == ready
        socket.send(sound.tobytes())
        frames = [frame(socket.recv(10))]
        while frames[-1].num_said < len(sound):  # silence before and after the sound
            frames.append(frame(socket.recv(10)))
        assert [frame.index for frame in frames] == list(range(len(frames)))
        heard = np.concatenate([frame.sound for frame in frames])
        np.testing.assert_allclose(heard[heard != 0], sound, atol=1)
        pictures = [frame.picture for frame in frames if frame.picture]
        assert all(picture.format == "JPEG" and picture.size == (64, 64) for picture in pictures)
        assert frames[0].picture.info["comment"].decode() == METADATA["comment"]
        socket.send('{"end": true}')
        assert end(socket) == ({"type": "end", "message": ""}, 1000)
    assert (live.pipeline.options.emotion, live.pipeline.options.intensity) == ("happy", 0.5)
    assert live.pipeline.options.mark == "visible"


def test_pictures_that_are_skipped_are_not_sent_and_counted(live):
    with live.talk() as socket:
        begin(socket, live.photo)
        for _ in range(12):
            socket.send(FRAME)
        assert [frame(socket.recv(10)).picture is None for _ in range(6)] == [False, False, True] * 2
        socket.send('{"end": true}')
        end(socket)
    frames = live.visitor.metric("space_live_frames_total")
    assert frames >= 12
    assert live.visitor.metric("space_live_frames_skipped_total") == frames // 3


def test_options_change_while_the_portrait_talks_and_a_wrong_one_is_answered(live):
    with live.talk() as socket:
        begin(socket, live.photo)
        socket.send('{"emotion": "sad", "gaze_yaw": 10}')
        socket.send('{"size": 1024}')
        assert next(json.loads(answer) for answer in socket if isinstance(answer, str))["type"] == "refused"
    changed = live.pipeline.control.options
    assert (changed.emotion, changed.gaze_yaw, changed.size) == ("sad", 10, 512)


def test_the_operator_can_force_the_mark(tmp_path):
    with served(tmp_path, force_visible_mark=True) as live, live.talk() as socket:
        begin(socket, live.photo, mark=False)
        assert live.pipeline.options.mark == "visible"


def test_a_wrong_beginning_is_refused_with_a_sentence(live):
    for first in (
        "hello",
        "[]",
        '{"photo": 3}',
        '{"photo": "/etc/passwd"}',
        '{"photo": "\\u0000"}',
        '{"photo": "PHOTO", "options": {"pose_video": "x.mp4"}}',
        '{"photo": "PHOTO", "options": {"intensity": 7}}',
        '{"photo": "PHOTO", "options": {"mark": "yes"}}',
        '{"photo": "PHOTO", "options": {"detector": "face-alignment"}}',
        '{"photo": "PHOTO", "more": 1}',
        '{"photo": "PHOTO", "options": {"\\ud800": 1}}',
        "[" * 50_000,
        FRAME,
        b"",
    ):
        with live.talk() as socket:
            socket.send(first.replace("PHOTO", live.photo) if isinstance(first, str) else first)
            message, code = end(socket)
        assert message["type"] == "error" and message["message"].endswith("."), first
        assert code == 1008
        if first in ("hello", "[]", FRAME):  # what a beginning is, rather than what may come after it
            assert message["message"].startswith("The first message is JSON")
    assert live.pipeline.options is None


def test_wrong_messages_end_a_session_with_a_sentence_and_the_next_one_begins(live):
    for sent, sentence in (
        ([bytes(3)], "16-bit PCM"),
        ([bytes(70_000)], "64 KB"),
        ([bytes(64_000)] * 3, "faster than"),
        (["{}"] * 600, "faster than"),
        (["no JSON"], "JSON"),
        (["[" * 50_000], "JSON"),
    ):
        with live.talk() as socket:
            assert begin(socket, live.photo)["type"] == "ready"
            with suppress(ConnectionClosed):
                for message in sent:
                    socket.send(message)
            message, code = end(socket)
            assert message["type"] == "error" and sentence in message["message"]
            assert code == 1008
        until(lambda: live.visitor.metric("space_live_sessions") == 0)


def test_there_is_one_session_at_a_time_and_a_hang_up_makes_room(live):
    with live.talk() as first, live.talk() as second:
        begin(first, live.photo)
        assert live.visitor.metric("space_live_sessions") == 1
        refusal = begin(second, live.photo)
        assert refusal["type"] == "error" and "at the moment" in refusal["message"]
        first.socket.close()  # without a word
        assert live.pipeline.closed.wait(10)
    until(lambda: live.visitor.metric("space_live_sessions") == 0)
    assert live.visitor.metric('space_failed_total{endpoint="live",reason="full"}') == 1
    with live.talk() as third:
        assert begin(third, live.photo)["type"] == "ready"


def test_nobody_ends_the_session_of_another_whose_address_they_give_as_their_session(live):
    with live.talk() as socket:
        begin(socket, live.photo)
        live.service.cancel("127.0.0.1")
        live.service.disconnect("127.0.0.1")
        socket.send(FRAME)
        while frame(socket.recv(10)).num_said < len(FRAME) // 2:  # the session goes on until it is said
            pass


def test_no_session_begins_while_a_film_is_made_and_films_wait_for_a_session(live):
    film = live.service.animate("anna", "photo.jpg", SpeechSource("speech.wav"), AnimationOptions())
    next(film)
    with live.talk() as socket:
        assert begin(socket, live.photo)["type"] == "error"
    live.pipeline.released.set()
    assert isinstance(list(film)[-1], Film)
    with live.talk() as socket:
        assert begin(socket, live.photo)["type"] == "ready"
        film = live.service.animate("anna", "photo.jpg", SpeechSource("speech.wav"), AnimationOptions())
        assert next(film) == Step("live", 0, 1)
        with live.talk() as other:
            assert begin(other, live.photo)["type"] == "error"
    assert isinstance(list(film)[-1], Film)


def test_a_session_ends_when_its_time_is_over_and_when_nothing_comes(tmp_path, monkeypatch):
    with served(tmp_path, live_seconds=0.5) as live, live.talk() as socket:
        begin(socket, live.photo)
        message, code = end(socket)
        assert (message["type"], code) == ("end", 1000)
        assert "at most 0.5 seconds" in message["message"]
    monkeypatch.setattr(live_session, "IDLE_SECONDS", 0.3)
    with served(tmp_path) as live, live.talk() as socket:
        begin(socket, live.photo)
        assert "Nothing has come" in end(socket)[0]["message"]


def test_a_visitor_may_wait_for_the_portrait_in_silence(live, monkeypatch):
    monkeypatch.setattr(live_session, "IDLE_SECONDS", 0.3)
    stream = live.pipeline.stream

    def after_a_while(*arguments, **options):
        time.sleep(1)
        return stream(*arguments, **options)

    monkeypatch.setattr(live.pipeline, "stream", after_a_while)
    with live.talk() as socket:
        assert begin(socket, live.photo)["type"] == "ready"
        assert "Nothing has come" in end(socket)[0]["message"]


def test_a_fault_is_reported_without_its_message_and_the_server_goes_on(live, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(live.pipeline, "stream", fail)
    with live.talk() as socket:
        answer = begin(socket, live.photo)
        assert answer["type"] == "error" and "our side" in answer["message"] and "secret" not in answer["message"]
        assert end(socket)[1] == 1011
    assert live.visitor.metric('space_failed_total{endpoint="live",reason="internal"}') == 1


def test_the_end_of_the_server_ends_a_session(live):
    with live.talk() as socket:
        begin(socket, live.photo)
        live.service.end()
        socket.send(FRAME)
        message, code = end(socket)
    assert "restarting" in message["message"] and code == 1012


def test_pages_of_other_sites_and_other_paths_are_refused(live):
    with pytest.raises(InvalidStatus) as refusal:
        live.talk(origin="https://example.org").close()
    assert refusal.value.response.status_code == 403
    with live.talk(origin=live.address):
        pass
    with pytest.raises(InvalidStatus) as refusal:
        connect(live.address.replace("http", "ws") + "/queue")
    assert refusal.value.response.status_code == 404


def test_the_page_and_its_scripts_are_served_where_sessions_are_offered(live, tmp_path):
    assert "Talk live" in live.visitor.get("/live").text
    for script in ("live.js", "live_microphone.js"):
        assert live.visitor.get(f"/{script}").headers["content-type"].startswith("text/javascript")
    assert not Settings(live_seconds=0).offers_live
