"""Where the files of SPACE are: shipped ones beside the package or, when it is installed, inside; users' own."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent


def weights_path(name: str) -> Path:
    """The path of shipped weights, such as ``weights_path("emotion.safetensors")``."""
    installed = _PACKAGE / "weights" / name
    return installed if installed.exists() else _PACKAGE.parent / "weights" / name


def user_weights_folder(name: str) -> Path:
    """The folder of weights that a user has added, such as "liveportrait"; it need not exist.

    It lies in the folder of the environment variable SPACE_WEIGHTS_FOLDER, by default in the user's cache.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SPACE_WEIGHTS_FOLDER") or cache / "space_core" / "weights") / name


def example_path(name: str) -> Path:
    """The path of an example's photo or recording, such as ``example_path("astronaut.jpg")``."""
    installed = _PACKAGE / "examples" / name
    return installed if installed.exists() else _PACKAGE.parent / "examples" / name
