"""The default detector: MediaPipe's face detectors and face mesh with irises, run in torch."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

from space_core.face.face_detection import FaceDetection
from space_core.face.face_mesh import FaceMesh, face_region, region_around
from space_core.face.luminance import LUMINANCE
from space_core.face.regions import scaled
from space_core.face.topology import LEFT_EYE, RIGHT_EYE, canonical_face

# The face mesh needs the rough position of a face, from the short-range detector. That one finds faces from a fifth
# of an image's height, so smaller ones are found in parts of the image, and the mesh is fitted in a cut-out of each.
CUT_OUT = 2.0  # side of that cut-out, in sides of the detected box
MAX_FACES = 8
MAX_CALLERS = 4  # threads that use a detector at the same time; further ones wait
TILES = (1, 2, 4)  # an image without a face is searched again in so many parts each way
TRACKED_CUT_OUT = 3.0  # side of the cut-out in which a face is followed, in sides of its box where it was found
REDETECT_AFTER = 5  # frames without a face, after which it is searched for in the whole frame

# The mesh fits dogs and monkeys too. People stand out by the scores of both face detectors for their upright face, and
# by how well the mesh of the mirrored image mirrors the mesh. Of 95 portraits (photos, paintings, statues, cartoons),
# each turned five ways, people score above 0.88 with the short range or are found by the full range as well, and all
# but a cartoon and a profile lie below 0.02 in asymmetry; dogs score below 0.85 and are hardly found by the full range.
HUMAN_SURE = 0.87  # for the short range alone
HUMAN_WITH_BOTH = 0.785  # for the short range where the full range finds a face, too
HUMAN_ASYMMETRY = 0.04  # mean distance between the two meshes, in heights of the face
CHECKED_SIZE = 256  # side of the cut-out on which that is checked, pixels
# Height of a detected box, in heights of the face in it. Larger boxes are of a whole picture within the image, as in
# screenshots; faces are too small in their cut-outs to be judged.
LARGEST_BOX = 2.0
UPRIGHT_SIZE = 512  # side down to which a cut-out is reduced before it is turned upright, pixels

# Before a photo is reported to show no face, its largest faces that did not pass are judged a second time, by means
# over views, which are more reliable than single scores: those of blurred, enlarged and washed-out people are low and
# unsteady. Monkeys score low in grey, dogs with the full range, and half faces with the mesh. Of 200 people in photos
# reduced to faces 16 to 34 pixels high, 175 pass at first and 13 more now; of 1100 photos of animals, things and
# backgrounds none, and of 177 distorted photos of the animals most like people one, a grey, blurred capuchin.
SECOND_CHANCES = 2  # faces
SECOND_SMALLEST = 64  # height of a face, pixels; smaller ones can't be animated
SECOND_CUT_OUTS = (1.5, 2.0)  # their sides, in sides of the box around the mesh
SECOND_SCALES = (0.9, 1.0, 1.1)  # of the region in which the mesh is fitted
SECOND_SCORE = 0.38  # for the full range: the lower of the means of coloured and of grey views
PRESENCE_UNIT = 30.0  # logit of the mesh for a clear face, …
SECOND_SUM = 1.28  # … in units of which it and that score amount to this; of animals in such photos to 1.26 at most


class MediaPipeDetector:
    """MediaPipe's face mesh (478 points) behind its short-range and full-range face detectors."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Loads the networks onto a device."""
        self._short_range, self._full_range = (FaceDetection(name, device) for name in ("short_range", "full_range"))
        self._face_mesh = FaceMesh(device)
        # The layers are too small to be shared out: waiting for the other threads would take longer than the work.
        self._workers = ThreadPoolExecutor(MAX_CALLERS, "detector", torch.set_num_threads, (1,))

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See ``Detector.detect``."""
        return self._workers.submit(self._detect_in_photo, image).result()

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """See ``Detector.track``. The region of a face is taken from the landmarks of the frame before."""
        box: np.ndarray | None = None
        region: np.ndarray | None = None
        lost = REDETECT_AFTER
        for frame in frames:
            if box is None or lost >= REDETECT_AFTER:
                faces = self._workers.submit(self._detect, frame, (1,), []).result()
                box = _box(faces[0]) if faces else _middle(frame)
                lost = 0
            # A face that is small in the frame is lost on the short-range detector, so it gets the surroundings only.
            cut_out, origin = _cut_out(frame, box, TRACKED_CUT_OUT)
            face, region = self._workers.submit(self._follow, cut_out, region).result()
            lost = lost + 1 if face is None else 0
            if face is not None:
                face[:, :2] += origin
            yield face

    def _follow(self, image: np.ndarray, region: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The face in a region, or the surest one of the image without a region, and its region in the next image."""
        if region is None:
            (face,) = self._faces([image])
        else:
            (face,) = self._face_mesh([image], [region])
        return face, None if face is None else region_around(face)

    def _detect_in_photo(self, image: np.ndarray) -> list[np.ndarray]:
        """The human faces in an image, the largest first; ``_second_chances`` only if ``_detect`` finds none."""
        judged: list[np.ndarray] = []
        return self._detect(image, TILES, judged) or self._second_chances(image, judged)

    def _detect(self, image: np.ndarray, tiles: tuple[int, ...], judged: list[np.ndarray]) -> list[np.ndarray]:
        """The human faces in an image, the largest first, from the first number of tiles with which there are any.

        ``judged`` gets every face that was found, human or not.
        """
        found = (self._people(image, self._boxes(image, number), judged) for number in tiles)
        return next((faces for faces in found if faces), [])

    def _people(self, image: np.ndarray, boxes: list[np.ndarray], judged: list[np.ndarray]) -> list[np.ndarray]:
        """The human faces in boxes, the largest first; of those that are not in ``judged``, which grows."""
        cut_outs = [_cut_out(image, box) for box in boxes]
        people = []
        found = zip(boxes, self._faces([part for part, _ in cut_outs]), cut_outs, strict=True)
        for box, landmarks, (cut_out, origin) in found:
            if landmarks is None:
                continue
            face = landmarks + np.append(origin, 0).astype(np.float32)
            # Each is judged once: an animal must not pass because it was found in several boxes.
            if not any(_same_face(face, other) for other in judged):
                judged.append(face)
                if box[3] - box[1] > LARGEST_BOX * face_size(face):
                    cut_out, origin = _cut_out(image, _box(face))
                    landmarks = face - np.append(origin, 0).astype(np.float32)
                if self._is_human(_upright(cut_out, landmarks)):
                    people.append(face)
        return sorted(people, key=face_size, reverse=True)

    def _boxes(self, image: np.ndarray, tiles: int) -> list[np.ndarray]:
        """Boxes (left, top, right, bottom), in pixels, of what both detectors take for faces, the highest first.

        They get ``tiles`` × ``tiles`` parts of the image, each larger by half than its share, so that they overlap.
        """
        size = np.array(image.shape[:2])
        reach = min(1.5 / tiles, 1) * size
        corners = [np.array(corner) for corner in itertools.product(*np.linspace([0, 0], size - reach, tiles).T)]
        limits = [(corner.astype(int), (corner + reach).astype(int)) for corner in corners]
        parts = [image[top:bottom, left:right] for (top, left), (bottom, right) in limits]
        boxes = [
            (detection.box + low[::-1]).ravel()
            for (low, _), *found in zip(limits, self._short_range(parts), self._full_range(parts), strict=True)
            for detection in itertools.chain(*found)
        ]
        return sorted(boxes, key=lambda box: box[3] - box[1], reverse=True)[: 2 * MAX_FACES]

    def _faces(self, images: list[np.ndarray]) -> list[np.ndarray | None]:
        """The landmarks (478, 3) of the face with the highest score in each image, in pixels of the image."""
        regions = [face_region(found[0].box, found[0].eyes) if found else None for found in self._short_range(images)]
        seen = {number: region for number, region in enumerate(regions) if region is not None}
        landmarks = self._face_mesh([images[number] for number in seen], list(seen.values()))
        faces = dict(zip(seen, landmarks, strict=True))
        return [faces.get(number) for number in range(len(images))]

    def _is_human(self, cut_out: np.ndarray) -> bool:
        """Whether the face in the middle of an upright cut-out is a person's; the detectors also find animals."""
        score = max((detection.score for detection in self._short_range([cut_out])[0]), default=0.0)
        if score < HUMAN_WITH_BOTH or (score < HUMAN_SURE and not self._full_range([cut_out])[0]):
            return False
        small = _checked(cut_out)
        face, mirrored = self._faces([small, small[:, ::-1]])
        if face is None or mirrored is None:
            return False
        mirrored = (mirrored * [-1, 1, 1] + [CHECKED_SIZE, 0, 0])[canonical_face().mirror]
        return bool(np.linalg.norm((face - mirrored)[:, :2], axis=1).mean() < HUMAN_ASYMMETRY * face_size(face))

    def _second_chances(self, image: np.ndarray, judged: list[np.ndarray]) -> list[np.ndarray]:
        """Those of the largest faces (478, 3) found in an image that are a person's after all."""
        large = [face for face in sorted(judged, key=face_size, reverse=True) if face_size(face) >= SECOND_SMALLEST]
        return [face for face in large[:SECOND_CHANCES] if self._is_human_in_all_views(image, face)]

    def _is_human_in_all_views(self, image: np.ndarray, face: np.ndarray) -> bool:
        """Whether a face (478, 3) is a person's by its mean scores, in colour and in grey, mirrored and not."""
        cut_outs = [_cut_out(image, _box(face), size) for size in SECOND_CUT_OUTS]
        upright = [_upright(part, face - np.append(origin, 0).astype(np.float32)) for part, origin in cut_outs]
        scores = self._full_range.best_scores(_views([_checked(part) for part in upright]))
        score = scores.reshape(2, -1).mean(1).min()
        if score < SECOND_SCORE:
            return False
        part, origin = cut_outs[-1]
        landmarks = (face - np.append(origin, 0)) * (CHECKED_SIZE / len(part))
        mirrored = (landmarks * [-1, 1, 1] + [CHECKED_SIZE - 1, 0, 0])[canonical_face().mirror]
        regions = [scaled(region_around(points), scale) for points in (landmarks, mirrored) for scale in SECOND_SCALES]
        views = [view for view in _views([_checked(part)]) for _ in SECOND_SCALES]
        presence = self._face_mesh.presence(views, 2 * regions).mean()
        return bool(score + presence / PRESENCE_UNIT >= SECOND_SUM)


