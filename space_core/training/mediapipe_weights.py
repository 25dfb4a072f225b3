"""The networks of MediaPipe: their weights, read out of the package's wheel, and how exactly they are reproduced.

    pip download --no-deps mediapipe==0.10.21 && unzip mediapipe-*.whl -d WHEEL && pip install flatbuffers
    python -m space_core.training.mediapipe_weights WHEEL
    python -m space_core.training.mediapipe_weights --compare CORPUS

The first writes ``weights/face_detection.safetensors``, ``weights/face_mesh.safetensors`` and
``weights/person_segmentation.safetensors``: the numbers of the wheel's tflite files, in float16 as there, under the
names that the networks in ``space_core/face/`` have for them. The second prints how far the results are from the
package's, which must be installed for that (``pip install mediapipe==0.10.21 "numpy<2"``).
"""

import argparse
import itertools
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from flatbuffers import flexbuffers
from PIL import Image
from safetensors.numpy import save_file
from torch import nn

from space_core.face import face_detection, face_mesh, person_segmentation
from space_core.face.mediapipe_detector import MediaPipeDetector, face_size
from space_core.face.portrait import SIDE_IN_FACES, SIZE
from space_core.face.topology import EYES
from space_core.measures.corpus import Corpus

# TensorFlow Lite's numbers of the operators that have weights, and of those that only convert them.
CONVOLUTION, DEPTHWISE, CUSTOM, PRELU = 3, 4, 32, 54
DEQUANTIZE, DENSIFY = 6, 124
TENSOR_TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
INDEX_TYPES = {1: np.int32, 2: np.uint16, 3: np.uint8}  # of sparse tensors

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", type=Path, metavar="WHEEL", help="folder with MediaPipe's unpacked wheel")
    parser.add_argument("--compare", type=Path, metavar="CORPUS", help="compare with the installed package")
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.compare)
    if arguments.wheel:
        write_weights(arguments.wheel / "mediapipe" / "modules")


def write_weights(modules: Path) -> None:
    """Reads the tflite files in the wheel's folder ``mediapipe/modules``."""
    short_range = read_graph(modules / "face_detection" / "face_detection_short_range.tflite")
    full_range = read_graph(modules / "face_detection" / "face_detection_full_range_sparse.tflite")
    detection = {
        "short_range": named(face_detection.ShortRangeNetwork, short_range.parameters()),
        "full_range": named(face_detection.FullRangeNetwork, quartered_heads(full_range.parameters())),
    }
    _save(
        {f"{name}.{key}": array for name, arrays in detection.items() for key, array in arrays.items()},
        face_detection.WEIGHTS,
    )
    _save(
        face_mesh_tensors(read_graph(modules / "face_landmark" / "face_landmark_with_attention.tflite")),
        face_mesh.WEIGHTS,
    )
    segmentation = read_graph(modules / "selfie_segmentation" / "selfie_segmentation.tflite")
    _save(named(person_segmentation.PersonSegmentationNetwork, segmentation.parameters()), person_segmentation.WEIGHTS)


@dataclass(frozen=True)
class Operator:
    """A node of a graph: what it computes, and the indices of its tensors."""

    code: int
    name: str  # of custom ones
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: bytes  # of custom ones


@dataclass(frozen=True)
class Graph:
    """A network as TensorFlow Lite stores it: operators in the order in which they run, and constant tensors."""

    operators: tuple[Operator, ...]
    constants: dict[int, np.ndarray]
    outputs: dict[str, int]

    def parameters(self, outputs: Iterable[str] | None = None, known: Iterable[np.ndarray] = ()) -> list[np.ndarray]:
        """Weights, biases and slopes in the order in which they are used, laid out as torch does.

        Only of what leads to some outputs, if these are named, and without those ``known``.
        """
        needed = self._needed(outputs) if outputs is not None else set(self.operators)
        arrays = [array for operator in self.operators if operator in needed for array in self._parameters_of(operator)]
        return [array for array in arrays if not any(array is other for other in known)]

    def _parameters_of(self, operator: Operator) -> list[np.ndarray]:
        if operator.code not in (CONVOLUTION, DEPTHWISE, PRELU) and operator.name != "Convolution2DTransposeBias":
            return []
        return [self.constants[index] for index in operator.inputs[1:]]

    def _needed(self, outputs: Iterable[str]) -> set[Operator]:
        tensors, needed = {self.outputs[name] for name in outputs}, set()
        for operator in reversed(self.operators):
            if tensors & set(operator.outputs):
                needed.add(operator)
                tensors |= set(operator.inputs)
        return needed


