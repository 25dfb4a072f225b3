"""What the web demo promises to visitors and programs, tested through its API."""

import json
import re
import subprocess
import tempfile
import threading
import zlib
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import c2pa
import httpx
import imageio_ffmpeg
import numpy as np
import psutil
import pytest
import soundfile
from conftest import EXAMPLES, Refused, Visitor, serving, speech_of, until, uploaded
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from space_core import load_motion
from space_core.media.video_reader import read_frames
from space_core.media.video_writer import METADATA
from space_core.motion.emotion_labels import EMOTIONS

ASTRONAUT = EXAMPLES / "astronaut.jpg"

# Parameters of the API that programs rely on, with their defaults.
ANIMATE = {
    "photo": None,
    "speech": None,
    "text": None,
    "speech_video": None,
    "emotion": "neutral",
    "intensity": 1.0,
    "blend": None,
    "articulation": 1.0,
    "action_units": "",
    "expressiveness": 1.0,
    "pose_video": None,
    "head_motion": 1.0,
    "hair_motion": 1.0,
    "blinks_per_minute": 17,
    "gaze_yaw": 0,
    "gaze_pitch": 0,
    "saccades": 1,
    "eyes_on_viewer": 0.5,
    "seed": 0,
    "variation": "same again",
    "framing": "crop",
    "size": 512,
    "face": 1,
    "detector": "mediapipe",
    "generator": "mesh-warp",
    "mark": True,
    "look_inside": False,
}
FILES = ("photo", "speech", "speech_video", "pose_video")


def client_of(address):
    """Gradio's client, whose downloads go with the other temporary files."""
    return Client(address, verbose=False, download_files=tempfile.gettempdir())


@pytest.fixture(scope="module")
def client(demo):
    client = client_of(demo)
    yield client
    client.close()


@pytest.fixture(scope="module")
def visitor(demo):
    with Visitor(demo) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """0.4 seconds of speech: ten frames."""
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    path = tmp_path_factory.mktemp("short") / "short.wav"
    soundfile.write(path, sound[rate : rate + round(0.4 * rate)], rate)
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """100 seconds of speech, for jobs that are given up."""
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    path = tmp_path_factory.mktemp("long") / "long.flac"
    soundfile.write(path, np.resize(sound, 100 * rate), rate)
    return path


@pytest.fixture(scope="module")
def trap():
    """A web server to which no file and no value may lead the demo: its address, and the requests that it got."""
    requests = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            """Prints nothing."""

    server = HTTPServer(("127.0.0.1", 0), Trap)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def predict(client, endpoint="/animate", **values):
    """The result of an endpoint for a program that uses Gradio's client; files are given by their paths."""
    given = dict.fromkeys(FILES[: 3 if endpoint == "/compare" else 4]) | {"text": ""} | values
    if endpoint == "/animate":
        given = {"blend": ""} | given
    for name in FILES:
        if given.get(name):
            given[name] = handle_file(str(given[name]))
    return client.predict(**given, api_name=endpoint)


def parameters(visitor, endpoint="/animate"):
    """The default of each parameter of the API, by name and in order; None where there is none."""
    described = visitor.get("/gradio_api/info").json()["named_endpoints"][endpoint]["parameters"]
    return {parameter["parameter_name"]: parameter["parameter_default"] for parameter in described}


def usual(visitor, short, **changed):
    """The values of a usual request for /animate, by name, with some changed; paths are uploaded."""
    given = {**parameters(visitor), "photo": ASTRONAUT, "speech": short, **changed}
    return {name: visitor.upload(value) if isinstance(value, Path) else value for name, value in given.items()}


def values(visitor, short, **changed):
    """The same in the order of the API."""
    return list(usual(visitor, short, **changed).values())


def assert_plain(sentence):
    """That a sentence is one for people: short, whole, without names from the program or paths of the machine."""
    assert 10 < len(sentence) < 400, sentence
    assert sentence[-1] == ".", sentence
    assert not re.search(r"Traceback|Error\b|Exception|<class|NoneType|\bself\b|__|0x[0-9a-f]{6}", sentence), sentence
    assert not re.search(r"/(tmp|home|usr|root|etc|work|var|private)/", sentence), sentence


def refused(visitor, endpoint, values):
    """The message, a plain sentence, with which the demo refuses something."""
    sentence = visitor.refusal(endpoint, values)
    assert_plain(sentence)
    return sentence


def assert_serves(visitor, short):
    """That the next visitor gets a film."""
    film, summary, *_ = visitor.ask("animate", values(visitor, short))
    assert film.get("video", film)["path"].endswith(".mp4")
    assert "s of video" in summary


def frames_of(video):
    return np.stack(list(read_frames(video, 2000, 60)))


# What visitors get


def test_the_api_keeps_its_parameters_their_order_and_their_defaults(visitor):
    now = parameters(visitor)
    assert [name for name in now if name in ANIMATE] == list(ANIMATE)
    assert {name: now[name] for name in ANIMATE} == ANIMATE
    settings = [f"{name}_{setting}" for setting in (1, 2, 3, 4) for name in ("emotion", "intensity", "seed")]
    expected = ["photo", "speech", "text", "speech_video", "number", *settings]
    expected += ["articulation", "expressiveness", "head_motion", "hair_motion", "blinks_per_minute"]
    expected += ["face", "detector", "generator", "mark"]
    assert [name for name in parameters(visitor, "/compare") if name in expected] == expected
    assert list(parameters(visitor, "/look")) == ["photo", "face", "detector", "framing"]
    assert list(parameters(visitor, "/say")) == ["text"]


