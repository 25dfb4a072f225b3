"""The process in which ``phonemes`` runs espeak-ng.

It reads a JSON list of texts on standard input and answers with a list of the phonemes of each on standard output.
"""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path


def main(voice: str) -> None:
    """Answers the one request: for each text its sentences, each a list of phonemes.

    Args:
        voice: one of espeak-ng's, such as "en-us".
    """
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no files
    answers = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("wb") as null:  # for what espeak-ng writes
        os.dup2(null.fileno(), 1)
    # The package itself would import ONNX Runtime, which takes 0.2 s and is not needed here.
    found = importlib.util.find_spec("piper")
    package = types.ModuleType("piper")
    package.__path__ = list((found and found.submodule_search_locations) or ())
    sys.modules["piper"] = package
    from piper.phonemize_espeak import EspeakPhonemizer

    phonemizer = EspeakPhonemizer()
    json.dump([phonemizer.phonemize(voice, text) for text in json.load(sys.stdin)], answers)
    answers.flush()
