"""Speech2Landmarks (SPACE, section 3.2): from speech and the portrait's own landmarks to normalized landmarks."""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import torch
from safetensors import safe_open

from space_core.assets import weights_path
from space_core.face.smile import smile_of
from space_core.face.topology import canonical_face
from space_core.motion.consonants import load_consonants
from space_core.motion.emotion_network import expressive_motion
from space_core.motion.high_voice import high_voice
from space_core.motion.lip_closure import closure_share, held_together
from space_core.motion.lips import (
    MOUTH_CORNERS,
    close_lips,
    keep_lips_apart,
    limit_opening,
    lip_gaps,
    opening_coefficients,
    resting_face,
)
from space_core.motion.loudness import smooth
from space_core.motion.motion_network import CONTEXT_FRAMES, MotionNetwork
from space_core.motion.quantization import dequantize
from space_core.motion.quiet_passages import raise_quiet_passages
from space_core.motion.speech_features import log_mel, speech_activity, speech_power
from space_core.motion.speech_window import SpeechWindow, mouth_course

WEIGHTS = weights_path("speech2landmarks.safetensors")

# Frames are predicted in overlapping windows, which are cross-faded.
WINDOW_FRAMES = 100
FADE_FRAMES = 24
HOP_FRAMES = WINDOW_FRAMES - FADE_FRAMES

# Lengths are in outer-eye-corner distances, the unit of normalized landmarks.
MOUTH_SCALES = (0.8, 1.1)  # mouths beyond these widths, relative to the canonical one, are puckered or grinning
# Lips stretched by a smile move less to the sides: over 165 recorded clips the logarithm of the standard deviation of
# mouth width falls by 0.9 ± 0.4 from no smile to a full one, that of lip opening does not change (-0.2 ± 0.25).
SMILE_NARROWS = 0.9
# Lips are held together just before and after speech too, and are free half a second from it. To hold them for one
# to two seconds would hide what an emotion does to them. Of the correlation with recorded, neutral lips that loses more
# in continuous speech (0.010 instead of 0.008 in surprise), less if single words are counted, too (0.002, not 0.017).
NEAR_SPEECH, NEAR_SPEECH_GAIN = 6.0, 2.0  # frames, standard deviation

KEPT_IN_CONSONANTS = 0.2  # of the neighbouring sounds' motion, in /f v/ with closed lips, and in /θ ð/


