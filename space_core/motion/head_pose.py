"""Head motion that is generated for a speech, from its loudness; ``head_pose_transfer`` has that of a video.

It is a ``HeadPose`` that starts at the photo's own pose. The head rotates about the neck, so a rotation moves the point
between the eyes.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.assets import weights_path
from space_core.face.normalization import HeadPose
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.loudness import smooth
from space_core.motion.prosody import Prosody
from space_core.motion.speaker_variation import speaker_deviation
from space_core.timing import FPS

WEIGHTS = weights_path("head_pose.safetensors")

# Offsets from the photo's pose, (T, 6): yaw, pitch, roll in degrees; sideways and vertical sway of the neck in units of
# the normalized face; logarithm of the scale.
NUM_CHANNELS = 6
YAW, PITCH, ROLL, SWAY_X, SWAY_Y, LOG_SCALE = range(NUM_CHANNELS)

MAX_ROTATION = 15.0  # degrees from the photo's pose in any angle, for generated motion
# Degrees. No head turns further from the camera than MAX_YAW, as the photo has no pixels of a profile; but every head
# may turn by MIN_TURN from the photo's yaw.
MAX_YAW, MIN_TURN = 50.0, 11.0
MAX_SWAY = np.array([0.15, 0.12, 0.08])  # of SWAY_X, SWAY_Y, LOG_SCALE
LINEAR_PART = 0.6  # of a limit: up to here motion is unchanged, beyond it is compressed

# The motion is a random process on a clock that runs faster in speech than in pauses: in pauses the head slows down
# where it is, and never stops.
CLOCK_IN_SPEECH = 1.15
CLOCK_IN_SILENCE = 0.22
CLOCK_SMOOTHING = 0.25 * FPS  # frames (standard deviation)
# The process is driven by noise of log-normal amplitude, 1 in speech.
AMPLITUDE_DURATION = 0.15 * FPS  # frames (standard deviation) over which it varies
AMPLITUDE_SPREAD = np.array([0.9, 0.35, 0.9, 0.9, 0.35, 0.5])  # of its logarithm, by channel: nods are most regular
MAX_AMPLITUDE = 1.6  # standard deviations of its logarithm
AMPLITUDE_IN_SILENCE = 0.4
# Recorded heads are 40 % faster than on average just before a phrase begins. Added to the amplitude for each unit per
# second by which speaking (0 … 1) rises, so many frames earlier.
ONSET_AMPLITUDE, ONSET_LEAD_FRAMES = 1.3, round(0.12 * FPS)
FARTHEST = 4.5  # standard deviations of the motion, at most
MAX_SPREAD = 0.5  # of the logarithm of a random speaker's deviation: 0.61 to 1.65 times the typical one

EASE_IN_FRAMES = 0.5 * FPS  # over which all motion sets in
NOD_BAND = 0.5 * FPS  # frames (standard deviation); slower changes of loudness are not syllables
# Nods on accents: recorded chins are highest a fifth of a second before an accented syllable. Degrees per unit of
# accent, in addition to the nods that follow the loudness.
ACCENT_LEAD_FRAMES = 5
ACCENT_NOD, ACCENT_NOD_WIDTH = 0.35, 0.14 * FPS  # frames, standard deviation
NOD_SPREAD = 0.6  # of the logarithm of the nods' amplitude …
NOD_SPREAD_DURATION = 0.5 * FPS  # … which varies over so many frames

BREATH_RATE = 0.24  # Hz
BREATH_SPREAD, BREATH_SPREAD_DURATION = 0.2, 4 * FPS  # of the rate's logarithm; frames over which it varies
BREATH = np.array([0.0, 0.22, 0.05, 0.0, 0.004, 0.0])  # amplitude in each channel

# Yaw, pitch, roll in degrees at intensity 1; anger and contempt as both actors of MEAD turn their heads. In contempt
# these tilt by 10 and 5 degrees, away from the raised corner of the mouth.
ATTITUDES = {
    "angry": (0.0, -3.0, 0.0),
    "contempt": (0.0, 1.5, -5.0),
    "sad": (0.0, -3.0, 3.5),
    "surprised": (0.0, 1.5, 0.0),
}
ATTITUDE_SMOOTHING = 0.4 * FPS  # frames, standard deviation
ATTITUDE_STREAM = 4  # of random numbers of a seed; others are for head motion, blinks, gaze and the upper face


@dataclass(frozen=True)
class HeadMotionModel:
    """Statistics of recorded speakers' head motion (``space_core/training/head_pose.py``).

    Attributes:
        frequencies: (F,) Hz, evenly spaced from 0.
        factors: (F, 6, 6) complex; ``factors @ factors^H`` is the cross-spectral density of the six offsets, each
            scaled to a standard deviation of one.
        deviation: (6,) typical standard deviation of each offset.
        spread: (6,) standard deviation, over speakers, of its logarithm.
        nod_kernel: (2K + 1,) degrees of pitch around a syllable, per unit of its loudness.
        pivot: (3,) the point about which heads rotate, in units of the normalized face.
    """

    frequencies: np.ndarray
    factors: np.ndarray
    deviation: np.ndarray
    spread: np.ndarray
    nod_kernel: np.ndarray
    pivot: np.ndarray


@cache
def head_motion_model() -> HeadMotionModel:
    """The shipped model, read once."""
    arrays = {name: array.astype(np.float64) for name, array in load_file(WEIGHTS).items()}
    factors = arrays.pop("factors_real") + 1j * arrays.pop("factors_imaginary")
    return HeadMotionModel(factors=factors, **arrays)


def generate_head_pose(
    prosody: Prosody,
    photo: HeadPose,
    amount: float,
    seed: int,
    attitude: np.ndarray | None = None,
) -> HeadPose:
    """Natural head motion for a speech.

    Args:
        prosody: of the T frames of the speech.
        photo: the photo's own pose, of length 1. The motion starts there, and its translation scales with the face.
        amount: 0 (exactly still), 1 (as recorded) … 1.5.
        seed: of the random process; the same seed gives the same motion.
        attitude: (T, 3) yaw, pitch, roll in degrees, added at an amount of 1; see ``head_attitude``.

    Returns:
        A head pose of T frames, within ±15° of the photo's in every angle; see ``rotation_limits``.
    """
    loud = prosody.loudness
    num_frames = len(loud)
    if amount == 0 or num_frames == 0:
        return offset_pose(np.zeros((num_frames, NUM_CHANNELS)), photo, np.zeros(3))
    random = np.random.default_rng(seed)
    model = head_motion_model()
    ease_in = ease(np.arange(num_frames) / EASE_IN_FRAMES)

    # 1. Rotation and sway: a random process with the model's spectrum.
    deviation = speaker_deviation(model.deviation, model.spread, MAX_SPREAD, random)
    motion = _random_motion(model, loud, random) * deviation

    # 2. Nods on stressed syllables.
    amplitude = _lognormal(num_frames, NOD_SPREAD_DURATION, NOD_SPREAD, random)
    motion[:, PITCH] += ease_in * (nods(loud, model.nod_kernel) + accent_nods(prosody)) * amplitude

    # 3. Breathing, also in silence.
    rate = BREATH_RATE * _lognormal(num_frames, BREATH_SPREAD_DURATION, BREATH_SPREAD, random)
    motion += ease_in[:, None] * breathing(np.cumsum(rate) / FPS + random.random())

    # 4. Its attitude in an emotion.
    if attitude is not None:
        motion[:, YAW : ROLL + 1] += attitude

    return moved_head((motion - motion[0]) * amount, photo)


def breathing(cycles: np.ndarray) -> np.ndarray:
    """Offsets (T, 6) of breathing, after so many breaths (T,)."""
    return np.sin(2 * np.pi * cycles)[:, None] * BREATH


def moved_head(motion: np.ndarray, photo: HeadPose) -> HeadPose:
    """The head poses of generated offsets (T, 6) from the photo's pose, within their limits."""
    limits = np.hstack(
        [rotation_limits(motion[:, YAW : ROLL + 1], photo, MAX_ROTATION), np.tile(MAX_SWAY, (len(motion), 1))]
    )
    return offset_pose(soft_limit(motion, limits), photo, head_motion_model().pivot)


