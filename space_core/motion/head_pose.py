"""Head motion for a speech: generated from its energy and rhythm, or transferred from the track of a video.

Both give a ``HeadPose`` that starts at the photo's own pose. The head turns about the neck, so a rotation brings the
translation of the point between the eyes with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from space_core.assets import weights_path
from space_core.errors import SpaceError
from space_core.face.normalization import HeadPose, normalize
from space_core.motion.loudness import loudness, smooth
from space_core.timing import FPS

WEIGHTS = weights_path("head_pose.safetensors")

# Offsets from the photo's pose, (T, 6): yaw, pitch, roll in degrees; sideways and vertical sway of the neck in units of
# the normalized face; logarithm of the scale.
NUM_CHANNELS = 6
YAW, PITCH, ROLL, SWAY_X, SWAY_Y, LOG_SCALE = range(NUM_CHANNELS)

MAX_ROTATION = 15.0  # degrees from the photo's pose in any angle, for generated motion
MAX_TRANSFERRED_ROTATION = 25.0  # … and for transferred motion
MAX_SWAY = np.array([0.15, 0.12, 0.08])  # of SWAY_X, SWAY_Y, LOG_SCALE
LINEAR_PART = 0.6  # of a limit: up to here motion is untouched, beyond it is squeezed

# The motion runs on a clock of its own: fast in speech, slow in pauses, so that the head settles where it is rather
# than swinging back, and so that it never freezes.
CLOCK_IN_SPEECH = 1.15
CLOCK_IN_SILENCE = 0.22
CLOCK_SMOOTHING = 0.25 * FPS  # frames (standard deviation)
# Heads move in strokes: what pushes them comes and goes over frames (standard deviation) …
STROKE_DURATION = 0.15 * FPS
# … as decidedly as this (the spread of its logarithm, by channel; nods are the most regular); weaker in pauses, …
STROKE_SPREAD = np.array([0.9, 0.35, 0.9, 0.9, 0.35, 0.5])
STRONGEST_STROKE = 1.6  # standard deviations of it
PUSH_IN_SILENCE = 0.4
# … and stronger as a phrase begins, or rather just before: the corpus's heads are 40 % faster then than on average.
ONSET_PUSH = 1.3
ONSET_LEAD = round(0.12 * FPS)
FARTHEST = 4.5  # standard deviations: where strokes that add up end

BEGINNING = 0.5 * FPS  # frames over which all motion sets in
NOD_BAND = 0.5 * FPS  # frames (standard deviation): slower changes of loudness are no syllables
NOD_VARIATION = 0.6  # spread of the logarithm of the nods' strength …
NOD_VARIATION_DURATION = 0.5 * FPS  # … and over how many frames it changes

BREATH_RATE = 0.24  # Hz
BREATH = np.array([0.0, 0.22, 0.05, 0.0, 0.004, 0.0])  # amplitude in each channel

MAX_TRANSFERRED_SHIFT = np.array([0.6, 0.45, 0.2])  # of translation in units of the normalized face, of the scale's log
SMOOTHING_WINDOW, SMOOTHING_ORDER = 9, 3  # Savitzky–Golay: takes a tracker's jitter, leaves nods of up to 3 a second
SMALLEST_FOUND_SHARE = 0.5  # of a pose video's frames must show a face
OUTLIER_REACH = 2  # frames to either side that outvote a frame in which the tracker slipped …
SMALLEST_SLIP = np.array([4.0, 4.0, 4.0, 0.06, 0.06, 0.06])  # … by this much at least
CUT = np.array([10.0, 10.0, 10.0, 0.3, 0.3, 0.15])  # from one frame to the next: no head moves so fast
SHOT_HOMING = 2.0 * FPS  # frames in which the head glides to where the next shot has it, relative to that shot's start


@dataclass(frozen=True)
class HeadMotionModel:
    """What recordings of speakers taught about heads (``space_core/training/head_pose.py``).

    Attributes:
        frequencies: (F,) Hz, evenly spaced from 0.
        factors: (F, 6, 6) complex; ``factors @ factors^H`` is the cross-spectral density of the six offsets, each
            scaled to a standard deviation of one.
        deviation: (6,) typical standard deviation of each offset.
        spread: (6,) how much that differs between speakers, as standard deviation of its logarithm.
        nod_kernel: (2K + 1,) degrees of pitch around a syllable, per unit of its loudness.
        pivot: (3,) the point of the normalized face about which heads turn.
    """

    frequencies: np.ndarray
    factors: np.ndarray
    deviation: np.ndarray
    spread: np.ndarray
    nod_kernel: np.ndarray
    pivot: np.ndarray


@cache
def head_motion_model() -> HeadMotionModel:
    """The learnt model, read once."""
    arrays = {name: array.astype(np.float64) for name, array in load_file(WEIGHTS).items()}
    factors = arrays.pop("factors_real") + 1j * arrays.pop("factors_imaginary")
    return HeadMotionModel(factors=factors, **arrays)


def generate_head_pose(speech: np.ndarray, num_frames: int, photo: HeadPose, amount: float, seed: int) -> HeadPose:
    """Natural head motion for a speech.

    Args:
        speech: (N,) float32, 16 kHz mono.
        num_frames: frames of the result, 25 a second.
        photo: the photo's own pose, of length 1. The motion starts there, and its translation scales with the face.
        amount: from 0 (exactly still) over 1 (as people move) to 1.5.
        seed: another seed, another motion; the same seed, the same motion.

    Returns:
        A head pose of ``num_frames`` frames, within ±15° of the photo's in every angle.
    """
    if amount == 0 or num_frames == 0:
        return _posed(np.zeros((num_frames, NUM_CHANNELS)), photo, np.zeros(3))
    random = np.random.default_rng(seed)
    model = head_motion_model()
    loud = loudness(speech, num_frames)
    beginning = _ease(np.arange(num_frames) / BEGINNING)

    # 1. Turns and sways: pushed in strokes, slower in pauses.
    temperament = model.deviation * np.exp(np.clip(model.spread * random.standard_normal(NUM_CHANNELS), -0.5, 0.5))
    motion = _pushed_motion(model, loud, random) * temperament

    # 2. Nods on stressed syllables.
    strength = _lognormal(num_frames, NOD_VARIATION_DURATION, NOD_VARIATION, random)
    motion[:, PITCH] += beginning * nods(loud, model.nod_kernel) * strength

    # 3. Breathing, which goes on in silence.
    rate = BREATH_RATE * _lognormal(num_frames, 4 * FPS, 0.2, random)
    phase = 2 * np.pi * (np.cumsum(rate) / FPS + random.random())
    motion += (beginning * np.sin(phase))[:, None] * BREATH

    motion = (motion - motion[0]) * amount
    limits = np.concatenate([np.full(3, MAX_ROTATION), MAX_SWAY])
    return _posed(_soft_limit(motion, limits), photo, model.pivot)


def follow_head_pose(faces: Iterable[np.ndarray | None]) -> HeadPose:
    """The head pose of each frame of a video, NaN in frames without a face.

    ``faces`` are the landmarks (478, 3) of one frame after the other, in pixels, or None; none of them is kept.
    """
    lost = HeadPose(np.full((1, 3), np.nan), np.full((1, 3), np.nan), np.full(1, np.nan))
    poses = [lost if face is None else normalize(face[None])[1] for face in faces]
    return HeadPose(
        np.concatenate([np.zeros((0, 3)), *(pose.rotation for pose in poses)]),
        np.concatenate([np.zeros((0, 3)), *(pose.translation for pose in poses)]),
        np.concatenate([np.zeros(0), *(pose.scale for pose in poses)]),
    )


def transfer_head_pose(driving: HeadPose, num_frames: int, photo: HeadPose, amount: float) -> HeadPose:
    """The head motion of a driving video, relative to its first frame with a face.

    Args:
        driving: the video's head poses at 25 frames a second, NaN where no face was found; see ``follow_head_pose``.
        num_frames: frames of the result. A shorter video is played forwards and backwards in turn.
        photo: the photo's own pose, of length 1. The motion starts there and is scaled to its face.
        amount: from 0 (exactly still) over 1 (as in the video) to 1.5.

    Returns:
        A head pose of ``num_frames`` frames, within ±25° of the photo's in every angle.

    Raises:
        SpaceError: too few of the frames show a face.
    """
    found = ~np.isnan(driving.scale)
    if not found.any():
        raise SpaceError("There is no face in the pose video; choose one that shows a person's face throughout.")
    if found.mean() < SMALLEST_FOUND_SHARE:
        raise SpaceError(
            f"Only {found.mean():.0%} of the pose video's frames show a face; choose one that shows it throughout."
        )
    pose = driving[found]
    rotation = np.unwrap(pose.rotation, axis=0, period=360)
    scale = np.median(pose.scale)  # a head that comes nearer must not inflate its own motion
    values = np.concatenate([rotation, pose.translation[:, :2] / scale, np.log(pose.scale)[:, None]], axis=1)

    # Frames before the first face and after the last are not part of the motion; those between are bridged.
    frames = np.flatnonzero(found)
    bridged = np.arange(frames[0], frames[-1] + 1)
    values = np.stack([np.interp(bridged, frames, value) for value in values.T], axis=1)
    offsets = _in_one_shot(_without_outliers(values))[_there_and_back(len(values), num_frames)]
    # After the loop is laid, so that a turn that it reverses is reversed gently.
    window = min(SMOOTHING_WINDOW, num_frames - 1 + num_frames % 2)
    if window > SMOOTHING_ORDER:
        offsets = savgol_filter(offsets, window, SMOOTHING_ORDER, axis=0)
    offsets = (offsets - offsets[:1]) * amount

    limits = np.concatenate([np.full(3, MAX_TRANSFERRED_ROTATION), MAX_TRANSFERRED_SHIFT])
    # The video's translation holds what its head's turns brought along, so nothing is added for the neck.
    return _posed(_soft_limit(offsets, limits), photo, np.zeros(3))


def nods(loud: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Degrees of pitch (T,) that go with the syllables of a loudness curve (T,), by the learnt kernel (2K + 1,)."""
    syllables = loud - smooth(loud, NOD_BAND)
    reach = len(kernel) // 2
    return np.convolve(np.pad(syllables, reach), kernel, mode="valid")


