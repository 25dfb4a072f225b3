"""Speech2Landmarks (SPACE, section 3.2): from speech and the portrait's own landmarks to normalized landmarks."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from space_core.assets import weights_path
from space_core.face.smile import smile_of
from space_core.face.topology import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    canonical_face,
)
from space_core.motion.consonants import consonant_shares, load_consonants
from space_core.motion.emotion_network import expressive_motion
from space_core.motion.loudness import smooth
from space_core.motion.quantization import dequantize
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH, SpeechEncoder
from space_core.motion.speech_features import log_mel, speech_activity, speech_power
from space_core.smoothstep import smoothstep

WEIGHTS = weights_path("speech2landmarks.safetensors")

# The network, in video frames: the encoder sees CONTEXT_FRAMES (2 s) before and after the frames to predict, the
# decoder RECEPTIVE_FRAMES (0.9 s) of that.
CHANNELS = 256
DILATIONS = (1, 2, 4, 8, 4, 2, 1)  # frames
RECEPTIVE_FRAMES = sum(DILATIONS)
CONTEXT_FRAMES = 50

# Frames are predicted in overlapping windows, which are cross-faded.
WINDOW_FRAMES = 100
FADE_FRAMES = 24
HOP_FRAMES = WINDOW_FRAMES - FADE_FRAMES

# Lengths are in outer-eye-corner distances, the unit of normalized landmarks.
MOUTH_SCALES = (0.8, 1.1)  # mouths beyond these widths, relative to the canonical one, are puckered or grinning
# Lips stretched by a smile move less to the sides: over 165 recorded clips the logarithm of the standard deviation of
# mouth width falls by 0.9 ± 0.4 from no smile to a full one, that of lip opening does not change (-0.2 ± 0.25).
SMILE_NARROWS = 0.9
CLOSED_GAP = 0.012  # between the inner lips: the tracker's noise on a closed mouth
# Of speech: the jaw opens freely up to the first gap between the inner lips, and never beyond the second.
FREE_GAP, WIDEST_GAP = 0.26, 0.4
SHUT_FROM, SHUT_AT = -0.2, 1.8  # logits of the closure head between which lips are brought together
# A peak of the logit between two openings shuts the lips: a quick p, b or m. Heights from and at which it does, up to
# how many frames the openings are away, and logits of peaks from which on it does and from which on it does so in full.
PEAK_FROM, PEAK_AT, PEAK_REACH, PEAK_LEAST, PEAK_SURE = 1.5, 3.0, 3, -1.5, -0.5
# A dip of the logit between two closures opens the lips: a short vowel between p, b or m. Depths from and at which it
# does, up to how many frames the closures are away, and the logit above which all count alike.
DIP_FROM, DIP_AT, DIP_REACH, SURELY_SHUT = 0.5, 2.0, 4, 5.0
# How far speech holds lips together that it does not shut: where the gap is at least the last number, and where they
# touch.
WIDE_HOLD, NARROW_HOLD, NARROW_GAP = 0.3, 0.8, 0.05
# Lips are held together just before and after speech too, and are free half a second from it. To hold them for one
# to two seconds would hide what an emotion does to them. Of the correlation with recorded, neutral lips that loses more
# in continuous speech (0.026 instead of 0.024 in surprise), less if single words are counted, too (0.019, not 0.026).
NEAR_SPEECH, NEAR_SPEECH_GAIN = 6.0, 2.0  # frames, standard deviation
CLOSING_PRIOR = 0.002  # ridge of the fit that closes the mouth of a photo by the basis

# A breath is drawn before speech: the lips part by so much, over so many frames that end with the first sound.
BREATH_GAP, BREATH_FRAMES = 0.02, 11

# Of the neighbouring sounds' motion, in /f v/ with closed lips.
KEPT_IN_LABIODENTALS, KEPT_IN_DENTALS = 0.2, 0.2

UPPER, LOWER = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])  # pairs of points that meet when lips close
OUTER_UPPER, OUTER_LOWER = list(OUTER_UPPER_LIP[1:-1]), list(OUTER_LOWER_LIP[1:-1])
DOWN = np.array([0.0, 1.0, 0.0])
MOUTH_CORNERS = [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]


class TemporalBlock(nn.Module):
    """A residual dilated convolution without padding: its output is ``2 * dilation`` frames shorter than its input."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        # A convolution over three frames as one matrix product, several times as fast as nn.Conv1d in bfloat16.
        self.context_proj = nn.Linear(3 * channels, channels)
        self.out_proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (batch, frames, channels)
        step = self.dilation
        y = self.norm(x)
        y = torch.cat([y[:, : -2 * step], y[:, step:-step], y[:, 2 * step :]], dim=2)
        y = nn.functional.gelu(self.context_proj(y))
        y = self.dropout(y.transpose(1, 2)).transpose(1, 2)  # whole channels
        return x[:, step:-step] + self.out_proj(y)


