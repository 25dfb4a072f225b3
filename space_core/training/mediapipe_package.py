"""How exactly the networks of MediaPipe are reproduced: our results beside those of the installed package."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from space_core.face import face_detection, person_segmentation
from space_core.face.crop_size import SIZE
from space_core.face.mediapipe_detector import MediaPipeDetector, face_size
from space_core.face.portrait import SIDE_IN_FACES
from space_core.measures.corpus import Corpus

NUM_FRAMES = 100  # of each clip that is compared
CLIPS = (
    "styletalk_source_video_video_obama_clip1",
    "liveportrait_examples_driving_d0",
    "liveportrait_examples_driving_d10",
    "liveportrait_examples_driving_d13",
    "liveportrait_examples_driving_d18",
    "liveportrait_examples_driving_d20",
    "liveportrait_examples_driving_d3",
    "liveportrait_examples_source_s29",
    "video_retalking_examples_face_1",
    "video_retalking_examples_face_4",
)


class PackageDetector(MediaPipeDetector):
    """The detector with the networks and graphs of the installed package instead of ours.

    Only the scores by which refused faces are judged a second time are ours: the package does not give them.
    """

    def __init__(self) -> None:
        super().__init__()
        from mediapipe.python.solutions import face_detection as package_detection
        from mediapipe.python.solutions import face_mesh as package_mesh

        self._solution = package_mesh.FaceMesh
        self._still = self._solution(static_image_mode=True, refine_landmarks=True)
        self._short_range, self._full_range = (  # type: ignore[assignment]  # called as ours are
            _PackageDetections(package_detection.FaceDetection(0.5, number), own)
            for number, own in enumerate((self._short_range, self._full_range))
        )

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        self._video = self._solution(static_image_mode=False, refine_landmarks=True)
        return super().track(frames)

    def _follow(self, image: np.ndarray, region: np.ndarray | None) -> tuple[np.ndarray | None, None]:
        return _package_landmarks(self._video, image), None  # the package remembers the region itself

    def _faces(self, images: list[np.ndarray]) -> list[np.ndarray | None]:
        return [_package_landmarks(self._still, image) for image in images]


Detectors = tuple[MediaPipeDetector, PackageDetector]  # ours and the package's


class _PackageDetections:
    """A face detector of the package, called as ours are."""

    def __init__(self, solution: Any, own: face_detection.FaceDetection) -> None:
        self._solution = solution
        self.best_scores = own.best_scores

    def __call__(self, images: list[np.ndarray]) -> list[list[face_detection.Detection]]:
        found: list[list[face_detection.Detection]] = []
        for image in images:
            size = np.array(image.shape[1::-1])
            found.append([])
            for detection in self._solution.process(np.ascontiguousarray(image)).detections or []:
                box = detection.location_data.relative_bounding_box
                low = np.array([box.xmin, box.ymin])
                corners = np.stack([low, low + [box.width, box.height]]) * size
                found[-1].append(face_detection.Detection(corners, corners, detection.score[0]))
        return found


def _package_landmarks(solution: Any, image: np.ndarray) -> np.ndarray | None:
    height, width, _ = image.shape
    for face in solution.process(np.ascontiguousarray(image)).multi_face_landmarks or []:
        points = np.array([(point.x, point.y, point.z) for point in face.landmark], np.float32)
        return points * np.array([width, height, width], np.float32)
    return None


def compare(folder: Path) -> None:
    """Prints how far landmarks, faces found and masks are from the package's, and both times, on the corpus."""
    detectors = MediaPipeDetector(), PackageDetector()
    photos = {
        file.stem: np.array(Image.open(file).convert("RGB")) for file in sorted((folder / "portraits").glob("*.jpg"))
    }
    for name, change in VARIANTS.items():
        _compare_photos(name, {photo: change(image, detectors[0]) for photo, image in photos.items()}, detectors)
    corpus = Corpus(folder)
    for clip in CLIPS:
        _compare_clip(clip, list(itertools.islice(corpus.frames(clip), NUM_FRAMES)), detectors)
    _compare_masks(photos.values())