def _pushed_motion(model: HeadMotionModel, loud: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(T, 6) motion of the model's spectrum, its standard deviation one once it is under way; it starts at rest."""
    speaking = np.clip(2 * smooth(loud, CLOCK_SMOOTHING), 0, 1)
    rate = CLOCK_IN_SILENCE + (CLOCK_IN_SPEECH - CLOCK_IN_SILENCE) * speaking
    clock = np.cumsum(rate) - rate[0]  # (T,) the frame of the process that each frame shows

    # White noise whose strength comes and goes has a flat spectrum all the same; the model's factors colour it.
    ticks = np.arange(int(clock[-1]) + 1)
    ahead = np.pad(speaking, (0, ONSET_LEAD + 1), mode="edge")[ONSET_LEAD:]
    onsets = FPS * np.clip(np.diff(ahead), 0, None)
    strength = np.interp(ticks, clock, PUSH_IN_SILENCE + (1 - PUSH_IN_SILENCE) * speaking + ONSET_PUSH * onsets)
    stroke = _wandering(len(ticks), STROKE_DURATION, random).clip(max=STRONGEST_STROKE)
    stroke = np.exp(STROKE_SPREAD * stroke[:, None])
    push = strength[:, None] * stroke
    push *= _ease(ticks / BEGINNING)[:, None] / np.sqrt(np.maximum((push**2).mean(0), (stroke**2).mean(0)))
    pushes = push * random.standard_normal((len(ticks), NUM_CHANNELS))

    # Filtering by FFT is circular: behind the pushes there is room for the motion to die away.
    length = 2 * (len(ticks) // 2) + 30 * FPS
    factors = _prompt_factors(model, np.fft.rfftfreq(length, 1 / FPS))
    spectrum = factors @ np.fft.rfft(pushes, length, axis=0)[:, :, None]
    motion = np.fft.irfft(spectrum[:, :, 0] * np.sqrt(FPS / 2), length, axis=0)
    return _soft_limit(CubicSpline(np.arange(length), motion)(clock), np.full(NUM_CHANNELS, FARTHEST))


def _prompt_factors(model: HeadMotionModel, frequencies: np.ndarray) -> np.ndarray:
    """The model's factors (F, 6, 6) at evenly spaced frequencies (F,) from 0, as filters that answer a push promptly.

    All share one phase, that of least delay for their size (from its cepstrum), so that nothing moves before the push.
    """
    step = model.frequencies[1]
    below = np.minimum((frequencies / step).astype(int), len(model.frequencies) - 2)
    above = np.clip(frequencies / step - below, 0, 1)[:, None, None]
    factors = model.factors[below] * (1 - above) + model.factors[below + 1] * above
    size = np.linalg.norm(factors, axis=(1, 2))
    cepstrum = np.fft.irfft(np.log(np.maximum(size, 1e-3 * size.max())))
    middle = len(cepstrum) // 2
    cepstrum[1:middle] *= 2
    cepstrum[middle + 1 :] = 0
    return factors * np.exp(1j * np.fft.rfft(cepstrum).imag)[:, None, None]


def _lognormal(num_frames: int, duration: float, spread: float, random: np.random.Generator) -> np.ndarray:
    """(T,) a positive factor of mean one that wanders over ``duration`` frames, ``spread`` being its logarithm's."""
    return np.exp(spread * _wandering(num_frames, duration, random) - spread**2 / 2)


def _wandering(num_frames: int, duration: float, random: np.random.Generator) -> np.ndarray:
    """(T,) smooth Gaussian noise of standard deviation one."""
    margin = round(3 * duration) + 1
    noise = smooth(random.standard_normal(num_frames + 2 * margin), duration)[margin:][:num_frames]
    return noise * np.sqrt(2 * np.sqrt(np.pi) * duration)


def _without_outliers(values: np.ndarray) -> np.ndarray:
    """Values (T, C) with single slips of a tracker replaced by the median of their neighbourhood."""
    padded = np.pad(values, [(OUTLIER_REACH, OUTLIER_REACH), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * OUTLIER_REACH + 1, axis=0)
    median = np.median(windows, axis=-1)
    # A fast nod departs from its median too, but goes on from one neighbour to the other; a slip does neither.
    between = (windows[..., OUTLIER_REACH - 1] + windows[..., OUTLIER_REACH + 1]) / 2
    jump = np.minimum(np.abs(values - median), np.abs(values - between))
    return np.where(jump > np.maximum(8 * np.median(jump, axis=0), SMALLEST_SLIP), median, values)


def _in_one_shot(values: np.ndarray) -> np.ndarray:
    """Values (T, C) relative to the first, without the jumps of a film's cuts.

    Each shot is relative to its own first frame, which it comes to from where the head was.
    """
    offsets = values - values[0]
    frames = np.arange(len(values))
    for cut in np.flatnonzero((np.abs(np.diff(values, axis=0)) > CUT).any(axis=1)) + 1:
        before, homing = offsets[cut - 1].copy(), _ease((frames[cut:] - cut) / SHOT_HOMING)[:, None]
        offsets[cut:] = values[cut:] - values[cut] + before * (1 - homing)
    return offsets


def _there_and_back(length: int, num_frames: int) -> np.ndarray:
    """(num_frames,) indices 0 … length-1 … 0 … length-1 …"""
    if length == 1:
        return np.zeros(num_frames, np.int64)
    place = np.arange(num_frames) % (2 * length - 2)
    return np.minimum(place, 2 * length - 2 - place)


def _soft_limit(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Values (T, C) that stay as they are up to a part of their limit (C,) and approach it beyond, smoothly."""
    linear = LINEAR_PART * limits
    size = np.abs(values)
    squeezed = linear + (limits - linear) * np.tanh((size - linear) / (limits - linear))
    return np.sign(values) * np.where(size > linear, squeezed, size)


def _posed(offsets: np.ndarray, photo: HeadPose, pivot: np.ndarray) -> HeadPose:
    """The photo's pose moved by offsets (T, 6), turning about the pivot."""
    scale = photo.scale * np.exp(offsets[:, LOG_SCALE])
    turned = HeadPose(photo.rotation + offsets[:, YAW : ROLL + 1], photo.translation.repeat(len(offsets), 0), scale)
    # The pivot stays where the photo has it, but for the sway.
    arm = photo.scale[:, None] * (photo.matrices @ pivot) - scale[:, None] * (turned.matrices @ pivot)
    sway = np.zeros((len(offsets), 3))
    sway[:, :2] = offsets[:, SWAY_X : SWAY_Y + 1] * photo.scale[:, None]
    return HeadPose(turned.rotation, turned.translation + arm + sway, scale)


def _ease(progress: np.ndarray) -> np.ndarray:
    """From 0 at progress 0 to 1 at progress 1, with neither jolt nor jerk at the ends."""
    progress = np.clip(progress, 0, 1)
    return progress**3 * (10 - 15 * progress + 6 * progress**2)
