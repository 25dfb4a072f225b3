"""What a live stream promises: all sound, in time, with the lips of a film; a face that lives on in silence."""

import queue
import threading
import time
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import EXAMPLES, no_work_left, until

from space_core import AnimationOptions, LiveControl, LiveFrame, SpaceError, fill_gaps
from space_core.live import gaps
from space_core.live.frames import Draw
from space_core.live.stream import LiveStream
from space_core.measures.lips import best_lag, lip_opening
from space_core.media.audio import load_speech
from space_core.media.visible_mark import marked
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.live.planner import LivePlanner
from space_core.motion.live.speech import LOOK_AHEAD_FRAMES
from space_core.motion.motion import Motion, join
from space_core.motion.planner import MotionPlanner
from space_core.options import MotionOptions
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

PHOTO = EXAMPLES / "astronaut.jpg"
CHUNK = 320


@pytest.fixture(scope="module")
def planner() -> MotionPlanner:
    return MotionPlanner(torch.device("cpu"))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_speech(EXAMPLES / "english_starlight.flac")


@pytest.fixture(scope="module")
def heard(planner, portrait, speech) -> Motion:
    """The motion of the speech as it arrives."""
    return planned(planner.live(portrait, MotionOptions()), speech)


def planned(live: LivePlanner, sound: np.ndarray) -> Motion:
    segments = [segment for chunk in chunks_of(sound) for segment in live.push(chunk)]
    return join(segments + list(live.finish()))


def chunks_of(sound: np.ndarray, length: int = CHUNK) -> list[np.ndarray]:
    return [sound[first : first + length] for first in range(0, len(sound), length)]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def whole_films(planner, portrait, sound: np.ndarray, options: MotionOptions | None = None) -> Motion:
    options = options or MotionOptions()
    timelines = planner.timelines(portrait, sound, options)
    return join(list(planner.segments(portrait, sound, planner.analyse(sound), timelines)))


def blinks_in(motion: Motion) -> int:
    return int((np.diff((motion.blink > 0.9).astype(int)) > 0).sum())


def test_what_goes_in_comes_out_with_a_frame_for_every_640_samples(pipeline, speech):
    sound = speech[: 2 * SAMPLE_RATE + 100]
    pieces = np.split(sound, [1, 1, 700, 5000, 5640, 20_000])  # an empty one, too
    frames = list(pipeline.stream(PHOTO, pieces))
    assert [frame.index for frame in frames] == list(range(51))
    assert all(frame.picture.shape == (512, 512, 3) and frame.picture.dtype == np.uint8 for frame in frames)
    assert all(frame.sound.shape == (SAMPLES_PER_FRAME,) and frame.sound.dtype == np.float32 for frame in frames)
    given_back = np.concatenate([frame.sound for frame in frames])
    np.testing.assert_array_equal(given_back[: len(sound)], sound)
    assert not given_back[len(sound) :].any()


def test_frames_come_when_no_more_than_the_look_ahead_was_heard_after_them(pipeline, speech):
    given: queue.Queue[np.ndarray | None] = queue.Queue()

    def source() -> Iterator[np.ndarray]:
        while (chunk := given.get()) is not None:
            yield chunk

    with pipeline.stream(PHOTO, source()) as stream:
        for index in range(12):
            first = 0 if index == 0 else index + LOOK_AHEAD_FRAMES
            heard = speech[first * SAMPLES_PER_FRAME : (index + 1 + LOOK_AHEAD_FRAMES) * SAMPLES_PER_FRAME]
            for chunk in chunks_of(heard):
                given.put(chunk)
            assert next(stream).index == index  # would wait for ever
        given.put(None)


def test_the_look_ahead_leaves_time_to_draw_within_the_delay_that_is_promised():
    assert LOOK_AHEAD_FRAMES / FPS <= 0.45


def test_it_does_not_matter_in_which_pieces_sound_arrives(planner, portrait, speech):
    sound = speech[: 2 * SAMPLE_RATE]
    one = planned(planner.live(portrait, MotionOptions()), sound)
    live = planner.live(portrait, MotionOptions())
    other = join([*live.push(sound), *live.finish()])
    np.testing.assert_array_equal(one.normalized, other.normalized)
    np.testing.assert_array_equal(one.head_pose.rotation, other.head_pose.rotation)


@pytest.mark.parametrize("example", ["english_starlight", "spanish_stars"])
def test_lips_move_as_in_a_film_of_the_whole_recording(planner, portrait, example):
    sound = load_speech(EXAMPLES / f"{example}.flac")
    live = planned(planner.live(portrait, MotionOptions()), sound)
    film = whole_films(planner, portrait, sound)
    openings = lip_opening(live.normalized), lip_opening(film.normalized)
    assert np.corrcoef(*openings)[0, 1] > 0.95
    assert openings[0].std() == pytest.approx(openings[1].std(), rel=0.1)


