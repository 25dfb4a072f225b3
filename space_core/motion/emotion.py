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


def emotion_curve(emotion: str, intensity: float, num_frames: int) -> np.ndarray:
    """(num_frames, 8) float32: the label's weight × intensity in every frame, in the order of ``EMOTIONS``.

    Args:
        emotion: one of ``EMOTIONS``.
        intensity: 0 none, 1 full, up to 1.5 exaggerated.
        num_frames: frames, 25 a second.
    """
    if emotion not in EMOTIONS:
        raise SpaceError(f"There is no emotion called {emotion!r}; choose one of: {', '.join(EMOTIONS)}.")
    if not 0 <= intensity <= MAX_INTENSITY:
        raise SpaceError(f"The intensity of an emotion is between 0 and {MAX_INTENSITY:g}, not {intensity:g}.")
    weights = np.zeros((num_frames, len(EMOTIONS)), np.float32)
    weights[:, EMOTIONS.index(emotion)] = intensity
    return weights


def expressive_motion(motion: np.ndarray, emotion: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """What a face does that speaks with emotion.

    Args:
        motion: (T, 478, 3) what neutral speech does to the resting face.
        emotion: (T, 8) label weights × intensity, see ``emotion_curve``.
        rest: (478, 3) the face at rest.

    Returns:
        (T, 478, 3) offsets from the resting face; exactly ``motion`` where the emotion is neutral.
    """
    offsets, liveliness = _learnt()
    expression = _with_open_eyes(np.tensordot(emotion, offsets, 1), rest)
    return (1 + emotion @ (liveliness - 1))[:, None, None] * motion + expression


def _with_open_eyes(offsets: np.ndarray, face: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3), less what would shut eyes that are half shut already."""
    before, after = lids(face[None]), lids(face + offsets)
    missing = LEAST_EYE_OPENING * (before[:, :, 1] - before[:, :, 0]) - (after[:, :, 1] - after[:, :, 0])
    lift = np.zeros_like(after)
    lift[:, :, 0, :, 1] = -np.clip(missing[..., 1], 0, None)
    return move_lids(face + offsets, lift) - face


@cache
def _learnt() -> tuple[np.ndarray, np.ndarray]:
    """Offsets (8, 478, 3) and factors (8,) float64 at intensity 1; neutral's are zeros and 1."""
    arrays = load_file(WEIGHTS)
    return arrays["offsets"].astype(np.float64), arrays["liveliness"].astype(np.float64)
