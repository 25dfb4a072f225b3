"""Alignment of sound and video: the lag of each clip, measured by decoders trained on other clips."""

import numpy as np
import torch

from space_core.measures.lips import best_lag
from space_core.training.speech2landmarks.basis import coefficient_opening
from space_core.training.speech2landmarks.clips import OWN_SPEED, Clip, encoded_clip, shifted
from space_core.training.speech2landmarks.train import LARGEST_LAG, Ensemble, Material, predicted_opening, train

ROUNDS = 2  # the second one trains on clips that the first one has shifted
STEPS = 120  # of each decoder
MIN_CORRELATION = 0.3  # of a clip whose sound is its own and whose face is visible
MIN_GAIN = 0.03  # in correlation, for a clip to be shifted


def align(
    clips: list[Clip], features: dict[str, list[torch.Tensor]], basis: np.ndarray
) -> dict[str, tuple[int, float]]:
    """By clip, the number of frames by which its motion comes after its sound, and the correlation once shifted.

    The correlation is that of predicted and tracked lip opening. ``features`` has, by clip, the encoder's at each of
    its speeds; ``basis`` (coefficients, 478, 3) is that of the motion.
    """
    lags = {clip.name: (0, 1.0) for clip in clips}
    for _ in range(ROUNDS):
        own = [encoded_clip(shifted(clip, lags[clip.name][0]), features) for clip in clips]
        found = {}
        for half in (0, 1):
            others = [clip for clip in own[1 - half :: 2] if lags[clip.name][1] > MIN_CORRELATION]
            decoders = Ensemble([train(Material(others, [], basis), STEPS, seed=seed) for seed in (0, 1)])
            for clip in own[half::2]:
                truth = coefficient_opening(clip.motion[OWN_SPEED].numpy(), basis)
                further, best, unshifted = best_lag(predicted_opening(decoders, clip, basis), truth, LARGEST_LAG)
                further = further if best > unshifted + MIN_GAIN else 0
                lag = lags[clip.name][0] + further
                found[clip.name] = lag, best
                print(f"{clip.name[-48:]:48s} lag {lag:+d} correlation {best:.2f}, {unshifted:.2f} before")
        lags = found
    return lags
