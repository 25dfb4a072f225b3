"""What the whole way promises: photo and recording in, frames and files out, one clear sentence for bad input."""

import dataclasses
import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import psutil
import pytest
import soundfile
import torch
from conftest import EXAMPLES, no_work_left, speech_of
from PIL import Image
from rendering import mean_difference

from space_core import AnimationOptions, ServerFault, SpaceError, SpacePipeline, load_motion, save_motion
from space_core.evaluation.benchmark import PeakMemory
from space_core.face.detector import build_detector
from space_core.face.normalization import normalize
from space_core.face.portrait import Portrait
from space_core.media.audio import load_speech
from space_core.media.video_reader import read_frames
from space_core.media.visible_mark import marked
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.speech2landmarks import load_speech2landmarks
from space_core.output import Outputs

PHOTO = EXAMPLES / "astronaut.jpg"


def frames_of(pipeline, speech, photo=PHOTO, **options) -> np.ndarray:
    return np.stack(list(pipeline.animate(photo, speech, AnimationOptions(**options))))


def tracked(frames: np.ndarray) -> np.ndarray:
    """(T, 478, 3) normalized landmarks found in frames, and (T, 3) yaw, pitch and roll."""
    return normalize(np.stack(list(build_detector("mediapipe").track(frames))).astype(float))


@pytest.fixture(scope="module")
def frames(pipeline, short_speech):
    return frames_of(pipeline, short_speech)


@pytest.fixture(scope="module")
def head_video(tmp_path_factory, pipeline, short_speech) -> Path:
    """A video of a head that turns and nods."""
    path = tmp_path_factory.mktemp("pose") / "head.mp4"
    pipeline.animate_to_file(PHOTO, short_speech, path, AnimationOptions(seed=7, head_motion=1.5))
    return path


# Frames


def test_frames_are_rgb_and_as_many_as_the_speech_is_long(frames, short_speech):
    assert frames.shape[1:] == (512, 512, 3)
    assert frames.dtype == np.uint8
    assert len(frames) == int(np.ceil(soundfile.info(short_speech).duration * 25))


def test_the_same_inputs_and_seed_give_the_same_frames_wherever_they_are_made(frames, short_speech):
    def work():
        torch.set_num_threads(1)  # as another film may have left it
        return frames_of(SpacePipeline("cpu"), short_speech)

    with ThreadPoolExecutor(1) as elsewhere:
        np.testing.assert_array_equal(elsewhere.submit(work).result(), frames)


def test_another_seed_gives_other_head_motion(pipeline, frames, short_speech):
    assert mean_difference(frames_of(pipeline, short_speech, seed=1), frames) > 0.5


def test_photo_may_be_a_path_an_image_or_an_array(pipeline, short_speech):
    image = Image.open(PHOTO)
    first = [next(pipeline.animate(photo, short_speech)) for photo in (PHOTO, str(PHOTO), image, np.asarray(image))]
    for frame in first[1:]:
        np.testing.assert_array_equal(frame, first[0])


def test_lips_move_with_the_speech_and_the_head_moves(frames):
    landmarks, pose = tracked(frames)
    opening = landmarks[:, 14, 1] - landmarks[:, 13, 1]
    assert opening.std() > 0.01
    assert np.ptp(pose.rotation[:, :2], axis=0).max() > 0.5
    assert np.abs(pose.rotation - pose.rotation[0]).max() < 16


def test_lips_rest_in_silence(pipeline, tmp_path):
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    path = tmp_path / "pause.wav"
    soundfile.write(path, np.concatenate([sound[:rate], np.zeros(2 * rate), sound[rate : 2 * rate]]), rate)
    landmarks, _ = tracked(frames_of(pipeline, path, head_motion=0, blinks_per_minute=0))
    opening = landmarks[:, 14, 1] - landmarks[:, 13, 1]
    pause = opening[32:54]  # later the lips part for the breath before speech
    assert pause.max() < opening.max() / 3
    assert np.ptp(pause) < 0.02


