"""Analyses speech that is still arriving: Speech2Landmarks' features and outputs, a few frames later."""

from collections import deque
from typing import NamedTuple

import numpy as np
import torch

from space_core.motion.breaths import BREATH_GAP
from space_core.motion.high_voice import high_voice
from space_core.motion.motion_network import RECEPTIVE_FRAMES
from space_core.motion.quiet_passages import raise_quiet_passages
from space_core.motion.speech2landmarks import Speech2Landmarks, nearness_of_speech
from space_core.motion.speech_features import (
    BLOCK_SAMPLES,
    PAUSE_FRAMES,
    block_powers,
    gated_power,
    log_mel,
    speech_activity,
)
from space_core.motion.speech_window import SpeechWindow, mouth_course
from space_core.timing import SAMPLES_PER_FRAME, number_of_frames

# Frames are planned STEP_FRAMES at a time, each with the sound of at least FUTURE_FRAMES after it.
STEP_FRAMES, FUTURE_FRAMES = 4, 8
LOOK_AHEAD_FRAMES = STEP_FRAMES + FUTURE_FRAMES - 1  # of sound after a frame, at most, before it is planned
PAST_FRAMES = 100  # that the network gets before the frames to plan
# Shares of what was predicted for a step's first frames the step before, when less was known.
CROSS_FADE = np.array([[0.4], [0.2]], np.float32)
KEPT_FRAMES = 110  # of sound: more than the network gets, and three standard deviations of what is near speech

# The level is that of the last minute of speech, and at least that of a very quiet microphone.
LEVEL_BLOCKS = 600
QUIETEST_POWER = 1e-5

# A breath, known less than a third of a second before the first word, is so much shallower than in a film.
LIVE_BREATH = 0.4

# Changes per frame, at most: what is known later than in a film sets in more slowly.
NEAR_SPEECH_STEP, BREATH_STEP = 0.12, LIVE_BREATH * BREATH_GAP / 4


class AnalysedSpeech(NamedTuple):
    """The next frames of a stream, and their sound.

    Attributes:
        window: their analysis.
        sound: (N,) float32 their sound; shorter than the frames at the end of the stream.
        heard: (M,) their sound and the part of what follows that their motion depends on, quiet passages raised.
        power: mean power of the latest speech.
    """

    window: SpeechWindow
    sound: np.ndarray
    heard: np.ndarray
    power: float


