"""The second detector: face-alignment's 68 points in space, lifted to the face mesh."""

import importlib
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from PIL import Image

from space_core.errors import SpaceError
from space_core.face.landmark_lift import lift

LARGEST_SIDE = 1024  # pixels; it scales faces to 256 pixels, and larger photos only cost time
AWAY_FROM_CAMERA = np.array([1.0, 1.0, -1.0])  # its depth, in pixels too, points to the camera


class FaceAlignmentDetector:
    """A. Bulat's face-alignment. Its weights (about 400 MB) are downloaded when it is first used on a machine."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Loads the networks onto a device.

        Raises:
            SpaceError: the package or a library of the system is missing, or the weights could not be downloaded.
        """
        try:
            face_alignment = importlib.import_module("face_alignment")
        except ImportError as error:
            raise SpaceError(
                f"The face-alignment detector can't be loaded ({_sentence(error)}); install the Python package "
                f"face-alignment and the libraries that OpenCV asks for, or use --detector mediapipe."
            ) from error
        try:
            self._network = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.THREE_D,
                device=str(device),
                compile=False,  # compiling takes longer than any video here, and a C++ compiler
            )
        except (OSError, RuntimeError) as error:
            raise SpaceError(
                f"The face-alignment detector couldn't load its weights ({_sentence(error)}); "
                "it downloads them on first use, so connect to the internet, or use --detector mediapipe."
            ) from error

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See ``Detector.detect``."""
        height, width = image.shape[:2]
        reduction = max(1.0, max(height, width) / LARGEST_SIDE)
        if reduction > 1:
            size = max(1, round(width / reduction)), max(1, round(height / reduction))
            image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no face
            found = self._network.get_landmarks_from_image(image) or []
        meshes = [lift(points * AWAY_FROM_CAMERA * reduction).astype(np.float32) for points in found]
        return sorted(meshes, key=lambda mesh: float(np.ptp(mesh[:, 1])), reverse=True)

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """See ``Detector.track``. Looks anew in every frame, for the face nearest to the last one."""
        last = None
        for frame in frames:
            faces = self.detect(frame)
            if last is None:
                face = next(iter(faces), None)
            else:
                face = min(faces, key=lambda mesh: np.linalg.norm((mesh - last)[:, :2].mean(0)), default=None)
            last = last if face is None else face
            yield face


def _sentence(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