def test_a_link_to_the_page_is_shown_with_what_it_is(visitor):
    told = re.findall(
        r'<meta (?:name|property)="((?:og|twitter):\w+|description)" content="([^"]*)"', visitor.get("/").text
    )
    assert len({name for name, _ in told}) == len(told)
    assert dict(told)["og:title"] == "SPACE"
    assert "one recording in" in dict(told)["description"]
    assert not [content for _, content in told if "radio" in content]


def test_photo_and_speech_give_a_video(client, short):
    video, summary, inside, landmarks, seed, stream = predict(
        client, photo=ASTRONAUT, speech=short, emotion="happy", intensity=0.7, seed=5
    )
    assert imageio_ffmpeg.count_frames_and_secs(video) == (10, pytest.approx(10 / 25, abs=0.05))
    assert next(imageio_ffmpeg.read_frames(video))["size"] == (512, 512)
    assert next(imageio_ffmpeg.read_frames(video))["audio_codec"] == "aac"
    told = r"0\.4 s of video, made in \d+\.\d s\. Emotion: happy, intensity 0\.7\. Seed: 5\."
    assert re.fullmatch(told, summary)
    assert (inside, landmarks, seed, stream) == (None, None, 5, None)


def test_intermediate_results_are_made_on_request(client, short):
    video, _, inside, landmarks, *_ = predict(
        client, photo=ASTRONAUT, speech=short, look_inside=True, blinks_per_minute=0, seed=3
    )
    assert next(imageio_ffmpeg.read_frames(inside))["size"] == (1536, 512)
    assert imageio_ffmpeg.count_frames_and_secs(video)[0] == 10
    motion = load_motion(landmarks)
    assert len(motion) == 10
    assert not motion.blink.any()


def test_a_text_may_be_given_instead_of_speech(client):
    video, *_ = predict(client, photo=ASTRONAUT, text="Hello!")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(video)
    assert 0.3 < seconds < 3
    assert frames == pytest.approx(25 * seconds, abs=2)


def test_the_sound_of_a_video_may_be_given_instead_of_speech(client, short, tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:d=1", "-i", short, tmp_path / "talk.mp4")
    video, *_ = predict(client, photo=ASTRONAUT, speech_video=tmp_path / "talk.mp4")
    assert imageio_ffmpeg.count_frames_and_secs(video)[0] == pytest.approx(10, abs=2)


def test_the_head_of_a_video_may_be_followed(client, short):
    with_video = predict(client, photo=ASTRONAUT, speech=short, pose_video=EXAMPLES / "mona_lisa.mp4", look_inside=True)
    without = predict(client, photo=ASTRONAUT, speech=short, look_inside=True)
    followed, generated = (load_motion(film[3]).head_pose.rotation for film in (with_video, without))
    assert np.abs(followed - generated).max() > 1e-3


def test_the_summary_says_that_far_turns_of_a_pose_video_were_reduced(client, short, far_turn_video):
    _, summary, *_ = predict(client, photo=ASTRONAUT, speech=short, pose_video=far_turn_video)
    assert "beyond 25° from its first pose turns are reduced" in summary


def test_a_blend_or_timeline_replaces_the_emotion(client, short):
    timeline = {"emotion": "sad", "blend": "0:happy@0.5, 1:neutral"}
    motion = load_motion(predict(client, photo=ASTRONAUT, speech=short, look_inside=True, **timeline)[3])
    assert 0.2 < motion.emotion[-1, EMOTIONS.index("happy")] < 0.6  # it is still growing
    assert not motion.emotion[:, EMOTIONS.index("sad")].any()


@pytest.mark.parametrize(
    ("photo", "options", "size"),
    [
        ("grace_hopper.jpg", {"framing": "photo"}, (512, 560)),
        ("astronaut.jpg", {"size": 256}, (256, 256)),
    ],
)
def test_framing_and_size_are_the_visitors_choice(client, short, photo, options, size):
    video, *_ = predict(client, photo=EXAMPLES / photo, speech=short, **options)
    assert next(imageio_ffmpeg.read_frames(video))["size"] == size


def test_the_same_seed_gives_the_same_frames_and_another_one_others(client, short):
    films = [frames_of(predict(client, photo=ASTRONAUT, speech=short, seed=seed)[0]) for seed in (7, 7, 8)]
    np.testing.assert_array_equal(films[0], films[1])
    assert not np.array_equal(films[0], films[2])


def test_a_visitor_may_be_surprised_and_have_the_same_again(client, short):
    first, _, _, _, seed, _ = predict(client, photo=ASTRONAUT, speech=short, variation="surprise me")
    again, _, _, _, same, _ = predict(client, photo=ASTRONAUT, speech=short, seed=seed)
    assert seed == same != 0
    np.testing.assert_array_equal(frames_of(first), frames_of(again))


@pytest.mark.parametrize(("number", "size"), [(2, (2, 1)), (3, (2, 2))])
def test_settings_are_compared_side_by_side(client, short, number, size):
    video, summary, stream = predict(client, "/compare", photo=ASTRONAUT, speech=short, number=number)
    assert stream is None
    width, height = next(imageio_ffmpeg.read_frames(video))["size"]
    assert (round(width / 512), round(height / 512)) == size
    assert "0.4 s of video" in summary


def test_a_photo_is_previewed_or_refused_with_a_reason(client, tmp_path):
    picture, notes = client.predict(handle_file(str(ASTRONAUT)), api_name="/look")
    assert Image.open(picture).size[0] > 100
    assert notes.startswith("This is how it will be framed.")
    Image.linear_gradient("L").resize((300, 300)).save(tmp_path / "landscape.png")
    picture, notes = client.predict(handle_file(str(tmp_path / "landscape.png")), api_name="/look")
    assert picture is None
    assert "No human face" in notes
    picture, notes = client.predict(handle_file(str(ASTRONAUT)), face=3, api_name="/look")
    assert picture is None
    assert "no face 3" in notes


def test_the_name_of_a_photo_is_shown_as_it_is_and_not_as_markdown(visitor):
    answer = visitor.upload_bytes("my_[photo](a).jpg", b"no photo")
    _, notes = visitor.ask("look", [uploaded(answer.json()[0]), 1, "mediapipe", "crop"])
    assert r"'my_\[photo](a).jpg'" in notes


def test_a_text_is_spoken(client):
    recording = client.predict("Hello there.", api_name="/say")
    sound, rate = soundfile.read(recording)
    assert 0.3 < len(sound) / rate < 3
    assert np.abs(sound).max() > 0.05


# Marks of a synthetic video


def test_every_video_says_in_its_metadata_and_in_a_signed_manifest_that_it_is_generated(client, short):
    video, _, inside, *_ = predict(client, photo=ASTRONAUT, speech=short, look_inside=True)
    grid, *_ = predict(client, "/compare", photo=ASTRONAUT, speech=short)
    for made in (video, inside, grid):
        metadata = ffmpeg("-i", made, "-f", "ffmetadata", "-").decode().replace("\\", "")
        assert all(value in metadata for value in METADATA.values())
        with c2pa.Reader(made) as reader:
            assert reader.get_validation_state() == "Valid"
            assert reader.get_active_manifest()["claim_generator_info"][0]["name"] == "SPACE"


@contextmanager
def streaming(visitor, speech):
    """The address of the stream of a film while it is being made; the visitor leaves at the end of the context."""
    event = visitor.begin("animate", values(visitor, speech))
    with visitor.stream("GET", f"/gradio_api/call/animate/{event}") as events:
        lines = events.iter_lines()  # kept: the connection is closed with it
        told = next(line for line in lines if "stream/" in line)
        yield "/" + json.loads(told.removeprefix("data: "))[-1].partition("#")[0]


def test_a_film_can_be_fetched_while_it_is_drawn_by_those_who_know_its_address(visitor, tmp_path):
    with streaming(visitor, speech_of(4, tmp_path / "four.wav")) as address:
        assert visitor.get(address.replace("stream/", "stream/x")).status_code == 404
        with visitor.stream("GET", address) as answer:
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            content = b"".join(answer.iter_raw())
    (tmp_path / "stream.mp4").write_bytes(content)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "stream.mp4"))[0] == 100
    metadata = ffmpeg("-i", tmp_path / "stream.mp4", "-f", "ffmetadata", "-").decode().replace("\\", "")
    assert all(value in metadata for value in METADATA.values())
    until(lambda: visitor.get(address).status_code == 404)


