"""The interface of every face detector: image in, face meshes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from space_core.errors import SpaceError

if TYPE_CHECKING:  # the command line reads DETECTORS, and need not wait for these
    import numpy as np
    import torch

DetectorName = Literal["mediapipe", "face-alignment"]
DETECTORS: tuple[str, ...] = get_args(DetectorName)


class Detector(Protocol):
    """Finds face meshes: (478, 3) float32 arrays in pixels of the image, x right, y down, z away from the camera."""

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """All faces of an ``(H, W, 3)`` uint8 RGB image, the largest first; an empty list when there is none."""
        ...

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """The face of each frame of one video, or None for a frame in which there is none."""
        ...


def build_detector(name: str, device: torch.device | str = "cpu") -> Detector:
    """The detector of that name (one of ``DETECTORS``), ready to use; MediaPipe's stays on the CPU on any device."""
    if name == "mediapipe":
        from space_core.face.mediapipe_detector import MediaPipeDetector

        return MediaPipeDetector()
    if name == "face-alignment":
        from space_core.face.face_alignment_detector import FaceAlignmentDetector

        return FaceAlignmentDetector(device)
    raise SpaceError(f"There is no face detector called {name!r}; choose one of: {', '.join(DETECTORS)}.")
