"""Prosody of the speech per frame: voice pitch, syllables and how much they are accented."""

from dataclasses import dataclass

import numpy as np

from space_core.motion.loudness import frame_levels, loudness, smooth
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

# Pitch is the lag of the highest peak of the autocorrelation (Boersma, 1993) in a window around each frame.
WINDOW = 2 * SAMPLES_PER_FRAME  # 80 ms: five periods of the lowest voice
FFT_SIZE = 2048
LOWEST, HIGHEST = 70.0, 400.0  # Hz
VOICED = 0.45  # autocorrelation, relative to that of lag 0, from which on a frame is voiced
OCTAVE_COST = 0.08  # of the autocorrelation per octave of lag, against subharmonics
CHUNK_FRAMES = 500  # at a time, to bound memory
PITCH_SMOOTHING = 1.0  # frames, standard deviation

# A syllable is a maximum of the loudness; its accent is how much louder and higher it is than its surroundings.
SYLLABLE_LOUDNESS = 0.35
SYLLABLE_SMOOTHING = 0.8  # frames
SURROUNDINGS = 1.2 * FPS  # frames, standard deviation
LOUDNESS_UNIT, PITCH_UNIT = 0.16, 2.2  # typical standard deviations: of the loudness, and semitones
ACCENTED = 0.9  # accent from which on a syllable counts as accented: two of five
GREATEST_ACCENT = 2.5
ACCENT_WIDTH = 1.5  # frames, standard deviation of an accent in the curve
PAUSE_LOUDNESS = 0.2

# Steady noise without speech: its frames differ by less in level, in dB from the quietest to the loudest, and fewer are
# voiced. Speech in white noise as loud as it has five decibels and 16 to 35 % of voiced frames.
STEADY_DB, VOICELESS = 3.5, 0.9


@dataclass(frozen=True)
class Prosody:
    """The prosody of a recording of T frames, 25 a second; all float64.

    Attributes:
        loudness: (T,) 0 pause … 1 loud syllable.
        pitch: (T,) semitones above the voice's median, interpolated where there is no voice; 0 in speech without voice.
        syllables: (S,) int, the frames of the syllables' nuclei.
        accents: (S,) how accented each is: 0 average and less … 2.5.
        accent: (T,) the same as a curve: a bump of that height at each syllable.
        speaking: (T,) 0 in pauses … 1 in speech, smooth.
    """

    loudness: np.ndarray
    pitch: np.ndarray
    syllables: np.ndarray
    accents: np.ndarray
    accent: np.ndarray
    speaking: np.ndarray


def analyze_prosody(speech: np.ndarray, num_frames: int) -> Prosody:
    """The prosody of 16 kHz mono speech (N,); a recording shorter than ``num_frames`` is silent after its end.

    Steady noise without speech, such as a microphone's, is a pause.
    """
    semitones = frame_pitch(speech, num_frames)
    loud = np.zeros(num_frames) if _is_noise(speech, semitones) else loudness(speech, num_frames)
    return prosody_of(loud, semitones)


def prosody_of(loud: np.ndarray, semitones: np.ndarray) -> Prosody:
    """The prosody of a loudness curve (T,) and the voice's pitch in each frame (T,), see ``frame_pitch``."""
    num_frames = len(loud)
    speaking = np.clip(2 * smooth(loud, 0.2 * FPS), 0, 1) if num_frames else loud
    pitch = relative_pitch(semitones, loud)
    syllables = _syllables(loud)
    accents = _accents(syllables, loud, pitch)
    accent = np.zeros(num_frames)
    reach = np.arange(-5, 6)
    for frame, strength in zip(syllables, accents, strict=True):
        frames = np.clip(frame + reach, 0, num_frames - 1)
        accent[frames] = np.maximum(accent[frames], strength * np.exp(-0.5 * (reach / ACCENT_WIDTH) ** 2))
    return Prosody(loud, pitch, syllables, accents, accent, speaking)