class Speech2Landmarks:
    """The trained network with its basis of mesh motion; made by ``load_speech2landmarks``."""

    def __init__(self, basis: np.ndarray, network: MotionNetwork, device: torch.device) -> None:
        """``basis`` (coefficients, 478, 3): offsets from the resting face, in outer-eye-corner distances."""
        self.basis = basis
        self.network = network
        self.device = device

    def predict(
        self, speech: np.ndarray, portrait: np.ndarray, emotion: np.ndarray, articulation: float = 1.0
    ) -> Iterator[np.ndarray]:
        """Normalized landmarks of the portrait as it says the speech.

        Args:
            speech: (N,) float32, 16 kHz mono, any level.
            portrait: (478, 3) the portrait's own normalized landmarks.
            emotion: (T, 8) label weights × intensity per frame, see ``emotion_curve``; T = ``number_of_frames(N)``.
            articulation: 0 … 1.5, how far speech moves the face: 0 not at all, 1 as people were recorded.

        Yields:
            (t, 478, 3) float32, up to HOP_FRAMES (about three seconds) at a time, in order, T frames altogether.
            Silence gives ``resting_face(portrait)`` under the emotion, but for a breath before speech; lids and irises
            move with the emotion alone.
        """
        windows = self.analyse(speech)
        return (landmarks for landmarks, _ in self.predict_with_closure(windows, portrait, emotion, articulation))

    def predict_with_closure(
        self,
        windows: Iterable[SpeechWindow],
        portrait: np.ndarray,
        emotion: np.ndarray,
        articulation: float | np.ndarray = 1.0,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Like ``predict``, from analysed speech, each time with how far speech holds the lips together.

        That is (t,) float32, 0 … 1 shut. ``windows`` are those of ``analyse``, ``articulation`` is one number or
        (T, 1) float32.
        """
        rest = resting_face(portrait, self.basis)
        articulation = np.broadcast_to(np.float32(articulation), (len(emotion), 1))
        first = 0
        for window in windows:
            last = first + len(window.outputs)
            yield self.show(window, rest, emotion[first:last], articulation[first:last])
            first = last

    def show(
        self, window: SpeechWindow, rest: np.ndarray, emotion: np.ndarray, articulation: float | np.ndarray = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a resting face (478, 3) does in a window of t frames, see ``predict_with_closure``.

        ``emotion`` (t, 8) is of these frames; ``articulation`` one number or (t, 1) float32.
        """
        outputs, activity, near_speech, labiodental, tongue, breath, _ = window
        motion = speech_motion(articulation * outputs[:, :-1], outputs[:, -1], activity, self.basis)
        motion = shape_labiodentals(motion, labiodental, np.minimum(articulation, 1))
        motion = shape_dentals(motion, tongue[:, 1], np.minimum(articulation, 1))
        inhaling = np.tensordot(articulation * breath[:, None] * opening_coefficients(self.basis), self.basis, 1)
        motion = speech_scale(rest) * (motion + inhaling)
        shut = np.maximum(closure_share(outputs[:, -1]) * activity, labiodental)
        closure = held_together(shut, lip_gaps(motion).max(1)) * near_speech
        landmarks = rest + expressive_motion(motion, emotion, rest, closure)
        return keep_lips_apart(landmarks, rest).astype(np.float32), closure.astype(np.float32)

    @torch.inference_mode()
    def analyse(self, speech: np.ndarray) -> Iterator[SpeechWindow]:
        """The network's outputs for speech (N,) float32, 16 kHz mono, whatever the face: window by window, in order."""
        speech = raise_quiet_passages(np.asarray(speech, np.float32))
        power = speech_power(speech)
        activity = speech_activity(speech, power)
        near_speech = nearness_of_speech(activity)
        ramp = (np.arange(FADE_FRAMES, dtype=np.float32)[:, None] + 0.5) / FADE_FRAMES
        tail = None  # of the previous window: the frames that are cross-faded
        for first in range(-FADE_FRAMES // 2, len(activity), HOP_FRAMES):
            mel = log_mel(speech, power, first - CONTEXT_FRAMES, WINDOW_FRAMES + 2 * CONTEXT_FRAMES)
            predicted = self.network.with_features(torch.from_numpy(mel)[None].to(self.device))
            outputs, features = (values[0].float().cpu().numpy() for values in predicted)
            within = np.arange(first, first + WINDOW_FRAMES)
            inside = (within >= 0) & (within < len(activity))
            active = np.where(inside, activity[np.clip(within, 0, len(activity) - 1)], 0)
            high = high_voice(speech, power, first, WINDOW_FRAMES)
            course = mouth_course(outputs, features, active, high, self.basis, -first)
            split = course.shape[1]
            course = np.concatenate([course, features * active[:, None]], 1)
            if tail is not None:
                course[:FADE_FRAMES] = tail + ramp * (course[:FADE_FRAMES] - tail)
            tail = course[HOP_FRAMES:]
            frames = slice(max(first, 0), min(first + HOP_FRAMES, len(activity)))
            window = slice(frames.start - first, frames.stop - first)
            values = course[window]
            yield SpeechWindow.of(values[:, :split], activity[frames], near_speech[frames], values[:, split:])


@cache
def load_speech2landmarks(device: str | torch.device = "cpu") -> Speech2Landmarks:
    """The trained network on a device; read once per device."""
    device = torch.device(device)
    with safe_open(WEIGHTS, "pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    basis = arrays.pop("basis").numpy().copy()  # all that is read otherwise keeps the file in memory, 8 MB
    network = MotionNetwork(len(basis))
    network.load_state_dict(dequantize(arrays))
    return Speech2Landmarks(basis, network.eval().to(device), device)


def speech_motion(
    coefficients: np.ndarray, closure_logit: np.ndarray, activity: np.ndarray, basis: np.ndarray
) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face in speech.

    Args:
        coefficients: (T, coefficients) of the basis (coefficients, 478, 3).
        closure_logit: (T,) above 0 where the lips more likely touch than not.
        activity: (T,) 0 in pauses … 1 in speech.
    """
    motion = limit_opening(np.tensordot(coefficients, basis, 1))
    return close_lips(motion, closure_share(closure_logit)) * activity[:, None, None]


def nearness_of_speech(activity: np.ndarray) -> np.ndarray:
    """(T,) how near there is speech, 0 … 1, of its activity (T,)."""
    return np.clip(NEAR_SPEECH_GAIN * smooth(activity, NEAR_SPEECH), 0, 1)


def speech_scale(rest: np.ndarray) -> np.ndarray:
    """Factors (3,) of x, y and z by which speech moves a resting face (478, 3) more or less than the canonical one.

    They grow with the width of its mouth; the first falls with its smile.
    """
    width, canonical = (np.linalg.norm(np.subtract(*face[MOUTH_CORNERS])) for face in (rest, canonical_face().vertices))
    scale = np.clip(width / canonical, *MOUTH_SCALES)
    return np.array([scale * np.exp(-SMILE_NARROWS * smile_of(rest)), scale, scale])


def shape_labiodentals(motion: np.ndarray, share: np.ndarray, articulation: float | np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face with its lower lip at the upper incisors, by a share (T,), for /f v/.

    ``articulation``, one number or (T, 1), scales the shape.
    """
    closed = close_lips(motion, np.ones(len(motion)))
    return _towards_shape(motion, closed, load_consonants().labiodental_shape, share, articulation)


def shape_dentals(motion: np.ndarray, share: np.ndarray, articulation: float | np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face with its lips apart for the tongue, by a share (T,), for /θ ð/.

    ``articulation``, one number or (T, 1), scales the shape.
    """
    return _towards_shape(motion, motion, load_consonants().dental_shape, share, articulation)


def _towards_shape(
    motion: np.ndarray, kept: np.ndarray, shape: np.ndarray, share: np.ndarray, articulation: float | np.ndarray
) -> np.ndarray:
    """Motion (T, 478, 3) blended by a share (T,) with a shape (478, 3), on which some of ``kept`` (T, 478, 3) stays."""
    held = np.reshape(articulation, (-1, 1, 1)) * shape + KEPT_IN_CONSONANTS * kept
    return motion + share[:, None, None] * (held - motion)
