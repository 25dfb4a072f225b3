"""The five files of weights of LivePortrait, as they are published: found in a folder, read and checked."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from space_core.errors import SpaceError
from space_core.generator.liveportrait.layout import Layout
from space_core.shallow_json import parse_shallow

NAMES = (
    "appearance_feature_extractor",
    "motion_extractor",
    "warping_module",
    "spade_generator",
    "stitching_retargeting_module",
)
# Where the publishers keep the files: all in one folder, or in two.
FOLDERS = (
    ".",
    "base_models",
    "retargeting_models",
    "liveportrait/base_models",
    "liveportrait/retargeting_models",
)
SUFFIXES = (".safetensors", ".pth")  # the first that is there is read
LAYOUT = "layout"  # in the metadata of a file, where it is not the published one
DOWNLOAD = "Download them with 'python -m space_core get-weights liveportrait'."


def find_checkpoints(folder: str | Path) -> dict[str, Path]:
    """The five files by name.

    Raises:
        SpaceError: there is no such folder, or a file is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SpaceError(f"There is no folder {folder} with weights of LivePortrait. {DOWNLOAD}")
    found = {
        name: next((path for place in FOLDERS for path in _candidates(folder / place, name) if path.is_file()), None)
        for name in NAMES
    }
    if missing := [name for name, path in found.items() if path is None]:
        raise SpaceError(
            f"In {folder} there is no {' and no '.join(missing)} (.safetensors or .pth) of LivePortrait. {DOWNLOAD}"
        )
    return {name: path for name, path in found.items() if path is not None}


def load_checkpoint(path: Path, network: nn.Module) -> None:
    """Puts the tensors of a file, in float32, into a network, which may be on the device "meta".

    Raises:
        SpaceError: the file can't be read, contains anything but tensors, or is not one of this network: the names and
            shapes of its tensors are other ones.
    """
    tensors = _flat(_read(path))
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    # Counters of training steps, which some copies leave out.
    counters = {name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    wrong = sorted(
        [name for name in expected if name not in tensors]
        + [name for name in tensors if name not in expected]
        + [name for name in expected if name in tensors and tensors[name].shape != expected[name]]
    )
    if wrong:
        raise SpaceError(
            f"{path} has not the tensors of LivePortrait's {path.stem}: {len(wrong)} differ in name or shape, such as "
            f"{wrong[0]}. {DOWNLOAD}"
        )
    floats = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if not all(tensor.isfinite().all() for tensor in floats.values()):
        raise SpaceError(f"{path} contains numbers that are not finite. {DOWNLOAD}")
    network.load_state_dict(floats, assign=True)


def save_checkpoint(path: Path, network: nn.Module, layout: Layout) -> None:
    """Writes a network, with the layout of all five, to a safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {LAYOUT: json.dumps(asdict(layout))})


def read_layout(path: Path) -> Layout:
    """The layout of networks, from the metadata of their file; the published one if it has none.

    Raises:
        SpaceError: the file is damaged.
    """
    if path.suffix != ".safetensors":
        return Layout()
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(LAYOUT)
        values: dict[str, Any] = parse_shallow(text) if text else {}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Layout(**values)
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise SpaceError(f"{path} is damaged or no file of weights. {DOWNLOAD}") from error


def _candidates(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{suffix}" for suffix in SUFFIXES]


def _read(path: Path) -> Any:
    """What a file contains, without ever running code from it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The message of torch distinguishes a pickle with objects other than tensors from a damaged one.
        if "GLOBAL" in str(error):
            raise SpaceError(
                f"{path} contains more than tensors and might run code, so it was not loaded. {DOWNLOAD}"
            ) from error
        raise SpaceError(f"{path} is damaged or no file of weights. {DOWNLOAD}") from error
    except OSError as error:
        raise SpaceError(f"{path} can't be read: {error.strerror or error}.") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise SpaceError(f"{path} is damaged or no file of weights. {DOWNLOAD}") from error


def _flat(content: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors by name: nested dictionaries joined by dots, without marks of distributed training.

    The networks of the file for stitching are "retarget_shoulder.module.mlp…" in one publication and
    "retarget_shoulder_module.mlp…" in the other.
    """
    tensors = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping):
            tensors.update(_flat(value, f"{full}."))
        elif isinstance(value, torch.Tensor):
            first, _, rest = full.removeprefix("module.").replace(".module.", ".").partition(".")
            first = first.removesuffix("_module") if first.startswith("retarget_") else first
            tensors[f"{first}.{rest}" if rest else first] = value
    return tensors
