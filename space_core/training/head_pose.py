"""The recipe of the head-motion model: spectrum, amplitude, nods and pivot of recorded speakers' heads.

    python -m space_core.training.head_pose CORPUS

writes ``weights/head_pose.safetensors``, in seconds. ``space_core.evaluation.head_pose`` compares generated motion with
the clips.
"""

import numpy as np
from safetensors.numpy import save_file
from scipy.signal import csd

from space_core.face.normalization import HeadPose
from space_core.measures.corpus import corpus_from_arguments
from space_core.measures.head_motion import read_recorded_heads
from space_core.motion.head_pose import PITCH, ROLL, WEIGHTS, nods
from space_core.motion.loudness import loudness, smooth
from space_core.timing import FPS

WINDOW_FRAMES = 256  # of a spectrum (10 s)
HIGHEST_FREQUENCY = 4.0  # Hz; above is the tracker's jitter
FADE_FROM = 2.0  # Hz; from here to the highest frequency the spectrum is faded out
NOISE_BAND = (7.0, 12.0)  # Hz; where tracks contain only jitter
SHORT_CLIP_GAIN = 1.25  # of deviations, as subtracting a short clip's mean removes slow motion
NOD_RADIUS = 14  # taps of the nod filter to either side, frames
NOD_GAIN = 2.2  # the speakers' nods differ in delay, so their average is weaker than each of them
RIDGE = 0.02  # of the nod filter's regression, as a share of the loudness's power
MIN_EXPLAINED = 0.6  # share of a clip's translation that its rotation must explain for its pivot to count
ROLL_SHARE = 0.75  # the photo's shoulders do not lean, so the head leans less than those of people whose shoulders do
# Channels whose sign changes in a mirrored video (1) are uncorrelated with the others (0).
MIRRORED = np.array([1, 0, 1, 1, 0, 0])


def main() -> None:
    corpus = corpus_from_arguments(__doc__)
    training, _ = read_recorded_heads(corpus)

    pivot = _pivot([pose for pose, _ in training])
    offsets = [_offsets(pose, pivot) for pose, _ in training]
    deviation, spread = _deviation(offsets)
    frequencies, factors = _spectrum([offset / deviation for offset in offsets if len(offset) >= WINDOW_FRAMES])
    curves = [loudness(speech, len(pose)) for pose, speech in training]
    kernel = _nod_kernel(curves, [offset[:, PITCH] for offset in offsets])
    deviation[ROLL] *= ROLL_SHARE
    weights = {"frequencies": frequencies, "deviation": deviation, "spread": spread, "nod_kernel": kernel}
    weights |= {"factors_real": factors.real, "factors_imaginary": factors.imag, "pivot": pivot}
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}, WEIGHTS)

    print(f"{len(training)} clips, {sum(map(len, offsets)) / FPS / 60:.1f} minutes; pivot {pivot.round(2)}")
    print(f"typical deviation {deviation.round(3)}, nods of {np.ptp(kernel):.2f}°")


def _pivot(poses: list[HeadPose]) -> np.ndarray:
    """(3,) the median over clips of the normalized point that moves least when the head turns.

    The translation is ``place - rotation @ pivot`` with a constant place; only x and y are tracked well enough.
    """
    pivots = []
    for pose in poses:
        turned = -pose.matrices[:, :2]
        turned = (turned - turned.mean(0)).reshape(-1, 3)
        seen = pose.translation[:, :2] / np.median(pose.scale)
        seen = (seen - seen.mean(0)).reshape(-1)
        pivot = np.linalg.lstsq(turned, seen, rcond=None)[0]
        if 1 - ((seen - turned @ pivot) ** 2).sum() / (seen**2).sum() > MIN_EXPLAINED:
            pivots.append(pivot)
    return np.median(pivots, axis=0) * [0, 1, 1]  # faces are symmetric


def _offsets(pose: HeadPose, pivot: np.ndarray) -> np.ndarray:
    """(T, 6) the channels of ``space_core/motion/head_pose.py``, relative to the clip's mean."""
    place = pose.translation / np.median(pose.scale) + pose.matrices @ pivot
    offsets = np.concatenate([pose.rotation, place[:, :2], np.log(pose.scale)[:, None]], axis=1)
    return offsets - offsets.mean(0)


def _deviation(offsets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Median standard deviation of the clips (6,), and the standard deviation of its logarithm over clips (6,)."""
    deviations = np.log([offset.std(0) for offset in offsets])
    return SHORT_CLIP_GAIN * np.exp(np.median(deviations, axis=0)), deviations.std(0)


def _spectrum(offsets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) in Hz and factors (F, 6, 6) of the cross-spectral density, without the tracker's jitter."""
    densities = []
    for offset in offsets:
        frequencies, density = csd(offset.T[:, None], offset.T[None], FPS, nperseg=WINDOW_FRAMES)
        density = np.moveaxis(density, -1, 0)  # (F, 6, 6)
        noise = np.median(density[(frequencies > NOISE_BAND[0]) & (frequencies < NOISE_BAND[1])].real, axis=0)
        densities.append(density - np.diag(np.diag(noise)))
    power = np.maximum(np.diagonal(densities, axis1=2, axis2=3).real, 1e-6)  # (clips, F, 6)
    # Powers are averaged geometrically, as the liveliest speakers would dominate an arithmetic mean.
    typical = np.exp(np.log(power).mean(0))
    mean = np.mean(densities, axis=0)
    size = np.sqrt(np.diagonal(mean, axis1=1, axis2=2).real.clip(1e-6))
    coherence = mean / (size[:, :, None] * size[:, None]) * (MIRRORED[:, None] == MIRRORED)
    density = coherence * np.sqrt(typical[:, :, None] * typical[:, None])
    # Below the lowest frequency of the windows the density is constant, so that motion has no drift.
    density[0] = density[1].real
    density = density[frequencies <= HIGHEST_FREQUENCY]
    frequencies = frequencies[frequencies <= HIGHEST_FREQUENCY]
    fade = np.clip((HIGHEST_FREQUENCY - frequencies) / (HIGHEST_FREQUENCY - FADE_FROM), 0, 1)
    values, vectors = np.linalg.eigh(density * fade[:, None, None] ** 2)
    values = np.maximum(values, 0)
    power = np.einsum("fij,fj,fij->fi", vectors, values, vectors.conj()).real
    size = np.sqrt(power.sum(0) * frequencies[1])  # of each channel; one-sided density
    # The Hermitian square root is smooth in frequency, so it can be interpolated.
    factors = np.einsum("fij,fj,fkj->fik", vectors, np.sqrt(values), vectors.conj())
    return frequencies, factors / size[:, None]


def _nod_kernel(curves: list[np.ndarray], pitches: list[np.ndarray]) -> np.ndarray:
    """(2K + 1,) the filter that predicts the fast part of pitch (degrees) from loudness (ridge regression)."""
    taps = 2 * NOD_RADIUS + 1
    squares, products = np.zeros((taps, taps)), np.zeros(taps)
    for loud, pitch in zip(curves, pitches, strict=True):
        fast = pitch - smooth(pitch, FPS)
        delayed = np.stack([nods(loud, tap) for tap in np.eye(taps)], axis=1)
        weight = 1 / (fast.var() + 0.3)  # so that the liveliest speaker does not dominate
        squares += weight * delayed.T @ delayed
        products += weight * delayed.T @ fast
    kernel = np.linalg.solve(squares + RIDGE * np.trace(squares) * np.eye(taps), products)
    return NOD_GAIN * kernel * np.hanning(taps + 2)[1:-1]


if __name__ == "__main__":
    main()