def test_a_film_can_be_played_by_http_live_streaming_while_it_is_drawn_and_a_while_later(visitor, tmp_path):
    with streaming(visitor, speech_of(4.4, tmp_path / "speech.wav")) as address:
        playlist = address.replace(".mp4", ".m3u8")
        first = visitor.get(playlist)
        assert first.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert first.headers["cache-control"] == "no-store"
        assert first.text.startswith("#EXTM3U\n")
        until(lambda: visitor.get(playlist).text.endswith("#EXT-X-ENDLIST\n"))
        assert visitor.get(playlist.replace("stream/", "stream/x")).status_code == 404
    last = visitor.get(playlist).text
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in last
    assert last.startswith(first.text.removesuffix("#EXT-X-ENDLIST\n"))  # it has only grown
    assert re.findall(r"#EXTINF:(.*),", last) == ["1.00"] * 4 + ["0.40"]
    (header,) = re.findall(r'#EXT-X-MAP:URI="(.*)"', last)
    names = re.findall(r"^[^#].*", last, re.MULTILINE)
    header, *segments = (visitor.get(f"/stream/{name}").content for name in (header, *names))
    for number, content in enumerate((header + segments[2], header + segments[4], b"".join([header, *segments]))):
        (tmp_path / f"{number}.mp4").write_bytes(content)
    assert [imageio_ffmpeg.count_frames_and_secs(str(tmp_path / f"{n}.mp4"))[0] for n in range(3)] == [25, 10, 110]
    assert visitor.get(address.replace(".mp4", ".5.m4s")).status_code == 404
    stream = f"{visitor.base_url}{playlist}".replace("//stream", "/stream")
    assert len(ffmpeg("-i", stream, "-vf", "scale=2:2", "-f", "rawvideo", "-pix_fmt", "gray", "-")) == 4 * 110


def test_a_film_whose_visitor_leaves_breaks_off_its_stream(visitor, tmp_path):
    with ExitStack() as connections:
        with streaming(visitor, speech_of(60, tmp_path / "minute.wav")) as address:
            answer = connections.enter_context(visitor.stream("GET", address))
            content = answer.iter_raw()
            assert next(content)[4:8] == b"ftyp"
        with pytest.raises(httpx.RemoteProtocolError):
            list(content)


