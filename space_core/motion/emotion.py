"""What each emotion adds to a face: offsets of its mesh, and how lively its lips speak."""

from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from space_core.errors import SpaceError
from space_core.motion.eyelids import lids, move_lids

WEIGHTS = Path(__file__).parents[2] / "weights" / "emotion.safetensors"

# The labels of MEAD (Wang et al., ECCV 2020).
EMOTIONS = ("neutral", "angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")
MAX_INTENSITY = 1.5
LEAST_EYE_OPENING = 0.65  # of the photo's own, that every emotion leaves


def emotion_weights(emotion: str, intensity: float) -> np.ndarray:
    """(8,) float32: the label's weight × intensity, in the order of ``EMOTIONS``.

    Args:
        emotion: one of ``EMOTIONS``.
        intensity: 0 none, 1 full, up to 1.5 exaggerated.
    """
    if emotion not in EMOTIONS:
        raise SpaceError(f"There is no emotion called {emotion!r}; choose one of: {', '.join(EMOTIONS)}.")
    if not 0 <= intensity <= MAX_INTENSITY:
        raise SpaceError(f"The intensity of an emotion is between 0 and {MAX_INTENSITY:g}, not {intensity:g}.")
    weights = np.zeros(len(EMOTIONS), np.float32)
    weights[EMOTIONS.index(emotion)] = intensity
    return weights


def emotional_motion(weights: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    """What emotion weights (8,) do to a normalized face (478, 3).

    Returns:
        (478, 3) float64 offsets in normalized landmarks, which leave the gap between the lips as it is; and the factor
        by which the emotion makes speech motion larger or smaller. Neutral: exactly zeros and 1.
    """
    offsets, liveliness = _learnt()
    return _with_open_eyes(np.tensordot(weights, offsets, 1), face), float(1 + np.dot(weights, liveliness - 1))


def _with_open_eyes(offsets: np.ndarray, face: np.ndarray) -> np.ndarray:
    """The offsets, less what would shut eyes that are half shut already."""
    before, after = lids(face[None]), lids(face[None] + offsets)
    missing = LEAST_EYE_OPENING * (before[:, :, 1] - before[:, :, 0]) - (after[:, :, 1] - after[:, :, 0])
    lift = np.zeros_like(after)
    lift[:, :, 0, :, 1] = -np.clip(missing[..., 1], 0, None)
    return move_lids(face[None] + offsets, lift)[0] - face


@cache
def _learnt() -> tuple[np.ndarray, np.ndarray]:
    """Offsets (8, 478, 3) and factors (8,) float64 at intensity 1; neutral's are zeros and 1."""
    arrays = load_file(WEIGHTS)
    return arrays["offsets"].astype(np.float64), arrays["liveliness"].astype(np.float64)
