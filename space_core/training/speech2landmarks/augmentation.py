"""Augmentation of log-mel spectrograms: voices, microphones, rooms, noises; and sound without speech."""

from functools import cache

import numpy as np
import torch
from scipy.signal import lfilter
from torch.nn import functional as F

from space_core.motion.speech_features import LOG_SCALE, NUM_MELS, POWER_FLOOR, log_mel, speech_power
from space_core.timing import SAMPLE_RATE

SEED = 3
SECONDS = 10  # of each sound without speech


def augment(mel: torch.Tensor) -> torch.Tensor:
    """Log-mel spectrograms (batch, steps, 80) with other voices, microphones, rooms and noises."""
    low = float(np.log(POWER_FLOOR)) * LOG_SCALE
    mel = _with_other_vocal_tracts(mel)
    power = torch.exp((mel + low) / LOG_SCALE) - POWER_FLOOR
    _reverberate(power)
    power = power * _microphones(*mel.shape[::2])[:, None]
    power = power + _noise_power(*mel.shape)
    babble = (torch.rand(len(mel)) < 0.1)[:, None, None] * 10 ** torch.empty(len(mel), 1, 1).uniform_(-3, -1.5)
    power = power + babble * power.roll(1, 0)  # now and then a distant second voice
    mel = torch.log(power.clamp(min=0) + POWER_FLOOR) * LOG_SCALE - low
    return mel * ~_masked_bands(*mel.shape[::2])[:, None]


def _with_other_vocal_tracts(mel: torch.Tensor) -> torch.Tensor:
    """Spectrograms (batch, steps, bands) with the mel axis squeezed or stretched."""
    count, length, bands = mel.shape
    warp = torch.empty(count).uniform_(0.88, 1.14)
    place = (torch.arange(bands)[None] * warp[:, None]).clamp(max=bands - 1.001)
    left = place.long()
    share = (place - left)[:, None]
    index = left[:, None].expand(-1, length, -1)
    return mel.gather(2, index) * (1 - share) + mel.gather(2, index + 1) * share


def _reverberate(power: torch.Tensor) -> None:
    """Adds reverberation to some sounds, power (batch, steps, bands), in place: each band decays exponentially."""
    for item in torch.nonzero(torch.rand(len(power)) < 0.25)[:, 0]:
        decay = 10 ** (-0.06 / float(torch.empty(1).uniform_(0.2, 0.8)))  # per 10 ms, from the time to fall by 60 dB
        tail = 10 ** float(torch.empty(1).uniform_(-1.6, -0.6)) * (1 - decay) * decay ** torch.arange(60.0)
        kernel = tail.flip(0)[None, None]
        reverberation = F.conv1d(F.pad(power[item].T[:, None], (60, 0))[:, :, :-1], kernel)[:, 0].T
        power[item] = power[item] + 6 * reverberation


def _microphones(count: int, bands: int) -> torch.Tensor:
    """(count, bands) factors of the power: a level, and a smooth spectral tilt or a telephone's band."""
    tilt = _smooth_curves(3, count, 6, bands)
    tilt[torch.rand(count) < 0.2] *= 2
    telephone = torch.rand(count) < 0.15
    tilt[telephone, :9] -= 40
    tilt[telephone, 57:] -= 40
    level = 3 * torch.randn(count, 1)
    return 10 ** ((tilt + level) / 10)


def _noise_power(count: int, length: int, bands: int) -> torch.Tensor:
    """(count, length, bands) power of noises with a smooth spectrum, some of a varying level or with a late begin."""
    colour = _smooth_curves(6, count, 8, bands)
    swell = _smooth_curves(4, count, 8, length)
    swell[torch.rand(count) < 0.5] = 0
    ratio = torch.empty(count).uniform_(8, 55)
    loud = torch.rand(count) < 0.1
    ratio[loud] -= 10
    # Of noise as loud as speech, a band holds four hundredths: 14 dB less than that, but bands of speech have gaps.
    ratio += 10
    onset = torch.randint(0, length, (count, 1)) * (torch.rand(count, 1) < 0.2)
    swell = 10 ** (swell / 10) * (torch.arange(length)[None] >= onset)
    envelope = 10 ** ((colour - ratio[:, None]) / 10)[:, None] * swell[:, :, None]
    first = torch.randint(0, len(_white_noise_power()) - length, (count,))
    return envelope * torch.stack([_white_noise_power()[begin : begin + length] for begin in first])


