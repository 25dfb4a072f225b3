"""Where networks and pictures are computed."""

import torch

from space_core.errors import SpaceError
from space_core.options import DEVICES


def pick_device(name: str) -> torch.device:
    """The device of a name in ``DEVICES``; "auto" is CUDA where there is a GPU, else the CPU.

    Raises:
        SpaceError: no such name, or no GPU.
    """
    if name not in DEVICES:
        raise SpaceError(f"There is no device called {name!r}; choose one of: {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise SpaceError("There is no CUDA device here, or torch was installed without CUDA; use --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():  # what else there is lacks some of the operations used here
        return torch.device("cpu")
    from accelerate import PartialState  # takes 0.1 s to import

    return PartialState().default_device
