"""Advice on photos that give poor films: a small, dark, blurred or turned face, shut eyes, a hidden mouth."""

from collections.abc import Iterator

import numpy as np

from space_core.face.covered_mouth import is_mouth_covered
from space_core.face.crop_size import SIZE
from space_core.face.luminance import LUMINANCE
from space_core.face.normalization import HeadPose
from space_core.face.sharpness import edge_blur
from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP

# Limits beyond which a note is given; portraits of the corpus that move well lie within all of them.
SMALL_FACE = 100  # pixels high: a frame then shows the face more than twice as large as the photo
TURNED = 30.0  # degrees of yaw
ON_ITS_SIDE = 60.0  # degrees of roll, as in scans and in photos that have lost their orientation
WIDE_OPEN = 0.3  # gap between the lips, in widths of the mouth
SHUT = 0.2  # opening of the wider eye, in widths of the eye
DARK = 75  # the light of the face's brighter parts, of 255; dark skin in good light is above 120
# The blur of the face's edges, in pixels of a frame; faces that were enlarged from 16 to 34 pixels have 2.5 and more.
BLURRED = 2.3


def photo_notes(
    framed: np.ndarray, landmarks: np.ndarray, normalized: np.ndarray, pose: HeadPose, scale: float
) -> tuple[str, ...]:
    """What to know about a photo before it is animated, each a sentence or two.

    Args:
        framed: (512, 512, 3) uint8 RGB, the crop around the face.
        landmarks: (478, 3) of the face, in pixels of the crop.
        normalized: (478, 3) the same, normalized.
        pose: its head pose, of length 1.
        scale: pixels of the photo per pixel of the crop.
    """
    return (*_notes_on_face(landmarks, normalized, pose, scale), *_notes_on_picture(framed, landmarks))


def _notes_on_face(landmarks: np.ndarray, normalized: np.ndarray, pose: HeadPose, scale: float) -> Iterator[str]:
    height, (yaw, _, roll) = float(np.ptp(landmarks[:, 1])) * scale, np.abs(pose.rotation[0])
    if height < SMALL_FACE:
        yield f"The face is only {height:.0f} pixels high, so the film will be soft. A photo from closer helps."
    if roll > ON_ITS_SIDE:
        yield "The head lies on its side in the photo. Turn the photo upright first, or the film lies on its side, too."
    if yaw > TURNED:
        yield f"The face is turned away by {yaw:.0f} degrees. One that looks at the camera moves better."
    if _mouth_opening(normalized) > WIDE_OPEN:
        yield "The mouth is wide open in the photo. With closed lips it moves better."
    if _eye_opening(normalized) < SHUT:
        yield "The eyes are shut in the photo, so open ones have to be made up. A photo with open eyes helps."


def _notes_on_picture(framed: np.ndarray, landmarks: np.ndarray) -> Iterator[str]:
    if is_mouth_covered(framed, landmarks):
        yield "The mouth is covered in the photo, as by a mask, so no lips are seen to speak. A bare face helps."
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    (left, top), (right, bottom) = (np.clip(corner, 0, SIZE).astype(int) for corner in (low, high))
    face = framed[top:bottom, left:right]
    if np.percentile(face @ LUMINANCE, 90) < DARK:
        yield "The face is very dark. A brighter photo helps."
    if edge_blur(face.astype(np.float32) / 255) > BLURRED:
        yield "The photo is blurred or enlarged from a small one, so the film will be soft. A sharper one helps."


def _mouth_opening(normalized: np.ndarray) -> float:
    """The gap between the lips of landmarks (478, 3), in widths of the mouth."""
    upper, lower = (normalized[list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    return float((lower - upper)[:, 1].max() / np.linalg.norm(upper[-1] - upper[0]))


def _eye_opening(normalized: np.ndarray) -> float:
    """How far apart the lids of the wider eye of landmarks (478, 3) are in its middle, in widths of the eye."""
    openings = []
    for eye in EYES:
        upper, lower = (normalized[list(lid)] for lid in (eye.upper_lid, eye.lower_lid))
        middle = len(upper) // 2
        openings.append(np.linalg.norm(upper[middle] - lower[middle]) / np.linalg.norm(upper[-1] - upper[0]))
    return float(max(openings))
