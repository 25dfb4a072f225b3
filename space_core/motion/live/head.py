"""Head motion that goes on for as long as a stream does, in speech and in silence."""

import numpy as np

from space_core.face.normalization import HeadPose
from space_core.motion.head_pose import (
    AMPLITUDE_DURATION,
    BREATH_RATE,
    BREATH_SPREAD,
    BREATH_SPREAD_DURATION,
    EASE_IN_FRAMES,
    FARTHEST,
    MAX_SPREAD,
    NOD_SPREAD,
    NOD_SPREAD_DURATION,
    NUM_CHANNELS,
    PITCH,
    ROLL,
    YAW,
    accent_nods,
    breathing,
    drive,
    ease,
    head_motion_model,
    lognormal,
    minimum_phase_factors,
    moved_head,
    nods,
    noise_variation,
    soft_limit,
)
from space_core.motion.live.prosody import ProsodyWindow
from space_core.motion.noise_stream import smooth_noise_stream
from space_core.motion.speaker_variation import speaker_deviation
from space_core.timing import FPS

TAPS = 8 * FPS  # ticks after which nothing is left of an impulse
LEAD_TICKS = 6  # before an impulse: a filter of minimum phase is not wholly causal once it is sampled
KEPT_TICKS = 24  # of the motion, between which it is interpolated
TICKS_AHEAD = 8  # so that later ones no longer change the spline
MEASURED_TICKS = 20_000  # of noise, whose power is measured


class LiveHead:
    """The head of one stream; counterpart of ``generate_head_pose``."""

    def __init__(self, photo: HeadPose, seed: int) -> None:
        """``photo`` is the photo's own pose, where the motion starts; ``seed`` that of the random process."""
        self._photo = photo
        self._model = model = head_motion_model()
        self._random = random = np.random.default_rng(seed)
        self._deviation = speaker_deviation(model.deviation, model.spread, MAX_SPREAD, random)
        factors = minimum_phase_factors(model, np.fft.rfftfreq(2 * TAPS, 1 / FPS))
        impulse = np.roll(np.fft.irfft(factors, axis=0), LEAD_TICKS, axis=0)[:TAPS] * np.sqrt(FPS / 2)
        # It is cut off there: without fading in, it would make the head tremble.
        impulse[:LEAD_TICKS] *= ease((np.arange(LEAD_TICKS) + 0.5) / LEAD_TICKS)[:, None, None]
        self._impulse = impulse[::-1]  # (TAPS, 6, 6), the latest last
        self._variation = smooth_noise_stream(AMPLITUDE_DURATION, random)
        self._power = (noise_variation(self._variation.next(MEASURED_TICKS)[:, 0]) ** 2).mean(0)
        self._nodding = smooth_noise_stream(NOD_SPREAD_DURATION, random)
        self._breathing = smooth_noise_stream(BREATH_SPREAD_DURATION, random)
        self._breaths = random.random()
        self._frames = 0
        self._clock = 0.0  # of the process, in ticks
        self._ticks = 0  # that the motion is known of
        self._noise = np.zeros((TAPS, NUM_CHANNELS))
        self._motion = np.zeros((KEPT_TICKS, NUM_CHANNELS))  # at the latest ticks

    def next(self, window: ProsodyWindow, attitude: np.ndarray, amount: np.ndarray) -> HeadPose:
        """The poses of the next T frames.

        Args:
            window: of the speech.
            attitude: (T, 3) yaw, pitch, roll in degrees, see ``head_attitude``.
            amount: (T,) 0 (exactly still), 1 (as recorded) … 1.5.
        """
        count = len(amount)
        prosody, ease_in = window.prosody, ease((self._frames + np.arange(count)) / EASE_IN_FRAMES)
        rates, amplitudes = drive(prosody.loudness)
        power = self._power * max(float(np.average(amplitudes**2, weights=rates)), 1.0)
        motion = self._wander(rates[window.planned], amplitudes[window.planned][-1] / np.sqrt(power)) * self._deviation
        nodding = (nods(prosody.loudness, self._model.nod_kernel) + accent_nods(prosody))[window.delayed]
        motion[:, PITCH] += ease_in * nodding * lognormal(self._nodding.next(count)[:, 0], NOD_SPREAD)
        breaths = np.cumsum(BREATH_RATE * lognormal(self._breathing.next(count)[:, 0], BREATH_SPREAD)) / FPS
        motion += ease_in[:, None] * breathing(self._breaths + breaths)
        motion[:, YAW : ROLL + 1] += attitude
        self._frames += count
        self._breaths = (self._breaths + breaths[-1]) % 1
        return moved_head(motion * amount[:, None], self._photo)

    def _wander(self, rate: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
        """(T, 6) the random process, its clock running at a rate (T,) and its noise of an amplitude (6,)."""
        clock = self._clock + np.cumsum(rate)
        while self._ticks < clock[-1] + TICKS_AHEAD:
            noise = noise_variation(self._variation.next(1)[:, 0]) * amplitude
            noise = noise * ease(np.array(self._ticks / EASE_IN_FRAMES)) * self._random.standard_normal(NUM_CHANNELS)
            self._noise = np.concatenate([self._noise[1:], noise])
            here = np.einsum("kij,kj->i", self._impulse, self._noise)
            self._motion = np.concatenate([self._motion[1:], here[None]])
            self._ticks += 1

        from scipy.interpolate import CubicSpline  # takes 0.2 s to import

        wandering = CubicSpline(np.arange(self._ticks - KEPT_TICKS, self._ticks), self._motion)(clock)
        self._clock = float(clock[-1])
        return soft_limit(wandering, np.full(NUM_CHANNELS, FARTHEST))
