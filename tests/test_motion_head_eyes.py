"""What head motion, blinks and gaze promise."""

from functools import lru_cache

import numpy as np
import pytest
from faces import lid_opening

from space_core.errors import SpaceError
from space_core.face.normalization import HeadPose, normalize, pose_landmarks
from space_core.face.topology import EYES, canonical_face
from space_core.motion.blink import apply_blink, blink_curve
from space_core.motion.emotion import emotion_curve
from space_core.motion.gaze import apply_gaze, counter_gaze, saccades
from space_core.motion.head_pose import generate_head_pose, head_attitude, head_motion_model
from space_core.motion.head_pose_transfer import follow_head_pose, transfer_head_pose, transfer_notes
from space_core.motion.loudness import loudness
from space_core.motion.prosody import Prosody, analyze_prosody

PHOTO = HeadPose(np.array([[12.0, -5.0, 3.0]]), np.array([[250.0, 240.0, 10.0]]), np.array([140.0]))


def speech_like(seconds: float, level: float = 0.3) -> np.ndarray:
    """Syllables, four a second, in phrases of two seconds with half a second between them, at 16 kHz."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    syllables = np.clip(np.sin(2 * np.pi * 4 * time), 0, None) * (time % 2.5 < 2)
    return (level * syllables * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


def faces(num: int, spread: float = 0.01) -> np.ndarray:
    """Normalized faces (num, 478, 3) that all differ a little, each half on its own."""
    vertices = canonical_face().vertices
    random = np.random.default_rng(1)
    stretched = vertices * (1 + 0.1 * random.standard_normal((num, 1, 3)))
    return stretched + spread * random.standard_normal((num, 478, 3)) * [1, 0.3, 1]


# Loudness


def test_loudness_is_the_same_whatever_the_level():
    np.testing.assert_allclose(loudness(speech_like(6, 0.5), 150), loudness(speech_like(6, 0.02), 150), atol=0.05)


def test_silence_is_not_loud():
    assert not loudness(np.zeros(16_000, np.float32), 25).any()
    assert not loudness(np.zeros(0, np.float32), 25).any()


# Generated head motion


def generated_head(speech: np.ndarray, num_frames: int, *arguments) -> HeadPose:
    return generate_head_pose(analysed(speech.tobytes(), num_frames), *arguments)


@lru_cache(maxsize=4)
def analysed(speech: bytes, num_frames: int) -> Prosody:
    """The prosody of speech, float32 samples; most tests have the same with many seeds."""
    return analyze_prosody(np.frombuffer(speech, np.float32), num_frames)


@pytest.fixture(scope="module")
def rotations() -> list[np.ndarray]:
    """(750, 3) yaw, pitch and roll of heads that say the same for half a minute, of 20 seeds."""
    speech = speech_like(30)
    return [generated_head(speech, 750, PHOTO, 1.0, seed).rotation for seed in range(20)]


@pytest.mark.parametrize("amount", [0.3, 1.0, 1.5])
def test_head_stays_within_15_degrees(amount):
    speech = speech_like(20, level=3.0)
    for seed in range(25):
        pose = generated_head(speech, 500, PHOTO, amount, seed)
        assert np.abs(pose.rotation - PHOTO.rotation).max() <= 15
        assert np.abs(pose.translation - PHOTO.translation).max() < PHOTO.scale[0]


def test_head_starts_at_the_photos_pose_and_gathers_speed():
    pose = generated_head(speech_like(4), 100, PHOTO, 1.0, 3)
    assert len(pose) == 100
    np.testing.assert_allclose(pose.rotation[:1], PHOTO.rotation, atol=1e-9)
    np.testing.assert_allclose(pose.translation[:1], PHOTO.translation, atol=1e-9)
    np.testing.assert_allclose(pose.scale[:1], PHOTO.scale)
    assert np.abs(np.diff(pose.rotation[:4], axis=0)).max() < 0.2


def test_head_moves_smoothly(rotations):
    for rotation in rotations:
        assert np.abs(np.diff(rotation, axis=0)).max() * 25 < 160  # degrees a second; recorded heads reach 300
        assert np.abs(np.diff(rotation, 2, axis=0)).max() * 25**2 < 2500  # degrees a second, a second
        assert share_above_6_hz(rotation - rotation.mean(0)) < 0.003
        assert share_above_6_hz(np.diff(rotation, 2, axis=0)) < 0.08  # of its acceleration: it does not tremble


def share_above_6_hz(curves: np.ndarray) -> float:
    """The largest share of the power of curves (T, C)."""
    power = np.abs(np.fft.rfft(curves * np.hanning(len(curves))[:, None], axis=0)) ** 2
    return float((power[np.fft.rfftfreq(len(curves), 1 / 25) > 6].sum(0) / power.sum(0)).max())


def test_head_moves_as_much_as_people_do(rotations):
    deviations = [rotation.std(0) for rotation in rotations]
    assert np.all(np.mean(deviations, axis=0) > [2, 1.3, 1.2])
    assert np.all(np.mean(deviations, axis=0) < [5, 4, 4])


def test_head_rests_between_turns_as_people_do(rotations):
    kurtosis = []
    for rotation in rotations:
        speed = np.diff(rotation, axis=0)
        kurtosis.append((speed**4).mean(0) / (speed**2).mean(0) ** 2)
    # A Gaussian process has 3; the corpus's heads have 7, 4 and 6.
    assert np.all(np.median(kurtosis, axis=0) > [4.5, 3.3, 4.5])


def test_heads_turn_as_a_phrase_begins(rotations):
    ratios = []
    for rotation in rotations:
        speed = np.linalg.norm(np.diff(rotation, axis=0), axis=1)[62:]
        phase = np.arange(62, 749) / 25 % 2.5  # the phrases begin at 0
        ratios.append(speed[phase < 0.4].mean() / speed[(phase > 2) & (phase < 2.3)].mean())
    assert np.mean(ratios) > 1.3


@pytest.mark.parametrize("amount", [1.0, 1.5])
def test_ten_minutes_neither_drift_nor_go_too_far(amount):
    offsets = generated_head(speech_like(600), 15_000, PHOTO, amount, 4).rotation - PHOTO.rotation
    assert np.abs(offsets).max() <= 15
    minutes = offsets.reshape(10, 1500, 3).mean(1)
    assert np.abs(minutes).max() < 4
    assert np.abs(minutes[5:].mean(0)).max() < 2


def test_head_in_a_silent_recording_hardly_moves():
    silence = np.zeros(20 * 16_000, np.float32)
    still, moving = (
        np.mean([generated_head(sound, 500, PHOTO, 1.0, seed).rotation.std(0) for seed in range(10)])
        for sound in (silence, speech_like(20))
    )
    assert 0.1 < still < 0.6 * moving


def test_head_motion_does_not_drift():
    speech = speech_like(120)
    rotation = np.mean([generated_head(speech, 3000, PHOTO, 1.0, seed).rotation for seed in range(5)], 0)
    assert np.abs((rotation[-1000:] - PHOTO.rotation).mean(0)).max() < 2


def test_amount_scales_and_zero_is_still():
    speech = speech_like(10)
    still = generated_head(speech, 250, PHOTO, 0.0, 1)
    np.testing.assert_array_equal(still.rotation, PHOTO.rotation.repeat(250, 0))
    np.testing.assert_array_equal(still.translation, PHOTO.translation.repeat(250, 0))
    np.testing.assert_array_equal(still.scale, PHOTO.scale.repeat(250))
    spans = [generated_head(speech, 250, PHOTO, amount, 1).rotation.std(0) for amount in (0.25, 0.5, 1.0, 1.5)]
    assert np.all(np.diff(spans, axis=0) > 0)


def test_seeds_differ_and_repeat():
    speech = speech_like(10)
    one, again, other = (generated_head(speech, 250, PHOTO, 1.0, seed).rotation for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 1.5


def test_head_settles_in_silence_but_never_freezes():
    speech = np.concatenate([speech_like(20), np.zeros(20 * 16_000, np.float32)])
    ratios = []
    for seed in range(10):
        rotation = generated_head(speech, 1000, PHOTO, 1.0, seed).rotation
        speed = np.linalg.norm(np.diff(rotation, axis=0), axis=1) * 25
        ratios.append(speed[525:].mean() / speed[25:500].mean())
        assert min(speed[start : start + 25].max() for start in range(525, 975)) > 0.05
    assert np.mean(ratios) < 0.5


def test_sadness_bows_the_head_and_tilts_it_to_a_side_of_the_seed():
    _, pitch, roll = np.array([head_attitude(emotion_curve("sad", 1.0, 100), seed)[-1] for seed in range(20)]).T
    assert (pitch < -2).all()
    assert (np.abs(roll) > 2).all() and roll.min() < 0 < roll.max()


def test_contempt_tilts_the_head_away_from_the_raised_corner_of_the_mouth():
    rolls = np.array([head_attitude(emotion_curve("contempt", 1.0, 100), seed)[-1, 2] for seed in range(20)])
    assert (rolls < -3).all()  # anticlockwise in the image; the person's left corner is raised


def test_bodies_sway_as_much_as_recorded_ones():
    sways = []
    for seed in range(40):
        pose = generated_head(speech_like(30), 750, PHOTO, 1.0, seed)
        neck = pose.translation + pose.scale[:, None] * (pose.matrices @ head_motion_model().pivot)
        sways.append(neck[:, :2].std(0) / PHOTO.scale[0])
    np.testing.assert_allclose(np.median(sways, axis=0), [0.051, 0.033], rtol=0.25)  # medians of 35 recorded clips


def test_head_turns_about_the_neck():
    pose = generated_head(speech_like(10), 250, PHOTO, 1.0, 7)
    neck = pose.translation + pose.scale[:, None] * (pose.matrices @ head_motion_model().pivot)
    # The neck sways a little; the eyes travel much more.
    assert neck[:, :2].std(0).max() < 0.08 * PHOTO.scale[0]
    yaw = pose.rotation[:, 0] - pose.rotation[:, 0].mean()
    assert np.corrcoef(yaw, pose.translation[:, 0] - neck[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize("num_frames", [0, 1, 2, 8])
def test_very_short_speech(num_frames):
    speech = speech_like(num_frames / 25)
    assert len(generated_head(speech, num_frames, PHOTO, 1.0, 0)) == num_frames
    assert len(blink_curve(speech, num_frames, 20, 0)) == num_frames
    assert saccades(num_frames, 0, 1.0).shape == (num_frames, 2)


# Transferred head motion


def driving_video(num_frames: int) -> tuple[np.ndarray, HeadPose]:
    """A track (T, 478, 3) of a nodding and turning head, and its pose."""
    time = np.arange(num_frames) / 25
    rotation = np.stack([8 * np.sin(2 * time) - 10, 5 * np.sin(5 * time) + 4, 3 * np.sin(time)], axis=1)
    translation = np.stack([600 + 30 * np.sin(time), 400 + 0 * time, 0 * time], axis=1)
    pose = HeadPose(rotation, translation, np.full(num_frames, 300.0))
    return pose_landmarks(np.broadcast_to(canonical_face().vertices, (num_frames, 478, 3)), pose), pose


def followed(landmarks: np.ndarray) -> HeadPose:
    """Head poses of landmarks in which lost frames are NaN."""
    return follow_head_pose(None if np.isnan(face).any() else face for face in landmarks)


def test_transferred_motion_is_the_videos_own_relative_to_its_start():
    landmarks, driver = driving_video(150)
    pose = transfer_head_pose(followed(landmarks), 150, PHOTO, 1.0)
    expected = driver.rotation - driver.rotation[0]
    np.testing.assert_allclose(pose.rotation - PHOTO.rotation, expected, atol=0.4)
    np.testing.assert_array_equal(pose.rotation[0], PHOTO.rotation[0])
    # Thirty pixels of a face of 300 are 14 of one of 140.
    moved = pose.translation[:, 0] - PHOTO.translation[0, 0]
    np.testing.assert_allclose(moved, (driver.translation[:, 0] - 600) * 140 / 300, atol=0.5)


def test_short_video_is_played_back_and_forth():
    landmarks, _ = driving_video(40)
    rotation = transfer_head_pose(followed(landmarks), 200, PHOTO, 1.0).rotation
    # But for the turning points, which are smooth.
    np.testing.assert_allclose(rotation[44:74], rotation[5:35][::-1], atol=1e-9)
    np.testing.assert_allclose(rotation[82:112], rotation[4:34], atol=1e-9)
    np.testing.assert_allclose(rotation[40:79], rotation[:39][::-1], atol=1)
    acceleration = np.abs(np.diff(rotation, 2, axis=0)).max(1)
    assert acceleration[35:45].max() < 2 * acceleration[:30].max()


def test_a_cut_in_the_pose_video_does_not_jerk_the_head():
    _, driver = driving_video(150)
    other_shot = np.arange(150)[:, None] >= 70
    rotation = driver.rotation + np.where(other_shot, [20.0, -15.0, 5.0], 0.0)
    translation = driver.translation + np.where(other_shot, [200.0, 50.0, 0.0], 0.0)
    film = HeadPose(rotation, translation, np.where(other_shot[:, 0], 450.0, 300.0))
    landmarks = pose_landmarks(np.broadcast_to(canonical_face().vertices, (150, 478, 3)), film)
    pose = transfer_head_pose(followed(landmarks), 150, PHOTO, 1.0)
    uncut = transfer_head_pose(driver, 150, PHOTO, 1.0)
    assert np.abs(np.diff(pose.rotation, axis=0)).max() < 1.5 * np.abs(np.diff(uncut.rotation, axis=0)).max()
    assert np.abs(np.diff(pose.translation, axis=0)).max() < 3
    assert np.abs(np.diff(np.log(pose.scale))).max() < 0.01
    # The second shot is relative to its own first frame, once the head has come there.
    second = driver.rotation - driver.rotation[70]
    np.testing.assert_allclose((pose.rotation - PHOTO.rotation)[125:], second[125:], atol=0.6)


def test_lost_frames_are_bridged():
    landmarks, driver = driving_video(150)
    landmarks[40:46] = np.nan
    landmarks[:3] = np.nan
    rotation = transfer_head_pose(followed(landmarks), 147, PHOTO, 1.0).rotation
    expected = driver.rotation[3:] - driver.rotation[3] + PHOTO.rotation
    np.testing.assert_allclose(rotation, expected, atol=1.5)


def test_tracker_jitter_is_smoothed_without_lag():
    _, driver = driving_video(200)
    jitter = 0.5 * np.random.default_rng(0).standard_normal((200, 3))
    shaken = HeadPose(driver.rotation + jitter, driver.translation, driver.scale)
    landmarks = pose_landmarks(np.broadcast_to(canonical_face().vertices, (200, 478, 3)), shaken)
    rotation = transfer_head_pose(followed(landmarks), 200, PHOTO, 1.0).rotation
    error = rotation - driver.rotation
    assert (error - error.mean(0)).std() < 0.3
    assert np.abs(np.diff(rotation, 2, axis=0)).mean() < 0.3 * np.abs(np.diff(shaken.rotation, 2, axis=0)).mean()


def test_one_slip_of_the_tracker_leaves_no_trace():
    landmarks, driver = driving_video(100)
    turned = driver.rotation.copy()
    turned[50] += 20
    slipped = HeadPose(turned, driver.translation, driver.scale)
    landmarks = pose_landmarks(np.broadcast_to(canonical_face().vertices, (100, 478, 3)), slipped)
    rotation = transfer_head_pose(followed(landmarks), 100, PHOTO, 1.0).rotation
    np.testing.assert_allclose(rotation - PHOTO.rotation, driver.rotation - driver.rotation[0], atol=0.6)


def test_transferred_motion_beyond_what_the_photo_can_carry_is_compressed_smoothly():
    turns = np.zeros((150, 3))
    turns[:, 0] = 60 * np.sin(np.arange(150) * np.pi / 149)  # to the side and back
    wild = HeadPose(turns, np.zeros((150, 3)), np.full(150, 100.0))
    landmarks = pose_landmarks(np.broadcast_to(canonical_face().vertices, (150, 478, 3)), wild)
    yaw = (transfer_head_pose(followed(landmarks), 150, PHOTO, 1.0).rotation - PHOTO.rotation)[:, 0]
    within = turns[:, 0] < 24
    np.testing.assert_allclose(yaw[within], turns[within, 0], atol=0.5)
    assert 34 < yaw.max() <= 38
    assert (np.diff(yaw[:75]) > 0).all()  # slower, but without a stop
    assert np.abs(np.diff(yaw, 2)).max() < 0.3


def test_a_head_that_is_turned_in_the_photo_turns_less_far_away_but_as_far_back():
    photo = HeadPose(np.array([[-32.0, 0.0, 0.0]]), PHOTO.translation, PHOTO.scale)
    turns = np.zeros((200, 3))
    turns[:, 0] = 30 * np.sin(np.arange(200) * 2 * np.pi / 199)  # to one side and to the other
    driver = HeadPose(turns, np.zeros((200, 3)), np.full(200, 100.0))
    landmarks = pose_landmarks(np.broadcast_to(canonical_face().vertices, (200, 478, 3)), driver)
    pose = transfer_head_pose(followed(landmarks), 200, photo, 1.0)
    yaw = pose.rotation[:, 0]
    assert -50 < yaw.min() < -44
    assert -5 < yaw.max() < 0
    assert (np.abs(np.diff(yaw, 2)) < 0.3).all()
    (note,) = transfer_notes(pose, photo)
    assert "beyond 12°" in note


def test_pose_video_without_a_face_is_refused():
    landmarks, _ = driving_video(50)
    landmarks[10:] = np.nan
    for track in (np.full((50, 478, 3), np.nan), landmarks, np.zeros((0, 478, 3))):
        with pytest.raises(SpaceError, match="pose video"):
            transfer_head_pose(followed(track), 100, PHOTO, 1.0)


def test_pose_video_of_one_frame_is_still():
    landmarks, _ = driving_video(1)
    rotation = transfer_head_pose(followed(landmarks), 30, PHOTO, 1.0).rotation
    np.testing.assert_array_equal(rotation, np.broadcast_to(PHOTO.rotation, (30, 3)))


# Blinks


def blinks(curve: np.ndarray) -> np.ndarray:
    """The frames in which eyes become shut."""
    return np.flatnonzero((curve[1:] == 1) & (curve[:-1] < 1)) + 1


@pytest.mark.parametrize("per_minute", [6, 18, 60])
def test_blinks_come_at_the_rate_asked_for(per_minute):
    speech = speech_like(600)
    counts = [len(blinks(blink_curve(speech, 15_000, per_minute, seed))) for seed in range(5)]
    assert np.mean(counts) / 10 == pytest.approx(per_minute, rel=0.1)


def test_blink_rate_holds_for_short_speech_too():
    speech = speech_like(6)
    counts = [len(blinks(blink_curve(speech, 150, 18, seed))) for seed in range(400)]
    assert np.mean(counts) * 10 == pytest.approx(18, rel=0.15)


@pytest.mark.parametrize("seconds", [1, 3])
def test_blinks_of_short_speech_are_whole_and_not_too_many(seconds):
    speech = speech_like(seconds)
    curves = [blink_curve(speech, seconds * 25, 18, seed) for seed in range(400)]
    assert all(curve[-1] < 0.2 for curve in curves)
    assert np.mean([len(blinks(curve)) for curve in curves]) * 60 / seconds == pytest.approx(18, rel=0.35)


def test_eyes_blink_in_silence_too():
    silence = np.zeros(60 * 16_000, np.float32)
    assert np.mean([len(blinks(blink_curve(silence, 1500, 18, seed))) for seed in range(50)]) == pytest.approx(
        18, rel=0.1
    )


def test_no_blinks_at_rate_zero_and_none_at_the_start():
    speech = speech_like(30)
    assert not blink_curve(speech, 750, 0, 0).any()
    for seed in range(50):
        curve = blink_curve(speech, 750, 40, seed)
        assert curve.dtype == np.float32
        assert not curve[:10].any()
        assert curve[-1] < 0.2
        assert curve.min() >= 0
        assert curve.max() == 1


def test_blinks_close_fast_and_open_slowly():
    curve = blink_curve(speech_like(300), 7500, 15, 4)
    for closed in blinks(curve):
        before = closed - np.flatnonzero(curve[:closed] == 0)[-1]
        after = np.flatnonzero(curve[closed:] == 0)[0]
        assert 2 <= before <= 4 < after
        assert 0.25 <= (before + after - 1) / 25 <= 0.7  # the last half of it slowly, with eyes nearly open
        more_than_half = np.flatnonzero(curve[closed - before : closed + after] > 0.5)
        assert 0.08 <= len(more_than_half) / 25 <= 0.24


def test_blinks_last_as_long_as_recorded_ones():
    # What a tracker reads in films, by closure: it reads half-shut eyes as nearly open, in recordings too.
    closures, openings = [0, 0.11, 0.34, 0.45, 0.51, 0.67, 1], [1, 0.95, 0.9, 0.82, 0.68, 0.4, 0.22]
    frames = np.arange(-5, 20, 0.1)
    widths = []
    for seed in range(20):
        curve = blink_curve(speech_like(60), 1500, 10, seed)
        for closed in blinks(curve):
            opening = np.interp(np.interp(closed + frames, np.arange(1500), curve), closures, openings)
            widths.append([0.1 * (opening < level).sum() for level in (0.5, 0.8, 0.9)])
    # Medians of 330 recorded blinks: frames for which eyes are less than half, 0.8 and 0.9 as open as before.
    np.testing.assert_allclose(np.median(widths, axis=0), [2.8, 4.7, 6.6], rtol=0.15)


def test_phrase_ends_attract_blinks():
    speech = speech_like(600)
    phase = np.concatenate([blinks(blink_curve(speech, 15_000, 18, seed)) / 25 % 2.5 for seed in range(5)])
    assert np.mean(phase > 1.9) > 1.5 * (0.6 / 2.5)


def test_blink_seeds_differ_and_repeat():
    speech = speech_like(60)
    np.testing.assert_array_equal(blink_curve(speech, 1500, 18, 1), blink_curve(speech, 1500, 18, 1))
    assert not np.array_equal(blinks(blink_curve(speech, 1500, 18, 1)), blinks(blink_curve(speech, 1500, 18, 2)))


def test_blink_closes_every_eye():
    open_eyes = faces(40)
    half_closed = apply_blink(open_eyes, np.full(40, 0.6))
    for eyes in (open_eyes, half_closed):
        closed = apply_blink(eyes, np.ones(40))
        assert lid_opening(closed).max() < 0.05 * lid_opening(open_eyes).mean()


def test_blink_does_nothing_when_open_and_is_monotone():
    np.testing.assert_array_equal(apply_blink(faces(5), np.zeros(5)), faces(5))
    face = canonical_face().vertices[None]
    openings = lid_opening(apply_blink(face.repeat(11, 0), np.linspace(0, 1, 11)))
    assert np.all(np.diff(openings, axis=0) < 0)


def test_blink_leaves_irises_mouth_and_brows_alone():
    face = canonical_face().vertices[None]
    moved = np.linalg.norm(apply_blink(face, np.ones(1)) - face, axis=-1)[0]
    assert not moved[468:].any()
    # From the lids outwards, points follow less and less.
    assert moved[159] > moved[27] > moved[223] > 0
    assert moved[145] > moved[23] > moved[230] > 0
    assert not moved[[33, 133, 263, 362, 105, 334, 61, 291, 13, 14, 152, 4]].any()
    np.testing.assert_allclose(moved, moved[canonical_face().mirror], atol=1e-6)


def test_eyes_that_are_shut_in_the_photo_stay_shut_as_they_are():
    open_eyes = canonical_face().vertices[None]
    shut = apply_blink(open_eyes, np.full(1, 0.8))  # with a gap as the tracker leaves it between shut lids
    np.testing.assert_allclose(apply_blink(shut, np.ones(1), shut[0]), shut, atol=1e-9)
    np.testing.assert_allclose(apply_gaze(shut, 15.0, 8.0, shut[0]), shut, atol=1e-9)
    # Where an emotion opens them they turn, and a blink shuts them as in the photo.
    np.testing.assert_allclose(apply_blink(open_eyes, np.ones(1), shut[0])[0, 159], shut[0, 159], atol=0.01)
    np.testing.assert_array_equal(apply_gaze(open_eyes, 15.0, 8.0, shut[0]), apply_gaze(open_eyes, 15.0, 8.0))


def test_narrow_eyes_close_in_blinks():
    narrow = apply_blink(canonical_face().vertices[None], np.full(1, 0.35))
    np.testing.assert_array_equal(apply_blink(narrow, np.ones(1), narrow[0]), apply_blink(narrow, np.ones(1)))


def test_eyes_of_unequal_height_blink_alike_unless_one_winks():
    face = canonical_face().vertices[None]
    left = np.zeros_like(face)
    left[:, face[0, :, 0] < 0] = 1
    for closure, stays_shut in ((0.6, 0), (0.85, 1)):
        rest = np.where(left > 0, apply_blink(face, np.full(1, closure)), face)
        shut, alone = apply_blink(rest, np.ones(1), rest[0]), apply_blink(rest, np.ones(1))
        np.testing.assert_allclose(shut, np.where((left > 0) & (stays_shut > 0), rest, alone), atol=1e-9)


# Gaze


def test_gaze_does_nothing_at_zero():
    np.testing.assert_array_equal(apply_gaze(faces(5), 0.0, np.zeros(5)), faces(5))


def test_gaze_turns_irises_the_way_asked_for():
    face = canonical_face().vertices[None]
    pupils = [eye.pupil for eye in EYES]
    shift = (apply_gaze(face, 15.0, 0.0) - face)[0, pupils]
    # 12 mm · sin 15° of an eye of 30 mm
    width = np.linalg.norm(face[0, 133, :] - face[0, 33, :])
    np.testing.assert_allclose(shift[:, 0], 12 / 30 * np.sin(np.radians(15)) * width, rtol=0.1)
    np.testing.assert_allclose(shift[:, 1], 0, atol=1e-9)
    up = apply_gaze(face, 0.0, np.array([10.0])) - face
    assert np.all(up[0, pupils, 1] < 0)
    # Upper lids go with the irises, though not as far.
    assert up[0, pupils[0], 1] < up[0, 159, 1] < up[0, 145, 1] < 0
    assert not up[0, [33, 133, 263, 362, 13, 152]].any()


def test_gaze_stays_within_the_eye():
    face = canonical_face().vertices[None]
    moved = apply_gaze(face, 80.0, 60.0)
    for eye in EYES:
        corners = sorted(face[0, [eye.upper_lid[0], eye.upper_lid[-1]], 0])
        assert corners[0] < moved[0, eye.pupil, 0] < corners[1]


def test_saccades_are_fixations_joined_by_fast_steps():
    gaze = saccades(3000, 3, 1.0)
    np.testing.assert_array_equal(gaze[:10], 0)
    assert np.abs(gaze).max(0)[0] <= 6
    assert np.abs(gaze).max(0)[1] <= 4
    moving = np.any(np.diff(gaze, axis=0) != 0, axis=1)
    assert moving.mean() < 0.1
    assert 0.5 < 120 / moving.sum() * 1.5 < 2.5  # seconds from one to the next, at one or two frames each
    np.testing.assert_array_equal(saccades(3000, 3, 0.5), gaze * 0.5)
    assert not saccades(3000, 3, 0.0).any()
    assert not np.array_equal(saccades(3000, 4, 1.0), gaze)


def test_gaze_wanders_and_jumps_as_recorded():
    gazes = [saccades(1500, seed, 1.0) for seed in range(30)]
    np.testing.assert_allclose(np.mean([gaze.std(0) for gaze in gazes], axis=0), [1.5, 1.0], rtol=0.15)
    sizes = []
    for gaze in gazes:
        fixated = gaze[:-1][np.all(gaze[1:] == gaze[:-1], axis=1)]
        sizes.append(np.linalg.norm(np.diff(fixated, axis=0), axis=1))
    assert 9 < np.mean([(size > 3).sum() for size in sizes]) < 18  # a minute; far ones are few
    assert np.median(np.concatenate([size[size > 0.5] for size in sizes])) < 2.5


def test_blinks_gaze_and_head_do_not_share_their_random_numbers():
    speech = speech_like(20)
    curves = []
    for seed in range(60):
        head = generated_head(speech, 500, PHOTO, 1.0, seed).rotation
        gaze = saccades(500, seed, 1.0)
        first = np.flatnonzero(gaze.any(1))[0], blinks(blink_curve(speech, 500, 18, seed))[0]
        curves.append([*first, head.std()])
    assert np.abs(np.corrcoef(np.array(curves).T) - np.eye(3)).max() < 0.35


def test_eyes_stay_on_the_viewer_while_the_head_turns():
    straight = HeadPose(np.zeros((1, 3)), np.zeros((1, 3)), np.ones(1))
    turned = HeadPose(np.array([[10.0, 0, 0], [0, 8.0, 0], [0, 0, 5.0]]), np.zeros((3, 3)), np.ones(3))
    np.testing.assert_allclose(counter_gaze(straight, turned, 1.0), [[-10, 0], [0, -8], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(counter_gaze(straight, turned), [[-5, 0], [0, -4], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(counter_gaze(PHOTO, PHOTO, 1.0), 0, atol=1e-9)


def test_normalization_takes_no_blink_and_no_gaze_for_head_motion():
    face = canonical_face().vertices[None]
    _, pose = normalize(apply_blink(apply_gaze(face, 10.0, -8.0), np.ones(1)) * 100)
    np.testing.assert_allclose(pose.rotation, 0, atol=0.3)
