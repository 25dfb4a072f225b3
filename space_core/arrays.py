"""What several packages need of arrays: the smoothstep, distances in masks, and a short repr of what holds arrays."""

from dataclasses import fields
from typing import Any

import cv2
import numpy as np


def smoothstep(x: Any, low: float = 0.0, high: float = 1.0) -> Any:
    """0 below ``low``, 1 above ``high``, a smooth rise between; of a tensor or an array."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def distance_to(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32, how far each pixel is from those where a mask (H, W) is true or 1; far where none is."""
    return cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def short_repr(instance: Any) -> str:
    """A line such as ``Curves(seconds=(145,) float64, …)``; to be the ``__repr__`` of a dataclass.

    Arrays are shown by shape and type, not by millions of numbers.
    """
    shown = (f"{field.name}={_shown(getattr(instance, field.name))}" for field in fields(instance) if field.repr)
    return f"{type(instance).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