def corner_differs(one, other):
    """Whether two videos differ in the lower right corner, where the mark is, far more than elsewhere."""
    difference = np.abs(frames_of(one)[0].astype(int) - frames_of(other)[0])
    return difference[-40:, -130:].mean() > 10 * difference[:-60].mean() + 1


def test_the_visible_mark_is_there_unless_the_visitor_takes_it_away(client, short):
    as_it_is, with_mark, without = (
        predict(client, photo=ASTRONAUT, speech=short, **more)[0] for more in ({}, {"mark": True}, {"mark": False})
    )
    assert not corner_differs(as_it_is, with_mark)
    assert corner_differs(as_it_is, without)


def test_the_operator_may_force_the_visible_mark_or_have_it_off_at_first(signing_pipeline, client, short):
    marked = predict(client, photo=ASTRONAUT, speech=short)[0]
    for settings, differs in (({"force_visible_mark": True}, False), ({"visible_mark": False}, True)):
        with serving(signing_pipeline, **settings) as address:
            other = client_of(address)
            without = {"mark": False} if "force_visible_mark" in settings else {}
            assert corner_differs(predict(other, photo=ASTRONAUT, speech=short, **without)[0], marked) == differs
            other.close()


# Many visitors


class Watched:
    """A pipeline that records which films were begun, ended and finished, by their seeds, and can be held up."""

    def __init__(self, pipeline):
        self._pipeline = pipeline
        self.free = threading.Event()
        self.reset()

    def reset(self):
        self.begun, self.ended, self.finished = [], [], []
        self.failure = None
        self.free.set()

    def __getattr__(self, name):
        return getattr(self._pipeline, name)

    def animate_to_file(self, photo, speech, path, options, progress, **files):
        self.begun.append(options.seed)
        try:
            while not self.free.wait(0.01):
                progress("portrait", 0, 1)
            if self.failure:
                raise self.failure
            made = self._pipeline.animate_to_file(photo, speech, path, options, progress, **files)
            self.finished.append(options.seed)
            return made
        finally:
            self.ended.append(options.seed)


@pytest.fixture(scope="module")
def watched_demo(signing_pipeline, visitors_folder):
    watched = Watched(signing_pipeline)
    with serving(watched, queue_size=3) as watched.address, Visitor(watched.address) as watched.visitor:
        yield watched
        watched.free.set()


@pytest.fixture
def watched(watched_demo):
    """A demo of its own, whose pipeline is watched; at rest before and after each test."""
    watched_demo.reset()
    yield watched_demo
    watched_demo.free.set()
    until(lambda: watched_demo.visitor.get("/healthz").json()["queue"] == 0)
    until(lambda: watched_demo.ended == watched_demo.begun)


def failures(watched, reason):
    return watched.visitor.metric(f'space_failed_total{{endpoint="animate",reason="{reason}"}}')


def until_frames_are_rendered(watched, before):
    """Waits for the stage of landmarks to have ended once more than ``before`` times."""
    until(lambda: stages_ended(watched) > before)


def stages_ended(watched):
    return watched.visitor.metric('space_stage_seconds_count{stage="landmarks"}')


@pytest.mark.slow
def test_eight_visitors_at_once_are_all_served(signing_pipeline, visitors_folder, short, tmp_path):
    def visit(seed):
        with Visitor(address) as visitor:
            visitor.headers["X-Forwarded-For"] = f"10.0.0.{seed}"
            video, _, _, _, made, _ = visitor.ask("animate", values(visitor, short, size=256, seed=seed))
            path = tmp_path / f"{seed}.mp4"
            path.write_bytes(visitor.get(f"/gradio_api/file={video.get('video', video)['path']}").content)
            return made, path

    with serving(signing_pipeline, trusted_proxies="127.0.0.1") as address, ThreadPoolExecutor(8) as visitors:
        seeds, films = zip(*visitors.map(visit, range(8)), strict=True)
    assert list(seeds) == list(range(8))
    assert len({frames_of(film)[-1].tobytes() for film in films}) == 8  # everybody has the film that they asked for


def test_a_full_queue_refuses_with_a_sentence_and_keeps_the_order_of_requests(watched, short):
    watched.free.clear()
    asking = usual(watched.visitor, short, size=256)

    def begin(seed):
        return watched.visitor.begin("animate", list({**asking, "seed": seed}.values()))

    begun = [begin(0)]
    until(lambda: watched.begun)
    begun += [begin(seed) for seed in (1, 2, 3)]
    refusals = [watched.visitor.call("animate", list(asking.values())) for _ in range(16)]
    client = client_of(watched.address)
    with pytest.raises(httpx.HTTPStatusError, match="429") as refused_client:
        predict(client, photo=ASTRONAUT, speech=short)
    client.close()
    for refusal in (*refusals, refused_client.value.response):  # Gradio's client gets that sentence, too
        assert refusal.status_code == 429
        assert_plain(refusal.json()["detail"])
        assert "All places in the queue are taken (3)" in refusal.json()["detail"]
    watched.free.set()
    for event in begun:
        watched.visitor.result("animate", event)
    assert watched.begun == watched.ended == [0, 1, 2, 3]


