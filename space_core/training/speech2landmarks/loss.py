"""The loss of the decoder: coefficients, lip shape, its change, its amplitude, and lip closures."""

import numpy as np
import torch
from torch.nn import functional as F

from space_core.motion.lips import lip_gaps
from space_core.training.speech2landmarks.basis import linear_measures, point_weights

SHAPE_LOSS, VELOCITY_LOSS, CONCORDANCE_LOSS, CLOSURE_LOSS = 1.0, 0.5, 1.5, 0.5
CLOSURE_WEIGHT = 2.0  # of closed frames, which are rarer than open ones
MEASURE_WEIGHTS = (2.0, 1.0, 1.0, 0.7, 0.7, 0.7, 0.7)  # of the measures of lip shape, see ``MotionLoss``


class MotionLoss:
    """Compares predicted with true coefficients and closures.

    The lip shape is seven linear measures of the coefficients, each in its own standard deviation: opening in the
    middle and near the corner, then the other measures of ``linear_measures``.
    """

    def __init__(self, basis: np.ndarray, soft_closures: bool = False) -> None:
        """With ``soft_closures``, targets of closures are probabilities; else 0.5 is where nothing is known."""
        self.soft_closures = soft_closures
        weights = point_weights()[:, None]
        share = torch.from_numpy(np.linalg.norm((basis * weights).reshape(len(basis), -1), axis=1)).float()
        self.share = share / share.sum()  # (coefficients,) of the motion
        measures = linear_measures(basis)
        shape = np.stack([measures[:, 0], lip_gaps(basis)[:, 2], *measures[:, 1:].T], axis=1)
        # Coefficients have unit variance, so this divides each measure by its standard deviation.
        self.shape = torch.from_numpy(shape / np.linalg.norm(shape, axis=0)).float()
        self.weights = torch.tensor(MEASURE_WEIGHTS)

    def __call__(self, outputs: torch.Tensor, motion: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """The loss of outputs (batch, T, coefficients + 1) and motion of the same shape, frames weighted (batch, T)."""
        (predicted, logit), (motion, shut) = ((columns[:, :, :-1], columns[:, :, -1]) for columns in (outputs, motion))
        error = (predicted - motion).abs() @ self.share
        lips, true_lips = predicted @ self.shape, motion @ self.shape
        # Errors on a closed mouth are more visible than on a wide open one.
        closed = 1 + torch.sigmoid(-(true_lips[:, :, :1] - 0.3) * 8)
        shape_error = ((lips - true_lips).abs() * closed) @ self.weights / self.weights.sum()
        velocity_error = ((lips.diff(dim=1) - true_lips.diff(dim=1)).abs()) @ self.weights / self.weights.sum()
        discordance = 1 - concordance(lips, true_lips, valid[:, :, None]) @ self.weights / self.weights.sum()
        certainty = valid if self.soft_closures else (2 * shut - 1).abs() * valid
        closure_error = F.binary_cross_entropy_with_logits(
            logit,
            shut if self.soft_closures else (shut > 0.5).float(),
            pos_weight=torch.tensor(1.0 if self.soft_closures else CLOSURE_WEIGHT),
            reduction="none",
        )
        total = valid.sum()
        return (
            (error * valid).sum() / total
            + SHAPE_LOSS * (shape_error * valid).sum() / total
            + VELOCITY_LOSS * (velocity_error * valid[:, 1:]).sum() / total
            + CONCORDANCE_LOSS * discordance.mean()
            + CLOSURE_LOSS * (closure_error * certainty).sum() / certainty.sum().clamp(min=1)
        )


def concordance(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Lin's concordance correlation over time of (batch, T, measures): (batch, measures); lower for smaller motion."""
    total = valid.sum(1).clamp(min=1)
    mean, true_mean = (predicted * valid).sum(1) / total, (truth * valid).sum(1) / total
    deviation, true_deviation = predicted - mean[:, None], truth - true_mean[:, None]
    covariance = (deviation * true_deviation * valid).sum(1) / total
    spread = ((deviation**2 + true_deviation**2) * valid).sum(1) / total
    return (2 * covariance + 0.05) / (spread + (mean - true_mean) ** 2 + 0.05)
