"""What long hair that swings promises: when it moves, how it comes to rest, and what it leaves alone."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from conftest import EXAMPLES
from rendering import mean_difference, on_surroundings, posed, rendered

from space_core import AnimationOptions, load_motion, save_motion
from space_core.face.crop_size import MARGIN
from space_core.face.detector import build_detector
from space_core.face.hair_locks import LOCKS
from space_core.face.normalization import HeadPose
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.topology import OVAL
from space_core.generator.mesh_warp.hanging_hair import find_hanging_hair
from space_core.media.images import load_photo
from space_core.motion.hair import HairSwing
from space_core.timing import FPS

PHOTO = EXAMPLES / "mona_lisa.jpg"
BEGINS, ENDS = 10, 18  # frames between which the head goes from rest to rest


def going_right(portrait: Portrait, seconds: float = 4.0, distance: float = 0.3) -> HeadPose:
    """A head that goes to the image's right by a normalized distance, and then stays there."""
    frames = np.arange(round(seconds * FPS))
    share = np.clip((frames - BEGINS) / (ENDS - BEGINS), 0, 1)
    pose = portrait.pose.held(len(frames))
    pose.translation[:, 0] += share * share * (3 - 2 * share) * distance * pose.scale
    return pose


@pytest.fixture(scope="module")
def long_haired() -> Portrait:
    return prepare_portrait(load_photo(PHOTO), build_detector("mediapipe"))


# How it swings


def test_hair_of_a_still_head_hangs_still(portrait):
    still = going_right(portrait, distance=0)
    assert not HairSwing(portrait.pose, 0).next(still).any()


def test_hair_lags_behind_the_head_and_comes_to_rest(portrait):
    swing = HairSwing(portrait.pose, 0).next(going_right(portrait))
    assert swing.shape == (100, len(LOCKS)) and swing.dtype == np.float32
    assert not swing[:BEGINS].any()
    half_way = (BEGINS + ENDS) // 2
    assert (swing[half_way] < -0.02).all()
    for lock in swing.T:  # as the head stops it swings past it, and back less and less
        past = lock.argmax()
        assert past > half_way
        assert 0 < -lock[past:].min() < 0.5 * lock.max()
    assert np.abs(swing[ENDS + 2 * FPS :]).max() < 0.03 * np.abs(swing).max()


def test_tips_swing_further_and_slower_than_mid_lengths(portrait):
    swing = HairSwing(portrait.pose, 0).next(going_right(portrait))
    middles, tips = swing[:, ::2], swing[:, 1::2]
    assert (np.abs(tips).max(0) > np.abs(middles).max(0)).all()
    assert (tips.argmin(0) >= middles.argmin(0)).all()


