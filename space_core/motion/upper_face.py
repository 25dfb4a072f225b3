"""The upper face in speech: brows, lids and cheeks that move with accents and pauses, as strengths of action units.

A random process with the statistics of recorded speakers (``space_core/training/upper_face.py``): one part follows from
the prosody by kernels fitted to the clips, the rest is noise of the recorded spectrum. Both rest in silence.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.arrays import smoothstep
from space_core.assets import weights_path
from space_core.motion.action_unit_labels import UNIT_COLUMNS
from space_core.motion.action_units import MILLIMETRES, column_shapes
from space_core.motion.loudness import smooth
from space_core.motion.prosody import Prosody
from space_core.motion.speaker_variation import speaker_deviation
from space_core.timing import FPS

WEIGHTS = weights_path("upper_face.safetensors")

# What is modelled, in millimetres: height of the brows; height of their inner halves above their outer halves; how near
# their inner ends are to each other; height of the cheeks; opening of the lids.
CHANNELS = ("brows", "inner_brows", "knit", "cheeks", "lids")
BROWS, INNER_BROWS, KNIT, CHEEKS, LIDS = range(len(CHANNELS))
UNITS = ("1", "2", "4", "6", "5")  # that move these, in the same order
LEFT_INNER, LEFT_OUTER = (107, 66), (105, 63)  # points of the left brow as seen in the image
RIGHT_INNER, RIGHT_OUTER = (336, 296), (334, 293)
LEFT_CHEEK, RIGHT_CHEEK = (117, 118), (346, 347)
UPPER_LIDS, LOWER_LIDS = (159, 386), (145, 374)

FEATURES = ("accent", "pitch", "loudness", "speaking")  # of the prosody
FEATURE_MEANS, FEATURE_DEVIATIONS = np.array([0.45, 0.0, 0.5, 0.8]), np.array([0.55, 2.5, 0.3, 0.3])  # in speech
KERNEL_RADIUS = 12  # frames

# Share of the standard deviation that follows the prosody. A linear fit explains only 0.15 of it, as motion that
# follows accents with a varying delay averages out; with this share brows rise on accents as often as recorded.
FOLLOWING = 0.5
SKEWNESS = 0.3  # of the logarithm of the motion: brows go further up than down, as recorded
GAIN = 1.5  # compensates for rests, easing in and drift slower than a clip, which reduce the standard deviation
LIDS_WITH_BROWS = 0.25  # millimetres of lid per millimetre of brow
FARTHEST = 5.0  # typical deviations that motion approaches and never exceeds
EASE_IN = 0.6 * FPS  # frames from the photo's face
REST_SMOOTHING = 0.35 * FPS  # frames over which motion rests in a pause
# Of the smoothed speaking, 0…1: up to the first there is no motion, and over the second it grows to all of it.
SILENT, TRANSITION = 0.08, 0.55
MAX_SPREAD = 0.3  # of the logarithm of a random speaker's deviation: 0.74 to 1.35 times the typical one
AMPLITUDE_DURATION, AMPLITUDE_SPREAD = 2.0 * FPS, 0.35  # of the slow variation of the amplitude
STREAM = 3  # of random numbers of a seed; others are for head motion, blinks and gaze


@dataclass(frozen=True)
class UpperFaceModel:
    """Statistics of recorded speakers' upper faces.

    Attributes:
        frequencies: (F,) Hz, evenly spaced from 0.
        amplitudes: (channels, F) square roots of the power spectral densities, of a standard deviation of one.
        kernels: (channels, features, 2 * KERNEL_RADIUS + 1) response to each feature of a standard deviation of one.
        deviation: (channels,) typical standard deviation, millimetres.
        spread: (channels,) standard deviation, over speakers, of its logarithm.
    """

    frequencies: np.ndarray
    amplitudes: np.ndarray
    kernels: np.ndarray
    deviation: np.ndarray
    spread: np.ndarray


@cache
def upper_face_model() -> UpperFaceModel:
    """The shipped model, read once."""
    return UpperFaceModel(**{name: array.astype(np.float64) for name, array in load_file(WEIGHTS).items()})


def upper_face_units(prosody: Prosody, expressiveness: float, seed: int) -> np.ndarray:
    """Strengths (T, columns) float32 of the action units with which the upper face accompanies speech.

    Args:
        prosody: of the T frames.
        expressiveness: 0 (all zero), 1 (as recorded) … 1.5.
        seed: of the random process; the same seed gives the same motion.
    """
    num_frames = len(prosody.loudness)
    if expressiveness == 0 or num_frames == 0:
        return np.zeros((num_frames, len(UNIT_COLUMNS)), np.float32)
    return motion_units(expressiveness * upper_face_motion(prosody, seed))


def motion_units(motion: np.ndarray) -> np.ndarray:
    """Strengths (T, columns) float32 of the action units that make a motion (T, channels) in millimetres."""
    strengths = np.zeros((len(motion), len(UNIT_COLUMNS)), np.float32)
    for unit, values in zip(UNITS, (motion @ _units_per_millimetre()).T, strict=True):
        for side in "LR":
            strengths[:, UNIT_COLUMNS.index(unit + side)] = np.clip(values, -1, 1)
    return strengths


def upper_face_motion(prosody: Prosody, seed: int) -> np.ndarray:
    """Motion (T, channels) in millimetres, in the order of ``CHANNELS``, at an expressiveness of 1."""
    model, random = upper_face_model(), np.random.default_rng([seed, STREAM])
    num_frames = len(prosody.loudness)
    following = prosodic_part(prosody, model)
    noise = _coloured_noise(model, num_frames, random)
    margin = round(3 * AMPLITUDE_DURATION)
    slow = smooth(random.standard_normal(num_frames + 2 * margin), AMPLITUDE_DURATION)[margin:][:num_frames]
    slow *= np.sqrt(2 * np.sqrt(np.pi) * AMPLITUDE_DURATION)
    return combined_motion(
        following,
        noise,
        slow,
        speech_share(prosody),
        np.arange(num_frames),
        speaker_deviation(model.deviation, model.spread, MAX_SPREAD, random),
    )


def combined_motion(
    following: np.ndarray,
    noise: np.ndarray,
    slow: np.ndarray,
    share: np.ndarray,
    frames: np.ndarray,
    deviation: np.ndarray,
) -> np.ndarray:
    """Motion (T, channels) in millimetres.

    Args:
        following: (T, channels) what follows the prosody, of a standard deviation of one.
        noise: (T, channels) what does not, of a standard deviation of one.
        slow: (T,) slow noise that varies the amplitude.
        share: (T,) of the motion, 0 in silence; see ``speech_share``.
        frames: (T,) of the film, which starts with the photo's face.
        deviation: (channels,) of the speaker, see ``speaker_deviation``.
    """
    motion = FOLLOWING * following + np.sqrt(1 - FOLLOWING**2) * noise
    motion[:, BROWS] = (np.exp(SKEWNESS * motion[:, BROWS]) - np.exp(SKEWNESS**2 / 2)) / SKEWNESS
    amplitude = np.exp(AMPLITUDE_SPREAD * slow - AMPLITUDE_SPREAD**2) * share
    amplitude *= smoothstep(frames / EASE_IN)
    motion *= GAIN * amplitude[:, None] * deviation
    limit = FARTHEST * upper_face_model().deviation
    motion = limit * np.tanh(motion / limit)
    motion[:, LIDS] += LIDS_WITH_BROWS * motion[:, BROWS]
    return motion


def prosodic_part(prosody: Prosody, model: UpperFaceModel) -> np.ndarray:
    """(T, channels) the response to the prosody, of a standard deviation of about one in speech."""
    radius = KERNEL_RADIUS
    features = np.pad(feature_curves(prosody), [(radius, radius), (0, 0)])
    return np.stack(
        [
            sum(np.convolve(features[:, f], kernel[f], "valid") for f in range(len(FEATURES)))
            for kernel in model.kernels
        ],
        axis=1,
    )


def feature_curves(prosody: Prosody) -> np.ndarray:
    """(T, features) accent, pitch, loudness and whether there is speech, scaled to about unit variance."""
    raw = np.stack([prosody.accent, prosody.pitch, prosody.loudness, prosody.speaking], axis=1)
    return (raw - FEATURE_MEANS) / FEATURE_DEVIATIONS


def channels_of(landmarks: np.ndarray) -> np.ndarray:
    """The channels (T, channels) of normalized landmarks (T, 478, 3), in millimetres."""
    up = -landmarks[..., 1]

    def height(*groups: tuple[int, ...]) -> np.ndarray:
        return up[:, [point for group in groups for point in group]].mean(1)

    inner, outer = height(LEFT_INNER, RIGHT_INNER), height(LEFT_OUTER, RIGHT_OUTER)
    knit = landmarks[:, LEFT_INNER[0], 0] - landmarks[:, RIGHT_INNER[0], 0]
    lids = height(UPPER_LIDS) - height(LOWER_LIDS)
    cheeks = height(LEFT_CHEEK, RIGHT_CHEEK)
    return MILLIMETRES * np.stack([(inner + outer) / 2, inner - outer, knit, cheeks, lids], axis=1)


@cache
def _units_per_millimetre() -> np.ndarray:
    """(channels, units) strengths of ``UNITS`` that move each channel by a millimetre and no other."""
    shapes = column_shapes()
    both = np.stack([sum(shapes[UNIT_COLUMNS.index(unit + side)] for side in "LR") for unit in UNITS])
    return np.linalg.inv(channels_of(both))


def speech_share(prosody: Prosody) -> np.ndarray:
    """(T,) 1 in speech, 0 in silence that lasts, with a smooth transition."""
    active = smooth(prosody.speaking, REST_SMOOTHING)
    return np.clip((active - SILENT) / TRANSITION, 0, 1)


def _coloured_noise(model: UpperFaceModel, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """(T, channels) Gaussian noise with the model's spectra, of a standard deviation of one."""
    length = 2 * (num_frames // 2) + 8 * FPS  # the filter is circular; the end is cut off
    frequencies = np.fft.rfftfreq(length, 1 / FPS)
    noise = np.fft.rfft(random.standard_normal((length, len(CHANNELS))), axis=0)
    for channel, amplitude in enumerate(model.amplitudes):
        noise[:, channel] *= np.interp(frequencies, model.frequencies, amplitude) * np.sqrt(FPS / 2)
    return np.fft.irfft(noise, length, axis=0)[:num_frames]
