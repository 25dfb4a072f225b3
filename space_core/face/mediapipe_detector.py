"""The embedded detector: MediaPipe's face mesh with irises, whose models come inside the wheel."""

import importlib
import sys
import types
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from space_core.face.topology import canonical_face

# The face detectors inside the face mesh look for faces from about a fifth of the image's height, so smaller faces are
# found by the detector itself and their surroundings are cut out for the mesh.
CUT_OUT = 2.0  # side of that cut-out, in sides of the detected box
MAX_FACES = 8
MIN_CONFIDENCE = 0.5

# The mesh fits dogs and monkeys too. People stand out by what both detectors say of them and by how well the mesh of
# the mirrored picture mirrors the mesh: of 95 portraits (photos, paintings, statues, cartoons) people lie above 0.8,
# above 0.6 and below 0.021; dogs at 0.0 for the long range and above 0.025, a monkey at 0.73 for the short range.
HUMAN_SHORT_RANGE = 0.77
HUMAN_LONG_RANGE = 0.3
HUMAN_ASYMMETRY = 0.03  # mean distance between the two meshes, in heights of the face
CHECKED_SIZE = 256  # side of the cut-out on which that is checked, pixels


def import_mediapipe_solution(name: str) -> types.ModuleType:
    """``mediapipe.python.solutions.<name>``, also where OpenCV's system libraries are missing.

    MediaPipe imports OpenCV for its drawing helpers alone, and OpenCV's wheels need libGL and glib of the system, which
    slim images lack. Without them an empty module stands in: nothing here draws.
    """
    try:
        import cv2  # noqa: F401
    except ImportError:
        sys.modules["cv2"] = types.ModuleType("cv2")
        try:
            return importlib.import_module(f"mediapipe.python.solutions.{name}")
        finally:
            del sys.modules["cv2"]
    return importlib.import_module(f"mediapipe.python.solutions.{name}")


class MediaPipeDetector:
    """MediaPipe's face mesh (478 points) behind its long-range face detector, on the CPU."""

    def __init__(self) -> None:
        self._face_mesh = import_mediapipe_solution("face_mesh")
        self._face_detection = import_mediapipe_solution("face_detection")

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See ``Detector.detect``."""
        faces = []
        with self._mesh(static_image_mode=True, max_num_faces=1) as mesh:
            for box in self._boxes(image):
                cut_out, origin = _cut_out(image, box)
                for landmarks in _landmarks(mesh, cut_out):
                    landmarks[:, :2] += origin
                    new = not any(_same_face(landmarks, other) for other in faces)
                    if new and self._is_human(mesh, cut_out):
                        faces.append(landmarks)
        return sorted(faces, key=face_size, reverse=True)

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """See ``Detector.track``. Follows one face from frame to frame, which is steadier than detecting anew."""
        with self._mesh(static_image_mode=False, max_num_faces=1) as mesh:
            for frame in frames:
                yield next(iter(_landmarks(mesh, frame)), None)

    def _mesh(self, **settings):
        return self._face_mesh.FaceMesh(refine_landmarks=True, min_detection_confidence=MIN_CONFIDENCE, **settings)

    def _boxes(self, image: np.ndarray) -> list[np.ndarray]:
        """Boxes (left, top, right, bottom), in pixels, of what the detectors of both ranges take for faces."""
        height, width = image.shape[:2]
        boxes = []
        for found in (*self._detections(image, long_range=False), *self._detections(image, long_range=True)):
            box = found.location_data.relative_bounding_box
            left, top = box.xmin * width, box.ymin * height
            boxes.append(np.array([left, top, left + box.width * width, top + box.height * height]))
        return sorted(boxes, key=lambda box: box[3] - box[1], reverse=True)[: 2 * MAX_FACES]

    def _detections(self, image: np.ndarray, long_range: bool) -> list:
        with self._face_detection.FaceDetection(
            model_selection=int(long_range), min_detection_confidence=MIN_CONFIDENCE
        ) as detection:
            return detection.process(np.ascontiguousarray(image)).detections or []

    def _is_human(self, mesh, cut_out: np.ndarray) -> bool:
        """Whether the face in the middle of a cut-out is a person's; the detectors take animals for faces, too."""
        small = np.asarray(Image.fromarray(cut_out).resize((CHECKED_SIZE,) * 2, Image.Resampling.LANCZOS))
        for long_range, least in ((False, HUMAN_SHORT_RANGE), (True, HUMAN_LONG_RANGE)):
            scores = [found.score[0] for found in self._detections(cut_out, long_range)]
            if max(scores, default=0.0) < least:
                return False
        face, mirrored = next(_landmarks(mesh, small), None), next(_landmarks(mesh, small[:, ::-1]), None)
        if face is None or mirrored is None:
            return False
        mirrored = (mirrored * [-1, 1, 1] + [CHECKED_SIZE, 0, 0])[canonical_face().mirror]
        return bool(np.linalg.norm((face - mirrored)[:, :2], axis=1).mean() < HUMAN_ASYMMETRY * face_size(face))


def face_size(landmarks: np.ndarray) -> float:
    """Height in pixels of the box around a face mesh ``(478, 3)``."""
    return float(np.ptp(landmarks[:, 1]))


def _cut_out(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square around a box, black beyond the image, with the x and y of its origin."""
    height, width = image.shape[:2]
    centre = (box[:2] + box[2:]) / 2
    half = CUT_OUT * float(np.max(box[2:] - box[:2])) / 2
    low, high = np.floor(centre - half).astype(int), np.ceil(centre + half).astype(int)
    inside_low, inside_high = np.maximum(low, 0), np.minimum(high, [width, height])
    side = int(np.max(high - low))
    square = np.zeros((side, side, 3), np.uint8)
    part = image[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]]
    square[inside_low[1] - low[1] :, inside_low[0] - low[0] :][: part.shape[0], : part.shape[1]] = part
    return square, low.astype(np.float32)


def _landmarks(mesh, image: np.ndarray) -> Iterator[np.ndarray]:
    height, width = image.shape[:2]
    for face in mesh.process(np.ascontiguousarray(image)).multi_face_landmarks or []:
        points = np.array([(point.x, point.y, point.z) for point in face.landmark], np.float32)
        # MediaPipe gives x and z in widths of the image and y in heights.
        yield points * np.array([width, height, width], np.float32)


def _same_face(one: np.ndarray, other: np.ndarray) -> bool:
    distance = np.linalg.norm(one[:, :2].mean(0) - other[:, :2].mean(0))
    return bool(distance < 0.5 * max(face_size(one), face_size(other)))
