"""The amplitude of predicted motion, which a regression makes smaller, as it averages over what sound leaves open."""

from dataclasses import dataclass

import numpy as np
import torch

from space_core.face.topology import canonical_face
from space_core.measures.lips import mouth_measures
from space_core.motion.lips import resting_face
from space_core.motion.motion_network import MotionDecoder
from space_core.motion.speech2landmarks import speech_motion
from space_core.training.speech2landmarks.basis import linear_measures
from space_core.training.speech2landmarks.train import decode

# Standard deviations of the measures of the mouth (``MEASURES``) over those of recorded speakers that the gains aim at.
TARGETS = np.array([1.05, 1.0, 1.0, 1.0, 1.0, 1.0])
ROUNDS = 3  # as closing the lips and limiting their opening are not linear


@dataclass(frozen=True)
class RecordedClip:
    """A clip to compare with: the encoder's features (2 T, 384) and the activity (T,) of its sound, and the measures of
    the tracked mouth (T, 6)."""

    sound: torch.Tensor
    activity: np.ndarray
    measures: np.ndarray


def match_amplitude(
    decoder: MotionDecoder, speakers: list[list[RecordedClip]], basis: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Changes what a decoder predicts to TARGETS, in place; returns the gains (6,) of the measures.

    Standard deviations are those of each speaker's clips, averaged over speakers.
    """
    rest = resting_face(canonical_face().vertices, basis)
    outputs = [[decode(decoder, clip.sound).numpy() for clip in clips] for clips in speakers]
    truth = np.mean([_deviation([clip.measures for clip in clips]) for clips in speakers], axis=0)
    gains = np.ones(len(TARGETS))
    for _ in range(ROUNDS):
        matrix = gain_matrix(gains, basis, covariance)
        ours = [
            _deviation(
                [
                    mouth_measures(rest + speech_motion(out[:, :-1] @ matrix.T, out[:, -1], clip.activity, basis))
                    for out, clip in zip(own, clips, strict=True)
                ]
            )
            for own, clips in zip(outputs, speakers, strict=True)
        ]
        gains *= TARGETS * truth / np.mean(ours, axis=0)
    multiply_coefficients(decoder, gain_matrix(gains, basis, covariance))
    return gains


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


def _deviation(curves: list[np.ndarray]) -> np.ndarray:
    """(6,) standard deviations of curves (T, 6), joined, each without its own mean."""
    return np.concatenate([curve - curve.mean(0) for curve in curves]).std(0)


@torch.no_grad()
def multiply_coefficients(decoder: MotionDecoder, matrix: np.ndarray) -> None:
    """Multiplies the coefficients that a decoder predicts by a matrix (coefficients, coefficients), in place."""
    count, factor = len(matrix), torch.from_numpy(matrix).float()
    decoder.head.weight[:count] = factor @ decoder.head.weight[:count]
    decoder.head.bias[:count] = factor @ decoder.head.bias[:count]
