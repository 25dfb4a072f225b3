"""What the inside of a mouth promises."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import EXAMPLES
from rendering import mean_difference, open_mouth, posed, rendered
from scipy.signal import find_peaks

from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import GUM, TONGUE, TOOTH, load_anatomy
from space_core.measures.mouth_interior import mouth_interior
from space_core.media.images import load_photo


@pytest.fixture(scope="module")
def closed() -> Portrait:
    """A portrait with closed lips."""
    return prepare_portrait(load_photo(EXAMPLES / "grace_hopper.jpg"), build_detector("mediapipe"))


@pytest.fixture(scope="module")
def grey(closed) -> Portrait:
    """The same in black and white."""

    def without_colours(picture: np.ndarray) -> np.ndarray:
        return np.repeat(picture.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)

    pictures = {name: without_colours(getattr(closed, name)) for name in ("photo", "surroundings")}
    return replace(closed, **pictures)


def inside(landmarks: np.ndarray, shape: tuple[int, ...], margin: float = 2.0) -> np.ndarray:
    """(H, W) which pixels lie between the lips of landmarks (478, 3), by a margin in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    upper, lower = (landmarks[list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    above, below = (np.interp(x[0], *curve.T) for curve in (upper, lower))
    between = (y > above + margin) & (y < below - margin)
    return between & (x > upper[0, 0] + margin) & (x < upper[-1, 0] - margin)


def parted(portrait: Portrait, opening: float, raised: float = 0.03) -> np.ndarray:
    """(1, 478, 3) the photo's face, normalized, its lower lip and chin dropped and its upper lip raised."""
    normalized = open_mouth(portrait, opening)
    upper = [*INNER_UPPER_LIP[1:-1], *OUTER_UPPER_LIP[1:-1]]
    normalized[:, upper, 1] = portrait.normalized[upper, 1] - raised
    return normalized


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_single_teeth_can_be_told_apart(generator, closed, refined):
    face = posed(closed, parted(closed, 0.06))
    frame = rendered(generator, generator.prepare(closed, refined=refined), face)[0]
    landmarks = face.landmarks[0]
    luminance, left, right = frame.mean(-1), landmarks[81, 0], landmarks[311, 0]
    top = landmarks[13, 1]
    # Over the middle of the upper incisors: the brightest of the rows below the upper lip.
    rows = luminance[int(top) + 3 : int(top) + 14, int(left) : int(right)]
    row = rows[rows.mean(1).argmax()]
    gaps, _ = find_peaks(-row, prominence=4)
    assert 2 <= len(gaps) <= 8
    assert row.max() > 1.2 * luminance[inside(landmarks, frame.shape)].mean()


def test_an_open_mouth_has_the_contrast_of_a_recorded_one(generator, closed):
    face = posed(closed, parted(closed, 0.12))
    frame = rendered(generator, generator.prepare(closed), face)[0]
    contrast, gradient, bright = mouth_interior(frame, face.landmarks[0])
    assert 0.14 < contrast < 0.4
    assert 0.03 < gradient < 0.12
    assert bright < 0.6


def test_nothing_is_drawn_between_closed_lips(generator, closed):
    prepared = generator.prepare(closed, refined=False)
    turned = posed(closed, yaw=7, pitch=3)
    frame = rendered(generator, prepared, turned)[0]
    x, y = turned.landmarks[0, list(INNER_UPPER_LIP[2:-2]), :2].round().astype(int).T
    photo_x, photo_y = closed.landmarks[list(INNER_UPPER_LIP[2:-2]), :2].round().astype(int).T
    assert frame[y, x].mean() == pytest.approx(closed.image[photo_y, photo_x].mean(), abs=10)


def test_upper_teeth_stay_with_the_skull_as_the_jaw_opens(generator, closed):
    prepared = generator.prepare(closed, refined=False)
    face = posed(closed, np.concatenate([parted(closed, opening) for opening in (0.1, 0.16)]))
    frames = rendered(generator, prepared, face).mean(-1)
    (left, top), right = face.landmarks[0, 81, :2].astype(int), int(face.landmarks[0, 311, 0])
    profiles = frames[:, top + 2 : top + 24, left:right].mean(2)
    edges = np.diff(profiles).argmin(1)  # from bright teeth to the dark behind them
    assert abs(edges[1] - edges[0]) <= 1
    # Below them nothing is where it was: lower teeth and tongue went with the jaw.
    below = frames[:, top + edges[0] + 6 : top + edges[0] + 14, left:right]
    assert mean_difference(*below) > 8


def test_a_smile_keeps_its_teeth(generator, portrait):
    normalized = portrait.normalized[None].copy()
    normalized[:, list(INNER_LOWER_LIP[2:-2]), 1] += 0.02
    face = posed(portrait, normalized)
    frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
    teeth = inside(portrait.landmarks, frame.shape, margin=4)
    assert teeth.sum() > 200
    assert mean_difference(frame[teeth], portrait.image[teeth]) < 12


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_a_photo_without_colours_gets_none(generator, grey, refined):
    face = posed(grey, parted(grey, 0.1))
    frame = rendered(generator, generator.prepare(grey, refined=refined), face)[0].astype(int)
    mouth = frame[inside(face.landmarks[0], frame.shape, margin=0)]
    assert np.ptp(mouth, axis=1).max() <= 6


def test_a_mouth_held_open_does_not_flicker(generator, closed):
    face = posed(closed, parted(closed, 0.1).repeat(6, 0))
    frames = rendered(generator, generator.prepare(closed), face)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() <= 1


def test_teeth_move_smoothly_with_the_head(generator, closed):
    prepared = generator.prepare(closed)
    normalized = parted(closed, 0.1)
    frames = [rendered(generator, prepared, posed(closed, normalized, yaw=yaw))[0] for yaw in (0, 0.25, 0.5)]
    between = inside(posed(closed, normalized).landmarks[0], frames[0].shape)
    assert mean_difference(frames[0][between], frames[1][between]) < 6


def test_the_anatomy_is_an_adults():
    anatomy = load_anatomy()
    x, y, z = anatomy.vertices.T
    lower = anatomy.jaw > 0.5
    upper_teeth, lower_teeth = ((anatomy.part == TOOTH) & which for which in (~lower, lower))
    assert 35 < np.ptp(x[upper_teeth & (z < 15)]) < 55  # canines and premolars
    assert abs(y[upper_teeth & (z < 3)].max()) < 1  # the incisors' edge is the origin
    assert y[lower_teeth & (z < 6)].min() < 0  # behind which the lower ones end
    assert {TOOTH, GUM, TONGUE} == set(anatomy.part)
    assert (anatomy.jaw[anatomy.part == TONGUE] == 1).all()
    np.testing.assert_allclose(np.linalg.norm(anatomy.normals, axis=1), 1, atol=1e-5)
    assert anatomy.triangles.max() < len(anatomy.vertices)
