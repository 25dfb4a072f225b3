"""Where networks and pictures are computed."""

import torch
from accelerate import PartialState

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
    best = PartialState().default_device
    # What else there is (MPS, XPU) lacks some of the operations used here.
    return best if name != "cpu" and best.type == "cuda" else torch.device("cpu")
