"""What recordings of speakers teach about head motion: its spectrum, its size, its nods, the point heads turn about.

    python -m space_core.training.head_pose CORPUS

writes ``weights/head_pose.safetensors``, in seconds. What is generated from it ``space_core.evaluation.head_pose``
compares with the clips.
"""

import numpy as np
from safetensors.numpy import save_file
from scipy.signal import csd

from space_core.face.normalization import HeadPose, normalize
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.motion.head_pose import PITCH, WEIGHTS, nods
from space_core.motion.loudness import loudness, smooth
from space_core.timing import FPS

# Left out: renderings of another model, three-second readings, crops that follow the head and so hide its translation.
NOT_HEADS = ("v_express_vasa_1_", "lipnet_", "talking_face_pc_avs_", "lia_data_vox_driving")
SHORTEST = 4 * FPS  # frames of a clip to learn from
WINDOW = 256  # frames of a spectrum (10 s)
HIGHEST_FREQUENCY = 4.0  # Hz; above is the tracker's jitter
FADE_FROM = 2.0  # Hz; from here to the highest frequency the spectrum is faded out
NOISE_BAND = (7.0, 12.0)  # Hz; where a track holds nothing but jitter
SHORT_CLIP = 1.25  # taking out a short clip's own mean takes slow motion with it
NOD_REACH = 14  # frames to either side of a syllable
NOD_GAIN = 2.2  # the average over speakers is weaker than each of them, whose nods come earlier or later
RIDGE = 0.02  # of the nods' regression, as a share of the loudness's power
EXPLAINED = 0.6  # share of a clip's translation that its rotation must explain to tell where the pivot is
# The body of a photo stays where it is, so the head leans and sways less than those of people whose bodies move along.
ROLL_SHARE = 0.75
SWAY_SHARE = 0.6
# Channels that mirror with the face have no fixed relation to those that don't.
MIRRORED = np.array([1, 0, 1, 1, 0, 0])


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    training, _ = read_clips(corpus)

    pivot = _pivot([pose for pose, _ in training])
    offsets = [_offsets(pose, pivot) for pose, _ in training]
    deviation, spread = _deviation(offsets)
    frequencies, factors = _spectrum([offset / deviation for offset in offsets if len(offset) >= WINDOW])
    curves = [loudness(speech, len(pose)) for pose, speech in training]
    kernel = _nod_kernel(curves, [offset[:, PITCH] for offset in offsets])
    deviation *= [1, 1, ROLL_SHARE, SWAY_SHARE, SWAY_SHARE, 1]
    weights = {"frequencies": frequencies, "deviation": deviation, "spread": spread, "nod_kernel": kernel}
    weights |= {"factors_real": factors.real, "factors_imaginary": factors.imag, "pivot": pivot}
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}, WEIGHTS)

    print(f"{len(training)} clips, {sum(map(len, offsets)) / FPS / 60:.1f} minutes; pivot {pivot.round(2)}")
    print(f"typical deviation {deviation.round(3)}, nods of {np.ptp(kernel):.2f}°")


def read_clips(corpus: Corpus) -> tuple[list, list]:
    """Training and validation clips, each a list of (head pose, speech) of camera-recorded speakers."""
    ids = [clip["id"] for clip in corpus.clips if clip["speech"] == "1"]
    training, validation = [], []
    for clip in ids:
        landmarks = corpus.landmarks(clip)
        if clip.startswith(NOT_HEADS) or len(landmarks) < SHORTEST or np.isnan(landmarks).any():
            continue
        (validation if clip in corpus.held_out else training).append((normalize(landmarks)[1], corpus.speech(clip)))
    return training, validation


def _pivot(poses: list[HeadPose]) -> np.ndarray:
    """(3,) the median of the points that stay nearest to their place when the heads of the clips turn.

    The eye point is ``place - rotation @ pivot``; only x and y are seen well enough to tell.
    """
    pivots = []
    for pose in poses:
        turned = -pose.matrices[:, :2]
        turned = (turned - turned.mean(0)).reshape(-1, 3)
        seen = pose.translation[:, :2] / np.median(pose.scale)
        seen = (seen - seen.mean(0)).reshape(-1)
        pivot = np.linalg.lstsq(turned, seen, rcond=None)[0]
        if 1 - ((seen - turned @ pivot) ** 2).sum() / (seen**2).sum() > EXPLAINED:
            pivots.append(pivot)
    return np.median(pivots, axis=0) * [0, 1, 1]  # faces are symmetric


