"""The process in which ``phonemes`` runs espeak-ng.

It reads a JSON list of texts on standard input and answers with a list of the phonemes of each on standard output.
"""

import importlib.util
import json
import sys
import types

from space_core.processes.worker import open_answers


def main(voice: str) -> None:
    """Answers the one request: for each text its sentences, each a list of phonemes.

    Args:
        voice: one of espeak-ng's, such as "en-us".
    """
    answers = open_answers()
    # The package itself would import ONNX Runtime, which takes 0.2 s and is not needed here.
    found = importlib.util.find_spec("piper")
    package = types.ModuleType("piper")
    package.__path__ = list((found and found.submodule_search_locations) or ())
    sys.modules["piper"] = package
    from piper.phonemize_espeak import EspeakPhonemizer

    phonemizer = EspeakPhonemizer()
    answers.write(json.dumps([phonemizer.phonemize(voice, text) for text in json.load(sys.stdin)]).encode())
    answers.flush()