class MotionDecoder(nn.Module):
    """Speech features (batch, 2 * (T + 2 * RECEPTIVE_FRAMES), 384) to outputs (batch, T, num_outputs)."""

    def __init__(self, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(2 * dropout)
        self.input_proj = nn.Linear(TOKENS_PER_FRAME * WIDTH, CHANNELS)
        self.blocks = nn.Sequential(*(TemporalBlock(CHANNELS, dilation, dropout) for dilation in DILATIONS))
        self.output_norm = nn.LayerNorm(CHANNELS)
        self.head = nn.Linear(CHANNELS, num_outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.decode(self.embed(features))

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Features (batch, 2 * frames, 384) as one vector for each video frame (batch, frames, 256)."""
        x = self.dropout(self.input_norm(features)).reshape(len(features), -1, TOKENS_PER_FRAME * WIDTH)
        return self.input_proj(x)

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        """What ``embed`` gave for T + 2 * RECEPTIVE_FRAMES frames to outputs (batch, T, num_outputs)."""
        return self.head(self.output_norm(self.blocks(x)))


class MotionNetwork(nn.Module):
    """Log-mel spectrogram to coefficients of the motion basis, each of about unit variance, and a closure logit.

    The logit is the last output; above 0 the lips more likely touch than not.
    """

    def __init__(self, num_coefficients: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = SpeechEncoder()
        self.decoder = MotionDecoder(num_coefficients + 1, dropout)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(batch, 4 * (T + 2 * CONTEXT_FRAMES), 80) to (batch, T, coefficients + 1)."""
        return self.with_features(mel)[0]

    def with_features(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs, and the encoder's features of the same frames as the decoder takes them in (batch, T, 256)."""
        beyond = (CONTEXT_FRAMES - RECEPTIVE_FRAMES) * TOKENS_PER_FRAME
        frames = self.decoder.embed(self.encoder(mel)[:, beyond:-beyond])
        return self.decoder.decode(frames), frames[:, RECEPTIVE_FRAMES:-RECEPTIVE_FRAMES]


class SpeechWindow(NamedTuple):
    """What speech determines of up to HOP_FRAMES frames, whoever says it.

    Attributes:
        outputs: (t, coefficients + 1) of the network.
        activity: (t,) speech activity, 0 … 1.
        near_speech: (t,) how near there is speech, 0 … 1.
        labiodental: (t,) how far the mouth takes the shape of /f v/, 0 … 1.
        tongue: (t, 2) how far the tongue's tip is raised, and put between the teeth, 0 … 1; see ``tongue_shares``.
        breath: (t,) by how much a breath parts the lips, in outer-eye-corner distances.
        features: (t, 256) float16, the encoder's features as the decoder takes them in; 0 in pauses.
    """

    outputs: np.ndarray
    activity: np.ndarray
    near_speech: np.ndarray
    labiodental: np.ndarray
    tongue: np.ndarray
    breath: np.ndarray
    features: np.ndarray


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
        parted = -articulation * breath[:, None] / 2
        motion = speech_scale(rest) * move_lips(motion, parted[..., None] * DOWN)
        shut = np.maximum(closure_share(outputs[:, -1]) * activity, labiodental)
        closure = held_together(shut, lip_gaps(motion).max(1)) * near_speech
        landmarks = rest + expressive_motion(motion, emotion, rest, closure)
        return keep_lips_apart(landmarks, rest).astype(np.float32), closure.astype(np.float32)

    @torch.inference_mode()
    def analyse(self, speech: np.ndarray) -> Iterator[SpeechWindow]:
        """What the network makes of speech (N,) float32, 16 kHz mono, whoever says it: window by window, in order."""
        speech = np.asarray(speech, np.float32)
        power = speech_power(speech)
        activity = speech_activity(speech, power)
        near_speech = nearness_of_speech(activity)
        breath = breaths(activity)
        ramp = (np.arange(FADE_FRAMES, dtype=np.float32)[:, None] + 0.5) / FADE_FRAMES
        tail = None  # of the previous window: the frames that are cross-faded
        for first in range(-FADE_FRAMES // 2, len(activity), HOP_FRAMES):
            mel = log_mel(speech, power, first - CONTEXT_FRAMES, WINDOW_FRAMES + 2 * CONTEXT_FRAMES)
            predicted = self.network.with_features(torch.from_numpy(mel)[None].to(self.device))
            outputs, features = (values[0].float().cpu().numpy() for values in predicted)
            within = np.arange(first, first + WINDOW_FRAMES)
            inside = (within >= 0) & (within < len(activity))
            active = np.where(inside, activity[np.clip(within, 0, len(activity) - 1)], 0)
            split = outputs.shape[1]
            outputs = shaped_outputs(outputs, consonant_shares(features), active)
            outputs = np.concatenate([outputs, features * active[:, None]], 1)
            if tail is not None:
                outputs[:FADE_FRAMES] = tail + ramp * (outputs[:FADE_FRAMES] - tail)
            tail = outputs[HOP_FRAMES:]
            frames = slice(max(first, 0), min(first + HOP_FRAMES, len(activity)))
            window = slice(frames.start - first, frames.stop - first)
            values = outputs[window]
            yield SpeechWindow(
                values[:, :split],
                activity[frames],
                near_speech[frames],
                values[:, split],
                values[:, split + 1 : split + 3],
                breath[frames],
                values[:, split + 3 :].astype(np.float16),
            )


@cache
def load_speech2landmarks(device: str | torch.device = "cpu") -> Speech2Landmarks:
    """The trained network on a device; read once per device."""
    device = torch.device(device)
    with safe_open(WEIGHTS, "pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    basis = arrays.pop("basis").numpy()
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


def breaths(activity: np.ndarray) -> np.ndarray:
    """By how much breaths part the lips (T,), in outer-eye-corner distances, before activity (T,) rises."""
    parted = np.zeros(BREATH_FRAMES + len(activity), np.float32)
    for onset in (np.flatnonzero((activity[:-1] < 0.5) & (activity[1:] >= 0.5)) + 1).tolist():
        parted[onset : onset + BREATH_FRAMES] = np.hanning(BREATH_FRAMES + 2)[1:-1]
    return BREATH_GAP * parted[BREATH_FRAMES:] * (1 - activity)


def nearness_of_speech(activity: np.ndarray) -> np.ndarray:
    """(T,) how near there is speech, 0 … 1, of its activity (T,)."""
    return np.clip(NEAR_SPEECH_GAIN * smooth(activity, NEAR_SPEECH), 0, 1)


def shaped_outputs(outputs: np.ndarray, consonants: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """The network's outputs (T, coefficients + 1) as the mouth follows them, and three columns of consonants.

    ``consonants`` (T, 3) are their shares as given by ``consonant_shares``, ``activity`` (T,) is that of the speech.
    """
    shaped = prepare_onsets(np.column_stack([outputs, consonants]), activity)
    logit, shares = shaped[:, -4], shaped[:, -3:] * activity[:, None]
    shut = open_between_closures(close_between_openings(logit))
    # Lips are apart where the tongue is between the teeth.
    shaped[:, -4] = shut - shares[:, 2] * np.maximum(shut - SHUT_FROM, 0)
    shaped[:, -3:] = shares
    return shaped


def prepare_onsets(outputs: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """Outputs (T, columns) with the shape of a word's beginning in the frames before it, where activity (T,) rises.

    A speaker's lips take the shape of the first sound before it is heard.
    """
    prepared = outputs.copy()
    onsets = np.flatnonzero((activity[:-1] < 0.5) & (activity[1:] >= 0.5)) + 1  # at most a frame before the sound
    for onset in onsets.tolist():
        begin = onset
        while begin > 0 and activity[begin - 1] < activity[begin]:
            begin -= 1
        prepared[begin : onset + 1] = outputs[onset + 1 : onset + 2] if onset + 1 < len(outputs) else outputs[onset]
    return prepared


def close_between_openings(logit: np.ndarray) -> np.ndarray:
    """Closure logits (T,), higher where a peak between two openings would not shut the lips."""
    height = _height_of_peaks(np.minimum(logit, SURELY_SHUT), PEAK_REACH)
    closed = np.clip((height - PEAK_FROM) / (PEAK_AT - PEAK_FROM), 0, 1)
    closed = closed * np.clip((logit - PEAK_LEAST) / (PEAK_SURE - PEAK_LEAST), 0, 1)
    return logit + closed * np.maximum(SHUT_AT - logit, 0)


def open_between_closures(logit: np.ndarray) -> np.ndarray:
    """Closure logits (T,), lower where a dip between two closures, such as in "mama", would leave the lips shut."""
    depth = _height_of_peaks(-np.minimum(logit, SURELY_SHUT), DIP_REACH)
    opened = np.clip((depth - DIP_FROM) / (DIP_AT - DIP_FROM), 0, 1)
    shut = np.clip(logit, SHUT_FROM, SHUT_AT)
    return np.where(opened > 0, np.minimum(logit, shut - opened * (shut - SHUT_FROM)), logit)


def _height_of_peaks(curve: np.ndarray, reach: int) -> np.ndarray:
    """How far a curve (T,) is above the lowest values up to ``reach`` frames before and after, the higher of both."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(curve, reach, "edge"), 2 * reach + 1)
    return curve - np.maximum(around[:, : reach + 1].min(1), around[:, reach:].min(1))


def resting_face(portrait: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The portrait's normalized landmarks (478, 3) with its mouth closed; a closed mouth is returned as it is.

    Args:
        portrait: (478, 3) normalized landmarks.
        basis: (coefficients, 478, 3) how jaw, cheeks and lips move together when a mouth closes.
    """
    portrait = np.asarray(portrait, np.float64)
    closing = np.maximum(lip_gaps(portrait) - CLOSED_GAP, 0)
    if not closing.any():
        return portrait
    gaps = lip_gaps(basis)  # (coefficients, pairs): by how much each opens the lips
    coefficients = np.linalg.solve(gaps @ gaps.T + CLOSING_PRIOR * np.eye(len(gaps)), gaps @ closing)
    closed = portrait - np.tensordot(coefficients, basis, 1)
    # What the basis leaves open or closes too far is split between both lips, including their outer rims.
    excess = lip_gaps(closed) - (lip_gaps(portrait) - closing)
    return move_lips(closed, excess[..., None] / 2 * DOWN)


def speech_scale(rest: np.ndarray) -> np.ndarray:
    """Factors (3,) of x, y and z by which speech moves a resting face (478, 3) more or less than the canonical one.

    They grow with the width of its mouth; the first falls with its smile.
    """
    width, canonical = (np.linalg.norm(np.subtract(*face[MOUTH_CORNERS])) for face in (rest, canonical_face().vertices))
    scale = np.clip(width / canonical, *MOUTH_SCALES)
    return np.array([scale * np.exp(-SMILE_NARROWS * smile_of(rest)), scale, scale])


def lip_gaps(landmarks: np.ndarray) -> np.ndarray:
    """Vertical distances (…, 9) between the inner lips of landmarks (…, 478, 3), left to right, without the corners."""
    return landmarks[..., LOWER, 1] - landmarks[..., UPPER, 1]


def closure_share(logit: np.ndarray) -> np.ndarray:
    """How far lips are brought together (T,), from 0 not at all to 1 until they touch, for closure logits (T,)."""
    return np.clip((logit - SHUT_FROM) / (SHUT_AT - SHUT_FROM), 0, 1)


def held_together(shut: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """How far speech holds lips together (T,), for closure shares (T,) and the lip gap of speech (T,)."""
    return np.maximum(shut, WIDE_HOLD + (NARROW_HOLD - WIDE_HOLD) * smoothstep(1 - gap / NARROW_GAP))


def close_lips(motion: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) with the gap between the lips reduced by a share (T,): regression alone rarely closes it."""
    return move_lips(motion, (motion[:, LOWER] - motion[:, UPPER]) / 2 * share[:, None, None])


def shape_labiodentals(motion: np.ndarray, share: np.ndarray, articulation: float | np.ndarray = 1.0) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face with its lower lip at the upper incisors, by a share (T,), for /f v/.

    ``articulation``, one number or (T, 1), scales the shape.
    """
    shape = np.reshape(articulation, (-1, 1, 1)) * load_consonants().labiodental_shape
    held = shape + KEPT_IN_LABIODENTALS * close_lips(motion, np.ones(len(motion)))
    return motion + share[:, None, None] * (held - motion)


def shape_dentals(motion: np.ndarray, share: np.ndarray, articulation: float | np.ndarray = 1.0) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face with its lips apart for the tongue, by a share (T,), for /θ ð/.

    ``articulation``, one number or (T, 1), scales the shape.
    """
    held = np.reshape(articulation, (-1, 1, 1)) * load_consonants().dental_shape + KEPT_IN_DENTALS * motion
    return motion + share[:, None, None] * (held - motion)


def limit_opening(motion: np.ndarray) -> np.ndarray:
    """Motion (T, 478, 3) of the canonical face, made smaller where it would open the mouth further than a jaw can."""
    gap = lip_gaps(motion).max(-1)
    room = WIDEST_GAP - FREE_GAP
    limited = FREE_GAP + room * np.tanh(np.maximum(gap - FREE_GAP, 0) / room)
    return motion * np.where(gap > FREE_GAP, limited / np.maximum(gap, FREE_GAP), 1)[:, None, None]


def keep_lips_apart(landmarks: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) whose lips touch but never intersect; ``rest`` (478, 3) is the resting face."""
    excess = np.minimum(lip_gaps(landmarks) - np.clip(lip_gaps(rest), 0, CLOSED_GAP), 0)
    return move_lips(landmarks, excess[..., None] / 2 * DOWN)


def move_lips(landmarks: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Moves the upper lip by ``amount`` (…, 9, 3) and the lower one by its opposite; the outer rims by half of it."""
    moved = landmarks.copy()
    for points, share in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 0.5), (OUTER_LOWER, -0.5)):
        moved[..., points, :] += share * amount
    return moved
