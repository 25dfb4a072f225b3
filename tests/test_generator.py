"""What the mesh-warp generator promises."""

import numpy as np
import pytest
import torch

from space_core.evaluation.eyes import followed_gaze
from space_core.evaluation.picture import eye_opening
from space_core.face.detector import build_detector
from space_core.face.normalization import HeadPose, normalize, pose_landmarks
from space_core.face.topology import EYES, INNER_LOWER_LIP, LEFT_EYE
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.motion.blink import apply_blink
from space_core.motion.gaze import apply_gaze


@pytest.fixture(scope="module")
def generator():
    return MeshWarpGenerator("cpu")


@pytest.fixture(scope="module")
def prepared(generator, portrait):
    return generator.prepare(portrait)


def rendered(generator, prepared, landmarks) -> np.ndarray:
    return np.stack(list(generator.render(prepared, [landmarks])))


def turned(portrait, **angles) -> np.ndarray:
    """The portrait's landmarks with its head turned by degrees of yaw, pitch and roll, (1, 478, 3)."""
    rotation = portrait.pose.rotation + [[angles.get(name, 0) for name in ("yaw", "pitch", "roll")]]
    return pose_landmarks(portrait.normalized[None], HeadPose(rotation, portrait.pose.translation, portrait.pose.scale))


def with_open_mouth(portrait, opening: float) -> np.ndarray:
    """The portrait's landmarks (1, 478, 3) with lower lip and chin dropped by an opening in normalized units."""
    normalized = portrait.normalized.copy()
    lips = normalized[list(INNER_LOWER_LIP), 1].mean()
    below = np.clip((normalized[:, 1] - lips + 0.05) / 0.05, 0, 1) * (np.abs(normalized[:, 0]) < 0.35)
    normalized[:, 1] += opening * below
    return pose_landmarks(normalized[None], portrait.pose)


def around(frame: np.ndarray, landmarks: np.ndarray, points, reach: int) -> np.ndarray:
    x, y = landmarks[list(points), :2].mean(0).astype(int)
    return frame[y - reach : y + reach, x - reach : x + reach].astype(int)


def test_without_motion_the_frame_is_the_photo(generator, prepared, portrait):
    frame = rendered(generator, prepared, portrait.landmarks[None])[0]
    np.testing.assert_array_equal(frame, portrait.image)


def test_frames_are_512_rgb(generator, prepared, portrait):
    frames = rendered(generator, prepared, np.repeat(portrait.landmarks[None], 3, 0))
    assert frames.shape == (3, 512, 512, 3)
    assert frames.dtype == np.uint8


def test_background_stands_still_when_the_head_turns(generator, prepared, portrait):
    frame = rendered(generator, prepared, turned(portrait, yaw=10))[0]
    background = portrait.person[64:-64, 64:-64] < 0.02
    difference = np.abs(frame.astype(int) - portrait.image).max(-1)
    # All but the pixels that the head covers in turning.
    assert np.mean(difference[background] <= 2) > 0.85


def test_head_turns_as_asked(generator, prepared, portrait):
    frame = rendered(generator, prepared, turned(portrait, yaw=10, pitch=-6, roll=8))[0]
    (face,) = build_detector("mediapipe").detect(frame)
    _, pose = normalize(face[None].astype(float))
    np.testing.assert_allclose(pose.rotation[0] - portrait.pose.rotation[0], [10, -6, 8], atol=4)


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_an_open_mouth_is_dark_inside_and_shows_teeth(generator, portrait, refined):
    landmarks = with_open_mouth(portrait, 0.2)
    frame = rendered(generator, generator.prepare(portrait, refined=refined), landmarks)[0]
    inside = around(frame, landmarks[0], (13, 14), 12).mean(-1)
    assert inside.min() < 80  # depth
    assert inside.max() > 110  # teeth
    lower_lip = around(frame, landmarks[0], (17, 84, 314), 3).mean()
    assert lower_lip > inside.min() + 40


def test_only_the_mouth_changes_when_it_opens(generator, prepared, portrait):
    frame = rendered(generator, prepared, with_open_mouth(portrait, 0.15))[0]
    top = int(portrait.landmarks[1, 1])  # the tip of the nose
    np.testing.assert_array_equal(frame[: top - 5], portrait.image[: top - 5])


def test_shut_lids_hide_the_eyes(generator, prepared, portrait):
    shut = pose_landmarks(apply_blink(portrait.normalized[None], np.ones(1)), portrait.pose)
    frame = rendered(generator, prepared, shut)[0]
    for eye in EYES:
        photo_eye = around(portrait.image, portrait.landmarks, [eye.pupil], 3)
        shut_eye = around(frame, portrait.landmarks, [eye.pupil], 3)
        assert shut_eye.mean() > photo_eye.mean() + 15  # skin instead of the pupil


def test_irises_turn(generator, prepared, portrait):
    looks_right = apply_gaze(portrait.normalized[None], 15.0, 0.0)
    frame = rendered(generator, prepared, pose_landmarks(looks_right, portrait.pose))[0]

    def darkest_column(picture: np.ndarray) -> float:
        eye = around(picture, portrait.landmarks, [LEFT_EYE.pupil], 9).mean(-1)
        dark = np.clip(np.median(eye) - eye, 0, None)
        return float((dark.sum(0) * np.arange(dark.shape[1])).sum() / dark.sum())

    assert darkest_column(frame) > darkest_column(portrait.image) + 0.7


