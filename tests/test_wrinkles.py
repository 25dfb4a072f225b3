"""What the creases of the skin promise."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rendering import feeling, on_surroundings, posed, rendered

from space_core.face.canvas import photo_canvas
from space_core.face.posed_face import PosedFace
from space_core.face.topology import canonical_face
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.face_motion import PixelTransform, face_motion
from space_core.generator.mesh_warp.wrinkles import crease_depths, prepare_wrinkles
from space_core.motion.emotion import emotion_curve
from space_core.motion.speech2landmarks import load_speech2landmarks

BETWEEN_BROWS, ACROSS_FOREHEAD, BESIDE_MOUTH = (55, 107, 336, 285), (108, 69, 299, 337), (206, 216, 436, 426)


@pytest.fixture(scope="module")
def prepared(generator, portrait):
    return generator.prepare(portrait)


@pytest.fixture(scope="module")
def shown(generator, prepared):
    """Renders a face, with and without creases, as brightness (T, H, W)."""
    return renderer(generator, prepared)


def renderer(generator, prepared):
    """What the fixture ``shown`` gives, of a prepared portrait."""
    never = np.full_like(prepared.wrinkles.reach, 1000) + [[0], [1]]  # so far no skin is pushed
    smooth = replace(prepared, wrinkles=replace(prepared.wrinkles, reach=never))

    def render(face: PosedFace) -> tuple[np.ndarray, np.ndarray]:
        return tuple(rendered(generator, portrait, face).mean(-1) for portrait in (prepared, smooth))

    return render


def darkening(shown, portrait, normalized: np.ndarray, points: tuple[int, ...]) -> np.ndarray:
    """(T,) by how much the middle of the area between four points is darker at its darkest, as a share.

    The mean over places of the head that differ by less than a pixel: a crease is hardly wider than one.
    """
    values = []
    for moved in np.arange(0, 2, 0.5):
        face = posed(portrait, normalized, moved=(moved, 0, 0))
        for frame, bare, landmarks in zip(*shown(face), face.landmarks, strict=True):
            low, high = (np.round(end(landmarks[list(points), :2], axis=0)).astype(int) for end in (np.min, np.max))
            area = slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)
            values.append((1 - frame[area] / np.maximum(bare[area], 1)).max())
    return np.reshape(values, (-1, len(normalized))).mean(0)


def test_without_motion_there_are_no_creases(portrait, shown):
    creased, plain = shown(posed(portrait))
    assert np.array_equal(creased, plain)


def test_turning_the_head_makes_no_creases(portrait, shown):
    creased, plain = shown(posed(portrait, yaw=12, pitch=5, roll=4))
    assert np.array_equal(creased, plain)


@pytest.mark.parametrize(
    ("emotion", "points"),
    [("angry", BETWEEN_BROWS), ("sad", ACROSS_FOREHEAD), ("surprised", ACROSS_FOREHEAD), ("disgusted", BESIDE_MOUTH)],
)
def test_creases_deepen_with_the_emotion_and_stay_soft(portrait, shown, emotion, points):
    depth = darkening(shown, portrait, feeling(portrait, emotion, 0, 0.5, 1.0, 1.5), points)
    assert depth[0] == 0 and depth[-1] > 0.03 and (np.diff(depth) >= -0.02).all()
    assert depth.max() < 0.45


def test_creases_lie_on_the_skin_that_moves(portrait, shown):
    """Nothing outside the face is darkened, and nothing is brighter where the photo's smile stays."""
    for emotion in ("angry", "happy"):
        face = posed(portrait, feeling(portrait, emotion, 1.0))
        creased, plain = shown(face)
        y, x = np.nonzero(np.abs(creased - plain)[0] > 1)
        low, high = face.landmarks[0, :468, :2].min(0), face.landmarks[0, :468, :2].max(0)
        assert len(x) and (x > low[0]).all() and (x < high[0]).all() and (y > low[1]).all() and (y < high[1]).all()
    assert (creased <= plain + 1).all()