class LiveSpeech:
    """The speech of one stream; counterpart of ``Speech2Landmarks.analyse``."""

    def __init__(self, speech2landmarks: Speech2Landmarks) -> None:
        self._speech2landmarks = speech2landmarks
        self._sound = np.zeros(0, np.float32)  # what is kept
        self._begin = 0  # its first frame
        self._planned = 0  # frames
        self._blocks: deque[float] = deque(maxlen=LEVEL_BLOCKS)
        self._measured = 0  # samples in blocks
        self._finished = False
        self._predicted = np.zeros((0, 1), np.float32)  # outputs for the frames after those that were planned
        self._near_speech = self._breath = 0.0  # of the latest frame

    def push(self, sound: np.ndarray) -> None:
        """Adds sound (N,) float32, 16 kHz mono."""
        self._sound = np.concatenate([self._sound, sound])

    def finish(self) -> None:
        """No more sound follows."""
        self._finished = True

    def next(self) -> AnalysedSpeech | None:
        """The next frames; None until more sound has come."""
        end = self._begin * SAMPLES_PER_FRAME + len(self._sound)  # in samples
        if self._finished:
            count = min(STEP_FRAMES, number_of_frames(end) - self._planned)
        else:
            whole = end // SAMPLES_PER_FRAME >= self._planned + STEP_FRAMES + FUTURE_FRAMES
            count = STEP_FRAMES if whole else 0
        if count <= 0:
            return None
        first = self._planned - self._begin  # in what is kept
        known = self._sound[: (first + count + FUTURE_FRAMES) * SAMPLES_PER_FRAME]
        power = self._power(known)
        raised = self._raised(known, power)
        window = self._analyse(raised, first, count, power)
        sound = known[first * SAMPLES_PER_FRAME :][: count * SAMPLES_PER_FRAME]
        heard = raised[first * SAMPLES_PER_FRAME :]
        self._planned += count
        drop = max(first + count - KEPT_FRAMES, 0)
        self._sound = self._sound[drop * SAMPLES_PER_FRAME :].copy()
        self._begin += drop
        return AnalysedSpeech(window, sound, heard, power)

    @torch.inference_mode()
    def _analyse(self, known: np.ndarray, first: int, count: int, power: float) -> SpeechWindow:
        """The frames ``first`` … ``first + count`` of sound that is known (N,)."""
        total = first + count + FUTURE_FRAMES
        # Where the last of the sound is quiet, a pause is taken to follow.
        silent = np.zeros((total + PAUSE_FRAMES) * SAMPLES_PER_FRAME - len(known), np.float32)
        activity = speech_activity(np.concatenate([known, silent]), power)[:total]

        begin = first - PAST_FRAMES
        mel = log_mel(known, power, begin, total - begin)
        network, device = self._speech2landmarks.network, self._speech2landmarks.device
        frames = network.decoder.embed(network.encoder(torch.from_numpy(mel)[None].to(device)))
        ahead = frames[:, -1:].expand(-1, RECEPTIVE_FRAMES, -1)
        outputs = network.decoder.decode(torch.cat([frames, ahead], 1))[0].float().cpu().numpy()
        before = PAST_FRAMES - RECEPTIVE_FRAMES  # decoded frames before the first to plan
        shared = min(len(CROSS_FADE), len(self._predicted), count)
        outputs[before : before + shared] += CROSS_FADE[:shared] * (
            self._predicted[:shared] - outputs[before : before + shared]
        )
        self._predicted = outputs[before + count :].copy()
        active = np.pad(activity, (max(before - first, 0), 0))[-len(outputs) :]
        high = high_voice(known, power, total - len(outputs), len(outputs))
        features = frames[0].float().cpu().numpy()[RECEPTIVE_FRAMES:]
        course = mouth_course(outputs, features, active, high, self._speech2landmarks.basis, before - first)
        course[:, -1] *= LIVE_BREATH
        planned, decoded = slice(first, first + count), slice(before, before + count)
        near_speech = _slowed(nearness_of_speech(activity)[planned], self._near_speech, NEAR_SPEECH_STEP)
        course[decoded, -1] = _slowed(course[decoded, -1], self._breath, BREATH_STEP)
        self._near_speech, self._breath = float(near_speech[-1]), float(course[decoded, -1][-1])
        speaking = activity[planned]
        return SpeechWindow.of(course[decoded], speaking, near_speech, features[decoded] * speaking[:, None])

    def _raised(self, known: np.ndarray, power: float) -> np.ndarray:
        """Sound that is known (N,) with its quiet passages raised; those that began less than three seconds ago stay.

        Blocks are at the same places of the stream however much of it is kept.
        """
        before = -self._begin * SAMPLES_PER_FRAME % BLOCK_SAMPLES
        return np.concatenate([known[:before], raise_quiet_passages(known[before:], power)])

    def _power(self, known: np.ndarray) -> float:
        """Mean power of the latest speech."""
        begin = self._begin * SAMPLES_PER_FRAME
        whole = (begin + len(known)) // BLOCK_SAMPLES * BLOCK_SAMPLES
        if whole > self._measured:
            self._blocks.extend(block_powers(known[self._measured - begin : whole - begin]))
            self._measured = whole
        return max(gated_power(np.array(self._blocks)), QUIETEST_POWER)


def _slowed(values: np.ndarray, before: float, step: float) -> np.ndarray:
    """Values (T,) float32 that change by ``step`` a frame at most, from the one before on."""
    slowed = np.empty(len(values), np.float32)
    for index, value in enumerate(values):
        slowed[index] = before = min(max(float(value), before - step), before + step)
    return slowed
