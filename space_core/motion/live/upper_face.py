"""The upper face of a stream: brows, lids and cheeks in speech that is still arriving."""

import numpy as np

from space_core.motion.live.prosody import ProsodyWindow
from space_core.motion.noise_stream import NoiseStream, smooth_noise_stream
from space_core.motion.speaker_variation import speaker_deviation
from space_core.motion.upper_face import (
    AMPLITUDE_DURATION,
    MAX_SPREAD,
    STREAM,
    UpperFaceModel,
    combined_motion,
    prosodic_part,
    speech_share,
    upper_face_model,
)
from space_core.timing import FPS

KERNEL_RADIUS = 2 * FPS  # frames, of the filters that give the noise its spectra


class LiveUpperFace:
    """The upper face of one stream; counterpart of ``upper_face_motion``."""

    def __init__(self, seed: int) -> None:
        self._model = model = upper_face_model()
        random = np.random.default_rng([seed, STREAM])
        self._deviation = speaker_deviation(model.deviation, model.spread, MAX_SPREAD, random)
        self._noise = NoiseStream(_spectral_kernels(model), random)
        self._slow = smooth_noise_stream(AMPLITUDE_DURATION, random)
        self._frames = 0

    def next(self, window: ProsodyWindow) -> np.ndarray:
        """(T, channels) millimetres, the motion of the next frames at an expressiveness of 1."""
        delayed = window.delayed
        frames = self._frames + np.arange(delayed.stop - delayed.start)
        self._frames += len(frames)
        return combined_motion(
            prosodic_part(window.prosody, self._model)[delayed],
            self._noise.next(len(frames)),
            self._slow.next(len(frames))[:, 0],
            speech_share(window.prosody)[delayed],
            frames,
            self._deviation,
        )


def _spectral_kernels(model: UpperFaceModel) -> np.ndarray:
    """(channels, 2 * KERNEL_RADIUS + 1) symmetric kernels that give white noise the model's spectra."""
    length = 8 * KERNEL_RADIUS
    frequencies = np.fft.rfftfreq(length, 1 / FPS)
    amplitudes = [np.interp(frequencies, model.frequencies, amplitude) for amplitude in model.amplitudes]
    kernels = np.fft.irfft(np.array(amplitudes) * np.sqrt(FPS / 2), length)
    return np.roll(kernels, KERNEL_RADIUS, axis=1)[:, : 2 * KERNEL_RADIUS + 1]