def test_emotion_changes_the_face_the_more_the_stronger(pipeline, frames, short_speech):
    differences = [
        mean_difference(frames_of(pipeline, short_speech, emotion="surprised", intensity=intensity), frames)
        for intensity in (0.0, 0.5, 1.0)
    ]
    assert differences[0] == 0
    assert 0.1 < differences[1] < differences[2]


def test_a_film_says_that_far_turns_of_its_pose_video_were_reduced(pipeline, short_speech, head_video, far_turn_video):
    near, far = (AnimationOptions(pose_video=video) for video in (head_video, far_turn_video))
    with pipeline.animate(PHOTO, short_speech, near) as film:
        assert film.notes == ()
    with pipeline.animate(PHOTO, short_speech, far) as film:
        (note,) = film.notes
    assert "pose video" in note and "reduced" in note and "25°" in note
    with pipeline.compare(PHOTO, short_speech, [near, far, dataclasses.replace(far, seed=1)]) as comparison:
        assert comparison.notes == (note,)


def test_head_motion_is_borrowed_from_a_video(pipeline, head_video, short_speech):
    borrowed = frames_of(pipeline, short_speech, pose_video=head_video)
    _, source = tracked(np.stack(list(read_frames(head_video))))
    _, result = tracked(borrowed)
    for angle in (0, 1):
        one, other = source.rotation[:, angle], result.rotation[: len(source), angle]
        assert np.corrcoef(one, other)[0, 1] > 0.8


def test_head_motion_of_zero_keeps_the_head_still(pipeline, portrait, short_speech):
    frames = frames_of(pipeline, short_speech, head_motion=0)
    hair = int(portrait.landmarks[10, 1]) - 15  # above the top of the forehead
    assert np.abs(frames[:, :hair].astype(int) - portrait.image[:hair]).max() <= 2
    assert mean_difference(frames[:, hair:], np.broadcast_to(portrait.image[hair:], frames[:, hair:].shape)) > 0.5


def test_the_result_says_how_many_faces_there_were(pipeline, short_speech, astronaut):
    both = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    assert pipeline.animate(both, short_speech).num_faces == 2


def test_one_of_several_people_is_chosen(pipeline, short_speech, astronaut):
    both = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    middles = [
        pipeline.animate(both, short_speech, AnimationOptions(face=face)).portrait.crop.origin[0] for face in (1, 2)
    ]
    assert abs(middles[0] - middles[1]) > 100
    with pytest.raises(SpaceError, match="2 faces, so there is no face 3"):
        pipeline.animate(both, short_speech, AnimationOptions(face=3))


def test_films_of_the_whole_photo_and_of_other_sizes(pipeline, short_speech, tmp_path):
    photo = np.asarray(Image.open(EXAMPLES / "grace_hopper.jpg").convert("RGB"))[:559]
    out, inside = tmp_path / "out.mp4", tmp_path / "inside.mp4"
    outputs = Outputs(out, landmark_video=inside)
    animation = pipeline.animate_to_file(photo, short_speech, outputs, AnimationOptions(framing="photo"))
    assert next(imageio_ffmpeg.read_frames(str(out)))["size"] == (512, 558)
    assert next(imageio_ffmpeg.read_frames(str(inside)))["size"] == (1536, 512)
    np.testing.assert_array_equal(animation.portrait.photo, photo)
    assert frames_of(pipeline, short_speech, size=320).shape[1:] == (320, 320, 3)


@pytest.mark.parametrize("framing", ["crop", "photo"])
def test_a_network_refines_the_mouth_and_nothing_else(pipeline, short_speech, framing):
    how = {"framing": framing, "head_motion": 0, "blinks_per_minute": 0, "saccades": 0}
    refined, drawn = (frames_of(pipeline, short_speech, refine=refine, **how) for refine in ("network", "none"))
    changed = np.abs(refined.astype(int) - drawn).max((0, 3))
    height, width = np.ptp(np.argwhere(changed), axis=0) / changed.shape
    assert changed.max() > 20
    assert height < 0.5 and width < 0.5


