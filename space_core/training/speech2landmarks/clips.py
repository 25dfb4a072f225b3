"""The motion of the clips: coefficients of the motion basis per frame of a recording, and where lips are shut."""

from dataclasses import dataclass, replace

import numpy as np

from space_core.face.topology import canonical_face
from space_core.measures.corpus import Corpus
from space_core.measures.lips import mouth_measures
from space_core.motion.speech2landmarks import lip_gaps
from space_core.motion.speech_features import speech_activity, speech_power
from space_core.training.speech2landmarks.basis import coefficients, movable, normalized_motion
from space_core.training.speech2landmarks.recordings import Recording

CLOSED_SHARE = 0.15  # the least open frames of a recording show its resting face
SMALLEST_RANGE = 0.05  # of a recording's lip opening, in outer-eye-corner distances, from closed to wide
SCALES = (0.5, 2.0)  # by which a recording's motion may be scaled to the average amplitude
SHUT, OPEN = 0.12, 0.3  # of a recording's range of lip opening: below the first lips are shut, above the second open
BORDER_FRAMES = 5  # around the beginning and the end of a clip, where words are cut off


@dataclass(frozen=True)
class ClipMotion:
    """The motion that goes with a recording.

    Attributes:
        motion: (T, coefficients + 1) coefficients of the basis at the average amplitude; in the last column whether the
            lips are shut, 0 to 1, 0.5 where unknown.
        weight: (T,) of each frame in the loss.
        opening: (T,) lip opening as tracked, for alignment and validation.
        tracked: whether the motion was tracked in video rather than predicted.
    """

    motion: np.ndarray
    weight: np.ndarray
    opening: np.ndarray
    tracked: bool = True

    def shifted(self, lag: int) -> "ClipMotion":
        """The motion ``lag`` frames earlier."""
        index = np.arange(len(self.weight)) + lag
        inside = np.clip(index, 0, len(index) - 1)
        weight = np.where(index == inside, self.weight[inside], 0)
        return replace(self, motion=self.motion[inside], weight=weight, opening=self.opening[inside])


def recorded_offsets(corpus: Corpus, recording: Recording) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Offsets (T, 478, 3) of a recording's face from its closed mouth, lip opening (T,), weight of each frame (T,).

    The offsets are symmetric, as speech is and as the half of a face that turns away is tracked badly. Returns None if
    the mouth hardly moves or too few frames show a face.
    """
    normalized, weights = [], []
    for clip, begin, end in zip(recording.clips, recording.borders, recording.borders[1:], strict=False):
        length = end - begin
        found = normalized_motion(corpus.landmarks(clip))
        weight = np.zeros(length)
        if found is None:
            normalized.append(np.full((length, 478, 3), np.nan))
        else:
            index = np.clip(np.arange(length), 0, len(found) - 1)
            normalized.append(found[index])
            weight[BORDER_FRAMES : min(length, len(found)) - BORDER_FRAMES] = 1
        weights.append(weight)
    normalized, weight = np.concatenate(normalized), np.concatenate(weights)
    seen = ~np.isnan(normalized[:, 0, 0])
    if not (weight > 0).any():
        return None
    normalized = normalized[np.maximum.accumulate(np.where(seen, np.arange(len(seen)), seen.argmax()))]
    opening = mouth_measures(normalized)[:, 0]
    low, high = np.percentile(opening[seen], [5, 95])
    if high - low < SMALLEST_RANGE:
        return None
    gap = lip_gaps(normalized).mean(-1)
    rest = np.median(normalized[seen & (gap <= np.quantile(gap[seen], CLOSED_SHARE))], axis=0)
    return (normalized - rest) * movable()[:, None], opening, weight


def clip_motion(
    recording: Recording, offsets: np.ndarray, opening: np.ndarray, weight: np.ndarray, basis: np.ndarray, scale: float
) -> ClipMotion:
    """The motion of a recording from its ``recorded_offsets``, scaled by ``scale`` within SCALES."""
    low, high = np.percentile(opening, [5, 95])
    relative = (opening - low) / (high - low)
    shut = np.where(relative < SHUT, 1.0, np.where(relative > OPEN, 0.0, 0.5))
    activity = speech_activity(recording.speech, speech_power(recording.speech))[: len(offsets)]
    # In pauses the target is a closed mouth, whatever the speaker's does.
    motion = coefficients(offsets * np.clip(scale, *SCALES), basis) * activity[:, None]
    return ClipMotion(np.column_stack([motion, np.where(activity < 0.5, 1, shut)]), weight, opening)


def amplitudes(offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(6,) standard deviations of the measures of the mouth in offsets (T, 478, 3), over the weighted frames."""
    return mouth_measures(canonical_face().vertices + offsets[weight > 0]).std(0)
