"""The fuzzer for ten seconds; FUZZ_SECONDS and FUZZ_SEED in the environment have it run longer, or otherwise."""

import json
import os

import pytest
from fuzz.fuzzer import fuzz


@pytest.mark.slow
def test_every_answer_is_a_film_or_a_sentence_and_nothing_is_left_behind(tmp_path):
    seconds, seed = float(os.environ.get("FUZZ_SECONDS", "10")), int(os.environ.get("FUZZ_SEED", "0"))
    report = fuzz(seed, seconds, tmp_path / "log")
    print(json.dumps(report.summary(), indent=1))
    assert report.wrong == []
