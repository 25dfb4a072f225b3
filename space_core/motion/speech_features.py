"""What the network hears: log-mel bands of the speech at one level, as Whisper does, four steps to a video frame."""

import math
from functools import cache

import librosa
import numpy as np

from space_core.timing import SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames

STEPS_PER_FRAME = 4
HOP = SAMPLES_PER_FRAME // STEPS_PER_FRAME  # 160 samples, 10 ms
WINDOW = 400  # samples, 25 ms: two periods of a low voice
NUM_BANDS = 80

# Steps are (log10 of a band's power - log10 of the floor) / 4, of speech brought to one level. Whisper (Radford et
# al., 2022) takes log10 / 4 + 1, 80 dB below the loudest band at most; for speech at this level the floor lies there.
LEVEL = 0.01  # power of the speech
FLOOR = 3e-7  # of a band
SCALE = 1 / (4 * math.log(10))
FLOOR_FOR_WHISPER = math.log10(FLOOR) / 4 + 1

# Gated level, after ITU-R BS.1770: the mean power over blocks that aren't pauses.
BLOCK = SAMPLE_RATE // 10
SILENT_POWER = 1e-6  # -60 dBFS: blocks below it never count, nor is anything quieter raised to the level of speech
PAUSE = 0.1  # blocks 10 dB below the mean are pauses

# The mouth is shut in pauses.
PAUSE_DB, PAUSE_FRAMES = -30.0, 10  # quieter than that below speech for 0.4 s
CLOSING = 4  # frames in which it shuts as a pause begins, or opens before the pause ends


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
    """Features of a segment of video frames, the same whichever segment of the recording they are asked for in.

    Args:
        speech: (N,) float32, the whole recording at 16 kHz.
        power: its ``speech_power``.
        first_frame: where the segment begins; may be negative. Before and after the recording there is silence.
        num_frames: how many video frames it lasts.

    Returns:
        (4 * num_frames, 80) float32; 0 is silence, speech is between 0 and 2.
    """
    overlap = (WINDOW - HOP) // 2  # each step's window is centred on the step
    begin = first_frame * SAMPLES_PER_FRAME - overlap
    end = begin + num_frames * SAMPLES_PER_FRAME + 2 * overlap
    samples = speech[max(begin, 0) : max(end, 0)]
    before = min(max(-begin, 0), end - begin)
    samples = np.pad(samples, (before, end - begin - before - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(windows * _taper()).astype(np.complex64)) ** 2
    bands = spectrum @ _filters().T * (LEVEL / power)
    return (np.log(bands + FLOOR) - math.log(FLOOR)).astype(np.float32) * SCALE


def speaking(speech: np.ndarray, power: float) -> np.ndarray:
    """(T,) float32: 1 where somebody speaks, 0 in pauses of over 0.4 s, smooth between.

    Args:
        speech: (N,) float32, the whole recording at 16 kHz.
        power: its ``speech_power``.
    """
    num_frames = number_of_frames(len(speech))
    frames = np.pad(speech, (0, num_frames * SAMPLES_PER_FRAME - len(speech))).reshape(num_frames, -1)
    quiet = frames.var(axis=1) < power * 10 ** (PAUSE_DB / 10)
    ends = np.convolve(quiet, np.ones(PAUSE_FRAMES)) > PAUSE_FRAMES - 0.5  # a long enough pause ends here
    inside = np.convolve(ends[PAUSE_FRAMES - 1 :], np.ones(PAUSE_FRAMES))[:num_frames] > 0
    return shut_smoothly(~inside)


def shut_smoothly(open_: np.ndarray) -> np.ndarray:
    """(T,) of booleans as 0 to 1: shutting takes the first frames of a pause, opening its last ones."""
    spoken = np.pad(open_.astype(np.float32), CLOSING + 1, mode="edge")
    spoken = np.maximum(np.maximum(spoken[:-2], spoken[1:-1]), spoken[2:])
    kernel = np.hanning(2 * CLOSING + 3)[1:-1]
    return np.convolve(spoken, kernel / kernel.sum(), mode="valid").astype(np.float32)


@cache
def _taper() -> np.ndarray:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


@cache
def _filters() -> np.ndarray:
    """(80, 201): how much each frequency's power counts in each band."""
    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=NUM_BANDS, dtype=np.float32)