def face_size(landmarks: np.ndarray) -> float:
    """Height in pixels of the box around a face mesh ``(478, 3)``."""
    return float(np.ptp(landmarks[:, 1]))


def _upright(cut_out: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A cut-out turned so that the eyes in it are level; heads that lie on their side score low with the detectors."""
    along = landmarks[RIGHT_EYE.upper_lid[-1], :2] - landmarks[LEFT_EYE.upper_lid[0], :2]
    roll = float(np.degrees(np.arctan2(along[1], along[0])))
    step = max(len(cut_out) // UPRIGHT_SIZE, 1)  # turning a large one takes longer than running the networks
    x, y = (landmarks[:, :2].mean(0) / step).tolist()
    return np.asarray(Image.fromarray(cut_out).reduce(step).rotate(roll, Image.Resampling.BILINEAR, center=(x, y)))


def _checked(cut_out: np.ndarray) -> np.ndarray:
    """A cut-out at the size at which faces are checked."""
    return np.asarray(Image.fromarray(cut_out).resize((CHECKED_SIZE,) * 2, Image.Resampling.LANCZOS))


def _views(images: list[np.ndarray]) -> list[np.ndarray]:
    """Each image (H, W, 3) uint8 RGB and its mirror image, then the same in grey."""
    grey = [np.repeat(np.round(image @ LUMINANCE).astype(np.uint8)[..., None], 3, axis=2) for image in images]
    return [view for image in (*images, *grey) for view in (image, image[:, ::-1])]


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


def _same_face(one: np.ndarray, other: np.ndarray) -> bool:
    distance = np.linalg.norm(one[:, :2].mean(0) - other[:, :2].mean(0))
    return bool(distance < 0.5 * max(face_size(one), face_size(other)))