def test_progress_is_reported_to_the_end(pipeline, short_speech):
    steps = []
    list(pipeline.animate(PHOTO, short_speech, progress=lambda *step: steps.append(step)))
    assert steps[0][0] == "portrait"
    stage, done, total = steps[-1]
    assert (stage, done) == ("frames", total)


def test_several_threads_may_share_a_pipeline(pipeline, frames, short_speech):
    results = [None, None]

    def work(index):
        results[index] = frames_of(pipeline, short_speech)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, frames)


def test_a_marked_film_is_labelled_and_so_is_its_landmark_video(pipeline, short_speech, frames):
    labelled = pipeline.animate(PHOTO, short_speech, AnimationOptions(mark="visible"))
    frame = next(labelled.frames())
    np.testing.assert_array_equal(labelled.shown(frame), marked(frames[0]))
    np.testing.assert_array_equal(labelled.stages(frame)[:, 1024:], marked(frames[0]))
    # The label of a whole photo lies outside of the crop, which gets one of its own.
    whole = pipeline.animate(PHOTO, short_speech, AnimationOptions(mark="visible", framing="photo"))
    frame = next(whole.frames())
    unlabelled = pipeline.animate(PHOTO, short_speech, AnimationOptions(framing="photo"))
    np.testing.assert_array_equal(whole.shown(frame), marked(next(unlabelled)))
    crop = whole.stages(frame)[:, 1024:]
    np.testing.assert_array_equal(crop, marked(unlabelled.stages(frame)[:, 1024:]))
    assert (crop != unlabelled.stages(frame)[:, 1024:]).any()


def test_speech_is_analysed_ahead_but_not_beside_the_first_frame(pipeline, tmp_path):
    analysed, second = [], threading.Event()

    def count(*_: object) -> None:
        analysed.append(None)
        if len(analysed) == 2:
            second.set()

    hook = load_speech2landmarks(pipeline.device).network.encoder.register_forward_pre_hook(count)
    try:
        with pipeline.animate(PHOTO, speech_of(6, tmp_path / "speech.wav")) as animation:
            next(animation)
            time.sleep(0.5)
            assert len(analysed) == 1  # the first segment's, of about three seconds
            next(animation)
            second.wait(60)
            assert len(analysed) == 2
            assert len(list(animation)) == 148
    finally:
        hook.remove()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(pipeline, tmp_path):
    import tracemalloc

    animation = pipeline.animate(PHOTO, speech_of(9, tmp_path / "long.wav"))
    tracemalloc.start()
    peaks = []
    for number, _ in enumerate(animation):
        if number in (90, 220):  # 130 frames take 100 MB, and a batch 6 MB, of which some are ahead of the reader
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < peaks[0] + 30e6


# Files


def test_the_video_plays_the_frames_with_the_speech(pipeline, short_speech, frames, tmp_path):
    out = tmp_path / "out.mp4"
    animation = pipeline.animate_to_file(PHOTO, short_speech, out)
    assert animation.num_frames == len(frames)
    reader = imageio_ffmpeg.read_frames(str(out))
    meta = next(reader)
    assert meta["size"] == (512, 512)
    assert meta["fps"] == 25
    assert meta["audio_codec"] == "aac"
    decoded = [np.frombuffer(frame, np.uint8).reshape(512, 512, 3) for frame in reader]
    assert len(decoded) == len(frames)
    assert mean_difference(np.stack(decoded), frames) < 4


