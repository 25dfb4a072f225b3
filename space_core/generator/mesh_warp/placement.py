"""Moves prepared data to the generator's device."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


def place(value: Value, device: torch.device) -> Value:
    """A value with all tensors in it on a device; in dataclasses, lists and tuples. Arrays stay on the host."""
    return _placed(value, device)


def _placed(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _placed(getattr(value, field.name), device) for field in fields(value)})
    if isinstance(value, list | tuple):
        return type(value)(_placed(item, device) for item in value)
    return value
