"""What the creases of the skin promise."""

import numpy as np
import pytest

from space_core.face.canvas import photo_canvas
from space_core.face.normalization import HeadPose, pose_landmarks
from space_core.face.topology import canonical_face
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.motion.emotion import emotion_curve
from space_core.motion.emotion_network import expressive_motion
from space_core.motion.speech2landmarks import load_speech2landmarks

GENERATOR = MeshWarpGenerator("cpu")
BETWEEN_BROWS, ACROSS_FOREHEAD, BESIDE_MOUTH = (55, 107, 336, 285), (108, 69, 299, 337), (206, 216, 436, 426)


def posed(portrait, normalized: np.ndarray) -> np.ndarray:
    pose = portrait.pose
    arrays = (np.repeat(array, len(normalized), 0) for array in (pose.rotation, pose.translation, pose.scale))
    return pose_landmarks(normalized, HeadPose(*arrays))


def feeling(portrait, emotion: str, *intensities: float) -> np.ndarray:
    """Posed landmarks of the photo's face with nothing but an emotion."""
    curve = np.concatenate([emotion_curve(emotion, intensity, 1) for intensity in intensities])
    motion = expressive_motion(np.zeros((len(curve), 478, 3)), curve, portrait.normalized)
    return posed(portrait, portrait.normalized + motion)


@pytest.fixture(scope="module")
def prepared(portrait):
    return GENERATOR.prepare(portrait)


@pytest.fixture
def shown(prepared, monkeypatch):
    """Renders landmarks, with and without creases, as brightness (T, H, W)."""

    def render(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        creased = np.stack(list(GENERATOR.render(prepared, [landmarks]))).mean(-1)
        with monkeypatch.context() as without:
            without.setattr("space_core.generator.mesh_warp.draw_wrinkles", lambda *_: None)
            plain = np.stack(list(GENERATOR.render(prepared, [landmarks]))).mean(-1)
        return creased, plain

    return render


def darkening(shown, landmarks: np.ndarray, points: tuple[int, ...]) -> np.ndarray:
    """(T,) by how much the middle of the area between four points is darker at its darkest, as a share."""
    creased, plain = shown(landmarks)
    values = []
    for frame, bare, face in zip(creased, plain, landmarks, strict=True):
        low, high = (np.round(end(face[list(points), :2], axis=0)).astype(int) for end in (np.min, np.max))
        area = slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)
        values.append((1 - frame[area] / np.maximum(bare[area], 1)).max())
    return np.array(values)


def test_without_motion_there_are_no_creases(portrait, shown):
    creased, plain = shown(portrait.landmarks[None])
    assert np.array_equal(creased, plain)


def test_turning_the_head_makes_no_creases(portrait, shown):
    pose = portrait.pose
    turned = HeadPose(pose.rotation + [[12.0, 5.0, 4.0]], pose.translation, pose.scale)
    creased, plain = shown(pose_landmarks(portrait.normalized[None], turned))
    assert np.array_equal(creased, plain)


@pytest.mark.parametrize(
    ("emotion", "points"),
    [("angry", BETWEEN_BROWS), ("sad", ACROSS_FOREHEAD), ("surprised", ACROSS_FOREHEAD), ("disgusted", BESIDE_MOUTH)],
)
def test_creases_deepen_with_the_emotion_and_stay_soft(portrait, shown, emotion, points):
    depth = darkening(shown, feeling(portrait, emotion, 0, 0.5, 1.0, 1.5), points)
    assert depth[0] == 0 and depth[-1] > 0.04 and (np.diff(depth) >= -0.02).all()
    assert depth.max() < 0.45


def test_creases_lie_on_the_skin_that_moves(portrait, shown):
    """Nothing outside the face is darkened, and nothing is brighter."""
    landmarks = feeling(portrait, "angry", 1.0)
    creased, plain = shown(landmarks)
    y, x = np.nonzero(np.abs(creased - plain)[0] > 1)
    low, high = landmarks[0, :468, :2].min(0), landmarks[0, :468, :2].max(0)
    assert len(x) and (x > low[0]).all() and (x < high[0]).all() and (y > low[1]).all() and (y < high[1]).all()
    assert (creased <= plain + 1).all()


def test_speech_alone_hardly_darkens_the_skin(portrait, shown):
    rng = np.random.default_rng(0)
    speech = np.convolve(rng.standard_normal(16000), np.ones(8) / 8, "same").astype(np.float32)
    neutral = emotion_curve("neutral", 1.0, 25)
    normalized = np.concatenate(list(load_speech2landmarks("cpu").predict(speech, portrait.normalized, neutral)))
    creased, plain = shown(posed(portrait, normalized[::5]))
    assert (plain - creased).max() < 6  # of 255


def test_a_canvas_has_the_same_creases(portrait, shown):
    landmarks = feeling(portrait, "angry", 1.0)
    (frame,) = GENERATOR.render(GENERATOR.prepare(portrait, photo_canvas(portrait)), [landmarks])

    def brightness(picture: np.ndarray, middle: np.ndarray, reach: float) -> float:
        """Between the brows."""
        x, y, reach = *middle.round().astype(int), round(reach)
        return picture[y - reach : y + reach, x - reach : x + reach].mean()

    middle, reach = landmarks[0, list(BETWEEN_BROWS), :2].mean(0), 0.1 * float(portrait.pose.scale[0])
    creased, plain = (brightness(frames[0], middle, reach) for frames in shown(landmarks))
    whole = brightness(frame, portrait.crop.to_photo(middle), reach * portrait.crop.scale)
    assert plain - creased > 1
    assert abs(whole - creased) < abs(whole - plain)


def test_creases_of_both_sides_are_pushed_by_mirror_images(prepared):
    left, right = prepared.wrinkles.push.reshape(478, 2, 2, -1).unbind(2)
    mirrored = left[canonical_face().mirror].clone()
    mirrored[:, 0] *= -1
    assert np.allclose(right, mirrored)
