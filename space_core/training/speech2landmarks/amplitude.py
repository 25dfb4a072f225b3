"""The amplitude of predicted motion: a regression averages out what the sound does not determine, gains make up for it."""

import numpy as np
import torch

from space_core.motion.speech2landmarks import MotionDecoder
from space_core.training.speech2landmarks.basis import linear_measures

# Standard deviations of the measures of the mouth (``MEASURES``) over those of recorded speakers that the gains aim at.
TARGETS = np.array([1.05, 1.0, 1.0, 1.0, 1.0, 1.0])


def gain_matrix(gains: np.ndarray, basis: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(coefficients, coefficients) by which coefficients are multiplied to scale each measure of the mouth by a gain.

    Each measure is changed in the way in which the rest of the face moved with it in recordings.

    Args:
        gains: (6,) of the measures, see ``linear_measures``.
        basis: (coefficients, 478, 3).
        covariance: (coefficients, coefficients) of recorded coefficients.
    """
    measures = linear_measures(basis)
    spread = covariance @ measures @ np.linalg.inv(measures.T @ covariance @ measures)  # measures to coefficients
    return np.eye(len(basis)) + spread @ np.diag(gains - 1) @ measures.T


@torch.no_grad()
def multiply_coefficients(decoder: MotionDecoder, matrix: np.ndarray) -> None:
    """Multiplies the coefficients that a decoder predicts by a matrix (coefficients, coefficients), in place."""
    count, matrix = len(matrix), torch.from_numpy(matrix).float()
    decoder.head.weight[:count] = matrix @ decoder.head.weight[:count]
    decoder.head.bias[:count] = matrix @ decoder.head.bias[:count]