def test_stopping_midway_leaves_nothing_behind(pipeline, short_speech, tmp_path):
    def stop(stage, done, total):
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.animate_to_file(PHOTO, short_speech, tmp_path / "out.mp4", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["closed", "dropped"])
def test_threads_end_with_the_frames_that_they_draw(end, pipeline, short_speech, monkeypatch):
    """Dropped frames may be collected by one of these threads, which can't wait for itself."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", lambda failure: complaints.append(str(failure.exc_value)))
    thresholds = gc.get_threshold()
    gc.collect()
    with no_work_left():
        gc.disable()
        try:
            frames = [pipeline.animate(PHOTO, short_speech, AnimationOptions(size=1024))]
            for _ in range(2):  # those after the first frame are drawn once it was taken
                next(frames[0])
            if end == "closed":
                frames[0].close()
            frames.append(frames)  # a cycle, which only the garbage collector finds
            del frames
            gc.set_threshold(1, 1, 1)
            gc.enable()
            time.sleep(0.5)
        finally:
            gc.set_threshold(*thresholds)
            gc.enable()
    assert complaints == []


def test_an_encoder_that_ends_while_frames_are_drawn_is_a_fault_and_ends_all_work(pipeline, tmp_path):
    def kill_encoder(stage: str, done: int, total: int) -> None:
        if stage == "frames" and done == 20:
            for child in psutil.Process().children():
                if "libx264" in child.cmdline():
                    child.kill()

    with no_work_left(), pytest.raises(ServerFault) as fault:
        pipeline.animate_to_file(
            PHOTO, EXAMPLES / "english_starlight.flac", tmp_path / "out.mp4", progress=kill_encoder
        )
    assert fault.value.reason == "encoder_died"
    assert list(tmp_path.iterdir()) == []


def test_the_latest_portraits_are_kept_as_long_as_there_is_room(short_speech, astronaut):
    """A portrait of the crop takes 20 to 30 MB."""

    def portrait_of(photo: np.ndarray) -> Portrait:
        with pipeline.animate(photo, short_speech) as animation:
            return animation.portrait

    photos = [astronaut, *(np.ascontiguousarray(astronaut[cut:]) for cut in range(1, 3))]
    pipeline = SpacePipeline("cpu", cache_bytes=45_000_000)
    first, *_, latest = [portrait_of(photo) for photo in photos]
    assert portrait_of(photos[-1]) is latest
    assert portrait_of(photos[0]) is not first


def test_a_photo_that_was_prepared_ahead_is_not_prepared_again_for_its_film(pipeline, short_speech, monkeypatch):
    photo = EXAMPLES / "grace_hopper.jpg"
    pipeline.prepare(photo)
    monkeypatch.setattr("space_core.portrait_cache.prepare_portrait", None)
    with pipeline.animate(photo, short_speech) as animation:
        assert animation.num_faces == 1


def test_the_kept_photo_is_no_larger_than_the_film_needs(pipeline, short_speech, astronaut):
    large = np.asarray(Image.fromarray(astronaut).resize((3000, 3000)))
    with pipeline.animate(large, short_speech) as animation:
        kept = animation.portrait
    assert max(kept.photo.shape) < 1000
    mesh = kept.crop.to_photo(kept.landmarks[:, :2]) * 3000 / kept.photo.shape[0]
    with pipeline.animate(large, short_speech, AnimationOptions(framing="photo")) as animation:
        whole = animation.portrait
    assert whole.photo.shape == (3000, 3000, 3)
    np.testing.assert_allclose(mesh, whole.crop.to_photo(whole.landmarks[:, :2]), atol=3)


@pytest.mark.slow
def test_memory_stays_flat_over_many_portraits(tmp_path):
    """Forty portraits took 1.4 GB once; in a process of its own, as the tests before have filled this one."""
    program = """