def read_graph(file: Path) -> Graph:
    """The network in a tflite file; constants as torch lays them out: (out, in, height, width)."""
    data = file.read_bytes()
    model = Table(data, struct.unpack_from("<I", data)[0])
    kinds = [(max(code.number(0, "b"), code.number(3, "i")), bytes(code.array(1)).decode()) for code in model.tables(1)]
    buffers = [buffer.array(0) for buffer in model.tables(4)]
    (graph,) = model.tables(2)
    tensors = graph.tables(0)
    constants = {
        index: _dense(tensor, buffers[tensor.number(2, "I")])
        for index, tensor in enumerate(tensors)
        if len(buffers[tensor.number(2, "I")])
    }
    operators = []
    for node in graph.tables(3):
        inputs, outputs = (tuple(node.array(slot, np.int32).tolist()) for slot in (1, 2))
        code, name = kinds[node.number(0, "I")]
        if code in (DEQUANTIZE, DENSIFY):
            constants[outputs[0]] = constants[inputs[0]]
            continue
        operators.append(Operator(code, name, inputs, outputs, bytes(node.array(5))))
    for operator in operators:
        if len(operator.inputs) > 1 and operator.inputs[1] in constants:
            constants[operator.inputs[1]] = _as_torch(operator, constants[operator.inputs[1]])
    outputs = {bytes(tensors[index].array(3)).decode(): index for index in graph.array(2, np.int32).tolist()}
    return Graph(tuple(operators), constants, outputs)


class Table:
    """A table of a FlatBuffers file, its fields by their place in TensorFlow Lite's schema."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start = data, start
        self._fields = start - struct.unpack_from("<i", data, start)[0]
        self._size = struct.unpack_from("<H", data, self._fields)[0]

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        offset = struct.unpack_from("<H", self._data, self._fields + entry)[0] if entry < self._size else 0
        return self._start + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + struct.unpack_from("<I", self._data, place)[0]

    def number(self, field: int, code: str) -> int:
        """A scalar with the struct module's code; 0 where it is left out."""
        place = self._place(field)
        return 0 if place is None else struct.unpack_from(f"<{code}", self._data, place)[0]

    def array(self, field: int, dtype: type = np.uint8) -> np.ndarray:
        """A vector of numbers; empty where it is left out."""
        place = self._target(field)
        if place is None:
            return np.array([], dtype)
        return np.frombuffer(self._data, dtype, struct.unpack_from("<I", self._data, place)[0], place + 4)

    def table(self, field: int) -> "Table | None":
        place = self._target(field)
        return None if place is None else Table(self._data, place)

    def tables(self, field: int) -> list["Table"]:
        """A vector of tables."""
        place = self._target(field)
        places = [] if place is None else [place + 4 + 4 * n for n in range(len(self.array(field, np.uint32)))]
        return [Table(self._data, place + struct.unpack_from("<I", self._data, place)[0]) for place in places]


def _dense(tensor: Table, buffer: np.ndarray) -> np.ndarray:
    """A constant tensor; a sparse one has its last axis stored as compressed rows."""
    shape = tensor.array(0, np.int32)
    values = np.frombuffer(buffer.tobytes(), TENSOR_TYPES[tensor.number(1, "b")])
    sparsity = tensor.table(6)
    if sparsity is None:
        return values.reshape(shape)
    rows = sparsity.tables(2)[-1]
    ends, columns = (
        rows.table(field).array(0, INDEX_TYPES[rows.number(field - 1, "b")]).astype(int) for field in (3, 5)
    )
    dense = np.zeros((int(np.prod(shape[:-1])), shape[-1]), values.dtype)
    dense[np.repeat(np.arange(len(dense)), np.diff(ends)), columns] = values
    return dense.reshape(shape)


