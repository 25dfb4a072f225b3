"""How busy a picture is, and the detail with which it goes on where it is filled: grain, leaves, but not letters."""

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.inpainting import DETAIL, TRACES, detail_beyond, fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur, channels_last, sum_of_channels, to_three_channels

# Structure is the deviation of known colours, 0…1, from their mean, between the first two scales and averaged over the
# third (standard deviations, pixels): grain and shades are none. Below and above these values it is plain and busy.
FINE, COARSE, WIDE = 2.0, 12.0, 14.0
PLAIN, BUSY = 0.014, 0.028
# Detail, colours 0…1, that is more than grain; and of which share of pixels nearby that is texture, also over a wider
# surrounding (standard deviation, pixels): words are small.
STRONG, EVERYWHERE, WIDER = 0.02, (0.45, 0.6), 40.0
# Pixels are even where their colour differs by less than ``EVEN`` from that of their neighbours. Where the share of
# such pixels nearby exceeds ``PAPER``, detail is that of letters on paper, which is not a texture: pieces of it would
# be seen as scraps.
EVEN, PAPER = 0.01, (0.1, 0.18)
# Detail, colours 0…1, that is stronger is that of things, such as petals and letters: pieces of it are as weak as that.
STRONGEST = 0.08
REDUCED = 8  # times, for what is averaged over ``WIDE``


def busyness(picture: torch.Tensor, known: torch.Tensor) -> np.ndarray:
    """(H, W) float32 0 where the known part nearby is plain … 1 where it has structure.

    Traces of what hides the unknown part don't count.

    Args:
        picture: (1, 3, H, W) float, 0…1.
        known: (1, 1, H, W) 0 unknown … 1 known.
    """
    weight = cv2.erode(known[0, 0].numpy(), square(2 * TRACES + 1))
    own = channels_last(picture[0]) * to_three_channels(weight)
    fine = blur(own, FINE) / to_three_channels(blur(weight, FINE).clip(1e-3))
    # Of the coarse scale a quarter of the resolution is enough.
    small, small_weight = (
        cv2.resize(array, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for array in (own, weight)
    )
    coarse = blur(small, COARSE / 4) / to_three_channels(blur(small_weight, COARSE / 4).clip(1e-3))
    structure = fine - cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return smoothstep(np.sqrt(_nearby(sum_of_channels(structure * structure) / 3, weight)), PLAIN, BUSY)


def texture_beyond(smooth: torch.Tensor, picture: torch.Tensor, known: torch.Tensor, busy: np.ndarray) -> torch.Tensor:
    """(1, 3, H, W) the detail with which a picture goes on in its unknown part, to be added to what fills it.

    Where the picture is ``busy`` (H, W), see ``busyness``, it is that of leaves and the like. For the other arguments
    see ``detail_beyond``.
    """
    detail = detail_beyond(smooth, picture, known)
    if not busy.any():
        return detail
    texture = torch.from_numpy(_texture(picture, known))
    return torch.lerp(detail, detail.clamp(-STRONGEST, STRONGEST) * texture, torch.from_numpy(busy))


def _texture(picture: torch.Tensor, known: torch.Tensor) -> np.ndarray:
    """(H, W) 1 where the known part nearby has detail everywhere, such as leaves … 0, also on paper with letters."""
    seen, weight = channels_last(picture[0]), known[0, 0].numpy()
    strong = (sum_of_channels(cv2.absdiff(seen, blur(seen, DETAIL))) > 3 * STRONG).astype(np.float32)
    share: np.ndarray = smoothstep(np.minimum(_nearby(strong, weight), _nearby(strong, weight, WIDER)), *EVERYWHERE)
    if share.any():
        range_of_colours = sum_of_channels(cv2.morphologyEx(seen, cv2.MORPH_GRADIENT, square(3)))
        even = (range_of_colours < 3 * EVEN).astype(np.float32)
        share = share * (1 - smoothstep(_nearby(even, weight), *PAPER))
    return share


def _nearby(values: np.ndarray, weight: np.ndarray, width: float = WIDE) -> np.ndarray:
    """(H, W) the mean of values (H, W) of which (H, W) weights are known, over that width and beyond."""
    size = (weight.shape[1] // REDUCED, weight.shape[0] // REDUCED)
    total, near = (
        blur(cv2.resize(array, size, interpolation=cv2.INTER_AREA), width / REDUCED)
        for array in (values * weight, weight)
    )
    mean, certain = (torch.from_numpy(array)[None, None] for array in (total / near.clip(1e-3), (10 * near).clip(0, 1)))
    return cv2.resize(fill(mean, certain)[0, 0].numpy(), weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
