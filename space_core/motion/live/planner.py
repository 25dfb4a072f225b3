"""Plans the motion of speech that is still arriving, a few frames at a time."""

from collections.abc import Iterator

import numpy as np

from space_core.face.portrait import Portrait
from space_core.motion.action_unit_labels import MAX_STRENGTH
from space_core.motion.blink import blink_rate_factor
from space_core.motion.emotion import ACCENT_SMOOTHING, PAUSE_SMOOTHING, dynamics_factor, grown
from space_core.motion.gaze import counter_gaze, emotional_gaze
from space_core.motion.hair import HairSwing
from space_core.motion.head_pose import attitudes
from space_core.motion.lips import resting_face
from space_core.motion.live.eyes import LiveBlinks, LiveSaccades
from space_core.motion.live.head import LiveHead
from space_core.motion.live.options import FollowedOptions
from space_core.motion.live.prosody import LiveProsody, ProsodyWindow
from space_core.motion.live.speech import LiveSpeech
from space_core.motion.live.upper_face import LiveUpperFace
from space_core.motion.loudness import smooth
from space_core.motion.motion import Motion, single_precision
from space_core.motion.speech2landmarks import Speech2Landmarks
from space_core.motion.takes import TakeVariation
from space_core.motion.upper_face import motion_units, speech_share
from space_core.options import MotionOptions
from space_core.timing import FPS, SAMPLE_RATE

GREAT_ACCENT = 0.8  # greatest value of the smoothed accent curve in lively speech
ATTITUDE_DELAY = 0.2 * FPS  # frames of each of two filters by which the head follows the emotion


class LivePlanner:
    """Plans what a face does while sound arrives: the counterpart of ``MotionPlanner`` for one stream."""

    def __init__(self, speech2landmarks: Speech2Landmarks, portrait: Portrait, options: MotionOptions) -> None:
        self._speech2landmarks = speech2landmarks
        self._options = FollowedOptions(options)
        self._speech, self._prosody = LiveSpeech(speech2landmarks), LiveProsody()
        self._head = LiveHead(portrait.pose, options.seed)
        self._attitudes, self._attitude = attitudes(options.seed), np.zeros((2, 3))
        self._upper_face, self._variation = LiveUpperFace(options.seed), TakeVariation(options.seed)
        self._blinks, self._saccades = LiveBlinks(options.seed), LiveSaccades(options.seed)
        self._hair = HairSwing(portrait.pose, options.seed)
        self._frames = 0
        self._rest = resting_face(portrait.normalized, speech2landmarks.basis).astype(np.float32)
        self._photo_pose = portrait.pose

    def change(self, options: MotionOptions) -> None:
        """Other options, for the frames that are planned from now on."""
        self._options.change(options)

    def push(self, sound: np.ndarray) -> Iterator[Motion]:
        """Adds sound (N,) float32, 16 kHz mono; yields the motion that can be planned now, segment by segment."""
        for first in range(0, len(sound), SAMPLE_RATE):  # a second at a time, of which little is kept
            self._speech.push(sound[first : first + SAMPLE_RATE])
            yield from self._planned()

    def finish(self) -> Iterator[Motion]:
        """The motion of what is left, once all sound was given."""
        self._speech.finish()
        return self._planned()

    def _planned(self) -> Iterator[Motion]:
        while (analysed := self._speech.next()) is not None:
            count = len(analysed.window.outputs)
            prosody = self._prosody.next(analysed.heard, count, analysed.power)
            emotion, units, gaze, numbers = self._options.next(count)
            emotion = self._dynamics(emotion, prosody, numbers["expressiveness"])
            pose = self._head.next(prosody, self._follow(emotion @ self._attitudes), numbers["head_motion"])
            gaze = gaze + self._saccades.next(count) * numbers["saccades"][:, None] + emotional_gaze(emotion)
            gaze += counter_gaze(self._photo_pose, pose, 1.0) * numbers["eyes_on_viewer"][:, None]
            upper_face = motion_units(numbers["expressiveness"][:, None] * self._upper_face.next(prosody))
            take = self._variation.next(speech_share(prosody.prosody)[prosody.delayed])
            units = units + numbers["articulation"][:, None] * take.units
            articulation = numbers["articulation"][:, None].astype(np.float32) * take.articulation
            window = analysed.window.with_breaths_scaled(take.breathing)
            normalized, closure = self._speech2landmarks.show(window, self._rest, emotion, articulation)
            yield Motion(
                normalized=normalized,
                closure=closure,
                tongue=np.minimum(articulation, 1) * analysed.window.tongue.astype(np.float32),
                said_emotion=emotion,
                emotion=emotion,
                action_units=np.clip(units + upper_face, -MAX_STRENGTH, MAX_STRENGTH).astype(np.float32),
                gaze=gaze.astype(np.float32),
                blink=self._blinks.next(prosody, numbers["blinks_per_minute"] * blink_rate_factor(emotion)),
                hair=(numbers["hair_motion"][:, None] * self._hair.next(pose)).astype(np.float32),
                head_pose=single_precision(pose),
                rest=self._rest,
                photo_pose=single_precision(self._photo_pose),
                speech=analysed.sound,
                speech_features=analysed.window.features,
            )
            self._frames += count

    def _dynamics(self, emotion: np.ndarray, window: ProsodyWindow, expressiveness: np.ndarray) -> np.ndarray:
        """See ``expression_dynamics``."""
        prosody, delayed = window.prosody, window.delayed
        accent = np.minimum(smooth(prosody.accent, ACCENT_SMOOTHING)[delayed] / GREAT_ACCENT, 1)
        pausing = 1 - smooth(prosody.speaking, PAUSE_SMOOTHING)[delayed]
        factor = dynamics_factor(accent, pausing, expressiveness)
        return grown(emotion, factor, self._frames + np.arange(len(emotion)))

    def _follow(self, turned: np.ndarray) -> np.ndarray:
        """The attitude of the head (T, 3) that follows what an emotion asks for (T, 3), without a jump."""
        followed = np.empty_like(turned)
        for index, target in enumerate(turned):
            self._attitude[0] += (target - self._attitude[0]) / ATTITUDE_DELAY
            self._attitude[1] += (self._attitude[0] - self._attitude[1]) / ATTITUDE_DELAY
            followed[index] = self._attitude[1]
        return followed
