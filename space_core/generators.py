"""The generators by name. Each is a module that is imported when it is first used.

Such a module has a function ``build(device, progress)``, which returns a ``space_core.generator.generator.Generator``
on a torch device and may report progress (see ``space_core.progress``). It may have a function ``is_available()``:
whether the weights that the generator needs are on this machine. Without it the generator always is available.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from space_core.errors import SpaceError

if TYPE_CHECKING:  # so that the command line, which reads GENERATORS, need not import torch
    import torch

    from space_core.progress import Progress

# By the name that users give, the module; the first is the default.
GENERATORS = {
    "mesh-warp": "space_core.generator.mesh_warp",
    "liveportrait": "space_core.neural",
}
DEFAULT_GENERATOR = next(iter(GENERATORS))


def build_generator(name: str, device: torch.device, progress: Progress) -> Any:
    """The generator of a name, ready to use.

    Args:
        name: one of ``GENERATORS``.
        device: where it computes.
        progress: see ``space_core.progress``; called where something has to be trained first.

    Raises:
        SpaceError: there is no such generator, or its weights are not there.
    """
    return _module(name).build(device, progress)


def available_generators() -> tuple[str, ...]:
    """The names of the generators whose weights are on this machine."""
    return tuple(name for name in GENERATORS if getattr(_module(name), "is_available", _always)())


def _always() -> bool:
    return True


def _module(name: str) -> Any:
    if name not in GENERATORS:
        raise SpaceError(f"There is no generator called {name!r}; choose one of: {', '.join(GENERATORS)}.")
    return import_module(GENERATORS[name])
