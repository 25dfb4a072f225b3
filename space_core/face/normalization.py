"""Takes head pose out of landmarks and puts it back, exactly (SPACE, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from space_core.arrays import short_repr
from space_core.face.topology import RIGID_POINTS, canonical_face

# The meshes of faces in photos are too flat: in recorded heads that turn by 10 to 30 degrees, the nose moves that many
# times as far against eyes and cheeks as the mesh of the first frame does, turned as they are.
DEPTH = 1.15


@dataclass(frozen=True)
class HeadPose:
    """Where the head is, frame by frame.

    Attributes:
        rotation: (T, 3) yaw, pitch, roll in degrees. Positive yaw turns the face to the image's right, positive pitch
            lifts the chin, positive roll tips the head clockwise as seen in the image.
        translation: (T, 3) where the point between the outer eye corners is, in pixels.
        scale: (T,) pixels per unit of the normalized face.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, frames: slice | np.ndarray) -> "HeadPose":
        return HeadPose(self.rotation[frames], self.translation[frames], self.scale[frames])

    def held(self, num_frames: int) -> "HeadPose":
        """A pose of length 1 in so many frames."""
        return HeadPose(*(array.repeat(num_frames, 0) for array in (self.rotation, self.translation, self.scale)))

    @property
    def matrices(self) -> np.ndarray:
        """(T, 3, 3) rotation matrices: yaw first, then pitch, then roll."""
        yaw, pitch, roll = np.radians(self.rotation * _SIGNS).T
        return _turns(roll, 2) @ _turns(pitch, 0) @ _turns(yaw, 1)


def join_poses(poses: Sequence[HeadPose]) -> HeadPose:
    """The head poses of frames that follow each other, of at least one ``HeadPose``."""
    return HeadPose(
        np.concatenate([pose.rotation for pose in poses]),
        np.concatenate([pose.translation for pose in poses]),
        np.concatenate([pose.scale for pose in poses]),
    )


# Right-handed angles about x right, y down, z away turn the other way than the words above for yaw and pitch.
_SIGNS = np.array([-1.0, -1.0, 1.0])


def _turns(angles: np.ndarray, axis: int) -> np.ndarray:
    """(T, 3, 3) matrices of right-handed turns by angles (T,), in radians, about x, y or z."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices = np.zeros((len(angles), 3, 3))
    matrices[:, axis, axis] = 1
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, second, first] = np.sin(angles)
    matrices[:, first, second] = -matrices[:, second, first]
    return matrices


def fit_similarity(reference: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale (T,), rotation (T, 3, 3) and translation (T, 3) that put a reference (N, 3) onto points (T, N, 3) best.

    Least squares (Umeyama, 1991): ``points ≈ scale · rotation · reference + translation``.
    """
    reference_centre, centre = reference.mean(0), points.mean(1)
    reference = reference - reference_centre
    u, singular, vt = np.linalg.svd(np.einsum("tni,nj->tij", points - centre[:, None], reference))
    # A reflection would fit a degenerate face as well as a rotation does; only rotations are heads.
    handedness = np.ones_like(singular)
    handedness[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * handedness[:, None]) @ vt
    scale = (singular * handedness).sum(1) / (reference**2).sum()
    return scale, rotation, centre - scale[:, None] * (rotation @ reference_centre)


def normalize(landmarks: np.ndarray) -> tuple[np.ndarray, HeadPose]:
    """Splits posed landmarks (T, 478, 3), in pixels, into normalized landmarks (T, 478, 3) and their head pose.

    The pose is the least-squares similarity between the canonical face and the landmarks at the points that do not move
    with expression.
    """
    landmarks = np.asarray(landmarks, np.float64)
    rigid = list(RIGID_POINTS)
    scale, matrices, translation = fit_similarity(canonical_face().vertices[rigid], landmarks[:, rigid])
    rotation = scipy.spatial.transform.Rotation.from_matrix(matrices).as_euler("yxz", degrees=True) * _SIGNS
    pose = HeadPose(rotation, translation, scale)
    return np.einsum("tji,tnj->tni", pose.matrices, landmarks - translation[:, None]) / scale[:, None, None], pose


def pose_landmarks(normalized: np.ndarray, pose: HeadPose) -> np.ndarray:
    """Puts normalized landmarks (T, 478, 3) under a head pose: posed landmarks (T, 478, 3) in pixels."""
    turned = np.einsum("tij,tnj->tni", pose.matrices, normalized)
    return turned * pose.scale[:, None, None] + pose.translation[:, None]


def deepened(normalized: np.ndarray, photo: HeadPose) -> np.ndarray:
    """Normalized landmarks (478, 3) of a photo, ``DEPTH`` times as deep along its line of sight; it looks the same.

    ``photo`` is its head pose.
    """
    rotation = photo.matrices[0]
    return normalized @ rotation.T @ np.diag([1, 1, DEPTH]) @ rotation