import sys
import numpy as np, psutil
from space_core import SpacePipeline
from space_core.media.images import load_photo
photos, pipeline, memory = [load_photo(path) for path in sys.argv[2:]], SpacePipeline("cpu", cache_bytes=60_000_000), []
for number in range(9):
    photo = np.clip(photos[number % 3][number // 3 :].astype(int) + number // 4, 0, 255).astype(np.uint8)
    with pipeline.animate(photo, sys.argv[1]) as animation:
        next(animation)
    memory.append(psutil.Process().memory_info().rss >> 20)
print(min(memory[2:4]), min(memory[7:]))  # what stays; what is freed a little later comes and goes
"""
    photos = [EXAMPLES / f"{name}.jpg" for name in ("astronaut", "grace_hopper", "mona_lisa")]
    speech = speech_of(0.5, tmp_path / "speech.wav")
    done = subprocess.run(
        [sys.executable, "-c", program, speech, *photos], capture_output=True, text=True, check=True, cwd=tmp_path.cwd()
    )
    early, late = map(int, done.stdout.split())
    assert late < early + 90  # five portraits later, of 35 MB each
    assert late < 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_has_not_become_a_program_is_not_counted_to_the_peak_of_memory():
    """Where ffmpeg was started at that moment, the memory of this process was counted twice."""
    held = np.ones(20_000_000)  # 160 MB, which a fork has, too
    with PeakMemory() as alone:
        time.sleep(0.2)
    with PeakMemory() as forked:
        child = os.fork()
        if child == 0:
            time.sleep(1)
            os._exit(0)
        os.waitpid(child, 0)
    assert forked.peak - alone.peak < held.nbytes / 2


@pytest.mark.slow
def test_a_film_of_a_photo_of_twelve_megapixels_takes_bounded_memory(tmp_path):
    """It took 1.45 GiB once, with ffmpeg; in a process set up as the command line's."""
    program = """
import sys
from space_core import AnimationOptions, SpacePipeline
from space_core.evaluation.benchmark import PeakMemory
from space_core.processes.configuration import configure_process
configure_process()
pipeline = SpacePipeline("cpu")
with PeakMemory() as memory:
    pipeline.animate_to_file(*sys.argv[1:], AnimationOptions(framing="photo"))
print(memory.peak)
"""
    photo, video = tmp_path / "photo.jpg", tmp_path / "film.mp4"
    Image.open(EXAMPLES / "grace_hopper.jpg").resize((3316, 3618)).save(photo)
    speech = speech_of(0.8, tmp_path / "speech.wav")
    command = [sys.executable, "-c", program, photo, speech, video]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path.cwd())
    assert int(done.stdout) < 1.35 * 2**30


@pytest.mark.parametrize(
    "stage", ["inputs.load_recording", "portrait_cache.prepare_portrait", "motion.planner.generate_head_pose"]
)
def test_loading_preparing_and_planning_can_be_cancelled_while_they_run(
    stage, pipeline, astronaut, short_speech, monkeypatch
):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        begun.set()
        go_on.wait(60)
        raise SpaceError("Too late.")

    monkeypatch.setattr(f"space_core.{stage}", slow)

    def stop(*step):
        if begun.is_set():
            raise KeyboardInterrupt

    photo = np.roll(astronaut, len(stage), axis=0)  # one that is not prepared yet
    try:
        with pytest.raises(KeyboardInterrupt):
            pipeline.animate(photo, short_speech, progress=stop)
    finally:
        go_on.set()


def test_a_stream_can_be_played_while_the_film_is_drawn_and_is_the_same_film(pipeline, short_speech, tmp_path):
    path, played = tmp_path / "stream.mp4", []

    def play(stage, done, total):
        if stage == "frames" and done == total - 1:
            deadline = time.monotonic() + 20
            while path.stat().st_size < 30_000 and time.monotonic() < deadline:  # until the encoder has come so far
                time.sleep(0.05)
            (tmp_path / "so_far.mp4").write_bytes(path.read_bytes())
            played.extend(read_frames(tmp_path / "so_far.mp4"))

    with path.open("wb") as stream:
        pipeline.animate_to_file(
            PHOTO, short_speech, Outputs(tmp_path / "it's | a film.mp4", stream=stream), progress=play
        )
    film, streamed = (list(read_frames(file)) for file in (tmp_path / "it's | a film.mp4", path))
    assert 5 <= len(played) < len(film) == len(streamed)
    np.testing.assert_array_equal(film, streamed)
    sound, streamed = load_speech(tmp_path / "it's | a film.mp4"), load_speech(path)
    np.testing.assert_allclose(sound[400:14_000], streamed[400:14_000], atol=1e-4)  # the stream's sound is faded in


class Signer:
    """Stands in for Content Credentials: a signature is a few bytes at the end."""

    def __init__(self, fails_at: int = 0) -> None:
        self.count, self.fails_at = 0, fails_at

    def sign(self, source: Path, target: Path) -> None:
        self.count += 1
        if self.count == self.fails_at:
            raise SpaceError("It could not be signed.")
        Path(target).write_bytes(Path(source).read_bytes() + SIGNATURE)


SIGNATURE = (16).to_bytes(4, "big") + b"freeSPACE-OK"  # a box that players skip


def test_every_video_is_signed(short_speech, tmp_path):
    files = [tmp_path / "out.mp4", tmp_path / "inside.mp4"]
    SpacePipeline("cpu", Signer()).animate_to_file(PHOTO, short_speech, Outputs(files[0], landmark_video=files[1]))
    assert all(file.read_bytes().endswith(SIGNATURE) for file in files)


def test_nothing_is_left_if_the_film_fails_at_the_very_end(short_speech, tmp_path):
    with pytest.raises(SpaceError, match="signed"):
        SpacePipeline("cpu", Signer(fails_at=1)).animate_to_file(
            PHOTO, short_speech, Outputs(tmp_path / "out.mp4", motion_file=tmp_path / "out.npz")
        )
    assert list(tmp_path.iterdir()) == []


def test_giving_up_while_landmarks_are_saved_leaves_nothing_behind(pipeline, short_speech, tmp_path, monkeypatch):
    go_on, saved, save = threading.Event(), threading.Event(), np.savez_compressed

    def slow(file, **arrays):
        go_on.wait(20)
        try:
            save(file, **arrays)
        finally:
            saved.set()

    monkeypatch.setattr("numpy.savez_compressed", slow)
    ends = []

    def stop(stage, done, total):
        ends.append(stage == "frames" and done == total)
        if sum(ends) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.animate_to_file(
            PHOTO, short_speech, Outputs(tmp_path / "out.mp4", motion_file=tmp_path / "landmarks.npz"), progress=stop
        )
    go_on.set()
    assert saved.wait(20)
    assert list(tmp_path.iterdir()) == []


def test_landmark_video_and_motion_file_show_all_stages_of_the_film(pipeline, short_speech, frames, tmp_path):
    out, inside, landmarks = tmp_path / "out.mp4", tmp_path / "inside.mp4", tmp_path / "landmarks.npz"
    pipeline.animate_to_file(PHOTO, short_speech, Outputs(out, landmark_video=inside, motion_file=landmarks))
    pictures = np.stack(list(read_frames(inside, max_side=1536)))
    assert pictures.shape == (len(frames), 512, 1536, 3)
    assert mean_difference(pictures[:, :, 1024:], frames) < 4
    assert len(load_speech(inside)) == pytest.approx(len(frames) * 640, abs=1280)
    assert len(load_motion(landmarks)) == len(frames)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["inside.mp4", "landmarks.npz", "out.mp4"]


def test_each_frame_comes_with_its_motion(pipeline, short_speech):
    whole = pipeline.motion(PHOTO, short_speech)
    shown = [frame.motion for frame in pipeline.animate(PHOTO, short_speech).frames()]
    assert [len(motion) for motion in shown] == [1] * len(whole)
    np.testing.assert_array_equal(np.concatenate([motion.normalized for motion in shown]), whole.normalized)


def test_eyes_may_keep_still_and_stay_on_the_viewer(pipeline, short_speech, head_video):
    still = pipeline.motion(PHOTO, short_speech, AnimationOptions(saccades=0, eyes_on_viewer=0))
    assert not still.gaze.any()
    held = pipeline.motion(PHOTO, short_speech, AnimationOptions(saccades=0, eyes_on_viewer=1, pose_video=head_video))
    turn = held.head_pose.rotation[:, 0] - held.photo_pose.rotation[0, 0]
    assert np.corrcoef(turn, held.gaze[:, 0])[0, 1] < -0.9


def test_an_emotion_may_come_and_go(pipeline, short_speech):
    motion = pipeline.motion(PHOTO, short_speech, AnimationOptions(emotion="0:neutral, 0.6:happy"))
    happy = motion.emotion[:, EMOTIONS.index("happy")]
    assert happy[0] == 0
    assert 0.8 < happy[-1] < 1.2  # more on an accented syllable, less in a pause


# Landmarks back in, from the command line


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory, pipeline, short_speech) -> Path:
    path = tmp_path_factory.mktemp("landmarks") / "landmarks.npz"
    save_motion(path, pipeline.motion(PHOTO, short_speech))
    return path