def _as_torch(operator: Operator, weights: np.ndarray) -> np.ndarray:
    if operator.code == CONVOLUTION:  # out, height, width, in
        return weights.transpose(0, 3, 1, 2)
    if operator.code in (
        DEPTHWISE,
        CUSTOM,
    ):  # 1, height, width, channels; of the transposed one: out, height, width, in
        return weights.transpose(3, 0, 1, 2)
    return weights.ravel() if operator.code == PRELU else weights


def named(build: Callable[[], nn.Module], arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under the names of a network's parameters, which are registered in the order in which they are used."""
    with torch.device("meta"):
        parameters = dict(build().named_parameters())
    return {
        name: _fitted(array, tuple(parameter.shape))
        for (name, parameter), array in zip(parameters.items(), arrays, strict=True)
    }


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Weights as ``halving_convolution`` has them, with zeros in the first row and column of the kernel."""
    if array.ndim == 4 and array.shape[-1] == shape[-1] - 1:
        array = np.pad(array, ((0, 0), (0, 0), (1, 0), (1, 0)))
    if array.shape != shape:
        raise ValueError(f"the graph is another one: {array.shape} where the network has {shape}")
    return array


def quartered_heads(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The full range's parameters, the outputs of its two heads in the order of ``pixel_shuffle``.

    TensorFlow's order is place by place, that of torch value by value. Each head has a pointwise and a depthwise
    convolution with their biases.
    """
    return arrays[:-8] + [
        array.reshape(4, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape) for array in arrays[-8:]
    ]


def face_mesh_tensors(graph: Graph) -> dict[str, np.ndarray]:
    """The tensors of ``FaceMeshNetwork``: what is of one shape for several boxes or parts is stacked into groups."""
    face = graph.parameters(["output_mesh_identity"])
    face += graph.parameters(["conv_faceflag"], known=face)
    lips = graph.parameters(["output_lips"], known=face)
    left_eye, right_eye = (graph.parameters([f"output_{side}_eye"], known=face) for side in ("left", "right"))
    left_iris = graph.parameters(["output_left_iris"], known=face + left_eye)
    right_iris = graph.parameters(["output_right_iris"], known=face + right_eye)

    shared = len(left_eye) - len(left_iris)  # what an eye and its iris have in common is the network of their box
    boxes = [
        np.concatenate(arrays) for arrays in zip(*(part[:shared] for part in (lips, left_eye, right_eye)), strict=True)
    ]
    parts = (lips[shared:], left_eye[shared:], left_iris, right_eye[shared:], right_iris)
    stacked = [np.concatenate(arrays) for arrays in zip(*(part[:-2] for part in parts), strict=True)]
    points = [array for part in parts for array in part[-2:]]
    tensors = named(face_mesh.FaceMeshNetwork, [*face, *boxes, *stacked, *points])

    options = [
        flexbuffers.Loads(operator.options)
        for operator in graph.operators
        if operator.name == "Landmarks2TransformMatrix"
    ]
    landmarks = [box["subset_idxs"] for box in options]
    irises = [[eye.pupil, *eye.iris_rim] for eye in EYES]
    longest = max(map(len, landmarks))
    tensors["part_landmarks"] = np.array(landmarks[0] + landmarks[1] + irises[0] + landmarks[2] + irises[1])
    tensors["box_landmarks"] = np.array([np.resize(box, longest) for box in landmarks])
    tensors["box_ends"] = np.array([[box["left_rotation_idx"], box["right_rotation_idx"]] for box in options])
    return tensors


def _save(tensors: dict[str, np.ndarray], file: Path) -> None:
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, file)
    print(f"{file.name}: {sum(array.size for array in tensors.values()):,} numbers, {file.stat().st_size:,} bytes")


class PackageDetector(MediaPipeDetector):
    """The detector with the networks and graphs of the installed package instead of ours."""

    def __init__(self) -> None:
        super().__init__()
        from mediapipe.python.solutions import face_detection as package_detection
        from mediapipe.python.solutions import face_mesh as package_mesh

        self._solution = package_mesh.FaceMesh
        self._still = self._solution(static_image_mode=True, refine_landmarks=True)
        self._short_range, self._full_range = (
            partial(_package_detections, package_detection.FaceDetection(0.5, number)) for number in (0, 1)
        )

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        self._video = self._solution(static_image_mode=False, refine_landmarks=True)
        return super().track(frames)

    def _follow(self, image: np.ndarray, region: None) -> tuple[np.ndarray | None, None]:
        return _package_landmarks(self._video, image), None  # the package remembers the region itself

    def _faces(self, images: list[np.ndarray]) -> list[np.ndarray | None]:
        return [_package_landmarks(self._still, image) for image in images]


