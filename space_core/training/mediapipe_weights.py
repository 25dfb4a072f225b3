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
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from flatbuffers import flexbuffers
from safetensors.numpy import save_file
from torch import nn

from space_core.face import face_detection, face_mesh, person_segmentation
from space_core.face.topology import EYES
from space_core.training.mediapipe_package import compare
from space_core.training.tflite import Graph, read_graph


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


if __name__ == "__main__":
    main()
