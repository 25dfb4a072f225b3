"""What face detection, normalization and the portrait promise."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import EXAMPLES
from PIL import Image
from scipy.ndimage import label
from skimage import data

from space_core.errors import SpaceError
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.detector import build_detector
from space_core.face.normalization import HeadPose, normalize, pose_landmarks
from space_core.face.portrait import FramedFace, prepare_portrait
from space_core.face.topology import NUM_SURFACE_POINTS, RIGID_POINTS, canonical_face
from space_core.media.images import load_photo


@pytest.fixture(scope="module")
def detector():
    return build_detector("mediapipe")


def random_poses(num: int) -> HeadPose:
    random = np.random.default_rng(0)
    return HeadPose(
        random.uniform(-40, 40, (num, 3)), random.uniform(-500, 500, (num, 3)), random.uniform(20, 400, num)
    )


def test_pose_of_normalize_is_the_identity():
    landmarks = np.random.default_rng(1).uniform(0, 512, (50, 478, 3))
    np.testing.assert_allclose(pose_landmarks(*normalize(landmarks)), landmarks, atol=1e-9)


def test_normalize_finds_the_pose_that_was_applied():
    poses = random_poses(50)
    faces = np.repeat(canonical_face().vertices[None], 50, 0)
    normalized, found = normalize(pose_landmarks(faces, poses))
    np.testing.assert_allclose(normalized, faces, atol=1e-9)
    np.testing.assert_allclose(found.rotation, poses.rotation, atol=1e-7)
    np.testing.assert_allclose(found.translation, poses.translation, atol=1e-7)
    np.testing.assert_allclose(found.scale, poses.scale, rtol=1e-9)


def test_head_pose_ignores_expression():
    face = canonical_face().vertices.copy()
    moving = np.setdiff1d(np.arange(478), RIGID_POINTS)
    face[moving] += np.random.default_rng(2).normal(0, 0.05, (len(moving), 3))
    _, pose = normalize(face[None])
    np.testing.assert_allclose(pose.rotation, 0, atol=1e-9)


@pytest.mark.parametrize(("axis", "moves"), [(0, [1, 0]), (1, [0, -1])])
def test_positive_yaw_looks_right_and_positive_pitch_looks_up(axis, moves):
    nose = canonical_face().vertices[[1]]
    rotation = np.zeros((1, 3))
    rotation[0, axis] = 10
    turned = pose_landmarks(nose[None] * [0, 0, 1], HeadPose(rotation, np.zeros((1, 3)), np.ones(1)))[0, 0]
    assert np.dot(turned[:2], moves) > 0.05


def test_canonical_face_is_symmetric_with_one_unit_between_the_outer_eye_corners():
    face = canonical_face()
    np.testing.assert_allclose(face.vertices[face.mirror] * [-1, 1, 1], face.vertices, atol=1e-9)
    np.testing.assert_allclose(face.vertices[[33, 263]], [[-0.5, 0, 0], [0.5, 0, 0]], atol=1e-9)


def test_canonical_triangles_cover_every_surface_point_once_per_edge():
    triangles = canonical_face().triangles
    assert triangles.shape == (852, 3)
    assert set(triangles.ravel()) == set(range(NUM_SURFACE_POINTS))
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() == 2


def test_portrait_shows_head_and_shoulders(portrait):
    assert portrait.image.shape == (SIZE, SIZE, 3)
    assert portrait.surroundings.shape == (SIZE + 2 * MARGIN, SIZE + 2 * MARGIN, 3)
    low, high = portrait.landmarks[:, :2].min(0), portrait.landmarks[:, :2].max(0)
    assert 0.35 * SIZE < high[1] - low[1] < 0.65 * SIZE
    assert low[1] > 0.12 * SIZE  # hair above
    assert high[1] < 0.85 * SIZE  # shoulders below
    assert portrait.person[320, 320] > 0.9


def test_crop_leads_back_to_the_photo(astronaut, portrait):
    (face,) = build_detector("mediapipe").detect(astronaut)
    np.testing.assert_allclose(portrait.crop.to_photo(portrait.landmarks[:, :2]), face[:, :2], atol=1e-3)


def test_the_largest_of_several_faces_is_taken(detector, astronaut):
    other = load_photo(EXAMPLES / "grace_hopper.jpg")[::3, ::3]
    height = max(len(astronaut), len(other))
    both = np.full((height, astronaut.shape[1] + other.shape[1], 3), 128, np.uint8)
    both[: len(other), : other.shape[1]] = other
    both[: len(astronaut), other.shape[1] :] = astronaut
    portrait = prepare_portrait(both, detector)
    assert portrait.num_faces == 2
    assert portrait.crop.to_photo(portrait.landmarks[:, :2]).mean(0)[0] > other.shape[1]


@pytest.fixture(scope="module")
def couple(astronaut) -> np.ndarray:
    """A photo of two people, the larger one to the right."""
    small = np.asarray(Image.fromarray(astronaut).resize((300, 300)))
    return np.concatenate([np.pad(small, ((0, len(astronaut) - 300), (0, 0), (0, 0))), astronaut], 1)


def test_another_face_may_be_chosen_and_only_that_person_is_masked(detector, couple):
    larger, smaller = (prepare_portrait(couple, detector, number) for number in (1, 2))
    one, other = (portrait.crop.to_photo(portrait.landmarks[:, :2]).mean(0) for portrait in (larger, smaller))
    assert other[0] < 300 < one[0]
    for portrait, own, foreign in ((larger, one, other), (smaller, other, one)):
        at = [(portrait.crop.to_crop(place) + MARGIN).round().astype(int) for place in (own, foreign)]
        assert portrait.person[at[0][1], at[0][0]] > 0.9
        if ((at[1] >= 0) & (at[1] < SIZE + 2 * MARGIN)).all():
            assert portrait.person[at[1][1], at[1][0]] < 0.1


def test_what_a_neighbour_cuts_off_the_mask_does_not_move_with_the_person(detector, astronaut):
    (face,) = detector.detect(astronaut)
    crop = prepare_portrait(astronaut, detector).crop
    neighbour = face.copy()
    middle = crop.to_photo(np.array([426, 531]))  # before the arm, of which a part reaches beyond
    neighbour[:, :2] = middle + 0.13 * (face[:, :2] - face[:, :2].mean(0))
    portrait = prepare_portrait(astronaut, SimpleNamespace(detect=lambda photo: [face, neighbour]))
    _, pieces = label(portrait.person > 0.5)
    assert portrait.num_faces == 2
    assert pieces == 1


def test_a_face_that_is_not_there_is_said_with_how_many_there_are(detector, astronaut, couple):
    with pytest.raises(SpaceError, match=r"^The photo shows 2 faces, so there is no face 3\.$"):
        prepare_portrait(couple, detector, 3)
    with pytest.raises(SpaceError, match=r"^The photo shows one face, so there is no face 2\.$"):
        prepare_portrait(astronaut, detector, 2)


def test_face_at_the_photo_s_edge_is_cropped_all_the_same(detector, astronaut, portrait):
    top = int(portrait.crop.to_photo(portrait.landmarks[:, :2])[:, 1].min())
    tight = prepare_portrait(astronaut[max(top - 5, 0) :], detector)
    assert tight.image.shape == (SIZE, SIZE, 3)


def test_photo_that_is_cropped_to_the_face_keeps_its_framing(detector, astronaut, portrait):
    on_photo = portrait.crop.to_photo(portrait.landmarks[:, :2])
    side = round(1.35 * np.ptp(on_photo[:, 1]))
    left, top = ((on_photo.min(0) + on_photo.max(0) - side) / 2).astype(int)
    cropped = astronaut[top : top + side, left : left + side]
    tight = prepare_portrait(cropped, detector)
    corners = tight.crop.to_photo(np.array([[0.0, 0.0], [SIZE, SIZE]]))
    np.testing.assert_allclose(corners, [[0, 0], [side, side]], atol=1)


@pytest.mark.parametrize(
    ("name", "quarters", "lies"), [("astronaut", 2, "upside down"), ("mona_lisa", 1, "on its side")]
)
def test_a_photo_in_which_a_face_is_found_only_once_it_is_turned_is_refused_as_such(detector, name, quarters, lies):
    photo = np.ascontiguousarray(np.rot90(load_photo(EXAMPLES / f"{name}.jpg"), quarters))
    with pytest.raises(SpaceError, match=rf"seems to lie {lies}\. Turn it upright first"):
        prepare_portrait(photo, detector)


@pytest.mark.parametrize("picture", ["cat", "coffee", "coins", "noise", "plain"])
def test_no_human_face_is_said_in_a_sentence(detector, picture):
    image = {
        "cat": data.cat,
        "coffee": data.coffee,
        "coins": lambda: np.repeat(data.coins()[..., None], 3, -1),
        "noise": lambda: np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8),
        "plain": lambda: np.full((300, 400, 3), 200, np.uint8),
    }[picture]()
    with pytest.raises(SpaceError, match="No human face was found in the photo"):
        prepare_portrait(image, detector)


def test_too_small_a_face_is_said_in_a_sentence(detector, astronaut, portrait):
    height = np.ptp(portrait.landmarks[:, 1]) * portrait.crop.scale
    step = int(np.ceil(height / 50))
    with pytest.raises(SpaceError, match="too small"):
        prepare_portrait(np.ascontiguousarray(astronaut[::step, ::step]), detector)


def test_a_face_just_too_small_is_not_said_to_be_high_enough(portrait):
    mesh = portrait.landmarks * (63.9 / np.ptp(portrait.landmarks[:, 1]))
    face = FramedFace(mesh, portrait.landmarks, portrait.normalized, portrait.pose, portrait.crop)
    assert "63 pixels high, at least 64" in face.refusal


def test_an_unknown_detector_is_said_with_what_there_is():
    with pytest.raises(SpaceError, match="mediapipe, face-alignment"):
        build_detector("dlib")


@pytest.mark.parametrize("degrees", [-35, -20, 20, 35])
def test_tilted_heads_are_people_too(detector, astronaut, degrees):
    tilted = np.asarray(Image.fromarray(astronaut).rotate(degrees, expand=True))
    assert len(detector.detect(tilted)) == 1


@pytest.mark.parametrize("degrees", [-20, 20])
def test_a_tilted_cat_is_none(detector, degrees):
    assert not detector.detect(np.asarray(Image.fromarray(data.cat()).rotate(degrees, expand=True)))


def enlarged(photo, height, size=512):
    """A photo reduced to a height in pixels and enlarged again."""
    small = Image.fromarray(photo).resize((round(height * photo.shape[1] / len(photo)), height), Image.Resampling.BOX)
    return np.asarray(small.resize((round(size * photo.shape[1] / len(photo)), size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("height", [18, 20])
def test_a_blurred_face_without_colours_is_found(detector, astronaut, portrait, height):
    """The scores of one look at it are too low."""
    on_photo = portrait.crop.to_photo(portrait.landmarks[:, :2])
    side = round(2 * np.ptp(on_photo[:, 1]))
    left, top = ((on_photo.min(0) + on_photo.max(0) - side) / 2).astype(int)
    grey = np.asarray(Image.fromarray(astronaut[top : top + side, left : left + side]).convert("L").convert("RGB"))
    (face,) = detector.detect(enlarged(grey, 2 * height))
    expected = (on_photo - [left, top]) * (512 / side)
    assert np.linalg.norm(face[:, :2] - expected, axis=1).mean() < 0.05 * np.ptp(expected[:, 1])


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("height", [40, 60, 100])
def test_a_blurred_cat_is_none(detector, height, grey):
    cat = Image.fromarray(data.cat())
    assert not detector.detect(enlarged(np.asarray(cat.convert("L").convert("RGB") if grey else cat), height))


def test_a_face_that_is_small_in_a_large_photo_is_found(detector, astronaut, portrait):
    step = int(np.ptp(portrait.landmarks[:, 1]) * portrait.crop.scale // 90)
    small = astronaut[::step, ::step]
    photo = np.random.default_rng(0).integers(90, 140, (2200, 3300, 3), dtype=np.uint8)
    photo[1500 : 1500 + len(small), 2500 : 2500 + small.shape[1]] = small
    (face,) = detector.detect(photo)
    assert (face[:, :2].mean(0) > [2500, 1500]).all()
    frame = photo[1000:2200, 1600:3300][::2, ::2]
    assert next(detector.track([frame])) is not None


def test_a_face_in_a_screenshot_is_found(detector, astronaut):
    """Where the whole photo within the picture is taken for a face first, that face is looked at in its own size."""
    screenshot = Image.new("RGB", (1170, 2532), (245, 245, 247))
    screenshot.paste(Image.fromarray(astronaut).resize((500, 500)), (335, 150))
    for top in range(700, 2300, 80):
        screenshot.paste((200, 200, 205), (60, top, 1101, top + 41))
    reduced = screenshot.resize((887, 1920), Image.Resampling.LANCZOS, reducing_gap=2.0)
    assert len(detector.detect(np.asarray(reduced))) == 1


def test_tracking_follows_a_face_and_reports_when_it_is_lost(detector, astronaut):
    faces = list(detector.track([astronaut, astronaut, np.zeros_like(astronaut)]))
    assert faces[0].shape == (478, 3)
    assert np.abs(faces[0] - faces[1])[:, :2].max() < 4
    assert faces[2] is None


def test_faces_are_found_where_opencv_lacks_its_system_libraries():
    # As on a slim image, where importing cv2 fails for want of libGL.
    program = f"""
import sys
sys.modules["cv2"] = None
from space_core.face.detector import build_detector
from space_core.media.images import load_photo
print(len(build_detector("mediapipe").detect(load_photo({str(EXAMPLES / "astronaut.jpg")!r}))), "face")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "1 face" in done.stdout, done.stderr
