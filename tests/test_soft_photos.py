"""What is promised of photos that are out of focus, enlarged or scanned: what is drawn is as blurred as they are."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from rendering import blinking, blurred, open_mouth, posed, rendered

from space_core.face.portrait import Portrait
from space_core.face.sharpness import edge_blur
from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP

SIGMA = 3.5  # pixels of the crop
LIPS = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]
LIDS = [point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]


def steepest(frame: np.ndarray, landmarks: np.ndarray, points: list[int], margin: int = 4) -> float:
    """The gradient per pixel that few pixels around landmarks (478, 3) exceed."""
    low, high = (landmarks[points, :2].min(0) - margin).astype(int), (landmarks[points, :2].max(0) + margin).astype(int)
    down, along = np.gradient(frame[low[1] : high[1], low[0] : high[0]].mean(-1))
    return float(np.quantile(np.hypot(down, along), 0.98))


@pytest.mark.parametrize("sigma", [0.8, 1.2, 1.6, 2.5, 4.0])
def test_the_blur_of_edges_is_measured(sigma):
    y, x = np.mgrid[:120, :160].astype(np.float32)
    picture = (np.hypot(x - 80, y - 60) < 40).astype(np.float32) + 0.5 * (x > 100)
    picture = np.repeat(cv2.GaussianBlur(picture / 2, (0, 0), sigma)[..., None], 3, -1)
    assert edge_blur(picture) == pytest.approx(sigma, abs=0.3 * max(sigma, 1))


def test_a_picture_without_edges_has_no_blur():
    assert edge_blur(np.full((50, 60, 3), 0.5, np.float32)) == 0


@pytest.mark.parametrize("sigma", [2.0, 3.5, 5.0])
def test_the_blur_of_a_photo_is_measured_in_its_face(generator, portrait, closed, sigma):
    for sharp in (portrait, closed):
        assert generator.prepare(blurred(sharp, sigma)).blur == pytest.approx(sigma, rel=0.3)


def noisy(portrait: Portrait) -> Portrait:
    """A portrait whose pixels have noise of six grey levels."""

    def changed(picture: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, 6, picture.shape)
        return (picture + noise).round().clip(0, 255).astype(np.uint8)

    return replace(portrait, photo=changed(portrait.photo), surroundings=changed(portrait.surroundings))


def test_noise_does_not_hide_that_a_photo_is_blurred(generator, portrait):
    assert generator.prepare(noisy(blurred(portrait, SIGMA))).blur == pytest.approx(SIGMA, rel=0.35)


@pytest.mark.parametrize("kind", ["dark", "noisy", "grey"])
def test_a_sharp_photo_that_is_poor_otherwise_counts_as_sharp(generator, portrait, kind):
    picture = portrait.surroundings
    kinds = {
        "dark": picture // 4,
        "noisy": noisy(portrait).surroundings,
        "grey": picture.mean(-1, keepdims=True).astype(np.uint8).repeat(3, -1),
    }
    assert not generator.prepare(replace(portrait, surroundings=kinds[kind])).canvas.softening


def test_a_sharp_photo_is_not_softened(generator, portrait, closed):
    for sharp in (portrait, closed):
        prepared = generator.prepare(sharp)
        parts = (prepared.canvas, prepared.lips.mouth, prepared.lips.refinement, *prepared.eyes.eyes)
        assert not any(part.softening for part in parts)


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_a_mouth_is_no_sharper_than_in_a_sharp_film_that_is_blurred(generator, portrait, closed, refined):
    for sharp in (portrait, closed):
        face = posed(sharp, open_mouth(sharp, 0.12))
        films = [
            rendered(generator, generator.prepare(each, refined=refined), face)[0]
            for each in (sharp, blurred(sharp, SIGMA))
        ]
        expected, own = (
            steepest(frame, face.landmarks[0], LIPS) for frame in (cv2.GaussianBlur(films[0], (0, 0), SIGMA), films[1])
        )
        assert own < 1.35 * expected


def test_lids_are_no_sharper_than_in_a_sharp_film_that_is_blurred(generator, portrait):
    face = posed(portrait, blinking(portrait))
    sharp, own = (
        rendered(generator, generator.prepare(each), face)[0] for each in (portrait, blurred(portrait, SIGMA))
    )
    expected = cv2.GaussianBlur(sharp, (0, 0), SIGMA)
    assert steepest(own, face.landmarks[0], LIDS) < 1.35 * steepest(expected, face.landmarks[0], LIDS)


def test_the_outline_of_a_turned_head_is_as_soft_as_the_photo(generator, portrait):
    soft, face = blurred(portrait, SIGMA), posed(portrait, yaw=25)
    frame = rendered(generator, generator.prepare(soft), face)[0]
    at_rest, turned = (np.quantile(np.hypot(*np.gradient(picture.mean(-1))), 0.999) for picture in (soft.image, frame))
    assert turned < 1.2 * at_rest


def test_the_photos_own_teeth_stay_as_bright_as_in_a_sharp_film_that_is_blurred(generator, portrait):
    face = posed(portrait, open_mouth(portrait, 0.08))
    prepared = (generator.prepare(each) for each in (portrait, blurred(portrait, SIGMA)))
    expected, own = (rendered(generator, each, face)[0] for each in prepared)
    expected = cv2.GaussianBlur(expected, (0, 0), SIGMA)
    (left, top), (right, bottom) = portrait.landmarks[[81, 402], :2].astype(int)
    bright = [np.quantile(frame[top:bottom, left:right].mean(-1), 0.9) for frame in (expected, own)]
    assert bright[1] == pytest.approx(bright[0], rel=0.06)
