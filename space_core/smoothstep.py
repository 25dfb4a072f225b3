"""The smoothstep: how shares, borders and transitions ease in and out."""

from typing import Any


def smoothstep(x: Any, low: float = 0.0, high: float = 1.0) -> Any:
    """0 below ``low``, 1 above ``high``, a smooth rise between; of a tensor or an array."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)
