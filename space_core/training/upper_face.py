"""The recipe of the upper face's statistics: spectra, responses to prosody and amplitudes of recorded speakers.

    python -m space_core.training.upper_face CORPUS

prints its figures and writes ``weights/upper_face.safetensors``. Takes seconds once the clips are tracked.
"""

import numpy as np
from safetensors.numpy import save_file

from space_core.measures.corpus import corpus_from_arguments
from space_core.measures.upper_face import RecordedUpperFace, read_recorded_upper_faces
from space_core.motion.upper_face import CHANNELS, CHEEKS, FEATURES, KERNEL_RADIUS, LIDS, WEIGHTS, feature_curves
from space_core.timing import FPS

NUM_FREQUENCIES = 64  # up to half the frame rate
WINDOW = 126  # frames of a periodogram
HIGHEST = 4.0  # Hz; above, tracking noise prevails
RIDGE = 300.0
DEVIATION_QUANTILES = (25, 75)  # of speakers, whose mean is the typical deviation
CHEEKS_SHARE = 0.5  # of the recorded deviation: the other half is that of the mouth, which speech2landmarks moves
LIDS_DEVIATION = 0.3  # millimetres: recorded lids are dominated by blinks


def main() -> None:
    training, validation = read_recorded_upper_faces(corpus_from_arguments(__doc__))
    deviations = np.array([clip.motion.std(0) for clip in training])
    deviation = np.exp(np.log(np.percentile(deviations, DEVIATION_QUANTILES, axis=0)).mean(0))
    deviation[CHEEKS] *= CHEEKS_SHARE
    deviation[LIDS] = LIDS_DEVIATION
    kernels = fit_kernels(training)
    frequencies, amplitudes = spectra(training)
    for name, clips, fitted in (
        ("training, left out in turn", training, None),
        ("validation", validation, kernels),
    ):
        correlations = [
            correlation(clip, fit_kernels([c for c in clips if c is not clip]) if fitted is None else fitted)
            for clip in clips
        ]
        print(f"{name}: {len(clips)} clips, correlation of the prosodic part with the recorded motion:")
        print("  " + ", ".join(f"{c} {v:.2f}" for c, v in zip(CHANNELS, np.mean(correlations, 0), strict=True)))
    response = np.concatenate([responses(clip, kernels) for clip in training])
    kernels /= response.std(0)[:, None, None]
    spread = np.log(deviations).std(0)
    print("deviation, mm: " + ", ".join(f"{c} {v:.2f}" for c, v in zip(CHANNELS, deviation, strict=True)))
    arrays = {
        "frequencies": frequencies,
        "amplitudes": amplitudes,
        "kernels": kernels,
        "deviation": deviation,
        "spread": spread,
    }
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, WEIGHTS)


def lagged_features(clip: RecordedUpperFace) -> np.ndarray:
    """(T, features × lags): each feature at each lag of the kernel; times a kernel, this is a convolution."""
    radius = KERNEL_RADIUS
    features = np.pad(feature_curves(clip.prosody), [(radius, radius), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(features, 2 * radius + 1, axis=0)
    return windows[..., ::-1].reshape(len(clip.motion), -1)


def fit_kernels(clips: list[RecordedUpperFace]) -> np.ndarray:
    """Kernels (channels, features, lags): ridge regression of motion, of unit variance in each clip."""
    size = len(FEATURES) * (2 * KERNEL_RADIUS + 1)
    gram, moment = RIDGE * np.eye(size), np.zeros((size, len(CHANNELS)))
    for clip in clips:
        features = lagged_features(clip)
        features = features - features.mean(0)
        gram += features.T @ features
        moment += features.T @ (clip.motion / clip.motion.std(0))
    return np.linalg.solve(gram, moment).T.reshape(len(CHANNELS), len(FEATURES), -1)


def responses(clip: RecordedUpperFace, kernels: np.ndarray) -> np.ndarray:
    """(T, channels) the responses to a clip's prosody."""
    return lagged_features(clip) @ kernels.reshape(len(CHANNELS), -1).T


def correlation(clip: RecordedUpperFace, kernels: np.ndarray) -> np.ndarray:
    """(channels,) of the responses to a clip's prosody with its motion."""
    response = responses(clip, kernels)
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in zip(response.T, clip.motion.T, strict=True)])


def spectra(clips: list[RecordedUpperFace]) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) and amplitudes (channels, F): the mean over clips, each of unit variance."""
    power = []
    for clip in clips:
        motion = (clip.motion - clip.motion.mean(0)) / clip.motion.std(0)
        starts = range(0, len(motion) - WINDOW + 1, WINDOW // 2)
        window = np.hanning(WINDOW)[:, None]
        parts = [np.abs(np.fft.rfft(motion[start : start + WINDOW] * window, axis=0)) ** 2 for start in starts]
        power.append(np.mean(parts, axis=0))
    frequencies = np.fft.rfftfreq(WINDOW, 1 / FPS)
    density = np.mean(power, axis=0) * (frequencies < HIGHEST)[:, None]
    density /= (density.sum(0) * frequencies[1])[None]
    return frequencies[:NUM_FREQUENCIES], np.sqrt(density[:NUM_FREQUENCIES]).T


if __name__ == "__main__":
    main()