def test_a_fault_of_the_server_is_a_plain_sentence_and_the_next_film_is_made(watched, short):
    before = failures(watched, "internal")
    watched.failure = RuntimeError(f"boom in {short}")
    asking = values(watched.visitor, short)
    assert "our side" in refused(watched.visitor, "animate", asking)
    assert failures(watched, "internal") == before + 1
    watched.failure = MemoryError()
    assert "no memory left" in refused(watched.visitor, "animate", asking)
    health = watched.visitor.get("/healthz")
    assert (health.status_code, health.json()["status"], health.json()["reason"]) == (200, "degraded", "out_of_memory")
    watched.failure = None
    assert watched.visitor.ask("animate", asking)
    assert watched.visitor.get("/healthz").json()["status"] == "ready"


def filming(client, watched, long, seed):
    """A visitor's film that has been begun."""
    files = {"photo": handle_file(str(ASTRONAUT)), "speech": handle_file(str(long))}
    job = client.submit(
        **files, speech_video=None, pose_video=None, text="", blend="", seed=seed, mark=False, api_name="/animate"
    )
    until(lambda: seed in watched.begun)
    return job


def assert_stopped(job):
    """The answer to a film says that it was stopped."""
    with pytest.raises(AppError, match="This was stopped, so nothing was made"):
        job.result(timeout=30)


@pytest.mark.parametrize("moment", ["while the face is looked for", "while frames are drawn"])
def test_stop_ends_the_work(watched, long, short, moment):
    client = client_of(watched.address)
    stopped, landmarks = failures(watched, "stopped"), stages_ended(watched)
    if moment == "while the face is looked for":
        watched.free.clear()
    job = filming(client, watched, long, seed=1)
    if moment == "while frames are drawn":
        until_frames_are_rendered(watched, landmarks)
    client.predict(api_name="/stop")
    assert_stopped(job)
    until(lambda: watched.ended == [1])
    assert watched.finished == []
    until(lambda: failures(watched, "stopped") == stopped + 1)
    watched.free.set()
    assert_serves(watched.visitor, short)
    client.close()


def test_a_program_that_cancels_its_request_ends_the_work(watched, long, short):
    client = client_of(watched.address)
    stopped, landmarks = failures(watched, "stopped"), stages_ended(watched)
    job = filming(client, watched, long, seed=1)
    until_frames_are_rendered(watched, landmarks)
    job.cancel()
    with pytest.raises((AppError, CancelledError)):  # whichever comes first: the answer, or that nobody waits for it
        job.result(timeout=30)
    until(lambda: watched.ended == [1])
    assert watched.finished == []
    until(lambda: failures(watched, "stopped") == stopped + 1)
    assert_serves(watched.visitor, short)
    client.close()


def test_nobody_stops_anothers_film(watched, short):
    watched.free.clear()
    client, other = client_of(watched.address), client_of(watched.address)
    job = filming(client, watched, short, seed=1)
    other.predict(api_name="/stop")
    watched.free.set()
    assert job.result()[4] == 1
    client.close()
    other.close()


def with_open_page(visitor, name, asking):
    """A visitor whose browser requests a film, and holds the connections of an open page.

    Returns what closes the page.
    """
    config = visitor.get("/config").json()
    animate = next(function for function in config["dependencies"] if function["api_name"] == "animate")
    kinds = {component["id"]: component["type"] for component in config["components"]}
    given = iter(asking)
    # The page sends something for every input, for those, too, that the server keeps itself.
    data = [None if kinds[number] == "state" else next(given) for number in animate["inputs"]]
    streams = ExitStack()

    def listen(path):
        listening = streams.enter_context(httpx.Client(base_url=visitor.base_url, timeout=60))
        streams.enter_context(listening.stream("GET", path))

    listen(f"/gradio_api/heartbeat/{name}")
    body = {"data": data, "fn_index": animate["id"], "session_hash": name}
    visitor.post("/gradio_api/queue/join", json=body).raise_for_status()
    listen(f"/gradio_api/queue/data?session_hash={name}")
    return streams.close


def test_a_film_is_given_up_when_its_visitor_leaves(watched, long, short):
    landmarks = stages_ended(watched)
    leave = with_open_page(watched.visitor, "leaves", values(watched.visitor, long, seed=1))
    until_frames_are_rendered(watched, landmarks)
    leave()
    until(lambda: watched.ended == [1])
    assert watched.finished == []
    assert_serves(watched.visitor, short)


def test_a_film_is_given_up_when_a_program_disconnects(watched, long, short):
    event = watched.visitor.begin("animate", values(watched.visitor, long, seed=1))
    with watched.visitor.stream("GET", f"/gradio_api/call/animate/{event}"):
        until(lambda: watched.begun == [1])
    until(lambda: watched.ended == [1])
    assert watched.finished == []
    assert_serves(watched.visitor, short)


def test_nothing_is_filmed_for_a_visitor_who_left_while_waiting(watched, short):
    watched.free.clear()
    first = watched.visitor.begin("animate", values(watched.visitor, short, seed=1))
    until(lambda: watched.begun == [1])
    leave = with_open_page(watched.visitor, "leaves", values(watched.visitor, short, seed=2))
    last = watched.visitor.begin("animate", values(watched.visitor, short, seed=3))
    until(lambda: watched.visitor.get("/healthz").json()["queue"] == 2)
    leave()
    until(lambda: watched.visitor.get("/healthz").json()["queue"] == 1)
    watched.free.set()
    for event in (first, last):
        watched.visitor.result("animate", event)
    assert watched.begun == [1, 3]


