"""Speech features: log-mel spectrogram at a normalized level, as Whisper computes it, and speech activity."""

import math
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.assets import weights_path
from space_core.timing import SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames

MEL_FILTERS = weights_path("mel_filters.safetensors")

STEPS_PER_FRAME = 4  # spectrogram steps in a video frame: 100 a second
HOP_SAMPLES = SAMPLES_PER_FRAME // STEPS_PER_FRAME  # 160 samples, 10 ms
WINDOW_SAMPLES = 400  # 25 ms: two periods of a low voice
NUM_MELS = 80

# A value is (log10 of a band's power - log10 of POWER_FLOOR) / 4, of speech scaled to SPEECH_POWER. Whisper (Radford et
# al., 2022) takes log10 / 4 + 1, clipped at 80 dB below the loudest band; for speech of that power, the floor is there.
SPEECH_POWER = 0.01
POWER_FLOOR = 3e-7  # of a band
LOG_SCALE = 1 / (4 * math.log(10))  # of the natural logarithm
WHISPER_OFFSET = math.log10(POWER_FLOOR) / 4 + 1  # from our values to Whisper's

# Gated level, after ITU-R BS.1770: the mean power over blocks that aren't pauses.
BLOCK_SAMPLES = SAMPLE_RATE // 10
SILENT_POWER = 1e-6  # -60 dBFS: quieter blocks never count, nor is anything quieter amplified to the level of speech
PAUSE_SHARE = 0.1  # of the mean power; blocks below it are pauses

# Speech activity: a pause is quieter than this for that long.
PAUSE_DB, PAUSE_FRAMES = -30.0, 10  # relative to the speech power; 0.4 s
TRANSITION_FRAMES = 4  # of the activity, from 1 to 0 within the beginning of a pause, and back within its end


def speech_power(speech: np.ndarray) -> float:
    """Mean power of the parts of a whole recording (N,) that are not pauses; at least ``SILENT_POWER``."""
    whole = max(len(speech) // BLOCK_SAMPLES, 1) * BLOCK_SAMPLES
    return gated_power(block_powers(np.pad(speech, (0, max(whole - len(speech), 0)))[:whole]))


def block_powers(speech: np.ndarray) -> np.ndarray:
    """The power (N / BLOCK_SAMPLES,) of each block of speech (N,), N being a multiple of ``BLOCK_SAMPLES``."""
    # The variance, so that a constant offset of the recording does not count as sound.
    return speech.reshape(-1, BLOCK_SAMPLES).var(axis=1, dtype=np.float64)


def gated_power(power: np.ndarray) -> float:
    """Mean of the powers (B,) of blocks that are not pauses; at least ``SILENT_POWER``."""
    power = power[power > SILENT_POWER]
    if not len(power):
        return SILENT_POWER
    return float(power[power >= PAUSE_SHARE * power.mean()].mean())


def log_mel(speech: np.ndarray, power: float, first_frame: int, num_frames: int) -> np.ndarray:
    """Log-mel spectrogram of a range of video frames; a frame has the same values in every range that contains it.

    Args:
        speech: (N,) float32, the whole recording at 16 kHz.
        power: its ``speech_power``.
        first_frame: first video frame of the range; may be negative. Outside the recording there is silence.
        num_frames: length of the range in video frames.

    Returns:
        (4 * num_frames, 80) float32; 0 is silence, speech is between 0 and 2.
    """
    overlap = (WINDOW_SAMPLES - HOP_SAMPLES) // 2  # each window is centred on its step
    begin = first_frame * SAMPLES_PER_FRAME - overlap
    end = begin + num_frames * SAMPLES_PER_FRAME + 2 * overlap
    samples = speech[max(begin, 0) : max(end, 0)]
    before = min(max(-begin, 0), end - begin)
    samples = np.pad(samples, (before, end - begin - before - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(windows * _hann_window()).astype(np.complex64)
    # A constant offset of the recording adds to the first bin, and minus half of that to the second (Hann window).
    spectrum[:, 1] += spectrum[:, 0] / 2
    spectrum[:, 0] = 0
    mel = np.abs(spectrum) ** 2 @ _mel_filters().T * (SPEECH_POWER / power)
    return (np.log(mel + POWER_FLOOR) - math.log(POWER_FLOOR)).astype(np.float32) * LOG_SCALE


def speech_activity(speech: np.ndarray, power: float) -> np.ndarray:
    """(T,) float32, per video frame: 1 in speech, 0 in pauses of over 0.4 s, with smooth transitions.

    Args:
        speech: (N,) float32, the whole recording at 16 kHz.
        power: its ``speech_power``.
    """
    num_frames = number_of_frames(len(speech))
    frames = np.pad(speech, (0, num_frames * SAMPLES_PER_FRAME - len(speech))).reshape(num_frames, -1)
    quiet = frames.var(axis=1) < power * 10 ** (PAUSE_DB / 10)
    ends = np.convolve(quiet, np.ones(PAUSE_FRAMES)) > PAUSE_FRAMES - 0.5  # a long enough pause ends here
    in_pause = np.convolve(ends[PAUSE_FRAMES - 1 :], np.ones(PAUSE_FRAMES))[:num_frames] > 0
    return smooth_activity(~in_pause)


def speech_onsets(activity: np.ndarray) -> list[int]:
    """The frames at which speech activity (T,) rises above one half, at most a frame before the sound."""
    return (np.flatnonzero((activity[:-1] < 0.5) & (activity[1:] >= 0.5)) + 1).tolist()


def smooth_activity(active: np.ndarray) -> np.ndarray:
    """Speech activity (T,) float32, 0 … 1, of booleans (T,); the transitions lie within the inactive frames."""
    activity = np.pad(active.astype(np.float32), TRANSITION_FRAMES + 1, mode="edge")
    activity = np.maximum(np.maximum(activity[:-2], activity[1:-1]), activity[2:])
    kernel = np.hanning(2 * TRANSITION_FRAMES + 3)[1:-1]
    return np.convolve(activity, kernel / kernel.sum(), mode="valid").astype(np.float32)


@cache
def _hann_window() -> np.ndarray:
    return np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)


@cache
def _mel_filters() -> np.ndarray:
    """(80, 201) float32: weight of each frequency bin's power in each mel band."""
    return load_file(MEL_FILTERS)["filters"]
