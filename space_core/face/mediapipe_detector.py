"""The embedded detector: MediaPipe's face mesh with irises, whose models come inside the wheel."""

import importlib
import itertools
import sys
import types
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from PIL import Image

from space_core.face.topology import LEFT_EYE, RIGHT_EYE, canonical_face

# The face detectors inside the face mesh look for faces from about a fifth of the image's height, so smaller faces are
# found by the detector itself and their surroundings are cut out for the mesh.
CUT_OUT = 2.0  # side of that cut-out, in sides of the detected box
MAX_FACES = 8
MIN_CONFIDENCE = 0.5
SHORT_RANGE, LONG_RANGE = 0, 1  # MediaPipe's names for its two face detectors
TILES = (1, 2, 4)  # an image without a face is searched again in so many parts each way, for faces that are small in it
TRACKED_CUT_OUT = 3.0  # side of the cut-out in which a face is followed, in sides of its box where it was found
LOOK_AGAIN = 5  # frames without a face, after which it is looked for elsewhere

# The mesh fits dogs and monkeys too. People stand out by what both face detectors say of their upright face, and by how
# well the mesh of the mirrored picture mirrors the mesh. Of 95 portraits (photos, paintings, statues, cartoons), each
# turned five ways, people lie above 0.88 for the short range or are seen by the long range as well, all but a cartoon
# and a profile below 0.02 in asymmetry; dogs lie below 0.85 and are hardly seen by the long range.
HUMAN_SURE = 0.87  # for the short range alone
HUMAN_SCORES = (0.785, 0.3)  # for the short and the long range together
HUMAN_ASYMMETRY = 0.04  # mean distance between the two meshes, in heights of the face
CHECKED_SIZE = 256  # side of the cut-out on which that is checked, pixels
UPRIGHT_SIZE = 512  # side down to which a cut-out is reduced before it is turned upright, pixels


def import_mediapipe_solution(name: str) -> types.ModuleType:
    """``mediapipe.python.solutions.<name>``, also where OpenCV's system libraries are missing.

    MediaPipe imports OpenCV for its drawing helpers alone, and OpenCV's wheels need libGL and glib of the system, which
    slim images lack. Without them an empty module stands in: nothing here draws.
    """
    if _opencv_works():
        return importlib.import_module(f"mediapipe.python.solutions.{name}")
    sys.modules["cv2"] = types.ModuleType("cv2")
    try:
        return importlib.import_module(f"mediapipe.python.solutions.{name}")
    finally:
        del sys.modules["cv2"]


@cache
def _opencv_works() -> bool:
    path = sys.path.copy()
    try:
        importlib.import_module("cv2")
    except ImportError:
        # What OpenCV's loader leaves behind when it fails would make the next import fail with another message.
        sys.path[:] = path
        if hasattr(sys, "OpenCV_LOADER"):
            del sys.OpenCV_LOADER
        return False
    return True