@pytest.mark.slow
def test_memory_stays_flat_over_many_films(visitor, short):
    process = psutil.Process()
    asking = values(visitor, short)
    held = []
    for _ in range(18):
        # One visitor; memory over many is tested below.
        visitor.result("animate", visitor.begin("animate", asking, session_hash="faithful"))
        held.append(process.memory_info().rss / 2**20)
    # The least of six films, as the memory of a film in the making comes and goes, and malloc takes and returns tens of
    # megabytes now and then. The frames of the 9 films between would take 70.
    assert min(held[-6:]) - min(held[3:9]) < 50


@pytest.mark.slow
def test_memory_stays_flat_over_hundreds_of_visitors(visitor):
    process = psutil.Process()
    held = []
    for visitors in (310, 150):
        for _ in range(visitors):
            visitor.ask("stop", [])  # as a visitor of its own each time
        held.append(process.memory_info().rss / 2**20)
    assert held[1] - held[0] < 12  # megabytes; kept in memory, they would take twice that


# Hostile files


def ffmpeg(*arguments):
    """What ffmpeg writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def png(width, height, *chunks):
    """A PNG of one grey, with other chunks before its pixels."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    # Of many rows only the first are there: a picture that is too large is refused by its header.
    pixels = zlib.compress(bytes(1 + width) * min(height, 1000))
    more = b"".join(chunk(kind, content) for kind, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def photos(folder, trap):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512"><image href="{trap}/photo.png"/></svg>'
    text_bomb = zlib.compress(bytes(100_000_000))
    return {
        "nothing.jpg": b"",
        "text.jpg": b"no picture",
        "drawing.svg": svg.encode(),
        "drawing.png": svg.encode(),
        "page.jpg": f'<!doctype html><img src="{trap}/photo.png"><script>alert(1)</script>'.encode(),
        "document.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 512 512\n(/etc/passwd) (r) file\n",
        "list.png": f"#EXTM3U\n#EXTINF:1,\n{trap}/photo.png\n".encode(),
        "sound.jpg": (EXAMPLES / "english_starlight.flac").read_bytes(),
        "film.jpg": (EXAMPLES / "mona_lisa.mp4").read_bytes(),
        "half.jpg": ASTRONAUT.read_bytes()[:20_000],
        "small.png": png(8, 8),
        "narrow.png": png(20_000, 70),
        "hundred_megapixels.png": png(10_000, 10_000),
        "bomb.png": png(50_000, 50_000),
        "text_bomb.png": png(300, 300, (b"zTXt", b"Comment\0\0" + text_bomb)),
        "profile_bomb.png": png(300, 300, (b"iCCP", b"profile\0\0" + text_bomb)),
    }


def test_photos_that_are_none_are_refused_and_the_next_visitor_is_served(visitor, short, trap, tmp_path):
    for name, content in photos(tmp_path, trap[0]).items():
        (tmp_path / name).write_bytes(content)
        sentence = refused(visitor, "animate", values(visitor, short, photo=tmp_path / name))
        assert name in sentence or "face" in sentence, sentence
        picture, notes = visitor.ask("look", [visitor.upload(tmp_path / name), 1, "mediapipe", "crop"])
        assert picture is None
        assert_plain(notes)
    assert not trap[1]
    assert_serves(visitor, short)


def recordings(folder, trap):
    """Files that are no speech, by name, and words of the sentence with which each is refused."""
    made = {
        "nothing.wav": (b"", "is empty"),
        "text.wav": (b"no sound", "not a recording"),
        "photo.wav": (ASTRONAUT.read_bytes(), "is a picture, not a recording"),
        "letter.pdf": (b"%PDF-1.7\n", "is a PDF, not a recording"),
        "page.mp3": (b"<!doctype html>", "not a recording"),
        "list.wav": (f"#EXTM3U\n#EXTINF:1,\n{trap}/a.ts\n#EXT-X-ENDLIST\n".encode(), "not a recording"),
        "list.m3u8": (f"#EXTM3U\n#EXTINF:1,\n{trap}/a.ts\n#EXT-X-ENDLIST\n".encode(), "not a recording"),
        "list.pls": (f"[playlist]\nFile1={trap}/a.mp3\n".encode(), "not a recording"),
        "script.mp4": (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a recording"),
        "manifest.mp4": (
            b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
            b'<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>'
            + f"{trap}/a.mp4".encode()
            + b"</BaseURL></Representation></AdaptationSet></Period></MPD>",
            "not a recording",
        ),
        "session.sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n", "not a recording"),
        "half.flac": ((EXAMPLES / "english_starlight.flac").read_bytes()[:30_000], "cut off"),
    }
    for name, (content, _) in made.items():
        (folder / name).write_bytes(content)
    soundfile.write(folder / "zero.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "blink.wav", np.full(160, 0.1), 16_000)
    soundfile.write(folder / "silence.wav", np.zeros(16_000), 16_000)
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=1000:cl=mono:d=3600", folder / "hour.flac")
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=121", "-c:a", "libopus", "-b:a", "6k", folder / "long.webm")
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:d=1", folder / "mute.mp4")
    key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76" * 16, "-encryption_kid", "a7" * 16]
    ffmpeg("-i", EXAMPLES / "english_starlight.flac", "-t", "1", "-c:a", "aac", *key, folder / "bought.m4a")
    said = {name: words for name, (_, words) in made.items()}
    said |= {
        "bought.m4a": "is encrypted. Give a copy without",
        "zero.wav": "No sound",
        "blink.wav": "too short",
        "silence.wav": "silent",
        "mute.mp4": "no sound track",
    }
    return said | {"hour.flac": "3600 s long; the limit is 120 s", "long.webm": "the limit is 120 s"}


def test_recordings_that_are_none_are_refused_and_the_next_visitor_is_served(visitor, short, trap, tmp_path):
    for number, (name, words) in enumerate(recordings(tmp_path, trap[0]).items()):
        given = {"speech": tmp_path / name} if number % 2 else {"speech": None, "speech_video": tmp_path / name}
        sentence = refused(visitor, "animate", values(visitor, short, **given))
        assert words in sentence, sentence
        assert name in sentence, sentence
    assert not trap[1]
    assert_serves(visitor, short)


def videos(folder, trap):
    """Files that are no pose videos, by name, and words of the sentence with which each is refused."""
    made = {
        "nothing.mp4": (b"", "is empty"),
        "text.mp4": (b"no video", "not a video"),
        "list.avi": (f"#EXTM3U\n#EXTINF:1,\n{trap}/a.ts\n".encode(), "not a video"),
        "script.mkv": (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a video"),
        "elsewhere.mov": (movie_elsewhere(folder, f"{trap}/a.mov"), ""),
    }
    for name, (content, _) in made.items():
        (folder / name).write_bytes(content)
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25", "-frames:v", 0, folder / "frameless.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", folder / "sound.mp4")
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:d=1", folder / "faceless.mp4")
    said = {name: words for name, (_, words) in made.items()}
    return said | {"frameless.mp4": "not a video", "sound.mp4": "no pictures", "faceless.mp4": "no face"}


def movie_elsewhere(folder, address):
    """A QuickTime movie that says that its pictures are at an address."""
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:d=1", "-c:v", "mjpeg", folder / "here.mov")
    content = (folder / "here.mov").read_bytes()
    here = content.index(b"dref") - 4
    entry = address.encode() + b"\0"
    entry = (12 + len(entry)).to_bytes(4, "big") + b"url \0\0\0\0" + entry
    box = (16 + len(entry)).to_bytes(4, "big") + b"dref" + bytes(4) + (1).to_bytes(4, "big") + entry
    grown = len(box) - int.from_bytes(content[here : here + 4], "big")
    changed = bytearray(content[:here] + box + content[here + int.from_bytes(content[here : here + 4], "big") :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        size = content.rindex(kind, 0, here) - 4
        changed[size : size + 4] = (int.from_bytes(content[size : size + 4], "big") + grown).to_bytes(4, "big")
    return bytes(changed)


def test_pose_videos_that_are_none_are_refused_and_the_next_visitor_is_served(visitor, short, trap, tmp_path):
    for name, words in videos(tmp_path, trap[0]).items():
        sentence = refused(visitor, "animate", values(visitor, short, pose_video=tmp_path / name))
        assert words in sentence, sentence
    assert not trap[1]
    assert_serves(visitor, short)


@pytest.mark.parametrize(
    ("name", "has_film"),
    [
        ("../../../etc/cron.d/photo.jpg", False),
        ("..\\..\\photo.jpg", False),
        ("/etc/passwd", False),
        ("Grüße aus 東京 😀 \u202egpj.jpg", True),
        ("a" * 4000 + ".jpg", True),
        ("-i.jpg", True),  # which ffmpeg might take for something else
        ("concat:a|b.jpg", True),
        ("http://example.org/x.jpg", False),
        ("photo\nwith\ttabs.jpg", True),
        ("<b>photo</b>.jpg", False),
        (".jpg", False),
        ("photo", True),
    ],
)
def test_whatever_a_file_is_called_it_is_taken(visitor, short, visitors_folder, name, has_film):
    given = visitor.upload(ASTRONAUT, name)
    assert Path(given["path"]).resolve().is_relative_to(visitors_folder.resolve())
    picture, notes = visitor.ask("look", [given, 1, "mediapipe", "crop"])
    assert picture is not None, notes
    sentence = refused(visitor, "animate", values(visitor, short, photo=given, speech=given))
    assert "not a recording" in sentence
    if has_film:
        spoken = visitor.upload(short, name.replace("jpg", "wav"))
        assert visitor.ask("animate", values(visitor, short, photo=given, speech=spoken, size=256))


# Hostile values

UPLOADED = uploaded("")["meta"]


def not_uploaded(trap):
    for place in (str(ASTRONAUT), "/etc/passwd", "../../../etc/passwd", f"{trap}/photo.png", "file:///etc/passwd"):
        yield {"path": place, "meta": UPLOADED}
        yield {"path": place}
        yield {"path": place, "meta": UPLOADED, "is_stream": True}
        yield {"path": None, "url": place, "meta": UPLOADED}
        yield {"url": place}
        yield place
    yield from (5, True, [], {}, [{"path": "/etc/passwd", "meta": UPLOADED}], {"path": "", "meta": UPLOADED})
    yield {"path": "a\0b", "meta": UPLOADED}
    yield {"path": "x" * 5000, "meta": UPLOADED}
    yield {"path": str(ASTRONAUT), "meta": "gradio.FileData"}
    yield {"path": "data:image/png;base64,iVBORw0KGgo=", "meta": UPLOADED}
    yield {"video": {"path": "/etc/passwd", "meta": UPLOADED}}


@pytest.mark.parametrize("name", FILES)
def test_only_files_that_were_uploaded_are_read(visitor, short, trap, name):
    request = usual(visitor, short)
    if name == "speech_video":
        request["speech"] = None
    for value in not_uploaded(trap[0]):
        sentence = refused(visitor, "animate", list({**request, name: value}.values()))
        assert "upload" in sentence or "There is no" in sentence, (value, sentence)
    assert not trap[1]


def test_the_preview_reads_only_files_that_were_uploaded(visitor, trap):
    for value in not_uploaded(trap[0]):
        try:
            picture, notes = visitor.ask("look", [value, 1, "mediapipe", "crop"])
        except Refused as refusal:
            picture, notes = None, str(refusal)
        assert picture is None
        assert_plain(notes)
    assert not trap[1]


WRONG = [None, "x", "", -1, 1e308, -1e308, float("nan"), float("inf"), 10**400, [], [1], {}, {"a": 1}, "x" * 100_000]
CHECKED = [name for name, value in ANIMATE.items() if isinstance(value, int | float) and not isinstance(value, bool)]


@pytest.mark.parametrize("name", [*CHECKED, "variation", "framing", "detector", "generator"])
def test_wrong_values_are_refused_by_the_name_of_the_parameter(visitor, short, name):
    request = usual(visitor, short)
    for value in WRONG:
        if value == -1 and name.startswith("gaze"):
            continue
        assert name in refused(visitor, "animate", list({**request, name: value}.values()))


def test_emotions_that_are_none_are_refused(visitor, short):
    request = usual(visitor, short)
    for value in (None, "joyful", 5, [], ["happy"], {"a": 1}, "x" * 100_000, "0:", "happy@nan", "1e999 happy"):
        for name in ("emotion", "blend") if isinstance(value, str) else ("emotion",):
            sentence = refused(visitor, "animate", list({**request, name: value}.values()))
            assert re.search("emotion|strength|timeline", sentence), sentence


def test_comparisons_of_another_number_are_refused(visitor, short):
    request = {**parameters(visitor, "/compare"), "photo": visitor.upload(ASTRONAUT), "speech": visitor.upload(short)}
    for number in (None, 1, 5, 2.5, 1e308, float("nan"), "x", [2], "x" * 100_000):
        asking = list({**request, "number": number}.values())
        assert "Two, three or four" in refused(visitor, "compare", asking)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("photo", "There is no photo yet"), ("speech", "There is no speech yet")],
)
def test_a_missing_input_is_named(visitor, short, missing, sentence):
    assert sentence in refused(visitor, "animate", values(visitor, short, **{missing: None}))


def test_texts_that_cannot_be_spoken_are_refused(visitor, short):
    for text in ("", "   ", None, "!!!", "你好", "x" * 100_000, "\0"):
        refused(visitor, "say", [text])
        refused(visitor, "animate", values(visitor, short, speech=None, text=text))


@pytest.mark.parametrize("endpoint", ["animate", "compare", "look", "say"])
def test_requests_with_too_few_values_are_answered(visitor, endpoint):
    assert "missing" in refused(visitor, endpoint, [])


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "{}", '{"data": 5}', '{"data": null}', "[" * 100_000, '{"data": [' + "9" * 10_000 + "]}"]
)
def test_requests_that_are_none_are_refused(visitor, body):
    answer = visitor.post("/gradio_api/call/animate", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert not re.search(r"Traceback|/gradio/|site-packages", answer.text)


def test_no_function_behind_the_page_can_be_made_to_read_other_files(visitor, short):
    """Also the page's own functions, which the API does not list."""
    files = ("image", "audio", "video", "file")
    config = visitor.get("/config").json()
    kinds = {component["id"]: component["type"] for component in config["components"]}
    for number, function in enumerate(config["dependencies"]):
        if not function["backend_fn"]:
            continue
        for value in ({"path": str(ASTRONAUT)}, {"path": str(ASTRONAUT), "meta": UPLOADED}, "/etc/passwd", None):
            data = [value if kinds[block] in files else None for block in function["inputs"]]
            session = f"prober-{number}"
            body = {"data": data, "fn_index": function["id"], "session_hash": session, "event_data": {"index": [5, 5]}}
            visitor.post("/gradio_api/queue/join", json=body).raise_for_status()
            stream = visitor.get("/gradio_api/queue/data", params={"session_hash": session}).text
            ends = [json.loads(line[6:]) for line in stream.splitlines() if "process_completed" in line]
            assert len(ends) == 1
            output = json.dumps(ends[0]["output"])
            assert "root:" not in output
            assert ".mp4" not in output
            assert "webp" not in output
            if not ends[0]["success"] and ends[0]["output"].get("error"):
                assert_plain(ends[0]["output"]["error"])
    assert_serves(visitor, short)


def test_a_generator_without_its_weights_is_not_offered(client):
    with pytest.raises(Exception, match="The generator liveportrait is not offered here"):
        predict(client, photo=ASTRONAUT, text="Hello.", generator="liveportrait")


def test_a_detector_that_downloads_is_there_only_where_the_operator_offers_it(client):
    with pytest.raises(Exception, match="face-alignment is not offered here"):
        predict(client, photo=ASTRONAUT, text="Hello.", detector="face-alignment")


def test_a_text_that_is_longer_than_the_page_allows_is_refused_as_a_text(client):
    with pytest.raises(Exception, match="Shorten the text"):
        predict(client, photo=ASTRONAUT, text="No. " * 500)