def _offsets(pose: HeadPose, pivot: np.ndarray) -> np.ndarray:
    """(T, 6) the channels of ``space_core/motion/head_pose.py``, about the clip's mean."""
    place = pose.translation / np.median(pose.scale) + pose.matrices @ pivot
    offsets = np.concatenate([pose.rotation, place[:, :2], np.log(pose.scale)[:, None]], axis=1)
    return offsets - offsets.mean(0)


def _deviation(offsets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Median standard deviation of the clips (6,), and how far speakers differ from it (6,)."""
    deviations = np.log([offset.std(0) for offset in offsets])
    return SHORT_CLIP * np.exp(np.median(deviations, axis=0)), deviations.std(0)


def _spectrum(offsets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) in Hz and factors (F, 6, 6) of the cross-spectral density at them, jitter taken out."""
    densities = []
    for offset in offsets:
        frequencies, density = csd(offset.T[:, None], offset.T[None], FPS, nperseg=WINDOW)
        density = np.moveaxis(density, -1, 0)  # (F, 6, 6)
        noise = np.median(density[(frequencies > NOISE_BAND[0]) & (frequencies < NOISE_BAND[1])].real, axis=0)
        densities.append(density - np.diag(np.diag(noise)))
    power = np.maximum(np.diagonal(densities, axis1=2, axis2=3).real, 1e-6)  # (clips, F, 6)
    # The geometric mean is the typical speaker; the mean would be the liveliest. Relations are averaged as they are.
    typical = np.exp(np.log(power).mean(0))
    mean = np.mean(densities, axis=0)
    size = np.sqrt(np.diagonal(mean, axis1=1, axis2=2).real.clip(1e-6))
    coherence = mean / (size[:, :, None] * size[:, None]) * (MIRRORED[:, None] == MIRRORED)
    density = coherence * np.sqrt(typical[:, :, None] * typical[:, None])
    # Windows know nothing below their own length; level there means that motion forgets itself, and never drifts.
    density[0] = density[1].real
    density = density[frequencies <= HIGHEST_FREQUENCY]
    frequencies = frequencies[frequencies <= HIGHEST_FREQUENCY]
    fade = np.clip((HIGHEST_FREQUENCY - frequencies) / (HIGHEST_FREQUENCY - FADE_FROM), 0, 1)
    values, vectors = np.linalg.eigh(density * fade[:, None, None] ** 2)
    values = np.maximum(values, 0)
    power = np.einsum("fij,fj,fij->fi", vectors, values, vectors.conj()).real
    size = np.sqrt(power.sum(0) * frequencies[1])  # of each channel; one-sided density
    # The Hermitian square root changes smoothly with frequency, so that it can be interpolated.
    factors = np.einsum("fij,fj,fkj->fik", vectors, np.sqrt(values), vectors.conj())
    return frequencies, factors / size[:, None]


def _nod_kernel(curves: list[np.ndarray], pitches: list[np.ndarray]) -> np.ndarray:
    """(2K + 1,) the filter that best tells the fast part of pitch from loudness (ridge regression)."""
    taps = 2 * NOD_REACH + 1
    squares, products = np.zeros((taps, taps)), np.zeros(taps)
    for loud, pitch in zip(curves, pitches, strict=True):
        fast = pitch - smooth(pitch, FPS)
        delayed = np.stack([nods(loud, tap) for tap in np.eye(taps)], axis=1)
        weight = 1 / (fast.var() + 0.3)  # so that the liveliest speaker does not outvote the others
        squares += weight * delayed.T @ delayed
        products += weight * delayed.T @ fast
    kernel = np.linalg.solve(squares + RIDGE * np.trace(squares) * np.eye(taps), products)
    return NOD_GAIN * kernel * np.hanning(taps + 2)[1:-1]


if __name__ == "__main__":
    main()
