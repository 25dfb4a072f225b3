"""What a face does, frame by frame: all that stage 1 decides, in the layers in which it can be edited."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from space_core.arrays import short_repr
from space_core.face.normalization import HeadPose, join_poses, pose_landmarks
from space_core.face.posed_face import PosedFace
from space_core.motion.action_units import apply_action_units
from space_core.motion.blink import apply_blink
from space_core.motion.emotion_network import expressive_motion
from space_core.motion.gaze import apply_gaze
from space_core.motion.lips import keep_lips_apart
from space_core.motion.speech2landmarks import HOP_FRAMES
from space_core.timing import FPS, SAMPLES_PER_FRAME

# The arrays of a motion that have T rows.
PER_FRAME = ("normalized", "closure", "tongue", "said_emotion", "emotion", "action_units", "gaze", "blink", "hair")
NEUTRAL_STEPS = 8  # until less than 1 % of an emotion is left
SAME_FACE = 1e-3  # of the normalized face: resting faces that differ by less are one and the same


@dataclass(frozen=True)
class Motion:
    """A film's motion, or a segment of it (``motion[first:last]``), of T frames at 25 a second; arrays are float32.

    Attributes:
        normalized: (T, 478, 3) normalized landmarks with the emotion they were said in, without action units, gaze and
            blinks.
        closure: (T,) how far speech holds the lips together, from 0 (not) to 1 (shut).
        tongue: (T, 2) how far speech raises the tongue's tip to the upper incisors' roots, and how far it puts it
            between the teeth, 0 … 1.
        said_emotion: (T, 8) the emotion that is in ``normalized``: label weights × intensity in the order of
            ``EMOTIONS``.
        emotion: (T, 8) the emotion to show; the same, unless it was edited.
        action_units: (T, 36) strengths of action units in the order of ``UNIT_COLUMNS``: 0 none, 1 full.
        gaze: (T, 2) yaw and pitch in degrees, added to where the photo's eyes look: positive to the image's right and
            up.
        blink: (T,) from 0 (eyes as they are) to 1 (closed).
        hair: (T, 4) how far the ``LOCKS`` of long hair are to the image's right of where the head carries them,
            normalized.
        head_pose: the T head poses, in pixels of the portrait's crop.
        rest: (478, 3) the resting face that the landmarks move, normalized.
        photo_pose: the photo's own head pose, of length 1.
        speech: (N,) the sound, 16 kHz mono, -1…1, or None. At most T frames long.
        speech_features: (T, 256) float16 for generators that are driven by speech, see ``SpeechWindow``; None for
            silence, and in a motion that was read from a file until it is put on a portrait.
    """

    normalized: np.ndarray
    closure: np.ndarray
    tongue: np.ndarray
    said_emotion: np.ndarray
    emotion: np.ndarray
    action_units: np.ndarray
    gaze: np.ndarray
    blink: np.ndarray
    hair: np.ndarray
    head_pose: HeadPose
    rest: np.ndarray
    photo_pose: HeadPose
    speech: np.ndarray | None = None
    speech_features: np.ndarray | None = None

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.normalized)

    def __getitem__(self, frames: slice) -> "Motion":
        first, last, _ = frames.indices(len(self))
        return replace(
            self,
            head_pose=self.head_pose[first:last],
            speech=None if self.speech is None else self.speech[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME],
            speech_features=None if self.speech_features is None else self.speech_features[first:last],
            **{name: getattr(self, name)[first:last] for name in PER_FRAME},
        )

    @property
    def seconds(self) -> float:
        """The length of the motion."""
        return len(self) / FPS

    @property
    def edited(self) -> np.ndarray:
        """(T, 478, 3) normalized landmarks with the emotion to show, action units, gaze and blinks."""
        landmarks = self.normalized
        if not np.array_equal(self.emotion, self.said_emotion):
            motion = _neutral_motion(landmarks - self.rest, self.said_emotion, self.rest, self.closure)
            motion = expressive_motion(motion, self.emotion, self.rest, self.closure)
            landmarks = keep_lips_apart(self.rest + motion, self.rest)
        landmarks = apply_action_units(landmarks, self.action_units, self.closure, self.rest)
        landmarks = apply_gaze(landmarks, self.gaze[:, 0], self.gaze[:, 1], self.rest)
        return apply_blink(landmarks, self.blink, self.rest)

    @property
    def posed(self) -> np.ndarray:
        """(T, 478, 3) the edited landmarks under the head pose, in pixels of the portrait's crop."""
        return pose_landmarks(self.edited, self.head_pose)

    @property
    def face(self) -> PosedFace:
        """The face in motion, as generators take it."""
        return PosedFace(self.edited, self.head_pose, self.emotion, self.speech_features, self.hair, self.tongue)

    def segments(self) -> Iterator["Motion"]:
        """The whole motion in consecutive segments, as long as those that Speech2Landmarks predicts."""
        for first in range(0, len(self), HOP_FRAMES):
            yield self[first : first + HOP_FRAMES]

    def moved_to(self, rest: np.ndarray, photo_pose: HeadPose) -> "Motion":
        """The same motion on another portrait: what it adds to the resting face and to the photo's head pose.

        Args:
            rest: (478, 3) the other portrait's resting face.
            photo_pose: the other photo's head pose, of length 1.

        Returns:
            The motion itself where the portrait is the one it was made for.
        """
        rest, photo_pose = rest.astype(np.float32), single_precision(photo_pose)
        if np.abs(self.rest - rest).max() < SAME_FACE and _nearly(self.photo_pose, photo_pose):
            return self
        size = photo_pose.scale / self.photo_pose.scale
        pose = HeadPose(
            self.head_pose.rotation - self.photo_pose.rotation + photo_pose.rotation,
            (self.head_pose.translation - self.photo_pose.translation) * size + photo_pose.translation,
            self.head_pose.scale * size,
        )
        motion = self.normalized - self.rest
        if self.said_emotion[:, 1:].any():  # what an emotion does depends on the face: on its lids, brows and smile
            neutral = _neutral_motion(motion, self.said_emotion, self.rest, self.closure)
            motion = expressive_motion(neutral, self.said_emotion, rest, self.closure).astype(np.float32)
        normalized = keep_lips_apart(rest + motion, rest)
        return replace(self, normalized=normalized, head_pose=pose, rest=rest, photo_pose=photo_pose)


