"""What the page promises, asked through its own API."""

import time

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES
from gradio_client import Client, handle_file
from PIL import Image

from app import build_page
from space_core import load_motion
from space_core.motion.emotion import EMOTIONS


@pytest.fixture(scope="module")
def client(pipeline):
    page = build_page(pipeline)
    _, address, _ = page.launch(prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    yield Client(address, verbose=False)
    page.close()


def animate(
    client, photo=EXAMPLES / "astronaut.jpg", speech=None, emotion="happy", intensity=0.7, pose_video=None, **more
):
    """The paths of the video, of the look inside and of the landmarks."""
    photo, speech, pose_video = (path and handle_file(path) for path in (photo, speech, pose_video))
    results = client.predict(photo, speech, emotion, intensity, pose_video, **more, api_name="/animate")
    return [_path(result) for result in results]


def _path(result):
    """What Gradio's client makes of a file: its path, in a dictionary or not, or in an update of the component."""
    while isinstance(result, dict):
        result = result["video"] if "video" in result else result["value"]
    return result


def test_photo_and_speech_give_a_video(client, short_speech):
    video, inside, landmarks = animate(client, speech=short_speech)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(video))
    assert frames == 33
    assert seconds == pytest.approx(33 / 25, abs=0.05)
    assert inside is None
    assert landmarks is None


def test_a_visitor_may_look_inside(client, short_speech):
    video, inside, landmarks = animate(client, speech=short_speech, look_inside=True, blinks_per_minute=0, seed=3)
    meta = next(imageio_ffmpeg.read_frames(str(inside)))
    assert meta["size"] == (1536, 512)
    assert imageio_ffmpeg.count_frames_and_secs(str(video))[0] == 33
    motion = load_motion(landmarks)
    assert len(motion) == 33
    assert not motion.blink.any()


def test_an_emotion_may_be_written(client, short_speech):
    landmarks = animate(client, speech=short_speech, emotion="0:neutral, 0.6:happy@0.5", look_inside=True)[2]
    assert load_motion(landmarks).emotion[-1, EMOTIONS.index("happy")] == 0.5


def test_the_whole_photo_may_be_shown(client, short_speech):
    video, _, _ = animate(client, EXAMPLES / "grace_hopper.jpg", short_speech, framing="photo")
    assert next(imageio_ffmpeg.read_frames(str(video)))["size"] == (512, 560)


def test_a_visitor_who_stops_frees_the_worker(client, short_speech, tmp_path):
    sound, rate = soundfile.read(short_speech)
    soundfile.write(tmp_path / "long.wav", np.tile(sound, 200), rate)  # minutes of work
    inputs = (handle_file(EXAMPLES / "astronaut.jpg"), handle_file(tmp_path / "long.wav"), "neutral", 1.0, None)
    job = client.submit(*inputs, api_name="/animate")
    while not job.status().progress_data:
        time.sleep(0.1)
    client.predict(api_name="/stop")
    begun = time.monotonic()
    assert animate(client, speech=short_speech)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"photo": None}, "There is no photo yet"),
        ({"speech": None}, "There is no recording yet"),
        ({"photo": "text"}, "text.jpg"),
        ({"speech": "text"}, "text"),
        ({"pose_video": "text"}, "text"),
        ({"emotion": "joyful"}, "no emotion called 'joyful'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"intensity": 1.4999, "emotion": "happy", "photo": "landscape"}, "No human face"),
    ],
)
def test_bad_input_is_said_and_the_next_visitor_is_served(client, short_speech, tmp_path, inputs, sentence):
    made = {"text": tmp_path / "text.jpg", "landscape": tmp_path / "landscape.png"}
    made["text"].write_text("no picture, no sound")
    Image.linear_gradient("L").resize((300, 300)).save(made["landscape"])
    inputs = {"speech": short_speech} | {name: made.get(value, value) for name, value in inputs.items()}
    with pytest.raises(Exception, match=sentence):
        animate(client, **inputs)
    assert animate(client, speech=short_speech)