@pytest.mark.parametrize("yaw", [-10.0, -3.0, 3.0, 10.0])
def test_small_gaze_is_seen_as_far_as_it_was_asked_for(generator, prepared, portrait, yaw):
    looks_aside = apply_gaze(portrait.normalized[None], yaw, 0.0)
    frame = rendered(generator, prepared, pose_landmarks(looks_aside, portrait.pose))[0]
    assert followed_gaze(portrait.image, frame, portrait.landmarks)[0] == pytest.approx(yaw, abs=1 + 0.2 * abs(yaw))


@pytest.mark.parametrize("yaw", [-10.0, 10.0])
def test_irises_do_not_jump_when_gaze_sets_in_on_a_turned_head(generator, prepared, portrait, yaw):
    head = turned(portrait, yaw=yaw)
    normalized, pose = normalize(head)
    looking = pose_landmarks(apply_gaze(normalized, 1.0, 0.0), pose)
    frames = rendered(generator, prepared, np.concatenate([head, looking]))
    assert followed_gaze(*frames, head[0])[0] == pytest.approx(1.0, abs=0.7)


def test_shut_eyes_read_as_closed(generator, prepared, portrait):
    shut = pose_landmarks(apply_blink(portrait.normalized[None], np.ones(1)), portrait.pose)
    frame = rendered(generator, prepared, shut)[0]
    (open_face,), (shut_face,) = (build_detector("mediapipe").detect(picture) for picture in (portrait.image, frame))
    assert (eye_opening(shut_face) < eye_opening(open_face) / 3).all()


def test_frames_do_not_depend_on_how_landmarks_are_chunked(generator, prepared, portrait):
    landmarks = np.concatenate([turned(portrait, yaw=yaw) for yaw in range(-5, 6)])
    whole = rendered(generator, prepared, landmarks)
    chunked = np.stack(list(generator.render(prepared, [landmarks[:1], landmarks[1:4], landmarks[4:]])))
    np.testing.assert_allclose(whole.astype(int), chunked.astype(int), atol=1)


def test_rendering_is_lazy(generator, prepared, portrait):
    taken = []

    def chunks():
        for number in range(100):
            taken.append(number)
            yield portrait.landmarks[None]

    next(generator.render(prepared, chunks()))
    assert len(taken) < 20


def test_rasterizer_interpolates_and_the_nearest_triangle_wins():
    corners = torch.tensor([[0.0, 0], [8, 0], [0, 8], [8, 8]])
    vertices = torch.cat([corners, corners])[None]
    depths = torch.tensor([[5.0] * 4 + [2.0, 2.0, 9.0, 9.0]])
    triangles = torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    colours = torch.tensor([1.0] * 4 + [0.0] * 4)
    attributes = torch.cat([vertices, colours[None, :, None]], 2)
    picture = rasterize(vertices, depths, triangles, attributes, 10)[0]
    np.testing.assert_allclose(picture[3, 5, :2], [5, 3], atol=1e-4)
    assert picture[1, 4, 2] == 0  # where the second square is nearer
    assert picture[7, 4, 2] == 1
    assert not picture[9].any()  # outside


def test_rasterizer_leaves_no_gaps_between_triangles():
    random = np.random.default_rng(0)
    axis = np.linspace(0, 63, 9)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    grid[1:-1, 1:-1] += random.uniform(-3, 3, (7, 7, 2))
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    vertices = torch.tensor(grid.reshape(1, -1, 2), dtype=torch.float32)
    picture = rasterize(vertices, torch.zeros(1, 81), torch.tensor(triangles), torch.ones(1, 81, 1), 64)
    np.testing.assert_allclose(picture, 1, atol=1e-5)


def test_half_shut_eyes_stay_as_they_are_in_a_still_frame_whatever_moves_in_the_next(generator, portrait):
    from dataclasses import replace

    normalized = apply_blink(portrait.normalized[None], np.array([0.75]))
    landmarks = pose_landmarks(normalized, portrait.pose)
    half_shut = generator.prepare(replace(portrait, landmarks=landmarks[0], normalized=normalized[0]))
    looking = pose_landmarks(apply_gaze(normalized, 8.0, 0.0), portrait.pose)
    frames = rendered(generator, half_shut, np.concatenate([landmarks, looking]))
    np.testing.assert_array_equal(frames[0], portrait.image)


def test_eyes_that_are_shut_in_the_photo_open(generator, prepared, portrait):
    from dataclasses import replace

    normalized = apply_blink(portrait.normalized[None], np.ones(1))
    landmarks = pose_landmarks(normalized, portrait.pose)
    surroundings = portrait.surroundings.copy()
    surroundings[64:-64, 64:-64] = image = rendered(generator, prepared, landmarks)[0]
    asleep = replace(portrait, surroundings=surroundings, landmarks=landmarks[0], normalized=normalized[0])
    frames = rendered(generator, generator.prepare(asleep), np.concatenate([landmarks, portrait.landmarks[None]]))
    np.testing.assert_array_equal(frames[0], image)
    (shut,), (awake,) = (build_detector("mediapipe").detect(frame) for frame in frames)
    assert (eye_opening(awake) > 2 * eye_opening(shut)).all()
    for eye in EYES:
        pupil = around(frames[1], portrait.landmarks, [eye.pupil], 2)
        assert pupil.mean() < around(image, portrait.landmarks, [eye.pupil], 2).mean() - 30