def test_the_level_of_the_speech_does_not_matter(planner, portrait, speech, heard):
    quiet = planned(planner.live(portrait, MotionOptions()), speech / 10)
    assert np.corrcoef(lip_opening(quiet.normalized), lip_opening(heard.normalized))[0, 1] > 0.98


def test_a_second_speaker_far_from_the_microphone_moves_the_lips_after_three_seconds(planner, portrait, speech):
    near = speech[: 4 * SAMPLE_RATE]
    alike, quieter = (
        planned(planner.live(portrait, MotionOptions()), np.concatenate([near, second]))[7 * FPS :]
        for second in (speech, speech * 10 ** (-28 / 20))
    )
    openings = lip_opening(alike.normalized), lip_opening(quieter.normalized)
    assert np.corrcoef(*openings)[0, 1] > 0.98
    assert openings[1].std() > 0.92 * openings[0].std()


def test_head_and_upper_face_move_without_jumps_where_segments_meet(heard):
    accelerations = np.diff(heard.head_pose.rotation, 2, axis=0)
    assert np.abs(accelerations).max() < 2.5  # degrees a frame and frame
    power = np.abs(np.fft.rfft(accelerations * np.hanning(len(accelerations))[:, None], axis=0)) ** 2
    fast = np.fft.rfftfreq(len(accelerations), 1 / FPS) > 6
    assert (power[fast].sum(0) / power.sum(0)).max() < 0.08  # it does not tremble
    assert np.abs(np.diff(heard.action_units, 2, axis=0)).max() < 0.3


def test_in_silence_lips_are_still_while_head_and_lids_go_on_moving(planner, portrait):
    motion = planned(planner.live(portrait, MotionOptions()), silence(15))
    lips = lip_opening(motion.normalized)
    assert np.ptp(lips) < 1e-3
    assert 2 <= blinks_in(motion) <= 9
    assert motion.head_pose.rotation[5 * FPS :].std(0).min() > 0.05
    assert motion.head_pose.rotation.std(0).max() < 5


def test_the_first_frame_is_the_photos_face_and_pose(portrait, heard):
    assert np.abs(heard.head_pose.rotation[0] - portrait.pose.rotation[0]).max() < 0.2
    assert heard.blink[0] == 0


def test_noise_in_a_quiet_room_does_not_move_the_lips(planner, portrait):
    noise = (1e-3 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE)).astype(np.float32)
    motion = planned(planner.live(portrait, MotionOptions()), noise)
    assert np.ptp(lip_opening(motion.normalized)) < 0.02


def test_a_control_changes_emotion_and_gaze_smoothly(pipeline, planner, portrait, speech):
    live = planner.live(portrait, MotionOptions(saccades=0, head_motion=0))
    before = list(live.push(speech[: 2 * SAMPLE_RATE]))
    live.change(MotionOptions(saccades=0, head_motion=0, emotion="happy", gaze_yaw=12))
    after = join(before + list(live.push(speech[2 * SAMPLE_RATE : 4 * SAMPLE_RATE])))
    first = sum(map(len, before))
    happy = after.emotion[:, EMOTIONS.index("happy")]
    assert not happy[:first].any()
    assert happy[first + round(0.8 * FPS) :].min() > 0.8
    assert happy[first + round(0.3 * FPS)] < 0.8
    assert np.abs(np.diff(happy)).max() < 0.2
    assert after.gaze[-1, 0] == pytest.approx(12, abs=1)


def test_a_control_reaches_a_stream_that_runs(pipeline, speech):
    pictures = []
    for emotion in ("neutral", "surprised"):
        control = LiveControl(
            AnimationOptions(size=256, head_motion=0, blinks_per_minute=0, saccades=0, articulation=0)
        )
        frames = []
        for frame in pipeline.stream(PHOTO, chunks_of(speech[: 2 * SAMPLE_RATE]), control=control):
            frames.append(frame.picture.astype(int))
            if frame.index == 5:
                control.update(emotion=emotion)
        assert control.options.emotion == emotion
        pictures.append(frames)
    neutral, surprised = pictures
    assert np.abs(neutral[5] - surprised[5]).max() == 0
    assert np.abs(neutral[-1] - surprised[-1]).mean() > 0.3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"emotion": "joyous"}, "joyous"),
        ({"intensity": 9}, "between 0 and 1.5"),
        ({"size": 256}, "size can't change"),
        ({"seed": 1, "colour": 2}, "seed and colour can't change"),
    ],
)
def test_a_control_refuses_what_can_not_be_and_keeps_what_was(changes, words):
    control = LiveControl(AnimationOptions(emotion="sad"))
    with pytest.raises(SpaceError, match=words):
        control.update(**changes)
    assert control.options == AnimationOptions(emotion="sad")


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros((2, 320), np.float32),
        np.zeros(320, np.int16),
        np.full(320, 2, np.float32),
        np.full(320, np.nan, np.float32),
        [0.0, 0.1],
        b"sound",
    ],
)
def test_sound_of_another_kind_is_refused_with_a_sentence(pipeline, chunk):
    with no_work_left(), pytest.raises(SpaceError, match=r"chunk of sound"):
        list(pipeline.stream(PHOTO, [silence(0.02), chunk]))


