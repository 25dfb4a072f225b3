"""How dataclasses that hold arrays are shown: by shape and type, not by millions of numbers."""

from dataclasses import fields
from typing import Any

import numpy as np


def short_repr(instance: Any) -> str:
    """A line such as ``Curves(seconds=(145,) float64, …)``; to be the ``__repr__`` of a dataclass."""
    shown = (f"{field.name}={_shown(getattr(instance, field.name))}" for field in fields(instance) if field.repr)
    return f"{type(instance).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
