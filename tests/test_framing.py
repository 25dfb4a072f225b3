"""What films of other sizes and of whole photos promise, and what lies around the face in them."""

import numpy as np
import pytest
import torch
from conftest import EXAMPLES
from PIL import Image
from rendering import mean_difference, posed, rendered
from skimage.registration import phase_cross_correlation

from space_core.face.canvas import crop_canvas, photo_canvas
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, cut, prepare_portrait
from space_core.face.posed_face import PosedFace
from space_core.face.segmentation import person_mask
from space_core.face.topology import EYES, INNER_LOWER_LIP
from space_core.generator.mesh_warp.inpainting import fill
from space_core.media.images import load_photo


@pytest.fixture(scope="module")
def detector():
    return build_detector("mediapipe")


@pytest.fixture(scope="module")
def landscape(detector):
    """A portrait in a wide photo of odd size, with much around it."""
    photo = load_photo(EXAMPLES / "grace_hopper.jpg")
    surroundings = np.random.default_rng(0).integers(90, 140, (801, 1203, 3), dtype=np.uint8)
    surroundings[241:, 345 : 345 + photo.shape[1]] = photo[:560]
    return prepare_portrait(surroundings, detector)


def speaking(portrait, yaw: float = 8.0) -> PosedFace:
    """The portrait with its head turned, its mouth open and its gaze averted."""
    normalized = portrait.normalized.copy()
    normalized[list(INNER_LOWER_LIP), 1] += 0.1
    for eye in EYES:
        normalized[[eye.pupil, *eye.iris_rim], 0] += 0.02
    return posed(portrait, normalized[None], yaw=yaw, pitch=3, roll=2)


@pytest.fixture(scope="module")
def film(generator):
    """Renders frames of faces of a portrait on a canvas, (T, H, W, 3) int; of the crop if the canvas is None."""

    def render(portrait, canvas, *faces: PosedFace) -> np.ndarray:
        return rendered(generator, generator.prepare(portrait, canvas), *faces).astype(int)

    return render


def test_a_whole_photo_without_motion_is_the_photo(landscape, film):
    (frame,) = film(landscape, photo_canvas(landscape), posed(landscape))
    np.testing.assert_array_equal(frame, landscape.photo[:800, :1202])


@pytest.mark.parametrize("size", [256, 510, 1024])
def test_a_crop_without_motion_is_the_photo_s_own_crop_at_any_size(portrait, size, film):
    (frame,) = film(portrait, crop_canvas(portrait, size), posed(portrait))
    margin = size // 8
    still = cut(portrait.photo, portrait.crop, size, margin)
    np.testing.assert_array_equal(frame, still[margin : margin + size, margin : margin + size])


def test_what_is_outside_the_surroundings_and_what_is_still_keeps_the_photo_s_pixels(landscape, film):
    (frame,) = film(landscape, photo_canvas(landscape), speaking(landscape))
    changed = (frame != landscape.photo[:800, :1202]).any(-1)
    assert changed.mean() > 0.05
    y, x = np.nonzero(changed)
    place = landscape.crop.to_crop(np.stack([x, y], -1) + 0.5)
    assert (place > -MARGIN).all()
    assert (place < SIZE + MARGIN).all()


def test_a_whole_photo_moves_as_its_crop_does(landscape, film):
    face = speaking(landscape)
    (whole,), (crop,) = film(landscape, photo_canvas(landscape), face), film(landscape, None, face)
    inside = cut(whole.astype(np.uint8), landscape.crop, margin=0)
    assert mean_difference(inside[8:-8, 8:-8], crop[8:-8, 8:-8]) < 2
    assert mean_difference(crop, landscape.image) > 4


def test_a_moving_face_is_as_sharp_as_the_photo(detector, portrait, film):
    photo = np.asarray(Image.fromarray(portrait.photo).resize((1600, 1600), Image.Resampling.LANCZOS)).astype(int)
    photo = (photo + np.random.default_rng(0).normal(0, 8, photo.shape)).clip(0, 255).astype(np.uint8)
    large = prepare_portrait(photo, detector)
    (frame,) = film(large, photo_canvas(large), speaking(large, yaw=3))

    def detail(picture: np.ndarray) -> float:
        x, y = large.crop.to_photo(large.landmarks[[50, 280, 152], :2]).mean(0).astype(int)
        part = picture[y - 150 : y + 150, x - 150 : x + 150].astype(float).mean(-1)
        return float(np.diff(part).std())

    assert detail(frame) > 0.75 * detail(photo)