def test_an_exception_of_the_source_is_raised_at_its_place(pipeline):
    def source() -> Iterator[np.ndarray]:
        yield silence(1)
        raise ConnectionError("hung up")

    shown = []
    with no_work_left(), pytest.raises(ConnectionError, match="hung up"):
        shown.extend(pipeline.stream(PHOTO, source()))


def test_unusable_photos_and_options_are_refused_before_the_first_frame(pipeline):
    with pytest.raises(SpaceError, match="face"):
        pipeline.stream(np.zeros((300, 300, 3), np.uint8), [])
    with pytest.raises(SpaceError, match="pose video"):
        pipeline.stream(PHOTO, [], AnimationOptions(pose_video="head.mp4"))


def test_no_sound_gives_no_frames(pipeline):
    assert list(pipeline.stream(PHOTO, [])) == []


def test_a_slow_reader_holds_back_the_reading_of_sound(pipeline):
    read = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield np.zeros(SAMPLES_PER_FRAME, np.float32)

    with pipeline.stream(PHOTO, source()) as stream:
        assert next(stream).index == 0
        time.sleep(1.5)
        assert read <= LOOK_AHEAD_FRAMES + 25


def slow(seconds: float) -> Draw:
    """Draws, in so many seconds each, pictures that show the first sample of their frame."""

    def draw(segment: Motion, frames: np.ndarray) -> Iterator[np.ndarray]:
        for frame in frames:
            time.sleep(seconds)
            yield np.full((1, 1, 3), segment.speech[frame * SAMPLES_PER_FRAME] * 1000, np.uint8)

    return draw


def numbered(frames: int) -> np.ndarray:
    """Sound whose frames have different samples."""
    return np.repeat(np.arange(1, frames + 1) % 200 / 1000, SAMPLES_PER_FRAME).astype(np.float32)


def test_a_slow_generator_draws_fewer_pictures_each_at_its_sound_and_falls_behind_no_further(planner, portrait):
    sound, arrivals, shown = numbered(100), [], []

    def microphone() -> Iterator[np.ndarray]:
        begun = time.monotonic()
        for index, chunk in enumerate(chunks_of(sound), 1):
            time.sleep(max(begun + index * CHUNK / SAMPLE_RATE - time.monotonic(), 0))
            arrivals.append(time.monotonic())
            yield chunk

    live = planner.live(portrait, MotionOptions())
    with LiveStream(live, slow(0.4), microphone(), LiveControl(), skip_after=0.2) as stream:
        frames = [(shown.append(time.monotonic()), frame)[1] for frame in stream]
    np.testing.assert_array_equal(np.concatenate([frame.sound for frame in frames]), sound)
    assert not frames[0].is_skipped
    for before, frame in pairwise(frames):
        expected = before.picture if frame.is_skipped else np.round(1000 * frame.sound[0])
        assert np.abs(frame.picture - expected).max() <= 1
    drawn = sum(not frame.is_skipped for frame in frames)
    assert 3 < drawn < 60  # ten in four seconds; more where planning is slow, too
    delays = np.array(shown) - np.array(arrivals)[2 * np.arange(1, 101) - 1]
    assert delays.max() < 18  # seconds, on a busy machine; if every picture were drawn, it would be 36


def test_a_slow_reader_does_not_cause_skipped_pictures(planner, portrait):
    live = planner.live(portrait, MotionOptions())
    with LiveStream(live, slow(0), chunks_of(numbered(45)), LiveControl(), skip_after=0.2) as stream:
        frames = [(time.sleep(0.6 if frame.index == 9 else 0.05), frame)[1] for frame in stream]
    assert sum(frame.is_skipped for frame in frames[20:]) == 0
    assert len(frames) == 45


