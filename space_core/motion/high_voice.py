"""Opens the mouth in screams and very high notes.

People lower the jaw for these, as the first resonance of the vocal tract has to be at the pitch or above it (Joliveau
et al., 2004). The network was trained on speech, where no voice is that high, and often shuts the lips.
"""

import numpy as np

from space_core.motion.lip_closure import SHUT_FROM, predicted_opening
from space_core.motion.lips import lip_opening, opening_coefficients
from space_core.motion.loudness import smooth
from space_core.timing import SAMPLE_RATE, SAMPLES_PER_FRAME

# The pitch is the first high peak of the autocorrelation (Boersma, 1993) in a window around each frame.
WINDOW, FFT_SIZE = 1024, 2048  # 64 ms
LAGS = np.arange(7, 40)  # samples: 2.3 kHz to 400 Hz, so that pitches below LOWEST are found, too
LOWEST = 560.0  # Hz
PERIODIC = 0.85  # autocorrelation at the pitch, relative to that of lag 0, at least
NEARLY_HIGHEST = 0.06  # a peak this much below the highest counts as much as it does, against subharmonics
LOUD_DB = -18.0  # relative to the speech power
MIN_FREQUENCY = 80.0  # Hz; hum and rumble below do not count

# A high voice has at most the share MAX_BELOW of its power below BELOW_FROM times the pitch (speech and nearly all
# music have more), and in some frames nearby at least MIN_ABOVE above ABOVE_FROM times it (whistles and beeps have
# less).
BELOW_FROM, MAX_BELOW = 0.7, 0.006
ABOVE_FROM, MIN_ABOVE = 1.5, 0.012

SPAN, MIN_FRAMES = 5, 4  # frames around each, and how many of these have to be high voices
NEARBY = 12  # frames
SMOOTHING = 1.6  # frames
# In outer-eye-corner distances, 11 mm: the median of what is predicted for screams that the network takes for voices.
OPENING = 0.122
OPEN_LOGIT = SHUT_FROM - 2.0  # of the closure head
SHUT, SHUT_FRAMES = 0.017, 8  # lips less than 1.5 mm apart for so many frames are no consonant


def high_voice(speech: np.ndarray, power: float, first_frame: int, num_frames: int) -> np.ndarray:
    """How much each frame of a range belongs to a scream or a very high note: (num_frames,) float32, 0 … 1.

    Args:
        speech: (N,) float32, 16 kHz mono.
        power: of the whole recording, see ``speech_power``.
        first_frame: first video frame of the range; may be negative. Outside the recording there is silence.
        num_frames: length of the range in video frames.
    """
    reach = NEARBY + SPAN // 2 + round(3 * SMOOTHING)
    high, resonant = _high_frames(speech, power, first_frame - reach, num_frames + 2 * reach)
    lasting = resonant & (_count(resonant, SPAN) >= MIN_FRAMES)
    continued = high & (_count(high, SPAN) >= MIN_FRAMES) & (_count(lasting, 2 * NEARBY + 1) > 0)
    return smooth(continued.astype(float), SMOOTHING)[reach : reach + num_frames].astype(np.float32)


def open_in_high_voices(outputs: np.ndarray, share: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The network's outputs (T, coefficients + 1) with lips apart where it shuts them for long, by a share (T,).

    Consonants stay as they are. ``basis`` (coefficients, 478, 3) is that of the motion.
    """
    if not share.any():
        return outputs
    shut = np.pad(predicted_opening(outputs, basis) < SHUT, 2 * SHUT_FRAMES - 1, "edge")
    lasts = np.lib.stride_tricks.sliding_window_view(shut, SHUT_FRAMES).all(1)
    near = np.lib.stride_tricks.sliding_window_view(lasts, 3 * SHUT_FRAMES).any(1)  # as many frames before and after
    share = share * smooth(np.asarray(near, np.float32), SMOOTHING)
    opened, missing = outputs.copy(), np.maximum(OPENING - lip_opening(outputs[:, :-1], basis), 0)
    opened[:, :-1] += np.outer(share * missing, opening_coefficients(basis))
    opened[:, -1] -= share * np.maximum(outputs[:, -1] - OPEN_LOGIT, 0)
    return opened


def _count(frames: np.ndarray, span: int) -> np.ndarray:
    """How many of ``span`` frames around each are true (T,)."""
    return np.rint(np.convolve(frames, np.ones(span), "same")).astype(int)


def _high_frames(speech: np.ndarray, power: float, first_frame: int, num_frames: int) -> np.ndarray:
    """Whether each frame alone is a high tone, and whether it is a high voice (2, num_frames); see ``high_voice``."""
    begin = first_frame * SAMPLES_PER_FRAME - (WINDOW - SAMPLES_PER_FRAME) // 2
    end = begin + (num_frames - 1) * SAMPLES_PER_FRAME + WINDOW
    samples = speech[max(begin, 0) : max(end, 0)]
    before = min(max(-begin, 0), end - begin)
    samples = np.pad(samples, (before, end - begin - before - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::SAMPLES_PER_FRAME]
    loud = windows.var(1) > power * 10 ** (LOUD_DB / 10)
    high = np.zeros((2, num_frames), bool)
    high[:, loud] = _tones(windows[loud])
    return high


def _tones(windows: np.ndarray) -> np.ndarray:
    """Whether each window of sound (F, WINDOW) is a high tone, and whether it has overtones as well (2, F)."""
    window = np.hanning(WINDOW)
    spectrum = np.abs(np.fft.rfft(windows * window, FFT_SIZE)) ** 2
    per_hertz = FFT_SIZE / SAMPLE_RATE
    spectrum[:, : round(MIN_FREQUENCY * per_hertz)] = 0
    decay = np.fft.irfft(np.abs(np.fft.rfft(window, FFT_SIZE)) ** 2)
    lags = slice(LAGS[0] - 1, LAGS[-1] + 2)
    correlation = np.fft.irfft(spectrum)
    values = correlation[:, lags] / (correlation[:, :1] + 1e-12) / (decay[lags] / decay[0])
    inner = values[:, 1:-1]
    peaks = np.where((inner >= values[:, :-2]) & (inner >= values[:, 2:]), inner, 0)
    chosen = (peaks >= peaks.max(1, keepdims=True) - NEARLY_HIGHEST).argmax(1)
    pitch = SAMPLE_RATE / LAGS[chosen]
    rows = np.arange(len(windows))
    cumulative = spectrum.cumsum(1) / (spectrum.sum(1, keepdims=True) + 1e-12)
    below = cumulative[rows, (BELOW_FROM * pitch * per_hertz).astype(int)]
    above = 1 - cumulative[rows, (ABOVE_FROM * pitch * per_hertz).astype(int)]
    high = (peaks[rows, chosen] > PERIODIC) & (pitch > LOWEST) & (below < MAX_BELOW)
    return np.stack([high, high & (above > MIN_ABOVE)])
