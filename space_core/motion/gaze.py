"""Gaze: rotation of the eyeballs, saccades, and compensation of head rotation.

Gaze is given in degrees of yaw (positive: to the image's right) and pitch (positive: up), relative to that of the given
landmarks.
"""

from collections.abc import Iterator

import numpy as np

from space_core.face.normalization import HeadPose
from space_core.face.topology import EYES
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.eyelids import NUM_LID_POINTS, eye_width, lids, move_lids, openness
from space_core.timing import FPS

# An eyeball is 24 mm across, the visible eye between its corners 30 mm.
EYEBALL_RADIUS = 12 / 30  # of the eye's width
MAX_YAW, MAX_PITCH = 35.0, 25.0  # degrees from straight ahead

# Share of the iris's vertical motion by which the lids move.
UPPER_LID_FOLLOWS, LOWER_LID_FOLLOWS = 0.6, 0.2
ALONG_LID = np.sin(np.pi * np.arange(NUM_LID_POINTS) / (NUM_LID_POINTS - 1))  # most in the middle, 0 at the corners

# Fixations of people who speak to a camera: half of them on the viewer, the others nearby.
FIXATION = (0.4, 2.5)  # seconds
MEDIAN_FIXATION = 1.0
FIXATION_SPREAD = 0.5  # of its logarithm
ON_VIEWER = 0.45  # share of the fixations
# Degrees of yaw and pitch, times a log-normal factor: most are near, some far. With these, gaze tracked in films and in
# recorded clips deviates as much from what follows head rotation (1.5° and 1.0°) and jumps as often by over 3°.
WANDERING = np.array([1.5, 1.0])
WANDERING_SPREAD = 0.6  # of the factor's logarithm
MAX_WANDERING = np.array([6.0, 4.0])
EMOTIONAL_GAZE = {"sad": (0.0, -5.0), "disgusted": (0.0, -1.5), "contempt": (0.0, 1.0)}  # degrees at intensity 1
STREAM = 2  # of random numbers of a seed; others are for head motion and blinks


def apply_gaze(
    normalized: np.ndarray, yaw: np.ndarray | float, pitch: np.ndarray | float, rest: np.ndarray | None = None
) -> np.ndarray:
    """Normalized landmarks (T, 478, 3) with both eyes turned by ``yaw`` and ``pitch`` degrees, (T,) or one number.

    Positive yaw is to the image's right, positive pitch up. Lids follow pitch, so gaze is applied before blinks. Eyes
    that are shut, and shut in the resting face ``rest`` (478, 3) too, do not turn: the tracker leaves a gap there.
    """
    num_frames = len(normalized)
    turn = np.stack([np.broadcast_to(yaw, num_frames), np.broadcast_to(pitch, num_frames)], axis=-1)
    turn = np.radians(turn)[:, None] * [1, -1]  # (T, 1, 2) along x and y, which points down
    if rest is not None:
        turn = turn * np.maximum(openness(normalized), openness(rest[None]))[..., None]
    radius = EYEBALL_RADIUS * eye_width(normalized)[..., None]  # (T, 2, 1)
    pupils = normalized[:, [eye.pupil for eye in EYES], :2]
    middle = lids(normalized)[..., [0, -1], :2].mean(axis=(2, 3))  # (T, 2, 2) between the corners of each eye

    # Rotation of the eyeballs before and after.
    limit = np.radians([MAX_YAW, MAX_PITCH])
    before = np.arcsin(np.clip((pupils - middle) / radius, -0.9, 0.9))
    limit = np.maximum(limit, np.abs(before))
    after = np.clip(before + turn, -limit, limit)
    shift = radius * (np.sin(after) - np.sin(before))  # (T, 2, 2)
    narrowing = np.cos(after) / np.cos(before) - 1

    moved = normalized.copy()
    for side, eye in enumerate(EYES):
        rim = list(eye.iris_rim)
        moved[:, rim, :2] += (moved[:, rim, :2] - pupils[:, None, side]) * narrowing[:, None, side]
        moved[:, [eye.pupil, *rim], :2] += shift[:, None, side]
    follows = np.array([UPPER_LID_FOLLOWS, LOWER_LID_FOLLOWS])[:, None] * ALONG_LID  # (2, 9)
    lid_shift = np.zeros((num_frames, 2, 2, NUM_LID_POINTS, 3))
    lid_shift[..., 1] = shift[:, :, 1, None, None] * follows
    return move_lids(moved, lid_shift)


def saccades(num_frames: int, seed: int, amount: float) -> np.ndarray:
    """Small shifts of gaze (num_frames, 2): yaw and pitch in degrees, within ±6° and ±4° at an ``amount`` of 1.

    They start at 0; between fixations of 0.4–2.5 s the gaze jumps within one or two frames. The same seed gives the
    same shifts.
    """
    gaze = np.zeros((num_frames, 2))
    if amount == 0:
        return gaze
    for start, first, target in fixations(seed):
        if start >= num_frames:
            break
        gaze[start] = first
        gaze[start + 1 :] = target
    return gaze * amount


def fixations(seed: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Without end: the frame in which the gaze moves on, its yaw and pitch (2,) in that frame and in those after it."""
    random = np.random.default_rng([seed, STREAM])
    target = np.zeros(2)
    start = 0
    while True:
        duration = np.clip(MEDIAN_FIXATION * np.exp(FIXATION_SPREAD * random.standard_normal()), *FIXATION)
        start += round(duration * FPS)
        previous = target
        farther = np.exp(WANDERING_SPREAD * random.standard_normal())
        wandering = np.clip(farther * WANDERING * random.standard_normal(2), -MAX_WANDERING, MAX_WANDERING)
        target = np.zeros(2) if random.random() < ON_VIEWER and previous.any() else wandering
        far = np.linalg.norm(target - previous) > 1.5  # longer jumps take two frames
        yield start, previous + 0.6 * (target - previous) if far else target, target


def emotional_gaze(emotion: np.ndarray) -> np.ndarray:
    """The shift of gaze (T, 2), yaw and pitch in degrees, that an emotion curve (T, 8) brings: in sadness down."""
    return emotion @ np.array([EMOTIONAL_GAZE.get(label, (0.0, 0.0)) for label in EMOTIONS])


def counter_gaze(photo: HeadPose, pose: HeadPose, strength: float = 0.5) -> np.ndarray:
    """The gaze (T, 2), yaw and pitch in degrees, that keeps the photo's direction of gaze while the head turns.

    ``photo`` is the photo's own pose, of length 1. A ``strength`` of 1 compensates head rotation fully, 0 not at all.
    """
    # The direction of the photo's face, in coordinates of the turned head.
    ahead = photo.matrices[0] @ [0, 0, -1]
    seen = np.einsum("tji,j->ti", pose.matrices, ahead)
    yaw = np.degrees(np.arctan2(seen[:, 0], -seen[:, 2]))
    pitch = np.degrees(np.arcsin(np.clip(-seen[:, 1], -1, 1)))
    return strength * np.stack([yaw, pitch], axis=1)
