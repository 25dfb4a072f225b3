"""Tells the person from the background, with the selfie segmentation inside the MediaPipe wheel."""

import numpy as np

from space_core.face.mediapipe_detector import import_mediapipe_solution


def person_mask(image: np.ndarray) -> np.ndarray:
    """(H, W) float32, 0 background … 1 person, of an (H, W, 3) uint8 RGB image."""
    solution = import_mediapipe_solution("selfie_segmentation")
    with solution.SelfieSegmentation(model_selection=0) as segmentation:
        return segmentation.process(np.ascontiguousarray(image)).segmentation_mask.astype(np.float32)
