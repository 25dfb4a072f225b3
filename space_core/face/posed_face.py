"""A face in motion, as it is handed to a generator: normalized landmarks, their head pose, and why they move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from space_core.face.normalization import HeadPose, normalize, pose_landmarks


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

    def __len__(self) -> int:
        return len(self.normalized)

    def __getitem__(self, frames: slice | np.ndarray) -> "PosedFace":
        layers = (self.emotion, self.speech, self.hair, self.tongue)
        return PosedFace(
            self.normalized[frames], self.pose[frames], *(None if layer is None else layer[frames] for layer in layers)
        )

    @property
    def landmarks(self) -> np.ndarray:
        """(T, 478, 3) posed landmarks in pixels of the portrait's crop."""
        return pose_landmarks(self.normalized, self.pose)


def join_faces(faces: Sequence[PosedFace]) -> PosedFace:
    """One face of several that follow each other."""
    first, poses = faces[0], [face.pose for face in faces]
    names = ("rotation", "translation", "scale")
    return PosedFace(
        np.concatenate([face.normalized for face in faces]),
        HeadPose(*(np.concatenate([getattr(pose, name) for pose in poses]) for name in names)),
        None if first.emotion is None else np.concatenate([face.emotion for face in faces]),
        None if first.speech is None else np.concatenate([face.speech for face in faces]),
        None if first.hair is None else np.concatenate([face.hair for face in faces]),
        None if first.tongue is None else np.concatenate([face.tongue for face in faces]),
    )


def fit_posed_face(landmarks: np.ndarray) -> PosedFace:
    """Posed landmarks (T, 478, 3), such as a detector's, split into normalized landmarks and head pose."""
    return PosedFace(*normalize(landmarks))