def _masked_bands(count: int, bands: int) -> torch.Tensor:
    """(count, bands) bool, true at a few neighbouring bands (SpecAugment; Park et al., 2019)."""
    first = torch.randint(0, bands, (count,))
    return (torch.arange(bands)[None] - first[:, None]).abs() < torch.randint(0, 6, (count, 1))


def _smooth_curves(deviation: float, count: int, num_points: int, length: int) -> torch.Tensor:
    """(count, length) decibels, linear between random values at so many points."""
    points = deviation * torch.randn(count, 1, num_points)
    return F.interpolate(points, size=length, mode="linear", align_corners=True)[:, 0]


def music(draw: np.random.Generator) -> torch.Tensor:
    """(steps, 80) log-mel spectrogram of ten seconds of chords with drums."""
    time_axis = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    sound = np.zeros_like(time_axis)
    beat = draw.uniform(0.2, 0.7)
    for onset in np.arange(0, SECONDS, beat):
        since = time_axis - onset
        envelope = np.where(since > 0, np.exp(-since / draw.uniform(0.1, 1.0)) * np.minimum(since / 0.01, 1), 0)
        for _ in range(draw.integers(1, 4)):
            pitch = 55 * 2 ** (draw.integers(0, 48) / 12)
            for overtone in range(1, draw.integers(2, 9)):
                if overtone * pitch < SAMPLE_RATE / 2:
                    sound += envelope * np.sin(2 * np.pi * overtone * pitch * time_axis + overtone) / overtone**1.3
        if draw.random() < 0.5:
            sound += 2 * np.where(since > 0, np.exp(-since / 0.04), 0) * draw.standard_normal(len(sound))
    return _ten_seconds_mel(sound, 0.05)


def noise(draw: np.random.Generator) -> torch.Tensor:
    """(steps, 80) log-mel spectrogram of ten seconds of noises, as loud as speech, that begin and end abruptly."""
    sound = np.zeros(SECONDS * SAMPLE_RATE)
    begin = 0
    while begin < len(sound):
        end = begin + int(draw.uniform(0.4, 4) * SAMPLE_RATE)
        white = draw.standard_normal(len(sound[begin:end]))
        colour = draw.uniform(-0.9, 0.9)  # from low to high frequencies
        sound[begin:end] = lfilter([1 - abs(colour)], [1, -colour], white) * draw.uniform(0.3, 1)
        begin = end + int(draw.uniform(0.2, 2) * SAMPLE_RATE)
    return _ten_seconds_mel(sound, 0.1)


def tones(draw: np.random.Generator) -> torch.Tensor:
    """(steps, 80) log-mel spectrogram of ten seconds of long notes of instruments, whose overtones have no formants."""
    times = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    sound = np.zeros_like(times)
    begin = 0.0
    while begin < SECONDS:
        length, slope = draw.uniform(0.4, 4), draw.uniform(0.5, 3)
        since = times - begin
        envelope = np.clip(np.minimum(since, length - since) / draw.uniform(0.01, 0.2), 0, 1)
        for pitch in 60 * 2 ** (draw.integers(0, 48, draw.integers(1, 4)) / 12):
            vibrato = draw.uniform(0, 0.01) * np.sin(2 * np.pi * 5 * times) / 5
            for overtone in range(1, min(int(SAMPLE_RATE / 2 / pitch), int(draw.integers(2, 40)))):
                phase = overtone * pitch * (2 * np.pi * times + vibrato) + draw.uniform(0, 6)
                sound += envelope * np.sin(phase) / overtone**slope
        begin += length + draw.choice([0, draw.uniform(0, 1)])
    return _ten_seconds_mel(sound, 0.05)


def _ten_seconds_mel(sound: np.ndarray, gain: float) -> torch.Tensor:
    """(steps, 80) log-mel spectrogram of ten seconds of sound (N,), amplified by a factor."""
    sound = sound.astype(np.float32) * gain
    return torch.from_numpy(log_mel(sound, speech_power(sound), 0, 250))


@cache
def _white_noise_power() -> torch.Tensor:
    """(steps, 80) the power of white noise in each band, of mean 1."""
    return torch.empty(10_000, NUM_MELS).exponential_(generator=torch.Generator().manual_seed(SEED))