def test_no_picture_is_skipped_unless_that_is_asked_for(planner, portrait):
    with LiveStream(
        planner.live(portrait, MotionOptions()), slow(0.06), chunks_of(numbered(40)), LiveControl()
    ) as stream:
        assert not any(frame.is_skipped for frame in stream)
    for wrong in (-1, float("nan")):
        with pytest.raises(SpaceError, match="skip_after"):
            LiveStream(planner.live(portrait, MotionOptions()), slow(0), [], LiveControl(), wrong)


def test_closing_ends_the_work_and_the_source(pipeline):
    ended = threading.Event()

    def source() -> Iterator[np.ndarray]:
        try:
            while True:
                yield silence(0.04)
        finally:
            ended.set()

    with no_work_left():
        stream = pipeline.stream(PHOTO, source())
        assert isinstance(next(stream), LiveFrame)
        stream.close()
        assert next(stream, None) is None
        until(ended.is_set, 10)


def test_a_stream_that_nobody_reads_any_more_ends(pipeline):
    with no_work_left():
        next(pipeline.stream(PHOTO, (silence(0.04) for _ in range(10**9))))


def test_a_reader_that_was_slow_is_not_taken_for_a_gap(monkeypatch):
    monkeypatch.setattr(gaps, "GAP_SECONDS", 0.3)  # which the source has, after the reader, for its next chunk
    given = [np.full(320, 0.5, np.float32)] * 20
    heard = []
    for chunk in fill_gaps(iter(given)):
        if len(heard) == 3:
            time.sleep(0.8)
        heard.append(chunk)
    np.testing.assert_array_equal(np.concatenate(heard), np.concatenate(given))


def test_pictures_have_the_size_and_the_mark_of_the_options(pipeline):
    options = {"size": 256, "blinks_per_minute": 0, "head_motion": 0, "saccades": 0}
    plain = next(pipeline.stream(PHOTO, [silence(1)], AnimationOptions(**options)))
    with_mark = next(pipeline.stream(PHOTO, [silence(1)], AnimationOptions(**options, mark="visible")))
    assert plain.picture.shape == (256, 256, 3)
    np.testing.assert_array_equal(with_mark.picture, marked(plain.picture))


def test_gaps_of_a_source_are_filled_with_silence_in_real_time():
    source: queue.Queue[np.ndarray | None] = queue.Queue()
    sound = np.full(1600, 0.5, np.float32)
    source.put(sound)
    begun, heard = time.monotonic(), []
    for chunk in fill_gaps(source):
        heard.append(chunk)
        if sum(map(len, heard)) == len(sound) + 15 * 640:  # 15 of its pieces of silence
            source.put(sound)
            source.put(None)
    passed = time.monotonic() - begun
    filled = np.concatenate(heard)
    assert (filled == 0.5).sum() == 3200
    assert (filled[:1600] == 0.5).all()
    assert (filled[-1600:] == 0.5).all()
    assert len(filled) / SAMPLE_RATE < passed + 0.15  # no faster than time goes by


def test_a_source_that_is_never_late_is_passed_on_as_it_is(speech):
    given = chunks_of(speech)
    np.testing.assert_array_equal(np.concatenate(list(fill_gaps(iter(given), tolerance=5))), speech)


def test_an_exception_of_a_source_with_gaps_is_passed_on():
    def source() -> Iterator[np.ndarray]:
        yield silence(0.02)
        raise ConnectionError("hung up")

    with pytest.raises(ConnectionError, match="hung up"):
        list(fill_gaps(source()))


@pytest.mark.slow
def test_a_long_talk_neither_drifts_nor_fills_memory(planner, portrait, speech):
    live = planner.live(portrait, MotionOptions())
    seconds, rounds = 5, 4
    talk = np.concatenate([speech, silence(seconds)])[: seconds * SAMPLE_RATE]
    memory, rotations, lips = [], [], []
    tracemalloc.start()  # what the whole process holds varies by more than the motion of a minute takes
    for _ in range(rounds):
        for chunk in chunks_of(talk, SAMPLES_PER_FRAME):
            for segment in live.push(chunk):
                rotations.append(segment.head_pose.rotation.copy())
                lips.append(lip_opening(segment.normalized))
        memory.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    opening, rotation = np.concatenate(lips), np.concatenate(rotations)
    period = seconds * FPS
    assert 0 <= rounds * period - len(opening) <= LOOK_AHEAD_FRAMES + 1
    assert memory[-1] - memory[0] < 1e6  # bytes; landmarks of the three rounds between take twice that
    assert np.abs(rotation - portrait.pose.rotation).max() < 16
    # At the end lips say the same as at the beginning, in the same frames.
    last = (rounds - 2) * period
    lag, correlation, _ = best_lag(opening[period : 2 * period], opening[last : last + period], 5)
    assert lag == 0
    assert correlation > 0.9
