"""Bars, frames and corners of one colour at the photo's edges: they stand still in front of the person."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from space_core.face.canvas import Canvas
from space_core.face.portrait import Portrait


@dataclass(frozen=True)
class PreparedBars:
    """The bars of a film's picture, on the generator's device.

    Attributes:
        where: (H, W, 1) bool.
        picture: (H, W, 3) uint8, at rest.
    """

    where: torch.Tensor
    picture: torch.Tensor


def behind_bars(canvas: Canvas, portrait: Portrait) -> tuple[Canvas, PreparedBars | None]:
    """A canvas whose picture goes on behind the photo's bars, and these, if there are any in it."""
    picture, in_front = portrait.behind_bars(canvas.picture, canvas.crop)
    left, top, width, height = canvas.shown
    shown = np.s_[top : top + height, left : left + width]
    if not in_front.any():
        return canvas, None
    bars = PreparedBars(*(torch.tensor(values) for values in (in_front[shown][..., None], canvas.picture[shown])))
    return replace(canvas, picture=picture), bars


def draw_bars(frames: torch.Tensor, bars: PreparedBars) -> None:
    """Puts the bars in front of frames (B, H, W, 3) uint8."""
    torch.where(bars.where, bars.picture, frames, out=frames)