class MediaPipeDetector:
    """MediaPipe's face mesh (478 points) behind its long-range face detector, on the CPU."""

    def __init__(self) -> None:
        self._face_mesh = import_mediapipe_solution("face_mesh")
        self._face_detection = import_mediapipe_solution("face_detection")

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See ``Detector.detect``."""
        return self._detect(image, TILES)

    def _detect(self, image: np.ndarray, tiles: tuple[int, ...]) -> list[np.ndarray]:
        """The human faces in an image, the largest first, from the first number of tiles with which there are any."""
        # Built for each call: MediaPipe's graphs must not be shared by threads.
        with (
            self._face_detection.FaceDetection(MIN_CONFIDENCE, SHORT_RANGE) as short_range,
            self._face_detection.FaceDetection(MIN_CONFIDENCE, LONG_RANGE) as long_range,
            self._mesh(static_image_mode=True, max_num_faces=1) as mesh,
        ):
            ranges = (short_range, long_range)
            judged = []
            found = (_faces(image, _boxes(image, ranges, number), ranges, mesh, judged) for number in tiles)
            return next((faces for faces in found if faces), [])

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """See ``Detector.track``. Follows one face from frame to frame, which is steadier than detecting anew."""
        box, lost = None, LOOK_AGAIN
        with self._mesh(static_image_mode=False, max_num_faces=1) as mesh:
            for frame in frames:
                if lost >= LOOK_AGAIN:
                    faces = self._detect(frame, tiles=(1,))
                    box = _box(faces[0]) if faces else _middle(frame)
                    lost = 0
                # The mesh's own detector is blind to faces that are small in the frame, so it sees their surroundings.
                cut_out, origin = _cut_out(frame, box, TRACKED_CUT_OUT)
                face = next(_landmarks(mesh, cut_out), None)
                lost = lost + 1 if face is None else 0
                if face is not None:
                    face[:, :2] += origin
                yield face

    def _mesh(self, **settings):
        return self._face_mesh.FaceMesh(refine_landmarks=True, min_detection_confidence=MIN_CONFIDENCE, **settings)


def face_size(landmarks: np.ndarray) -> float:
    """Height in pixels of the box around a face mesh ``(478, 3)``."""
    return float(np.ptp(landmarks[:, 1]))


def _faces(
    image: np.ndarray, boxes: list[np.ndarray], ranges: tuple, mesh, judged: list[np.ndarray]
) -> list[np.ndarray]:
    """The meshes of the human faces in boxes, the largest first; of those that are not in ``judged``, which grows."""
    faces = []
    for box in boxes:
        cut_out, origin = _cut_out(image, box)
        for landmarks in _landmarks(mesh, cut_out):
            upright = _upright(cut_out, landmarks)
            landmarks[:, :2] += origin
            # Each is judged once: an animal must not pass because it was looked at from several boxes.
            if not any(_same_face(landmarks, other) for other in judged):
                judged.append(landmarks)
                if _is_human(upright, ranges, mesh):
                    faces.append(landmarks)
    return sorted(faces, key=face_size, reverse=True)


def _boxes(image: np.ndarray, ranges: tuple, tiles: int) -> list[np.ndarray]:
    """Boxes (left, top, right, bottom), in pixels, of what the detectors of both ranges take for faces.

    They look at ``tiles`` × ``tiles`` parts of the image, each larger by half than its share, so that they overlap.
    """
    boxes = []
    size = np.array(image.shape[:2])
    reach = min(1.5 / tiles, 1) * size
    tops, lefts = np.linspace([0, 0], size - reach, tiles).T
    for top, left in itertools.product(tops, lefts):
        part = np.ascontiguousarray(image[int(top) : int(top + reach[0]), int(left) : int(left + reach[1])])
        scale = np.tile(part.shape[1::-1], 2)
        for found in (found for detection in ranges for found in detection.process(part).detections or []):
            box = found.location_data.relative_bounding_box
            corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
            boxes.append(corners * scale + [int(left), int(top)] * 2)
    return sorted(boxes, key=lambda box: box[3] - box[1], reverse=True)[: 2 * MAX_FACES]


def _upright(cut_out: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A cut-out turned so that the eyes in it are level; the detectors are shy of heads that lie on their side."""
    along = landmarks[RIGHT_EYE.upper_lid[-1], :2] - landmarks[LEFT_EYE.upper_lid[0], :2]
    roll = float(np.degrees(np.arctan2(along[1], along[0])))
    step = max(len(cut_out) // UPRIGHT_SIZE, 1)  # turning a large one takes longer than looking at it
    centre = tuple(map(float, landmarks[:, :2].mean(0) / step))
    return np.asarray(Image.fromarray(cut_out).reduce(step).rotate(roll, Image.Resampling.BILINEAR, center=centre))


def _is_human(cut_out: np.ndarray, ranges: tuple, mesh) -> bool:
    """Whether the face in the middle of a cut-out is a person's; the detectors take animals for faces, too."""
    short_range, long_range = (
        max((found.score[0] for found in detection.process(cut_out).detections or []), default=0.0)
        for detection in ranges
    )
    if short_range < HUMAN_SURE and (short_range < HUMAN_SCORES[0] or long_range < HUMAN_SCORES[1]):
        return False
    small = np.asarray(Image.fromarray(cut_out).resize((CHECKED_SIZE,) * 2, Image.Resampling.LANCZOS))
    face, mirrored = next(_landmarks(mesh, small), None), next(_landmarks(mesh, small[:, ::-1]), None)
    if face is None or mirrored is None:
        return False
    mirrored = (mirrored * [-1, 1, 1] + [CHECKED_SIZE, 0, 0])[canonical_face().mirror]
    return bool(np.linalg.norm((face - mirrored)[:, :2], axis=1).mean() < HUMAN_ASYMMETRY * face_size(face))


def _box(landmarks: np.ndarray) -> np.ndarray:
    return np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])


def _middle(image: np.ndarray) -> np.ndarray:
    """The box whose cut-out for tracking is the whole image."""
    height, width = image.shape[:2]
    half = max(height, width) / 2 / TRACKED_CUT_OUT
    return np.array([width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half])


def _cut_out(image: np.ndarray, box: np.ndarray, factor: float = CUT_OUT) -> tuple[np.ndarray, np.ndarray]:
    """The square around a box, ``factor`` times its size and black beyond the image, with the x and y of its origin."""
    height, width = image.shape[:2]
    centre = (box[:2] + box[2:]) / 2
    half = factor * float(np.max(box[2:] - box[:2])) / 2
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