def test_speech_alone_hardly_darkens_the_skin(portrait, shown):
    rng = np.random.default_rng(0)
    speech = np.convolve(rng.standard_normal(16000), np.ones(8) / 8, "same").astype(np.float32)
    neutral = emotion_curve("neutral", 1.0, 25)
    normalized = np.concatenate(list(load_speech2landmarks("cpu").predict(speech, portrait.normalized, neutral)))
    creased, plain = shown(posed(portrait, normalized[::5]))
    assert (plain - creased).max() < 6  # of 255


def test_a_whole_photo_has_the_same_creases(generator, portrait, shown):
    face = posed(portrait, feeling(portrait, "angry", 1.0))
    (frame,) = rendered(generator, generator.prepare(portrait, photo_canvas(portrait)), face)

    def brightness(picture: np.ndarray, middle: np.ndarray, reach: float) -> float:
        """Between the brows."""
        x, y, reach = *middle.round().astype(int), round(reach)
        return picture[y - reach : y + reach, x - reach : x + reach].mean()

    middle, reach = face.landmarks[0, list(BETWEEN_BROWS), :2].mean(0), 0.1 * float(portrait.pose.scale[0])
    creased, plain = (brightness(frames[0], middle, reach) for frames in shown(face))
    whole = brightness(frame, portrait.crop.to_photo(middle), reach * portrait.crop.scale)
    assert plain - creased > 1
    assert abs(whole - creased) < abs(whole - plain)


@pytest.mark.parametrize(("cartoon", "creased"), [(0.0, True), (1.0, False)])
def test_drawn_characters_have_no_creases(portrait, cartoon, creased):
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    wrinkles = prepare_wrinkles(picture, on_surroundings(posed(portrait)), Depiction(0.0, 0.0, cartoon))
    assert bool((wrinkles.shades > 0.01).any()) == creased


def test_smooth_skin_gets_shallower_creases(generator, portrait, shown):
    smooth = replace(portrait, surroundings=cv2.GaussianBlur(portrait.surroundings, (0, 0), 3))
    angry = feeling(portrait, "angry", 1.0)
    deep = darkening(shown, portrait, angry, BETWEEN_BROWS)
    assert (
        0.3 * deep
        < darkening(renderer(generator, generator.prepare(smooth)), portrait, angry, BETWEEN_BROWS)
        < 0.8 * deep
    )


def shades_of(surroundings: np.ndarray, portrait) -> np.ndarray:
    """(N, 3, h, w) by which share the creases darken the skin of a portrait with other surroundings (640, 640, 3)."""
    picture = torch.tensor(surroundings).permute(2, 0, 1)[None].float() / 255
    return prepare_wrinkles(picture, on_surroundings(posed(portrait)), Depiction(0.0, 0.0, 0.0)).shades.numpy()


def test_creases_of_smooth_skin_have_no_sharp_lines(portrait):
    def sharpness(surroundings: np.ndarray) -> float:
        shades = shades_of(surroundings, portrait).mean(1)
        lines = [np.abs(shade - cv2.GaussianBlur(shade, (0, 0), 1)).max() for shade in shades]
        return max(lines) / shades.max()

    own = portrait.surroundings
    assert sharpness(cv2.GaussianBlur(own, (0, 0), 3)) < 0.9 * sharpness(own)


def test_overexposed_skin_has_no_creases(portrait):
    own = portrait.surroundings
    assert shades_of(own, portrait).max() > 0.05
    assert shades_of((255 - (255 - own.astype(float)) * 0.05).astype(np.uint8), portrait).max() < 0.01


def test_creases_of_a_mirrored_motion_are_mirrored(portrait, prepared):
    motion = np.random.default_rng(0).normal(0, 0.05, portrait.normalized.shape)
    mirrored = motion[canonical_face().mirror] * [-1, 1, 1]

    def depths(motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How deep the creases of the left and of the right half are."""
        face = face_motion(
            posed(portrait, portrait.normalized[None] + motion), PixelTransform(1.0, np.zeros(2)), torch.device("cpu")
        )
        return np.split(crease_depths(prepared.wrinkles, face)[0], 2)

    left, right = depths(motion)
    assert left.any() and not np.allclose(left, right)
    np.testing.assert_allclose(depths(mirrored), [right, left], atol=1e-4)
