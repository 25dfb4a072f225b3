"""Visible consonants: which frames of speech are labiodental, bilabial, dental or alveolar."""

from functools import cache
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from space_core.arrays import smoothstep
from space_core.assets import weights_path

WEIGHTS = weights_path("consonants.safetensors")

# The classes, by place of articulation, in the order of probabilities; the fifth column is everything else.
LABIODENTAL, BILABIAL, DENTAL, ALVEOLAR = range(4)  # /f v/, /p b m/, /θ ð/, /t d n l/
NUM_CLASSES = 5

CONTEXT = 2  # frames before and after
# Probabilities from and at which the mouth takes the shape of /f v/, and the tongue rises or comes between the teeth.
SHAPED_FROM, SHAPED_AT = 0.5, 0.8
TONGUE_FROM, TONGUE_AT = 0.3, 0.7
TONGUE_SMOOTHING = (0.25, 0.5, 0.25)  # of three frames, after the greatest of three: its tip is there before the sound


class Consonants(NamedTuple):
    """The trained classifier, two layers with a rectifier between, and shapes of the mouth.

    Attributes:
        hidden_weight: (64, 5 × 256) of the features of five frames, in order.
        hidden_bias: (64,).
        weight: (5, 64).
        bias: (5,).
        labiodental_shape: (478, 3) offsets from the resting face in /f v/, in outer-eye-corner distances.
        dental_shape: (478, 3) the same in /θ ð/.
    """

    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    labiodental_shape: np.ndarray
    dental_shape: np.ndarray


@cache
def load_consonants() -> Consonants:
    """The shipped classifier and shapes, read once."""
    return Consonants(**{name: array.astype(np.float32) for name, array in load_file(WEIGHTS).items()})


def consonant_probabilities(features: np.ndarray) -> np.ndarray:
    """The probabilities (T, 5) float32 of the classes for speech features (T, 256)."""
    return classify(load_consonants(), with_context(features))


def classify(consonants: Consonants, inputs: np.ndarray) -> np.ndarray:
    """The probabilities (T, 5) for inputs (T, 5 × 256)."""
    hidden = np.maximum(inputs @ consonants.hidden_weight.T + consonants.hidden_bias, 0)
    logits = hidden @ consonants.weight.T + consonants.bias
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def labiodental_share(probabilities: np.ndarray) -> np.ndarray:
    """How far the mouth takes the shape of /f v/ (T,), 0 … 1, for probabilities (T, 5)."""
    return smoothstep((probabilities[:, LABIODENTAL] - SHAPED_FROM) / (SHAPED_AT - SHAPED_FROM))


def tongue_shares(probabilities: np.ndarray) -> np.ndarray:
    """How far the tongue's tip is raised to the upper incisors' roots and how far it is put between the teeth.

    For /t d n l/ and for /θ ð/: (T, 2), 0 … 1 each, for probabilities (T, 5).
    """
    shares = smoothstep((probabilities[:, [ALVEOLAR, DENTAL]] - TONGUE_FROM) / (TONGUE_AT - TONGUE_FROM))
    greatest = _neighbours(shares, 1).max(0)
    shares = greatest / np.maximum(greatest.sum(1, keepdims=True), 1)  # the tip is in one place
    return np.tensordot(TONGUE_SMOOTHING, _neighbours(shares, 1), 1)


def consonant_shares(features: np.ndarray) -> np.ndarray:
    """``labiodental_share`` and ``tongue_shares`` (T, 3) for speech features (T, 256)."""
    probabilities = consonant_probabilities(features)
    return np.column_stack([labiodental_share(probabilities), tongue_shares(probabilities)])


def with_context(features: np.ndarray) -> np.ndarray:
    """Features (T, 256) of each frame and its neighbours (T, 5 × 256); the ends are extended."""
    return np.concatenate(_neighbours(features, CONTEXT), axis=1)


def _neighbours(values: np.ndarray, reach: int) -> np.ndarray:
    """(2 · reach + 1, T, C) the values (T, C) of the frames around each, in order; the ends are extended."""
    padded = np.pad(values, ((reach, reach), (0, 0)), "edge")
    return np.stack([padded[shift : shift + len(values)] for shift in range(2 * reach + 1)])