def rotation_limits(angles: np.ndarray, photo: HeadPose, farthest: float) -> np.ndarray:
    """(T, 3) how far yaw, pitch and roll (T, 3) may be from the photo's pose, degrees: ``farthest``, or less.

    Turns that lead further away from the camera are limited more strongly the further the photo's head is turned.
    """
    limits = np.full(angles.shape, farthest)
    yaw = photo.rotation[0, 0]
    limits[angles[:, 0] * yaw > 0, 0] = min(farthest, max(MAX_YAW - abs(yaw), MIN_TURN))
    return limits


def head_attitude(emotion: np.ndarray, seed: int) -> np.ndarray:
    """How an emotion turns the head, (T, 3) yaw, pitch, roll in degrees, for an emotion curve (T, 8).

    Varies slowly; 0 without emotion. The seed chooses the side to which the head tilts, except in contempt, where the
    face decides it: contempt raises one corner of the mouth.
    """
    turned = emotion @ attitudes(seed)
    return smooth(turned, ATTITUDE_SMOOTHING) if len(emotion) else turned


def attitudes(seed: int) -> np.ndarray:
    """(8, 3) yaw, pitch, roll in degrees, by how much each emotion turns the head."""
    turn = np.array([ATTITUDES.get(label, (0.0, 0.0, 0.0)) for label in EMOTIONS])
    side = np.random.default_rng([seed, ATTITUDE_STREAM]).choice([-1.0, 1.0])
    sides = np.array([[1.0 if label == "contempt" else side] for label in EMOTIONS])
    return np.where([True, False, True], sides, 1) * turn


