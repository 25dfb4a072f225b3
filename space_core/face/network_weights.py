"""Loads the shipped weights of the networks of this subpackage."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def load_network(build: Callable[[], Network], weights: Path, device: torch.device | str, prefix: str = "") -> Network:
    """A network in float32 on a device, with the tensors of a safetensors file whose names begin with ``prefix``."""
    with torch.device("meta"):  # no time and no random numbers are spent on weights that are replaced
        network = build()
    tensors = {name.removeprefix(prefix): t for name, t in load_file(weights).items() if name.startswith(prefix)}
    network.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()},
        assign=True,
    )
    network.eval().requires_grad_(False)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's types