def test_the_same_seed_swings_alike_and_another_one_otherwise(portrait):
    pose = going_right(portrait)
    one, same, other = (HairSwing(portrait.pose, seed).next(pose) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.003


def test_it_does_not_matter_in_which_pieces_a_motion_arrives(portrait):
    pose = going_right(portrait)
    whole, pieces = HairSwing(portrait.pose, 0).next(pose), HairSwing(portrait.pose, 0)
    joined = np.concatenate([pieces.next(pose[first : first + 7]) for first in range(0, len(pose), 7)])
    np.testing.assert_array_equal(joined, whole)


def test_however_wild_a_head_is_hair_stays_near(portrait):
    wild = going_right(portrait)
    wild.rotation[:, 0] += 35 * np.sign(np.sin(np.arange(len(wild))))
    assert np.abs(HairSwing(portrait.pose, 0).next(wild)).max() <= 0.25


# In films


def test_without_hair_motion_hair_is_rigid_and_with_more_it_swings_further(pipeline, short_speech):
    rigid, natural, more = (
        pipeline.motion(PHOTO, short_speech, AnimationOptions(hair_motion=amount)) for amount in (0, 1, 1.5)
    )
    assert not rigid.hair.any() and natural.hair.any()
    np.testing.assert_allclose(more.hair, 1.5 * natural.hair, rtol=1e-5)
    np.testing.assert_array_equal(rigid.posed, natural.posed)


def test_a_motion_file_keeps_the_swing_and_older_ones_have_none(pipeline, short_speech, tmp_path):
    motion = pipeline.motion(PHOTO, short_speech)
    save_motion(tmp_path / "motion.npz", motion)
    np.testing.assert_array_equal(load_motion(tmp_path / "motion.npz").hair, motion.hair)
    with np.load(tmp_path / "motion.npz") as file:
        older = {name: file[name] for name in file.files if name != "hair"}
    np.savez(tmp_path / "older.npz", **older)
    assert not load_motion(tmp_path / "older.npz").hair.any()


def test_swinging_hair_leaves_face_and_background_alone(generator, long_haired):
    prepared, face = generator.prepare(long_haired, refined=False), posed(long_haired)
    swinging = replace(face, hair=np.full((1, len(LOCKS)), 0.1, np.float32))
    still, frame = (rendered(generator, prepared, one)[0] for one in (face, swinging))
    landmarks = face.landmarks[0]
    inside = np.zeros(still.shape[:2], np.uint8)
    cv2.fillPoly(inside, [landmarks[list(OVAL), :2].round().astype(np.int32)], 1)
    inside = cv2.erode(inside, np.ones((17, 17), np.uint8)) > 0
    np.testing.assert_array_equal(frame[inside], still[inside])
    background = long_haired.person[MARGIN:-MARGIN, MARGIN:-MARGIN] < 0.01
    assert mean_difference(frame[background], still[background]) < 1
    x, y = landmarks[:, 0], landmarks[:, 1]
    beside = np.s_[int(y.mean()) : int(y.max()), int(x.max()) + 5 : int(x.max()) + 40]
    assert mean_difference(frame[beside], still[beside]) > 2


def hanging_hair(
    portrait: Portrait, *bare: tuple[tuple[float, float], ...]
) -> Callable[[tuple[float, float]], np.ndarray]:
    """The hair found in a drawing of long hair and clothes of its colour: its share at (x, y) on either side.

    ``bare`` are polygons of normalized places that show skin.
    """
    photo = on_surroundings(posed(portrait))

    def pixels(*corners: tuple[float, float]) -> np.ndarray:
        return photo.host.place(np.array([(x, y, 0.6) for x, y in corners]))[0, :, :2].round().astype(np.int32)

    person = np.zeros((640, 640), np.float32)
    for corners in (((-1, -1.2), (1, -1.2), (1, 1.3), (-1, 1.3)), ((-1.8, 1.1), (1.8, 1.1), (1.8, 1.9), (-1.8, 1.9))):
        cv2.fillPoly(person, [pixels(*corners)], 1)
    picture = np.full((640, 640, 3), 0.9, np.float32)
    picture[person > 0] = [0.15, 0.1, 0.05]
    outline = photo.host.posed[0, list(OVAL), :2].round().astype(np.int32)
    for polygon in (outline, *(pixels(*corners) for corners in bare)):
        cv2.fillPoly(picture, [polygon], (0.8, 0.6, 0.5))
    hair = find_hanging_hair(photo, torch.from_numpy(picture).permute(2, 0, 1)[None], person)
    return lambda place: hair.at(pixels((-place[0], place[1]), place))


def test_shoulders_in_clothes_of_the_hairs_colour_are_no_hair(portrait):
    share = hanging_hair(portrait)
    assert share((0.9, 0.9)).min() > 0.9
    assert share((1.6, 1.4)).max() < 0.1


def test_hair_covers_ears_where_none_is_seen(portrait):
    ears = [((side * 0.75, -0.1), (side * 0.9, -0.1), (side * 0.9, 0.4), (side * 0.75, 0.4)) for side in (-1, 1)]
    behind_ears = hanging_hair(portrait, *ears)
    assert behind_ears((0.9, 0.9)).min() > 0.8
    assert behind_ears((0.9, 0.0)).max() < 0.5
    assert hanging_hair(portrait)((0.9, 0.0)).min() > 0.8


@pytest.mark.parametrize("example", ["grace_hopper", "astronaut"])
def test_hats_and_short_hair_do_not_swing(generator, example):
    portrait = prepare_portrait(load_photo(EXAMPLES / f"{example}.jpg"), build_detector("mediapipe"))
    prepared, face = generator.prepare(portrait, refined=False), posed(portrait, yaw=10)
    swinging = replace(face, hair=np.full((1, len(LOCKS)), 0.1, np.float32))
    still, frame = (rendered(generator, prepared, one)[0] for one in (face, swinging))
    np.testing.assert_array_equal(frame, still)