def _compare_photos(name: str, photos: dict[str, np.ndarray], detectors: Detectors) -> None:
    distances, differing, found, seconds = [], [], 0, np.zeros(2)
    for photo, image in photos.items():
        (mine, theirs), elapsed = zip(*(_timed(detector.detect, image) for detector in detectors), strict=True)
        seconds += elapsed
        found += len(theirs)
        if len(mine) == len(theirs):
            distances += [_distance(one, other) for one, other in zip(mine, theirs, strict=True)]
        else:
            differing.append(f"{photo} ({len(mine)} instead of {len(theirs)})")
    print(
        f"{name}: {len(photos)} images, {found} faces of the package, other numbers of faces: "
        f"{', '.join(differing) or 'none'}; {_summary(distances)}; "
        f"{seconds[0] / len(photos):.3f} s an image, package {seconds[1] / len(photos):.3f} s"
    )


def _compare_clip(clip: str, frames: list[np.ndarray], detectors: Detectors) -> None:
    tracks = (partial(lambda detector: list(detector.track(frames)), detector) for detector in detectors)
    (mine, theirs), elapsed = zip(*map(_timed, tracks), strict=True)
    pairs = list(zip(mine, theirs, strict=True))
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    lost = sum((one is None) != (other is None) for one, other in pairs)
    print(
        f"{clip}: {len(frames)} frames, found by one alone: {lost}; "
        f"{_summary([_distance(*pair) for pair in both])}; "
        f"{1000 * elapsed[0] / len(frames):.1f} ms a frame, package {1000 * elapsed[1] / len(frames):.1f} ms"
    )


def _compare_masks(photos: Iterable[np.ndarray]) -> None:
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    segmentation, solution = person_segmentation.PersonSegmentation(), SelfieSegmentation(model_selection=0)
    differences = []
    for image in photos:
        sides = [solution.process(np.ascontiguousarray(side)).segmentation_mask for side in (image, image[:, ::-1])]
        differences.append(np.abs(segmentation(image) - (sides[0] + sides[1][:, ::-1]) / 2).mean())
    print(f"masks: mean difference {np.mean(differences):.5f}, at most {np.max(differences):.5f} in one photo")


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def _distance(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Mean distances in (x, y) and in z between two meshes, in pixels of the 512-pixel crop around the second."""
    pixel = SIDE_IN_FACES * face_size(other) / SIZE
    return np.linalg.norm((one - other)[:, :2], axis=1).mean() / pixel, np.abs((one - other)[:, 2]).mean() / pixel


def _summary(distances: list[tuple[float, float]]) -> str:
    if not distances:
        return "no faces"
    (mean, depth), (largest, _) = np.mean(distances, 0), np.max(distances, 0)
    return f"landmarks {mean:.3f} px apart, at most {largest:.3f} in one face, depth {depth:.3f} px"


def _turned(degrees: float, image: np.ndarray, detector: MediaPipeDetector) -> np.ndarray:
    return np.array(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR, expand=True))


def _small(image: np.ndarray, detector: MediaPipeDetector) -> np.ndarray:
    """The image, its face 100 pixels high, in the middle of 1500 × 1500 grey pixels."""
    faces = detector.detect(image)
    scale = 100 / (face_size(faces[0]) if faces else max(image.shape) / 3)
    small = Image.fromarray(image).resize([max(1, min(1500, round(side * scale))) for side in image.shape[1::-1]])
    canvas = Image.new("RGB", (1500, 1500), (128, 128, 128))
    canvas.paste(small, ((1500 - small.width) // 2, (1500 - small.height) // 2))
    return np.array(canvas)


VARIANTS: dict[str, Callable[[np.ndarray, MediaPipeDetector], np.ndarray]] = {
    "upright": lambda image, detector: image,
    **{f"turned by {degrees} degrees": partial(_turned, degrees) for degrees in (-30, 30, 90)},
    "small": _small,
}