def test_landmarks_are_shown_with_their_own_sound(command_line, landmarks, frames, tmp_path):
    out = tmp_path / "out.mp4"
    assert command_line("animate", PHOTO, "-o", out, "--landmarks", landmarks) == 0
    assert mean_difference(np.stack(list(read_frames(out))), frames) < 4
    assert np.abs(load_speech(out)).max() > 0.05


def test_a_speech_beside_landmarks_is_only_heard(command_line, landmarks, frames, tmp_path):
    out, saved = tmp_path / "out.mp4", tmp_path / "saved.npz"
    other = EXAMPLES / "spanish_stars.flac"
    assert command_line("animate", PHOTO, other, "-o", out, "--landmarks", landmarks, "--save-landmarks", saved) == 0
    assert mean_difference(np.stack(list(read_frames(out))), frames) < 4
    heard, given = load_motion(saved).speech, load_speech(other)[: len(frames) * 640]
    np.testing.assert_array_equal(heard, given)


def test_landmarks_without_sound_make_a_silent_video(command_line, landmarks, tmp_path):
    silent = tmp_path / "silent.npz"
    save_motion(silent, dataclasses.replace(load_motion(landmarks), speech=None))
    assert command_line("animate", PHOTO, "-o", tmp_path / "out.mp4", "--landmarks", silent) == 0
    with pytest.raises(SpaceError, match="no sound track"):
        load_speech(tmp_path / "out.mp4")


