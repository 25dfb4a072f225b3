"""Plans the motion of speech that is still arriving, a few frames at a time."""

from collections.abc import Iterator

import numpy as np

from space_core.face.portrait import Portrait
from space_core.motion.action_unit_labels import UNIT_COLUMNS
from space_core.motion.emotion import emotion_curve
from space_core.motion.live_speech import LiveSpeech
from space_core.motion.motion import Motion, single_precision
from space_core.motion.speech2landmarks import Speech2Landmarks, mouth_scale, resting_face
from space_core.options import MotionOptions

# What may change while a stream runs.
CHANGEABLE_OPTIONS = (
    "emotion",
    "intensity",
    "articulation",
    "action_units",
    "expressiveness",
    "head_motion",
    "blinks_per_minute",
    "gaze_yaw",
    "gaze_pitch",
    "saccades",
    "eyes_on_viewer",
)


class LivePlanner:
    """Plans what a face does while it hears: the counterpart of ``MotionPlanner`` for one stream."""

    def __init__(self, speech2landmarks: Speech2Landmarks, portrait: Portrait, options: MotionOptions) -> None:
        self._speech2landmarks = speech2landmarks
        self._portrait = portrait
        self._options = options
        self._speech = LiveSpeech(speech2landmarks)
        self._rest = resting_face(portrait.normalized, speech2landmarks.basis)
        self._size = mouth_scale(self._rest)
        self._photo_pose = single_precision(portrait.pose)

    def change(self, options: MotionOptions) -> None:
        """Other options, for the frames that are planned from now on."""
        self._options = options

    def push(self, sound: np.ndarray) -> Iterator[Motion]:
        """Hears sound (N,) float32, 16 kHz mono; yields the motion that can be planned now, segment by segment."""
        self._speech.push(sound)
        yield from self._planned()

    def finish(self) -> Iterator[Motion]:
        """The motion of what is left, once all sound was given."""
        self._speech.finish()
        yield from self._planned()

    def _planned(self) -> Iterator[Motion]:
        while (heard := self._speech.next()) is not None:
            window, sound = heard
            count = len(window.outputs)
            options = self._options
            emotion = emotion_curve(options.emotion, options.intensity, count)
            landmarks, closure = self._speech2landmarks.show(window, self._rest, emotion, options.articulation)
            yield Motion(
                normalized=landmarks,
                closure=closure,
                said_emotion=emotion,
                emotion=emotion,
                action_units=np.zeros((count, len(UNIT_COLUMNS)), np.float32),
                gaze=np.zeros((count, 2), np.float32),
                blink=np.zeros(count, np.float32),
                head_pose=type(self._photo_pose)(
                    *(
                        np.repeat(values, count, axis=0)
                        for values in (self._photo_pose.rotation, self._photo_pose.translation, self._photo_pose.scale)
                    )
                ),
                rest=self._rest.astype(np.float32),
                photo_pose=self._photo_pose,
                speech=sound,
                speech_features=window.features,
            )
