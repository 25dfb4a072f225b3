"""Lip measures: opening and five other measures of the mouth, correlation and lag against recorded lips, closures."""

import numpy as np

from space_core.face.normalization import normalize
from space_core.face.topology import CHIN, INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP

UPPER, LOWER = INNER_UPPER_LIP[5], INNER_LOWER_LIP[5]  # the middles of the inner lips
NEARLY_CLOSED = 0.15  # of the range from closed to wide
CORNERS = (OUTER_UPPER_LIP[0], OUTER_UPPER_LIP[-1])
MIDDLES = (OUTER_UPPER_LIP[5], OUTER_LOWER_LIP[5], UPPER, LOWER)  # of both lips, outer and inner

# The columns of ``mouth_measures``.
MEASURES = ("lip opening", "mouth width", "chin", "upper lip", "corner height", "lips forward")


def lip_opening(landmarks: np.ndarray) -> np.ndarray:
    """Distance (T,) between the middles of the inner lips, in the unit of the landmarks (T, 478, 3)."""
    return np.linalg.norm(landmarks[:, UPPER] - landmarks[:, LOWER], axis=-1)


def mouth_measures(landmarks: np.ndarray) -> np.ndarray:
    """The measures (T, 6) of a mouth named in MEASURES, in the unit of the normalized landmarks (T, 478, 3).

    Chin, upper lip and corners are y coordinates, positive downwards; the last one is positive away from the face.
    """
    left, right = (landmarks[:, point] for point in CORNERS)
    columns = (
        lip_opening(landmarks),
        right[:, 0] - left[:, 0],
        landmarks[:, CHIN, 1],
        landmarks[:, OUTER_UPPER_LIP[5], 1],
        (left[:, 1] + right[:, 1]) / 2,
        -landmarks[:, MIDDLES, 2].mean(1),
    )
    return np.stack(columns, axis=1)


def recorded(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The measures of the mouth (T, 6) in a track (T, 478, 3), and a portrait (478, 3): its least open frame.

    Head motion is removed; frames without a face (NaN) are interpolated.
    """
    seen = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
    normalized, _ = normalize(landmarks[seen])
    measures, frames = mouth_measures(normalized), np.arange(len(landmarks))
    curves = np.stack([np.interp(frames, seen, column) for column in measures.T], axis=1)
    return curves, normalized[measures[:, 0].argmin()]


def best_lag(opening: np.ndarray, truth: np.ndarray, largest: int) -> tuple[int, float, float]:
    """The lag with the highest correlation of two lip openings (T,), that correlation, and the one without lag.

    The lag, -largest … largest, is the number of frames by which the truth comes after ``opening``.
    """
    length = min(len(opening), len(truth))
    correlations = {}
    for lag in range(-largest, largest + 1):
        first, last = max(-lag, 0), length - max(lag, 0)
        correlations[lag] = np.corrcoef(opening[first:last], truth[first + lag : last + lag])[0, 1]
    lag = max(correlations, key=lambda each: correlations[each])
    return lag, correlations[lag], correlations[0]


def relative_opening(opening: np.ndarray) -> np.ndarray:
    """A lip opening (T,) in its own range: 0 at its minimum, 1 at its 95th percentile."""
    return (opening - opening.min()) / (np.percentile(opening, 95) - opening.min())


def closures_met(opening: np.ndarray, truth: np.ndarray, lag: int) -> float:
    """Share of the closures in the truth (T,) at which ``opening`` (T,) is nearly closed within a frame of them.

    Both have one length. ``lag`` is the number of frames by which the truth comes after ``opening``. 1 if the truth
    has no closure.
    """
    first, last = max(-lag, 0), len(truth) - max(lag, 0)
    opening, truth = relative_opening(opening[first:last]), relative_opening(truth[first + lag : last + lag])
    nearest = np.pad(opening, 1, mode="edge")
    nearest = np.min([nearest[:-2], nearest[1:-1], nearest[2:]], axis=0)
    bottom = np.flatnonzero((truth[1:-1] <= truth[:-2]) & (truth[1:-1] < truth[2:]) & (truth[1:-1] < NEARLY_CLOSED)) + 1
    return float((nearest[bottom] < NEARLY_CLOSED).mean()) if len(bottom) else 1.0
