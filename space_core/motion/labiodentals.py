"""Which frames of speech hold /f v/, for which the lower lip touches the upper incisors, and the shape of the mouth."""

from functools import cache
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from space_core.assets import weights_path
from space_core.motion.smoothstep import smoothstep

WEIGHTS = weights_path("labiodentals.safetensors")

CONTEXT = 2  # frames before and after
# Probabilities from and at which the mouth takes the shape.
SHAPED_FROM, SHAPED_AT = 0.35, 0.7


class Labiodentals(NamedTuple):
    """The trained classifier and the shape.

    Attributes:
        weight: (5 × 256,) of the features of five frames, in order.
        bias: of their weighted sum.
        shape: (478, 3) offsets from the resting face in /f v/, in outer-eye-corner distances.
    """

    weight: np.ndarray
    bias: float
    shape: np.ndarray


@cache
def load_labiodentals() -> Labiodentals:
    arrays = load_file(WEIGHTS)
    return Labiodentals(arrays["weight"], float(arrays["bias"][0]), arrays["shape"].astype(np.float64))


def labiodental_share(features: np.ndarray) -> np.ndarray:
    """How far the mouth takes the shape of /f v/ (T,) float32, 0 … 1, for speech features (T, 256)."""
    trained = load_labiodentals()
    logits = with_context(features) @ trained.weight + trained.bias
    probability = 1 / (1 + np.exp(-logits))
    return smoothstep((probability - SHAPED_FROM) / (SHAPED_AT - SHAPED_FROM)).astype(np.float32)


def with_context(features: np.ndarray) -> np.ndarray:
    """Features (T, 256) of each frame and its neighbours (T, 5 × 256); the ends are extended."""
    padded = np.pad(features, ((CONTEXT, CONTEXT), (0, 0)), "edge")
    return np.concatenate([padded[shift : shift + len(features)] for shift in range(2 * CONTEXT + 1)], axis=1)
