"""What the generator promises of glasses: frames are rigid, lids shut behind them, sunglasses hide the eyes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from skimage.registration import phase_cross_correlation

from space_core.face.detector import build_detector
from space_core.face.normalization import HeadPose, pose_landmarks
from space_core.face.portrait import MARGIN, prepare_portrait
from space_core.face.topology import EYES
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.face_motion import face_motion
from space_core.generator.mesh_warp.glasses import find_glasses
from space_core.media.images import load_photo
from space_core.motion.blink import apply_blink
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.emotion_network import expressive_motion

EXAMPLES = Path(__file__).parents[1] / "examples"
NOSE_BRIDGE = 168


@pytest.fixture(scope="module")
def generator():
    return MeshWarpGenerator("cpu")


@pytest.fixture(scope="module")
def wearer():
    """A portrait with glasses."""
    return prepare_portrait(load_photo(EXAMPLES / "grace_hopper.jpg"), build_detector("mediapipe"))


@pytest.fixture(scope="module")
def prepared(generator, wearer):
    return generator.prepare(wearer, refined=False)


def in_sunglasses(portrait):
    """The portrait with dark lenses and a bridge painted over its eyes."""
    picture = Image.fromarray(portrait.surroundings)
    pen = ImageDraw.Draw(picture)
    scale = float(portrait.pose.scale[0])
    middles = [portrait.landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0) + MARGIN for eye in EYES]
    for x, y in middles:
        y += 0.04 * scale
        pen.ellipse((x - 0.29 * scale, y - 0.21 * scale, x + 0.29 * scale, y + 0.21 * scale), fill=(22, 20, 18))
    pen.line([tuple(middle) for middle in middles], fill=(22, 20, 18), width=int(0.05 * scale))
    return replace(portrait, surroundings=np.asarray(picture))


def found(portrait):
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    return find_glasses(picture, face_motion(portrait.landmarks[None], torch.device("cpu")))


def feeling(portrait, emotion: str) -> np.ndarray:
    """Normalized landmarks (1, 478, 3) of the portrait with an emotion."""
    felt = np.eye(len(EMOTIONS))[[EMOTIONS.index(emotion)]]
    return portrait.normalized[None] + expressive_motion(np.zeros((1, 478, 3)), felt, portrait.normalized)


def rendered(generator, prepared, normalized, pose) -> np.ndarray:
    return np.stack(list(generator.render(prepared, [pose_landmarks(normalized, pose)])))


def test_glasses_are_found_and_seen_through(wearer):
    glasses = found(wearer)
    assert glasses is not None
    assert not glasses.opaque
    x, y = wearer.landmarks[NOSE_BRIDGE, :2].astype(int) + MARGIN
    assert glasses.frame[0, 0, y - 20 : y + 20, x].max() == 1  # the bridge over the nose
    pupils = wearer.landmarks[[eye.pupil for eye in EYES], :2].astype(int) + MARGIN
    assert all(glasses.held[0, 0, y, x] == 0 for x, y in pupils)


def test_faces_without_glasses_have_none(portrait):
    assert found(portrait) is None
    painting = prepare_portrait(load_photo(EXAMPLES / "mona_lisa.jpg"), build_detector("mediapipe"))
    assert found(painting) is None


def test_without_motion_glasses_stay_the_photos(generator, prepared, wearer):
    frame = rendered(generator, prepared, wearer.normalized[None], wearer.pose)[0]
    np.testing.assert_array_equal(frame, wearer.image)


@pytest.mark.parametrize("emotion", ["surprised", "angry"])
def test_frames_stay_where_they_are_when_brows_move(generator, prepared, wearer, emotion):
    frame = rendered(generator, prepared, feeling(wearer, emotion), wearer.pose)[0]
    x, y = wearer.landmarks[NOSE_BRIDGE, :2].astype(int)
    bridge = np.s_[y - 4 : y + 20, x - 30 : x + 30]
    shift, *_ = phase_cross_correlation(wearer.image[bridge].mean(-1), frame[bridge].mean(-1), upsample_factor=10)
    assert np.abs(shift).max() < 1
    rim = np.array(prepared.glasses.frame[0, 0, MARGIN:-MARGIN, MARGIN:-MARGIN] == 1)
    difference = np.abs(frame.astype(int) - wearer.image).mean(-1)
    assert np.mean(difference[rim] < 12) > 0.9


def test_frames_turn_as_the_rigid_head_does(generator, prepared, wearer):
    rotation = wearer.pose.rotation + [[10.0, 0, 0]]
    pose = HeadPose(rotation, wearer.pose.translation, wearer.pose.scale)
    still, moved = (
        rendered(generator, prepared, normalized, pose)[0]
        for normalized in (wearer.normalized[None], feeling(wearer, "surprised"))
    )
    turned = pose_landmarks(wearer.normalized[None], pose)[0]
    x, y = turned[NOSE_BRIDGE, :2].astype(int)
    bridge = np.s_[y - 4 : y + 16, x - 25 : x + 25]
    assert np.abs(still[bridge].astype(int) - moved[bridge]).mean() < 6


def test_lids_shut_behind_the_frame(generator, prepared, wearer):
    shut = apply_blink(wearer.normalized[None], np.ones(1))
    frame = rendered(generator, prepared, shut, wearer.pose)[0]
    rim = np.array(prepared.glasses.frame[0, 0, MARGIN:-MARGIN, MARGIN:-MARGIN] == 1)
    difference = np.abs(frame.astype(int) - wearer.image).mean(-1)
    assert np.mean(difference[rim] < 12) > 0.95
    for eye in EYES:
        x, y = wearer.landmarks[eye.pupil, :2].astype(int)
        assert frame[y - 3 : y + 3, x - 3 : x + 3].mean() > wearer.image[y - 3 : y + 3, x - 3 : x + 3].mean() + 15


def test_nothing_is_drawn_on_sunglasses(generator, portrait):
    cool = in_sunglasses(portrait)
    assert found(cool).opaque
    prepared = generator.prepare(cool, refined=False)
    shut = apply_blink(cool.normalized[None], np.ones(1))
    frame = rendered(generator, prepared, shut, cool.pose)[0]
    np.testing.assert_array_equal(frame, cool.image)
    angry = rendered(generator, prepared, feeling(cool, "angry"), cool.pose)[0]
    lens = np.array(prepared.glasses.held[0, 0, MARGIN:-MARGIN, MARGIN:-MARGIN] == 1)
    difference = np.abs(angry.astype(int) - cool.image).max(-1)
    assert np.mean(difference[lens] > 2) < 0.05  # a frown's shade reaches the bridge


def test_a_head_that_leaves_the_picture_takes_its_glasses_along(generator, prepared, wearer):
    pose = HeadPose(wearer.pose.rotation, wearer.pose.translation + [2000.0, 0, 0], wearer.pose.scale)
    assert rendered(generator, prepared, wearer.normalized[None], pose).shape == (1, 512, 512, 3)