def test_contradictions_are_said(command_line, landmarks, short_speech, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    before = landmarks.read_bytes()
    for arguments, words in (
        ([PHOTO, "-o", out], "There is no speech"),
        ([PHOTO, "-o", out, "--landmarks", landmarks, "--emotion=sad", "--seed=3"], "emotion and seed would have no"),
        ([PHOTO, "-o", out, "--landmarks", landmarks, "--save-landmarks", landmarks], "would replace an input"),
        ([PHOTO, "-o", out, "--landmarks", PHOTO], "not a landmarks file"),
        ([PHOTO, short_speech, "-o", out, "--inside", out], "one file"),
        ([PHOTO, short_speech, "-o", out, "--inside", tmp_path / "inside.png"], "must end in .mp4"),
        ([PHOTO, short_speech, "-o", out, "--save-landmarks", tmp_path / "none" / "a.npz"], "folder"),
    ):
        assert command_line("animate", *arguments) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert landmarks.read_bytes() == before


# Bad input


BAD_INPUTS = (
    *("no photo", "not an image", "truncated image", "huge image", "no face"),
    *("no speech", "empty speech", "silent speech", "too long"),
    *("text as a video", "pose video without a face", "unknown emotion", "intensity out of range"),
)


def bad_inputs(folder: Path) -> dict[str, tuple[Path, Path, dict, str]]:
    """By name: photo, speech, options, and words of the sentence to expect."""
    speech = EXAMPLES / "english_starlight.flac"
    text, empty, wide = folder / "text.jpg", folder / "empty.wav", folder / "wide.png"
    text.write_text("This is not an image.\n")
    empty.write_bytes(b"")
    Image.new("1", (20_000, 20_000)).save(wide)
    landscape = folder / "landscape.jpg"
    Image.fromarray(np.linspace(0, 255, 400 * 300 * 3).reshape(300, 400, 3).astype(np.uint8)).save(landscape)
    cut = folder / "cut.jpg"
    cut.write_bytes(PHOTO.read_bytes()[:20_000])
    silent = folder / "silent.wav"
    soundfile.write(silent, np.zeros(16_000), 16_000)
    fake_video = folder / "fake.mp4"
    fake_video.write_text("not a video")
    faceless = folder / "faceless.mp4"
    writer = imageio_ffmpeg.write_frames(str(faceless), (64, 64), fps=25)
    writer.send(None)
    for _ in range(25):
        writer.send(np.full((64, 64, 3), 90, np.uint8))
    writer.close()
    return {
        "no photo": (folder / "none.jpg", speech, {}, "none.jpg"),
        "not an image": (text, speech, {}, "text.jpg"),
        "truncated image": (cut, speech, {}, "cut"),
        "huge image": (wide, speech, {}, "megapixels"),
        "no face": (landscape, speech, {}, "No human face"),
        "no speech": (PHOTO, folder / "none.wav", {}, "none.wav"),
        "empty speech": (PHOTO, empty, {}, "empty"),
        "silent speech": (PHOTO, silent, {}, "silent"),
        "too long": (PHOTO, speech, {"max_seconds": 2}, "limit"),
        "text as a video": (PHOTO, speech, {"pose_video": fake_video}, "fake.mp4"),
        "pose video without a face": (PHOTO, speech, {"pose_video": faceless}, "face"),
        "unknown emotion": (PHOTO, speech, {"emotion": "joyful"}, "neutral, angry"),
        "intensity out of range": (PHOTO, speech, {"intensity": 3}, "between 0"),
    }


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_one_sentence_at_the_api_and_the_command_line(name, pipeline, command_line, tmp_path, capsys):
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    photo, speech, options, words = bad_inputs(inputs)[name]
    with pytest.raises(SpaceError, match=words):
        pipeline.animate_to_file(photo, speech, outputs / "out.mp4", AnimationOptions(**options))

    flags = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
    assert command_line("animate", photo, speech, "-o", outputs / "out.mp4", *flags) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert list(outputs.iterdir()) == []


def test_a_missing_output_folder_is_reported_before_any_work(pipeline, short_speech, tmp_path):
    with pytest.raises(SpaceError, match="folder"):
        pipeline.animate_to_file(PHOTO, short_speech, tmp_path / "nowhere" / "out.mp4")


def test_an_unknown_device_is_said_with_what_there_is():
    with pytest.raises(SpaceError, match="auto, cpu, cuda"):
        SpacePipeline("tpu")


@pytest.mark.slow
def test_the_command_line_makes_a_video(short_speech, tmp_path):
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "space_core", "animate", PHOTO, short_speech, "-o", out]
    command += ["--emotion", "happy", "--intensity", "0.7", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 10_000
    assert done.stderr.startswith(f"{out}: ")


def test_the_pose_video_is_not_replaced_by_the_output(pipeline, short_speech, head_video):
    before = head_video.read_bytes()
    with pytest.raises(SpaceError):
        pipeline.animate_to_file(PHOTO, short_speech, head_video, AnimationOptions(pose_video=head_video))
    assert head_video.read_bytes() == before