def join(segments: Sequence[Motion]) -> Motion:
    """One motion of segments that follow each other."""
    first = segments[0]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(segment, name) for segment in segments]) for name in PER_FRAME
    }
    return replace(
        first,
        head_pose=join_poses([segment.head_pose for segment in segments]),
        speech=None if first.speech is None else np.concatenate([segment.speech for segment in segments]),
        speech_features=None
        if first.speech_features is None
        else np.concatenate([segment.speech_features for segment in segments]),
        **joined,
    )


def single_precision(pose: HeadPose) -> HeadPose:
    """A head pose in float32, as motion keeps it."""
    return HeadPose(*(values.astype(np.float32) for values in (pose.rotation, pose.translation, pose.scale)))


def _neutral_motion(motion: np.ndarray, emotion: np.ndarray, rest: np.ndarray, closure: np.ndarray) -> np.ndarray:
    """What neutral speech does to the resting face: the motion (T, 478, 3) that ``emotion`` turned into ``motion``."""
    neutral = motion
    for _ in range(NEUTRAL_STEPS):  # a fixed point: an emotion changes lip motion by less than the motion itself
        neutral = neutral + motion - expressive_motion(neutral, emotion, rest, closure)
    return neutral


def _nearly(one: HeadPose, other: HeadPose) -> bool:
    """Whether two head poses are the same but for the last digits."""
    names = ("rotation", "translation", "scale")
    return all(np.allclose(getattr(one, name), getattr(other, name), atol=0.01) for name in names)