def test_a_photo_smaller_than_a_crop_is_drawn_at_its_own_size(detector, portrait, film):
    small = prepare_portrait(np.asarray(Image.fromarray(portrait.photo).resize((300, 300))), detector)
    frames = film(small, photo_canvas(small), posed(small), speaking(small))
    assert frames.shape == (2, 300, 300, 3)
    np.testing.assert_array_equal(frames[0], small.photo)
    assert mean_difference(frames[1], frames[0]) > 2


def test_other_people_stand_still(detector, astronaut, film):
    both = np.concatenate([astronaut[:, ::-1], astronaut], 1)
    one = prepare_portrait(both, detector, 1)
    (frame,) = film(one, photo_canvas(one), speaking(one, yaw=-10))
    middle = one.crop.to_photo(one.landmarks[:, :2]).mean(0)[0]
    x = both.shape[1] - middle  # where the other face is, mirrored
    other = [slice(60, 260), slice(int(x) - 60, int(x) + 60)]
    np.testing.assert_array_equal(frame[*other], both[*other])


def test_shoulders_go_with_a_swaying_head(landscape, film):
    swayed = 0.1 * float(landscape.pose.scale[0])
    (frame,) = film(landscape, None, posed(landscape, moved=(swayed, 0, 0)))
    chest = [slice(-90, -10), slice(170, 340)]
    shift, _, _ = phase_cross_correlation(frame[*chest].mean(-1), landscape.image[*chest].mean(-1), upsample_factor=10)
    assert 0.7 < shift[1] / swayed < 1.1
    assert abs(shift[0]) < 1


def test_what_is_behind_the_head_meets_its_surroundings_without_an_outline():
    y, x = np.mgrid[:640, :640]
    left, right = np.array([0.2, 0.5, 0.8]), np.array([0.9, 0.8, 0.3])
    colours = left + (right - left) * (x / 639)[..., None]
    picture = torch.tensor(colours.transpose(2, 0, 1), dtype=torch.float32)[None]
    hidden = np.hypot(x - 320, y - 320) < 120
    known = torch.tensor(~hidden, dtype=torch.float32)[None, None]
    filled = fill(picture * known, known)
    torch.testing.assert_close(filled * known, picture * known)
    edge = np.abs(np.hypot(x - 320, y - 320) - 120) < 4
    assert float((filled - picture).abs().amax(1)[0].numpy()[edge].max()) < 0.03
    assert float((filled - picture).abs().max()) < 0.15


def test_a_second_person_elsewhere_is_not_this_one(astronaut, portrait):
    side, face = astronaut.shape[1], portrait.crop.to_photo(portrait.landmarks[:, :2])
    both = np.concatenate([astronaut, astronaut], 1)
    left, right = face, face + [side, 0]
    for this, other in ((left, right), (right, left)):
        mask = person_mask(both, this)
        assert all(mask[y, x] > 0.9 for x, y in this[[1, 4]].round().astype(int))
        assert all(mask[y, x] < 0.1 for x, y in other[[1, 4]].round().astype(int))


def test_a_close_up_shows_the_photo_alone(detector, astronaut, portrait):
    closest = prepare_portrait(_close_up(astronaut, portrait), detector)
    low, high = closest.crop.to_photo(np.array([[0, 0], [SIZE, SIZE]]))
    assert low.min() >= 0
    assert (high <= closest.photo.shape[1::-1]).all()


def test_a_face_before_a_ground_of_its_own_colour_is_no_background(portrait):
    face = portrait.landmarks[:, :2]
    low, high = face.min(0), face.max(0)
    pixels = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1)
    is_face = np.linalg.norm((pixels - (low + high) / 2) / (high - low), axis=-1) < 0.4
    plain = np.where(is_face[..., None], portrait.image, portrait.image[is_face].mean(0)).astype(np.uint8)
    assert person_mask(plain, face)[is_face].min() > 0.9


def test_the_forehead_of_a_close_up_is_the_persons_up_to_the_photos_edge(detector, astronaut, portrait):
    closest = prepare_portrait(_close_up(astronaut, portrait), detector)
    x, hairline = closest.landmarks[10, :2].round().astype(int) + MARGIN
    edge = max(round(MARGIN - closest.crop.origin[1] / closest.crop.scale), 0)
    assert closest.person[edge:hairline, x - 30 : x + 30].min() > 0.8


def _close_up(photo: np.ndarray, portrait: Portrait) -> np.ndarray:
    """The part of a photo that is a tenth larger than its portrait's face."""
    mesh = portrait.crop.to_photo(portrait.landmarks[:, :2])
    middle, half = (mesh.min(0) + mesh.max(0)) / 2, 0.55 * np.ptp(mesh[:, 1])
    (left, top), (right, bottom) = ((middle + sign * half).round().astype(int) for sign in (-1, 1))
    return np.ascontiguousarray(photo[top:bottom, left:right])