def _package_detections(solution, images: list[np.ndarray]) -> list[list[face_detection.Detection]]:
    found = []
    for image in images:
        size = np.array(image.shape[1::-1])
        found.append([])
        for detection in solution.process(np.ascontiguousarray(image)).detections or []:
            box = detection.location_data.relative_bounding_box
            low = np.array([box.xmin, box.ymin])
            corners = np.stack([low, low + [box.width, box.height]]) * size
            found[-1].append(face_detection.Detection(corners, corners, detection.score[0]))
    return found


def _package_landmarks(solution, image: np.ndarray) -> np.ndarray | None:
    height, width, _ = image.shape
    for face in solution.process(np.ascontiguousarray(image)).multi_face_landmarks or []:
        points = np.array([(point.x, point.y, point.z) for point in face.landmark], np.float32)
        return points * np.array([width, height, width], np.float32)
    return None


def compare(corpus: Path) -> None:
    """Prints how far landmarks, faces found and masks are from the package's, and both times."""
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    ours, package = MediaPipeDetector(), PackageDetector()
    photos = {
        file.stem: np.array(Image.open(file).convert("RGB")) for file in sorted((corpus / "portraits").glob("*.jpg"))
    }
    for name, change in VARIANTS.items():
        distances, differing, found, seconds = [], [], 0, np.zeros(2)
        for photo, image in photos.items():
            changed = change(image, ours)
            (mine, theirs), elapsed = zip(
                *(_timed(detector.detect, changed) for detector in (ours, package)), strict=True
            )
            seconds += elapsed
            found += len(theirs)
            if len(mine) != len(theirs):
                differing.append(f"{photo} ({len(mine)} instead of {len(theirs)})")
                continue
            for one, other in zip(mine, theirs, strict=True):
                distances.append(_distance(one, other))
        print(
            f"{name}: {len(photos)} images, {found} faces of the package, other numbers of faces: "
            f"{', '.join(differing) or 'none'}; {_summary(distances)}; "
            f"{seconds[0] / len(photos):.3f} s an image, package {seconds[1] / len(photos):.3f} s"
        )
    for clip in CLIPS:
        frames = list(itertools.islice(Corpus(corpus).frames(clip), NUM_FRAMES))
        (mine, theirs), elapsed = zip(
            *(_timed(lambda d, frames=frames: list(d.track(frames)), d) for d in (ours, package)), strict=True
        )
        both = [(one, other) for one, other in zip(mine, theirs, strict=True) if one is not None and other is not None]
        lost = sum((one is None) != (other is None) for one, other in zip(mine, theirs, strict=True))
        print(
            f"{clip}: {len(frames)} frames, found by one alone: {lost}; "
            f"{_summary([_distance(*pair) for pair in both])}; "
            f"{1000 * elapsed[0] / len(frames):.1f} ms a frame, package {1000 * elapsed[1] / len(frames):.1f} ms"
        )
    segmentation, solution = person_segmentation.PersonSegmentation(), SelfieSegmentation(model_selection=0)
    differences = []
    for image in photos.values():
        sides = [solution.process(np.ascontiguousarray(side)).segmentation_mask for side in (image, image[:, ::-1])]
        differences.append(np.abs(segmentation(image) - (sides[0] + sides[1][:, ::-1]) / 2).mean())
    print(f"masks: mean difference {np.mean(differences):.5f}, at most {np.max(differences):.5f} in one photo")


def _timed(function: Callable, *arguments) -> tuple:
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
    canvas.paste(small, tuple((1500 - side) // 2 for side in small.size))
    return np.array(canvas)


VARIANTS = {
    "upright": lambda image, detector: image,
    **{f"turned by {degrees} degrees": partial(_turned, degrees) for degrees in (-30, 30, 90)},
    "small": _small,
}


if __name__ == "__main__":
    main()
