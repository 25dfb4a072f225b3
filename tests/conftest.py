"""What several tests share: the examples, short recordings, one pipeline."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from space_core import SpacePipeline
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.media.images import load_photo

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A photo with one face, (H, W, 3) uint8 RGB."""
    return load_photo(EXAMPLES / "astronaut.jpg")


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> Portrait:
    return prepare_portrait(astronaut, build_detector("mediapipe"))


@pytest.fixture(scope="session")
def pipeline() -> SpacePipeline:
    return SpacePipeline("cpu")


@pytest.fixture(scope="session")
def short_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.3 seconds of an example."""
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    path = tmp_path_factory.mktemp("speech") / "short.wav"
    soundfile.write(path, sound[: round(1.3 * rate)], rate)
    return path
