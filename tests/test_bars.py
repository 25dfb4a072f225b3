"""Bars, frames and corners of one colour at a photo's edges are no part of its picture and stand still."""

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES
from rendering import posed, rendered

from space_core.face.bars import Bar, continued_behind, find_bars
from space_core.face.crop import Crop
from space_core.face.crop_size import MARGIN
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.media.images import load_photo

WHOLE = Crop(np.zeros(2), 1.0)


def covered(photo: np.ndarray, bar: Bar, colour: int, noise: float = 0.0) -> np.ndarray:
    """A photo with a bar of a grey in front of it, given in pixels of the photo, and noise as JPEG leaves it."""
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    share = np.clip(columns * bar.normal[0] + rows * bar.normal[1] - bar.offset + 0.5, 0, 1)[..., None]
    grains = np.random.default_rng(0).normal(scale=noise, size=share.shape)
    return (photo + share * (colour + grains - photo)).round().clip(0, 255).astype(np.uint8)


def line(angle: float, offset: float) -> Bar:
    """A bar whose normal points at ``angle`` degrees, clockwise from the right."""
    return Bar(np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]), offset)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize(("angle", "offset"), [(-90, -40), (0, 350), (180, -3), (-80, -25), (-30, 270)])
def test_bars_and_corners_of_one_colour_are_found(astronaut, angle, offset, colour):
    bar = line(angle, offset)
    (found,) = find_bars(covered(astronaut, bar, colour, noise=3), WHOLE)
    corners = np.array([[0, 0], [386, 0], [0, 386], [386, 386]])
    across = corners @ bar.normal - bar.offset
    visible = corners[across > 0]
    np.testing.assert_allclose(visible @ found.normal - found.offset, across[across > 0], atol=1.5)
    assert found.normal @ bar.normal > 0.999


def test_hair_with_a_nearly_straight_outline_before_a_white_wall_is_no_bar():
    photo = np.full((386, 386, 3), 255, np.uint8)
    rows, columns = np.mgrid[:386, :386]
    waves = 0.6 * np.sin(rows / 9)  # on both sides of a straight line
    photo[(columns > 17 + 0.12 * rows + waves) & (rows > 130 + (columns - 220) ** 2 / 600)] = 30
    assert find_bars(photo, WHOLE) == ()


def test_all_four_sides_of_a_frame_are_found(astronaut):
    framed = np.pad(astronaut, ((12, 12), (20, 20), (0, 0)), constant_values=255)
    found = sorted(find_bars(framed, WHOLE), key=lambda bar: tuple(bar.normal.round()))
    for bar, offset in zip(found, [-20, -12, 386 + 12, 386 + 20], strict=True):
        assert bar.offset == pytest.approx(offset, abs=1)


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper", "mona_lisa"])
def test_photos_without_bars_have_none(name):
    assert find_bars(load_photo(EXAMPLES / f"{name}.jpg"), WHOLE) == ()


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_plain_background_is_no_bar(portrait, colour):
    person = portrait.person[..., None]
    studio = portrait.surroundings * person + colour * (1 - person)
    assert find_bars(studio.round().astype(np.uint8), WHOLE) == ()


@pytest.mark.parametrize(("reaches_edge", "count"), [(True, 1), (False, 0)])
def test_a_wall_that_ends_before_the_photos_edge_is_no_bar(astronaut, reaches_edge, count):
    wall, shelf = (np.full((386, width, 3), 235, np.uint8) for width in (60, 300))
    if not reaches_edge:
        shelf[:, ::20] = 40
        shelf[:, :200] = 90
    photo = np.hstack([shelf, wall, astronaut])
    beside_shelf = Crop(np.array([300 + 32.0, 40.0]), 0.5)
    assert len(find_bars(photo, beside_shelf)) == count


def test_a_large_picture_goes_on_behind_bars_as_a_small_one_does(astronaut):
    bars = line(-90, -60), line(0, 300)
    small, large = (
        continued_behind(cv2.resize(astronaut, (386 * times,) * 2), bars, crop, crop, (386 * times, 386 * times))[0]
        for times, crop in ((1, WHOLE), (4, Crop(np.zeros(2), 4.0)))
    )
    reduced = cv2.resize(large, (386, 386), interpolation=cv2.INTER_AREA)
    behind = np.s_[:50, :290]  # away from the edges of the bars, whose clearance is in the larger pixels
    assert np.abs(reduced[behind].astype(int) - small[behind]).mean() < 4


@pytest.fixture(scope="module", params=[-90, -80])
def cut_off(request, portrait) -> Portrait:
    """The astronaut, of whose hair a white bar, level or tilted, hides the top."""
    hair = int(np.flatnonzero((portrait.person[:, 220:420] > 0.5).any(1))[0]) - MARGIN
    middle = portrait.crop.to_photo(np.array([portrait.landmarks[:468, 0].mean(), hair + 30]))
    normal = line(request.param, 0).normal
    photo = covered(portrait.photo, Bar(normal, float(normal @ middle)), 255)
    return prepare_portrait(photo, build_detector("mediapipe"))


def test_a_bar_stands_still_in_front_of_a_head_that_moves(generator, cut_off):
    bar = (cut_off.image > 250).all(-1)
    bar = cv2.erode(cv2.morphologyEx(bar.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9))), np.ones((3, 3))) > 0
    assert bar.sum() > 5000
    prepared = generator.prepare(cut_off, refined=False)
    (rest,) = rendered(generator, prepared, posed(cut_off))
    np.testing.assert_array_equal(rest, cut_off.image)
    for face in (posed(cut_off, yaw=20, roll=6), posed(cut_off, moved=(0, 20, 0)), posed(cut_off, moved=(0, -20, 0))):
        (frame,) = rendered(generator, prepared, face)
        np.testing.assert_array_equal(frame[bar], cut_off.image[bar])


def test_a_head_that_sinks_goes_on_behind_the_bar(generator, cut_off):
    prepared, sinking = generator.prepare(cut_off, refined=False), 20
    (frame,) = rendered(generator, prepared, posed(cut_off, moved=(0, sinking, 0)))
    middle = int(cut_off.landmarks[:468, 0].mean())
    columns = np.s_[middle - 20 : middle + 20]
    first = int(np.flatnonzero((cut_off.image[:, columns] < 220).all((1, 2)))[0]) + 3
    hair, seen = (picture[first : first + sinking, columns].astype(float).mean() for picture in (cut_off.image, frame))
    assert hair < 160
    assert seen == pytest.approx(hair, abs=15)
