"""dlib's face descriptor: how far apart two pictures are as persons. No part of the product uses it.

pip install --no-deps dlib-bin face-recognition-models
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# The outer and inner corner of the right eye and of the left one in the image, and where the nose meets the lip.
FIVE_POINTS = (263, 362, 33, 133, 2)
MODEL = "models/dlib_face_recognition_resnet_model_v1.dat"


def has_dlib() -> bool:
    """Whether the packages that ``face_descriptor`` uses are installed."""
    return all(find_spec(package) for package in ("dlib", "face_recognition_models"))


def face_descriptor(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """dlib's descriptor (128,) of the face with landmarks (478, 3), in pixels, of a picture (H, W, 3) uint8 RGB.

    Descriptors of one person are less than about 0.6 apart (Euclidean).
    """
    import dlib

    # dlib crops the face by these five points; its own landmark predictor needs a box by its own detector.
    five = landmarks[list(FIVE_POINTS), :2].round().astype(int).tolist()
    points = dlib.points([dlib.point(*place) for place in five])
    low, high = landmarks[:, :2].min(0).astype(int).tolist(), landmarks[:, :2].max(0).astype(int).tolist()
    shape = dlib.full_object_detection(dlib.rectangle(*low, *high), points)
    return np.array(_model().compute_face_descriptor(np.ascontiguousarray(picture), shape))


@cache
def _model() -> Any:
    import dlib

    # The package itself imports pkg_resources, which may be missing; only its file is needed.
    spec = find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("The package face-recognition-models is not installed.")
    package = Path(spec.submodule_search_locations[0])
    return dlib.face_recognition_model_v1(str(package / MODEL))
