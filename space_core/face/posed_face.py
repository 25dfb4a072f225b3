"""A face in motion, as it is handed to a generator: normalized landmarks, their head pose, and why they move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from space_core.arrays import short_repr
from space_core.face.normalization import HeadPose, join_poses, normalize, pose_landmarks

LAYERS = ("emotion", "speech", "hair", "tongue")  # of a ``PosedFace``, in the order of its fields; each may be None


@dataclass(frozen=True)
class PosedFace:
    """T frames of one face.

    Attributes:
        normalized: (T, 478, 3) normalized landmarks, with emotion, gaze and blinks.
        pose: the T head poses, in pixels of the portrait's crop; pixel centres are at whole numbers.
        emotion: (T, 8) label weights × intensity; None: neutral.
        speech: (T, 256) speech features, see ``SpeechWindow``; None: silence.
        hair: (T, 4) how far the ``LOCKS`` of long hair are to the image's right of where the head carries them,
            normalized; None: nowhere else.
        tongue: (T, 2) how far the tongue's tip is raised to the upper incisors' roots, and how far it is put between
            the teeth, 0 … 1; None: not at all.
    """

    normalized: np.ndarray
    pose: HeadPose
    emotion: np.ndarray | None = None
    speech: np.ndarray | None = None
    hair: np.ndarray | None = None
    tongue: np.ndarray | None = None

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.normalized)

    def __getitem__(self, frames: slice | np.ndarray) -> "PosedFace":
        layers = (getattr(self, name) for name in LAYERS)
        return PosedFace(
            self.normalized[frames], self.pose[frames], *(None if layer is None else layer[frames] for layer in layers)
        )

    @property
    def landmarks(self) -> np.ndarray:
        """(T, 478, 3) posed landmarks in pixels of the portrait's crop."""
        return pose_landmarks(self.normalized, self.pose)


def join_faces(faces: Sequence[PosedFace]) -> PosedFace:
    """One face of several that follow each other."""
    layers = ([getattr(face, name) for face in faces] for name in LAYERS)
    return PosedFace(
        np.concatenate([face.normalized for face in faces]),
        join_poses([face.pose for face in faces]),
        *(None if layer[0] is None else np.concatenate(layer) for layer in layers),
    )


def fit_posed_face(landmarks: np.ndarray) -> PosedFace:
    """Posed landmarks (T, 478, 3), such as a detector's, split into normalized landmarks and head pose."""
    return PosedFace(*normalize(landmarks))
