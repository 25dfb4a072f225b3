"""What takes of one sentence promise: they differ as a person's do, and a seed gives one of them."""

import numpy as np
import pytest
import torch
from conftest import EXAMPLES

from space_core.measures.lips import mouth_measures
from space_core.media.audio import load_speech
from space_core.motion.motion import Motion, join
from space_core.motion.planner import MotionPlanner
from space_core.motion.takes import TakeVariation
from space_core.options import MotionOptions
from space_core.timing import FPS, SAMPLE_RATE


@pytest.fixture(scope="module")
def planner() -> MotionPlanner:
    return MotionPlanner(torch.device("cpu"))


def film(planner, portrait, speech: np.ndarray, **options) -> Motion:
    timelines = planner.timelines(portrait, speech, MotionOptions(**options))
    return join(list(planner.segments(portrait, speech, planner.analyse(speech), timelines)))


def test_two_seeds_give_two_takes_of_the_lips_and_one_seed_gives_one(planner, portrait):
    speech = load_speech(EXAMPLES / "english_portrait.flac")[: 5 * SAMPLE_RATE]
    one, again, other = (mouth_measures(film(planner, portrait, speech, seed=seed).edited) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    opening, _, _, _, corners, _ = (np.corrcoef(one[:, column], other[:, column])[0, 1] for column in range(6))
    assert 0.9 < opening < 0.999
    assert 0.7 < corners < 0.99
    met = [measures[:, 0] < 0.1 * np.percentile(measures[:, 0], 95) for measures in (one, other)]
    assert (met[0] == met[1]).mean() > 0.95  # lips meet in both


def test_in_silence_and_without_articulation_no_take_moves_the_mouth(planner, portrait):
    speech = load_speech(EXAMPLES / "english_portrait.flac")[: 2 * SAMPLE_RATE]
    for sound, articulation in ((np.zeros(2 * SAMPLE_RATE, np.float32), 1), (speech, 0)):
        one, other = (
            mouth_measures(
                film(planner, portrait, sound, seed=seed, expressiveness=0, articulation=articulation).edited
            )
            for seed in (1, 2)
        )
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_mouth_opens_further_in_one_breath_than_in_another():
    minute = np.stack([TakeVariation(seed).next(np.ones(60 * FPS)).breathing[:: 2 * FPS] for seed in range(20)])
    assert minute.mean() == pytest.approx(1, abs=0.1)
    deepest, shallowest = np.percentile(minute, [90, 10], axis=1)
    assert (deepest / shallowest).min() > 2
    assert minute.max() < 3


def test_a_take_does_not_depend_on_how_many_frames_are_asked_for_at_a_time():
    share = np.ones(4 * FPS)
    whole, pieces = TakeVariation(3), TakeVariation(3)
    apart = [pieces.next(part) for part in np.split(share, [1, 7, 40])]
    for at_once, joined in zip(whole.next(share), map(np.concatenate, zip(*apart, strict=True)), strict=True):
        np.testing.assert_allclose(at_once, joined, rtol=1e-6)
