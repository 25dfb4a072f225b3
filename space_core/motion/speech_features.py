"""What the network hears: log-mel bands of the speech at one level, four steps to a video frame."""

import math
from functools import cache

import librosa
import numpy as np

from space_core.timing import SAMPLE_RATE, SAMPLES_PER_FRAME

STEPS_PER_FRAME = 4  # 100 steps a second: a plosive's burst is shorter than a video frame
HOP = SAMPLES_PER_FRAME // STEPS_PER_FRAME  # 160 samples, 10 ms
WINDOW = 400  # samples, 25 ms: two periods of a low voice
FFT_SIZE = 512
NUM_BANDS = 80
LOWEST, HIGHEST = 50.0, 7600.0  # Hz

# Band power relative to the recording's own speech level, in factors of e. The floor lies 60 dB below speech: what is
# quieter is silence, whether digital or a quiet room.
FLOOR = 1e-6
SCALE = 0.25  # brings the logarithms to about unit variance

# Gated level, after ITU-R BS.1770: the mean power over blocks that aren't pauses.
BLOCK = SAMPLE_RATE // 10
SILENT_POWER = 1e-6  # -60 dBFS: blocks below it never count, nor is anything quieter raised to the level of speech
PAUSE = 0.1  # blocks 10 dB below the mean are pauses


def speech_power(speech: np.ndarray) -> float:
    """Mean power of the spoken parts of a whole recording (N,); never below that of silence."""
    whole = max(len(speech) // BLOCK, 1) * BLOCK
    blocks = np.pad(speech, (0, max(whole - len(speech), 0)))[:whole].reshape(-1, BLOCK)
    # Without its own mean, so that a recorder's constant offset is not taken for sound.
    power = blocks.var(axis=1, dtype=np.float64)
    power = power[power > SILENT_POWER]
    if not len(power):
        return SILENT_POWER
    return float(power[power >= PAUSE * power.mean()].mean())


def log_mel(speech: np.ndarray, power: float, first_frame: int, num_frames: int) -> np.ndarray:
    """Features of a stretch of video frames, the same whichever stretch of the recording they are asked for in.

    Args:
        speech: (N,) float32, the whole recording at 16 kHz.
        power: its ``speech_power``.
        first_frame: where the stretch begins; may be negative. Before and after the recording there is silence.
        num_frames: how many video frames it lasts.

    Returns:
        (4 * num_frames, 80) float32; 0 is silence, speech is between 0 and 4.
    """
    overlap = (WINDOW - HOP) // 2  # each step's window is centred on the step
    begin = first_frame * SAMPLES_PER_FRAME - overlap
    end = begin + num_frames * SAMPLES_PER_FRAME + 2 * overlap
    samples = speech[max(begin, 0) : max(end, 0)]
    before = min(max(-begin, 0), end - begin)
    samples = np.pad(samples, (before, end - begin - before - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(windows * _taper(), FFT_SIZE).astype(np.complex64)) ** 2
    bands = spectrum @ _filters().T / power
    return (np.log(bands + FLOOR) - math.log(FLOOR)).astype(np.float32) * SCALE


@cache
def _taper() -> np.ndarray:
    taper = np.hanning(WINDOW).astype(np.float32)
    return taper / math.sqrt(float((taper**2).sum()) * FFT_SIZE / 2)


@cache
def _filters() -> np.ndarray:
    """(80, 257): the share of each frequency's power in each band."""
    return librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=FFT_SIZE, n_mels=NUM_BANDS, fmin=LOWEST, fmax=HIGHEST, norm=None, dtype=np.float32
    )
