"""Plans a film's motion: what the face does, decided from the speech and the options, segment by segment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import tee

import numpy as np
import torch

from space_core.face.normalization import HeadPose
from space_core.face.portrait import Portrait
from space_core.motion.action_unit_labels import MAX_STRENGTH
from space_core.motion.action_units import unit_strengths
from space_core.motion.blink import blink_curve, blink_rate_factor
from space_core.motion.emotion import emotion_curve, expression_dynamics
from space_core.motion.gaze import counter_gaze, emotional_gaze, saccades
from space_core.motion.hair import HairSwing
from space_core.motion.head_pose import generate_head_pose, head_attitude
from space_core.motion.head_pose_transfer import transfer_head_pose, transfer_notes
from space_core.motion.lips import resting_face
from space_core.motion.live.planner import LivePlanner
from space_core.motion.motion import Motion, single_precision
from space_core.motion.prosody import analyze_prosody
from space_core.motion.quiet_passages import raise_quiet_passages
from space_core.motion.speech2landmarks import load_speech2landmarks
from space_core.motion.speech_window import SpeechWindow
from space_core.motion.takes import TakeVariation
from space_core.motion.upper_face import speech_share, upper_face_units
from space_core.options import MotionOptions
from space_core.progress import SharedItems
from space_core.timing import SAMPLES_PER_FRAME, number_of_frames


@dataclass(frozen=True)
class Timelines:
    """What runs through a whole film of T frames.

    Attributes:
        head_pose: the T head poses, in pixels of the portrait's crop.
        gaze: (T, 2) yaw and pitch, degrees.
        blink: (T,) 0 … 1 closed.
        emotion: (T, 8) label weights × intensity.
        action_units: (T, 36) strengths in the order of ``UNIT_COLUMNS``.
        hair: (T, 4) how far the ``LOCKS`` of long hair swing, normalized.
        articulation: (T, 1) float32, how far speech moves the mouth, 1 as people were recorded.
        breathing: (T,) float32, how far breaths open it, likewise.
        notes: sentences for the user about what was asked for and is not shown as it is.
    """

    head_pose: HeadPose
    gaze: np.ndarray
    blink: np.ndarray
    emotion: np.ndarray
    action_units: np.ndarray
    hair: np.ndarray
    articulation: np.ndarray
    breathing: np.ndarray
    notes: tuple[str, ...] = ()


class MotionPlanner:
    """Plans motion with the networks of stage 1, which are loaded once."""

    def __init__(self, device: torch.device) -> None:
        self._speech2landmarks = load_speech2landmarks(device)

    def timelines(
        self, portrait: Portrait, speech: np.ndarray, options: MotionOptions, driving: HeadPose | None = None
    ) -> Timelines:
        """Head pose, gaze, blinks and emotion of a film.

        Args:
            portrait: whose face it is.
            speech: (N,) float32, 16 kHz mono.
            options: see ``MotionOptions``; of the pose video only ``driving`` is read.
            driving: the head poses of the pose video, or None to generate head motion.
        """
        num_frames = number_of_frames(len(speech))
        speech = raise_quiet_passages(speech)
        prosody = analyze_prosody(speech, num_frames)
        emotion = emotion_curve(options.emotion, options.intensity, num_frames)
        emotion = expression_dynamics(emotion, prosody, options.expressiveness)
        notes: tuple[str, ...] = ()
        if driving is None:
            attitude = head_attitude(emotion, options.seed)
            pose = generate_head_pose(prosody, portrait.pose, options.head_motion, options.seed, attitude)
        else:
            pose = transfer_head_pose(driving, num_frames, portrait.pose, options.head_motion)
            notes = transfer_notes(pose, portrait.pose)
        gaze = saccades(num_frames, options.seed, options.saccades)
        gaze += counter_gaze(portrait.pose, pose, options.eyes_on_viewer)
        gaze += [options.gaze_yaw, options.gaze_pitch] + emotional_gaze(emotion)
        rate = options.blinks_per_minute * blink_rate_factor(emotion)
        blink = blink_curve(speech, num_frames, rate, options.seed)
        units = unit_strengths(options.action_units, num_frames)
        units += upper_face_units(prosody, options.expressiveness, options.seed)
        take = TakeVariation(options.seed).next(speech_share(prosody))
        units += options.articulation * take.units
        np.clip(units, -MAX_STRENGTH, MAX_STRENGTH, out=units)
        hair = options.hair_motion * HairSwing(portrait.pose, options.seed).next(pose)
        articulation = options.articulation * take.articulation
        return Timelines(pose, gaze, blink, emotion, units, hair, articulation, take.breathing, notes)

    def live(self, portrait: Portrait, options: MotionOptions) -> LivePlanner:
        """A planner for speech that is still arriving."""
        return LivePlanner(self._speech2landmarks, portrait, options)

    def analyse(self, speech: np.ndarray) -> SharedItems[SpeechWindow]:
        """Starts the analysis of speech (N,) float32, 16 kHz mono, which no portrait is needed for."""
        return SharedItems(self._speech2landmarks.analyse(speech))

    def segments(
        self,
        portrait: Portrait,
        speech: np.ndarray,
        windows: Iterable[SpeechWindow],
        timelines: Timelines,
    ) -> Iterator[Motion]:
        """The film's motion, in segments of about three seconds, predicted as they are asked for.

        Args:
            portrait: whose face it is.
            speech: (N,) float32, 16 kHz mono.
            windows: of this speech, as ``analyse`` gives them.
            timelines: of this film.
        """
        rest = resting_face(portrait.normalized, self._speech2landmarks.basis).astype(np.float32)
        photo_pose = single_precision(portrait.pose)
        first = 0
        analysed, windows = tee(_breathing(windows, timelines.breathing))
        predicted = self._speech2landmarks.predict_with_closure(
            analysed, portrait.normalized, timelines.emotion, timelines.articulation
        )
        for (normalized, closure), window in zip(predicted, windows, strict=False):
            frames = slice(first, first + len(normalized))
            yield Motion(
                normalized=normalized,
                closure=closure,
                tongue=np.minimum(timelines.articulation[frames], 1) * window.tongue.astype(np.float32),
                said_emotion=timelines.emotion[frames],
                emotion=timelines.emotion[frames],
                action_units=timelines.action_units[frames],
                gaze=timelines.gaze[frames].astype(np.float32),
                blink=timelines.blink[frames],
                hair=timelines.hair[frames],
                head_pose=single_precision(timelines.head_pose[frames]),
                rest=rest,
                photo_pose=photo_pose,
                speech=speech[frames.start * SAMPLES_PER_FRAME : frames.stop * SAMPLES_PER_FRAME],
                speech_features=window.features,
            )
            first = frames.stop

    def retarget(self, motion: Motion, portrait: Portrait) -> Motion:
        """A motion that was made for another portrait, carried over to this one, with the features of its speech."""
        motion = motion.moved_to(resting_face(portrait.normalized, self._speech2landmarks.basis), portrait.pose)
        if motion.speech is None or motion.speech_features is not None or not len(motion.speech):
            return motion
        features = np.concatenate([window.features for window in self._speech2landmarks.analyse(motion.speech)])
        missing = len(motion) - len(features)  # the sound may end before the motion does
        return replace(motion, speech_features=np.pad(features, ((0, max(missing, 0)), (0, 0)))[: len(motion)])


def _breathing(windows: Iterable[SpeechWindow], factors: np.ndarray) -> Iterator[SpeechWindow]:
    """The windows of a film whose breaths open the mouth further by factors (T,)."""
    first = 0
    for window in windows:
        last = first + len(window.breath)
        yield window.with_breaths_scaled(factors[first:last])
        first = last
