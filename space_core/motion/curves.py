"""A motion as curves over time, for plots."""

from dataclasses import dataclass

import numpy as np

from space_core.arrays import short_repr
from space_core.motion.lips import MOUTH_CORNERS, lip_gaps
from space_core.motion.loudness import loudness
from space_core.motion.motion import Motion
from space_core.timing import FPS


@dataclass(frozen=True)
class Curves:
    """Curves of T frames at 25 a second; all float64.

    Attributes:
        seconds: (T,) the time at which each frame begins.
        lip_opening: (T,) the gap between the lips in widths of the resting mouth: 0 closed, 0.5 wide open.
        yaw, pitch, roll: (T,) rotation of the head relative to the photo's pose, degrees: positive yaw to the image's
            right, positive pitch lifts the chin, positive roll tips the head clockwise as seen in the image.
        blink: (T,) 0 eyes as they are … 1 shut.
        gaze_yaw, gaze_pitch: (T,) rotation of the eyes relative to the photo's, degrees; signs as above.
        emotion: (T, 8) label weights × intensity in the order of ``EMOTIONS``.
        loudness: (T,) of the speech, 0 pause … 1 loud syllable; 0 throughout where there is no speech.
    """

    seconds: np.ndarray
    lip_opening: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    blink: np.ndarray
    gaze_yaw: np.ndarray
    gaze_pitch: np.ndarray
    emotion: np.ndarray
    loudness: np.ndarray

    __repr__ = short_repr


def curves(motion: Motion) -> Curves:
    """The curves of a motion, including its edits."""
    # The largest of the gaps; segment by segment, as the landmarks of a long motion take much memory.
    gaps = np.concatenate([lip_gaps(segment.edited).max(axis=1) for segment in motion.segments()])
    width = np.linalg.norm(np.subtract(*motion.rest[MOUTH_CORNERS].astype(np.float64)))
    yaw, pitch, roll = (motion.head_pose.rotation.astype(np.float64) - motion.photo_pose.rotation).T
    gaze_yaw, gaze_pitch = motion.gaze.astype(np.float64).T
    speech = np.zeros(0) if motion.speech is None else motion.speech
    return Curves(
        seconds=np.arange(len(motion)) / FPS,
        lip_opening=np.maximum(gaps / width, 0).astype(np.float64),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        blink=motion.blink.astype(np.float64),
        gaze_yaw=gaze_yaw,
        gaze_pitch=gaze_pitch,
        emotion=motion.emotion.astype(np.float64),
        loudness=np.minimum(loudness(speech, len(motion)), 1),
    )