def frame_pitch(speech: np.ndarray, num_frames: int) -> np.ndarray:
    """(num_frames,) the voice's pitch in semitones above 1 Hz in a window around each frame; NaN without voice.

    ``speech`` is (N,) float32, 16 kHz mono.
    """
    semitones = np.full(num_frames, np.nan)
    if num_frames == 0:
        return semitones
    window = np.hanning(WINDOW)
    decay = np.fft.irfft(np.abs(np.fft.rfft(window, FFT_SIZE)) ** 2)  # the autocorrelation of the window itself
    lags = np.arange(int(SAMPLE_RATE / HIGHEST), int(SAMPLE_RATE / LOWEST) + 1)
    decay = decay[lags] / decay[0]
    cost = OCTAVE_COST * np.log2(lags / lags[0])
    margin = (WINDOW - SAMPLES_PER_FRAME) // 2
    padded = np.pad(np.asarray(speech, np.float32)[: num_frames * SAMPLES_PER_FRAME], margin)
    padded = np.pad(padded, (0, max(0, num_frames * SAMPLES_PER_FRAME + 2 * margin - len(padded))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::SAMPLES_PER_FRAME]
    for first in range(0, num_frames, CHUNK_FRAMES):
        part = windows[first : first + CHUNK_FRAMES]
        part = (part - part.mean(1, keepdims=True)) * window
        correlation = np.fft.irfft(np.abs(np.fft.rfft(part, FFT_SIZE)) ** 2)
        values = correlation[:, lags] / (correlation[:, :1] + 1e-9) / decay
        best = (values - cost).argmax(1)
        voiced = values[np.arange(len(part)), best] > VOICED
        pitch = 12 * np.log2(SAMPLE_RATE / lags[best])
        semitones[first : first + len(part)] = np.where(voiced, pitch, np.nan)
    return semitones


def relative_pitch(semitones: np.ndarray, loud: np.ndarray) -> np.ndarray:
    """(T,) semitones above the median pitch of the voice; interpolated where there is none or a pause."""
    found = np.flatnonzero(~np.isnan(semitones) & (loud >= PAUSE_LOUDNESS))
    if not len(found):
        return np.zeros(len(semitones))
    median = np.median(semitones[found])
    # An octave too low or too high is an error more often than a voice.
    offset = semitones[found] - median
    offset -= 12 * np.round(offset / 12) * (np.abs(offset) > 9)
    return smooth(np.interp(np.arange(len(semitones)), found, offset), PITCH_SMOOTHING)


def _is_noise(speech: np.ndarray, semitones: np.ndarray) -> bool:
    """Whether speech (N,) is steady noise throughout its frames, whose pitch is ``semitones`` (T,)."""
    if np.isnan(semitones).sum() <= VOICELESS * len(semitones):
        return False
    quiet, loud = np.percentile(frame_levels(speech, len(semitones)), [5, 95])
    return bool(loud - quiet < STEADY_DB)


def _syllables(loud: np.ndarray) -> np.ndarray:
    """(S,) int, the frames of the maxima of a loudness curve (T,)."""
    if len(loud) < 3:
        return np.zeros(0, np.int64)
    curve = smooth(loud, SYLLABLE_SMOOTHING)
    peak = (curve[1:-1] >= curve[:-2]) & (curve[1:-1] > curve[2:]) & (curve[1:-1] > SYLLABLE_LOUDNESS)
    return np.flatnonzero(peak) + 1


def _accents(syllables: np.ndarray, loud: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """(S,) how accented syllables are, of loudness and pitch curves (T,)."""
    if not len(syllables):
        return np.zeros(0)
    weight = loud > PAUSE_LOUDNESS  # pauses are no surroundings
    around = smooth(weight.astype(float), SURROUNDINGS) + 1e-3
    louder = loud - smooth(loud * weight, SURROUNDINGS) / around
    higher = pitch - smooth(pitch * weight, SURROUNDINGS) / around
    # The highest pitch is reached up to two frames after the loudest moment.
    later = [higher[np.minimum(syllables + delay, len(higher) - 1)] for delay in (-1, 0, 1, 2)]
    score = 0.5 * louder[syllables] / LOUDNESS_UNIT + 0.5 * np.max(later, axis=0) / PITCH_UNIT
    return np.clip(score, 0, GREATEST_ACCENT)
