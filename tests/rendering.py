"""Faces in motion for tests to render, and what is measured in the pictures."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch

from space_core.face.normalization import HeadPose
from space_core.face.portrait import Portrait
from space_core.face.posed_face import PosedFace
from space_core.face.topology import INNER_LOWER_LIP, OVAL
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.face_motion import TO_SURROUNDINGS, FaceMotion, face_motion
from space_core.generator.mesh_warp.generator import PreparedPortrait
from space_core.motion.blink import apply_blink
from space_core.motion.emotion import emotion_curve
from space_core.motion.emotion_network import expressive_motion
from space_core.motion.gaze import apply_gaze

LOWER_OUTLINE, NOSE = OVAL[8:29], 195  # of a face, from ear to ear below the chin; the bridge of the nose


def posed(
    portrait: Portrait, normalized: np.ndarray | None = None, moved: Sequence[float] = (0, 0, 0), **angles: float
) -> PosedFace:
    """Normalized landmarks (T, 478, 3) under the photo's head pose; without them the photo's own face.

    The head is turned by ``angles``, degrees of yaw, pitch and roll, and moved by pixels along x, y and z.
    """
    normalized = portrait.normalized[None] if normalized is None else normalized
    turn = [angles.pop(name, 0) for name in ("yaw", "pitch", "roll")]
    assert not angles, f"a head has no {angles}"
    pose = portrait.pose
    moved_pose = HeadPose(pose.rotation + turn, pose.translation + moved, pose.scale)
    return PosedFace(normalized, moved_pose.held(len(normalized)))


def on_surroundings(face: PosedFace) -> FaceMotion:
    """A face in pixels of its portrait's surroundings, on the host."""
    return face_motion(face, TO_SURROUNDINGS, torch.device("cpu"))


def open_mouth(portrait: Portrait, *openings: float) -> np.ndarray:
    """(T, 478, 3) the photo's face with lower lip and chin dropped by openings, all normalized."""
    rest = portrait.normalized
    lip = rest[list(INNER_LOWER_LIP), 1].mean()
    below = np.clip((rest[:, 1] - lip + 0.05) / 0.05, 0, 1) * (np.abs(rest[:, 0]) < 0.35)
    return rest + np.array(openings)[:, None, None] * below[:, None] * [0, 1, 0]


def blurred(portrait: Portrait, sigma: float) -> Portrait:
    """A portrait whose photo is blurred by a Gaussian of that standard deviation in pixels of its crop."""
    photo = cv2.GaussianBlur(portrait.photo, (0, 0), sigma * portrait.crop.scale)
    return replace(portrait, photo=photo, surroundings=cv2.GaussianBlur(portrait.surroundings, (0, 0), sigma))


def with_mask(photo: np.ndarray, face: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A photo (H, W, 3) uint8 whose face (478, 3), in its pixels, wears a mask over nose, mouth and chin."""
    masked = photo.copy()
    cv2.fillPoly(masked, [np.rint(face[[*LOWER_OUTLINE, NOSE], :2]).astype(np.int32)], colour, cv2.LINE_AA)
    return cv2.addWeighted(masked, 0.92, photo, 0.08, 0)  # of the nose, a shade is seen through it


def blinking(portrait: Portrait, closed: float = 1.0) -> np.ndarray:
    """(1, 478, 3) the photo's face, normalized, with its eyes closed by a share."""
    return apply_blink(portrait.normalized[None], np.array([closed]))


def looking(portrait: Portrait, yaw: float, pitch: float = 0.0) -> np.ndarray:
    """(1, 478, 3) the photo's face, normalized, with its gaze averted by degrees."""
    return apply_gaze(portrait.normalized[None], yaw, pitch)


def feeling(portrait: Portrait, emotion: str, *intensities: float) -> np.ndarray:
    """(T, 478, 3) the photo's face, normalized, with nothing but an emotion at each intensity."""
    curve = np.concatenate([emotion_curve(emotion, intensity, 1) for intensity in intensities])
    still, free = np.zeros((len(curve), 478, 3)), np.zeros(len(curve))
    return portrait.normalized + expressive_motion(still, curve, portrait.normalized, free)


def rendered(generator: MeshWarpGenerator, prepared: PreparedPortrait, *batches: PosedFace) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB, all frames of batches."""
    return np.concatenate(list(generator.render(prepared, batches)))


def around(picture: np.ndarray, landmarks: np.ndarray, points: Sequence[int], reach: int) -> np.ndarray:
    """The square of a picture (H, W, 3) ``reach`` pixels around the middle of some of its landmarks (478, 3)."""
    x, y = landmarks[list(points), :2].mean(0).astype(int)
    return picture[y - reach : y + reach, x - reach : x + reach].astype(int)


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Between two arrays of pixels, 0…255."""
    return float(np.abs(one.astype(int) - other).mean())
