"""What the face-alignment detector and its lifting of 68 points promise; the network itself is not needed."""

import sys
import types
import urllib.error

import numpy as np
import pytest

from space_core.errors import SpaceError
from space_core.face.detector import build_detector
from space_core.face.landmark_lift import COUNTERPARTS, USED, lift
from space_core.face.normalization import HeadPose, normalize, pose_landmarks
from space_core.face.topology import EYES, canonical_face


def face_and_points(rotation: tuple = (10.0, 5.0, -4.0), place: float = 300.0) -> tuple[np.ndarray, np.ndarray]:
    """A posed face (478, 3) in pixels with its 68 points (68, 3); those that are not used lie far off."""
    pose = HeadPose(np.array([rotation]), np.array([[place, 280.0, 40.0]]), np.array([150.0]))
    mesh = pose_landmarks(canonical_face().vertices[None], pose)[0]
    points = np.full((68, 3), 1000.0)
    points[list(USED)] = mesh[list(COUNTERPARTS)]
    return mesh, points


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (25.0, 0.0, 0.0), (-15.0, 12.0, 20.0)])
def test_lifted_face_is_the_face_the_points_came_from(rotation):
    mesh, points = face_and_points(rotation)
    lifted = lift(points)
    assert lifted.shape == (478, 3)
    assert np.linalg.norm(lifted - mesh, axis=1)[:468].mean() < 0.01 * 150
    np.testing.assert_allclose(normalize(lifted[None])[1].rotation[0], rotation, atol=1.0)


def test_lifted_face_goes_through_the_points():
    random = np.random.default_rng(0)
    _, points = face_and_points()
    points += 2 * random.standard_normal(points.shape)
    np.testing.assert_allclose(lift(points)[list(COUNTERPARTS)], points[list(USED)], atol=1e-6)


def test_points_next_to_a_moved_point_follow():
    _, points = face_and_points((0.0, 0.0, 0.0))
    points[57] += [0, 12, 0]  # the middle of the lower lip, outside
    moved = lift(points) - lift(face_and_points((0.0, 0.0, 0.0))[1])
    assert moved[17, 1] == pytest.approx(12)
    neighbours = moved[[16, 18, 315, 85], 1]
    assert np.all(neighbours > 2)
    assert np.abs(moved[[10, 151, 234, 454]]).max() < 1.5


def test_irises_lie_between_the_lids():
    lifted = lift(face_and_points()[1])
    for eye in EYES:
        lids = lifted[list(eye.upper_lid + eye.lower_lid), :2]
        assert np.linalg.norm(lifted[eye.pupil, :2] - lids.mean(0)) < 2
        rim = np.linalg.norm(lifted[list(eye.iris_rim), :2] - lifted[eye.pupil, :2], axis=1)
        assert np.ptp(rim) < 0.3 * rim.mean()
        assert 0.05 * 150 < rim.mean() < 0.12 * 150


# The detector, with a stand-in for the package's networks


def stand_in(monkeypatch, answer) -> None:
    """Puts a package ``face_alignment`` in place whose constructor or answer is ``answer(image)``."""

    class FaceAlignment:
        def __init__(self, landmarks_type, **settings):
            if isinstance(answer, Exception):
                raise answer

        def get_landmarks_from_image(self, image):
            return answer(image)

    package = types.ModuleType("face_alignment")
    package.FaceAlignment = FaceAlignment
    package.LandmarksType = types.SimpleNamespace(THREE_D=3)
    monkeypatch.setitem(sys.modules, "face_alignment", package)


def to_camera(points: np.ndarray) -> np.ndarray:
    return points * [1, 1, -1]


def test_detector_gives_meshes_in_pixels_the_largest_first(monkeypatch):
    near, points = face_and_points()
    far = (points - 500) / 3
    stand_in(monkeypatch, lambda image: [to_camera(far), to_camera(points)])
    faces = build_detector("face-alignment").detect(np.zeros((600, 800, 3), np.uint8))
    assert [face.dtype for face in faces] == [np.float32, np.float32]
    np.testing.assert_allclose(faces[0], near, atol=5)
    assert np.ptp(faces[1][:, 1]) < np.ptp(faces[0][:, 1])


def test_large_photos_are_reduced_for_it_alone(monkeypatch):
    mesh, points = face_and_points()
    sizes = []

    def answer(image):
        sizes.append(image.shape)
        return [to_camera(points)]

    stand_in(monkeypatch, answer)
    (face,) = build_detector("face-alignment").detect(np.zeros((1536, 4096, 3), np.uint8))
    assert sizes == [(384, 1024, 3)]
    np.testing.assert_allclose(face, 4 * mesh, atol=20)


def test_no_face_is_an_empty_list(monkeypatch):
    stand_in(monkeypatch, lambda image: None)
    detector = build_detector("face-alignment")
    assert detector.detect(np.zeros((60, 80, 3), np.uint8)) == []
    assert list(detector.track([np.zeros((60, 80, 3), np.uint8)] * 2)) == [None, None]


def test_tracking_stays_with_one_face(monkeypatch):
    _, left = face_and_points(place=300.0)
    _, right = face_and_points(place=900.0)
    # The other face is the larger one in the second frame, and the first is lost in the third.
    answers = iter([[left, right * 0.9], [left, (right - [900, 280, 0]) * 1.2 + [900, 280, 0]], None, [right, left]])
    stand_in(monkeypatch, lambda image: (found := next(answers)) and [to_camera(points) for points in found])
    faces = list(build_detector("face-alignment").track([np.zeros((600, 1000, 3), np.uint8)] * 4))
    assert faces[2] is None
    for face in (faces[0], faces[1], faces[3]):
        assert face[:, 0].mean() == pytest.approx(300, abs=30)


@pytest.mark.parametrize(
    "error",
    [urllib.error.URLError("Name or service not known"), RuntimeError("invalid hash value"), OSError("disk full")],
)
def test_weights_that_cannot_be_downloaded_are_said_so_in_a_sentence(monkeypatch, error):
    stand_in(monkeypatch, error)
    with pytest.raises(SpaceError, match=r"couldn't load its weights .*--detector mediapipe"):
        build_detector("face-alignment")


def test_missing_package_is_said_so_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(SpaceError, match=r"can't be loaded .*--detector mediapipe"):
        build_detector("face-alignment")
