"""A face in motion, as it is handed to a generator: normalized landmarks and the head pose they are under."""

from dataclasses import dataclass

import numpy as np

from space_core.face.normalization import HeadPose, normalize, pose_landmarks


@dataclass(frozen=True)
class PosedFace:
    """T frames of one face.

    Attributes:
        normalized: (T, 478, 3) normalized landmarks, with emotion, gaze and blinks.
        pose: the T head poses, in pixels of the portrait's crop; pixel centres are at whole numbers.
    """

    normalized: np.ndarray
    pose: HeadPose

    def __len__(self) -> int:
        return len(self.normalized)

    def __getitem__(self, frames: slice) -> "PosedFace":
        return PosedFace(self.normalized[frames], self.pose[frames])

    @property
    def landmarks(self) -> np.ndarray:
        """(T, 478, 3) posed landmarks in pixels of the portrait's crop."""
        return pose_landmarks(self.normalized, self.pose)


def fit_posed_face(landmarks: np.ndarray) -> PosedFace:
    """Posed landmarks (T, 478, 3), such as a detector's, split into normalized landmarks and head pose."""
    return PosedFace(*normalize(landmarks))