def nods(loud: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Degrees of pitch (T,) for the syllables of a loudness curve (T,), filtered by a kernel (2K + 1,)."""
    syllables = loud - smooth(loud, NOD_BAND)
    radius = len(kernel) // 2
    return np.convolve(np.pad(syllables, radius), kernel, mode="valid")


def accent_nods(prosody: Prosody) -> np.ndarray:
    """Degrees of pitch (T,) on accented syllables: the chin is raised before and falls onto them."""
    num_frames = len(prosody.loudness)
    pulses = np.zeros(num_frames)
    np.add.at(pulses, np.maximum(prosody.syllables - ACCENT_LEAD_FRAMES, 0), prosody.accents)
    raised = smooth(pulses, ACCENT_NOD_WIDTH) * np.sqrt(2 * np.pi) * ACCENT_NOD_WIDTH
    return ACCENT_NOD * (raised - smooth(raised, NOD_BAND * 2))


def _random_motion(model: HeadMotionModel, loud: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(T, 6) motion with the model's spectrum, of standard deviation one after a start from rest."""
    rate, by_speech = drive(loud)
    clock = np.cumsum(rate) - rate[0]  # (T,) the time of the process at each frame, in frames

    # White noise of varying amplitude still has a flat spectrum, which the model's factors shape.
    ticks = np.arange(int(clock[-1]) + 1)
    variation = noise_variation(_smooth_noise(len(ticks), AMPLITUDE_DURATION, random))
    amplitude = np.interp(ticks, clock, by_speech)[:, None] * variation
    power = np.maximum((amplitude**2).mean(0), (variation**2).mean(0))
    amplitude *= ease(ticks / EASE_IN_FRAMES)[:, None] / np.sqrt(power)
    noise = amplitude * random.standard_normal((len(ticks), NUM_CHANNELS))

    from scipy.interpolate import CubicSpline  # takes 0.2 s to import

    # Filtering by FFT is circular, so the noise is padded for the motion to decay.
    length = 2 * (len(ticks) // 2) + 30 * FPS
    factors = minimum_phase_factors(model, np.fft.rfftfreq(length, 1 / FPS))
    spectrum = factors @ np.fft.rfft(noise, length, axis=0)[:, :, None]
    motion = np.fft.irfft(spectrum[:, :, 0] * np.sqrt(FPS / 2), length, axis=0)
    return soft_limit(CubicSpline(np.arange(length), motion)(clock), np.full(NUM_CHANNELS, FARTHEST))


def drive(loud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How speech of a loudness (T,) drives the process: the rate of its clock (T,) and the noise's amplitude (T,)."""
    speaking = np.clip(2 * smooth(loud, CLOCK_SMOOTHING), 0, 1)
    rate = CLOCK_IN_SILENCE + (CLOCK_IN_SPEECH - CLOCK_IN_SILENCE) * speaking
    ahead = np.pad(speaking, (0, ONSET_LEAD_FRAMES + 1), mode="edge")[ONSET_LEAD_FRAMES:]
    onsets = FPS * np.clip(np.diff(ahead), 0, None)
    return rate, AMPLITUDE_IN_SILENCE + (1 - AMPLITUDE_IN_SILENCE) * speaking + ONSET_AMPLITUDE * onsets


def noise_variation(noise: np.ndarray) -> np.ndarray:
    """(T, 6) how the amplitude of the driving noise varies with smooth noise (T,) of standard deviation one."""
    return np.exp(AMPLITUDE_SPREAD * noise.clip(max=MAX_AMPLITUDE)[:, None])


def minimum_phase_factors(model: HeadMotionModel, frequencies: np.ndarray) -> np.ndarray:
    """The model's factors (F, 6, 6) at evenly spaced frequencies (F,) from 0, as causal filters.

    All share one phase, the minimum phase of their norm (from its cepstrum), so that no motion precedes the noise.
    """
    step = model.frequencies[1]
    below = np.minimum((frequencies / step).astype(int), len(model.frequencies) - 2)
    above = np.clip(frequencies / step - below, 0, 1)[:, None, None]
    factors = model.factors[below] * (1 - above) + model.factors[below + 1] * above
    # Beyond the model's band heads do not move; with its last value there they would tremble.
    factors *= frequencies[:, None, None] <= model.frequencies[-1]
    size = np.linalg.norm(factors, axis=(1, 2))
    cepstrum = np.fft.irfft(np.log(np.maximum(size, 1e-3 * size.max())))
    middle = len(cepstrum) // 2
    cepstrum[1:middle] *= 2
    cepstrum[middle + 1 :] = 0
    return factors * np.exp(1j * np.fft.rfft(cepstrum).imag)[:, None, None]


def _lognormal(num_frames: int, duration: float, spread: float, random: np.random.Generator) -> np.ndarray:
    """(T,) a log-normal process of mean one: smooth over ``duration`` frames, ``spread`` of its logarithm."""
    return lognormal(_smooth_noise(num_frames, duration, random), spread)


def lognormal(noise: np.ndarray, spread: float) -> np.ndarray:
    """Log-normal noise of mean one, of Gaussian noise of any shape and standard deviation one.

    ``spread`` is the standard deviation of its logarithm.
    """
    return np.exp(spread * noise - spread**2 / 2)


def _smooth_noise(num_frames: int, duration: float, random: np.random.Generator) -> np.ndarray:
    """(T,) Gaussian noise of standard deviation one, smooth over ``duration`` frames."""
    margin = round(3 * duration) + 1
    noise = smooth(random.standard_normal(num_frames + 2 * margin), duration)[margin:][:num_frames]
    return noise * np.sqrt(2 * np.sqrt(np.pi) * duration)


def soft_limit(values: np.ndarray, limits: np.ndarray, linear_part: float = LINEAR_PART) -> np.ndarray:
    """Values (T, C), unchanged up to a part of their limits (C,) or (T, C) and compressed smoothly beyond."""
    linear = linear_part * limits
    size = np.abs(values)
    compressed = linear + (limits - linear) * np.tanh((size - linear) / (limits - linear))
    return np.sign(values) * np.where(size > linear, compressed, size)


def offset_pose(offsets: np.ndarray, photo: HeadPose, pivot: np.ndarray) -> HeadPose:
    """The photo's pose moved by offsets (T, 6), rotated about the pivot (3,)."""
    scale = photo.scale * np.exp(offsets[:, LOG_SCALE])
    turned = HeadPose(photo.rotation + offsets[:, YAW : ROLL + 1], photo.translation.repeat(len(offsets), 0), scale)
    # The pivot stays at its place in the photo, except for the sway.
    arm = photo.scale[:, None] * (photo.matrices @ pivot) - scale[:, None] * (turned.matrices @ pivot)
    sway = np.zeros((len(offsets), 3))
    sway[:, :2] = offsets[:, SWAY_X : SWAY_Y + 1] * photo.scale[:, None]
    return HeadPose(turned.rotation, turned.translation + arm + sway, scale)


def ease(progress: np.ndarray) -> np.ndarray:
    """From 0 at progress 0 to 1 at progress 1, of any shape, with zero velocity and acceleration at the ends."""
    progress = np.clip(progress, 0, 1)
    return progress**3 * (10 - 15 * progress + 6 * progress**2)
