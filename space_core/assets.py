"""Where the files are that SPACE ships: beside the package in a checkout, inside it when it is installed."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def weights_path(name: str) -> Path:
    """The path of shipped weights, such as ``weights_path("emotion.safetensors")``."""
    installed = _PACKAGE / "weights" / name
    return installed if installed.exists() else _PACKAGE.parent / "weights" / name
