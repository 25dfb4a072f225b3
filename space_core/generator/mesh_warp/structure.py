"""Continues the structure of a picture, such as letters, shelves, leaves and edges, into its unknown part.

Reduced pictures are completed patch by patch, see ``patch_completion``; what their patches are like is then copied at
full resolution, where it is more like the picture than a smooth fill.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import distance_to, smoothstep
from space_core.generator.mesh_warp.busyness import texture_nearby
from space_core.generator.mesh_warp.inpainting import fill, with_detail
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.parallel import thread_beside
from space_core.generator.mesh_warp.patch_completion import completed
from space_core.generator.mesh_warp.patch_copies import copy_patches
from space_core.generator.mesh_warp.sampling import blur, channels_last, sum_of_channels, to_three_channels

AGREEMENT = (0.02, 0.06)  # standard deviation of what patches say of a pixel, 0…1: copied … the mean of them
REACH, FADE = 96, 24  # pixels: no turn of a head uncovers what is further inside; over which completion ends there
BORDER = 6  # pixels around the unknown part that are not copied: in most traces of what hides it end there
MAX_ERROR = 0.1  # of colours, 0…1, at the border, that is made up for
# Detail, colours 0…1, that is stronger is that of things, such as petals and letters: pieces of it are as weak as that.
STRONGEST = 0.08
# Where the picture gives evidence, both estimates' errors, averaged over the first width, are squared and averaged over
# the second (standard deviations, pixels); so large an error is expected of both. Last, the smooth estimate's share of
# both squares with which none … all of the structure is taken.
COARSE_ERROR, NEAR, USUAL_ERROR, BETTER = 3.0, 6.0, 0.03, (0.1, 0.25)
KNOWN = 0.99  # of ``known``: a pixel that is wholly known


@dataclass(frozen=True)
class _Structure:
    """What continues the known part's structure.

    Attributes:
        colours: (3, H, W).
        is_copied: (H, W) bool, where it is anything.
        disagreed: (H, W) 0 where pixels are copied … 1 where patches contradict each other, whose mean is taken.
    """

    colours: torch.Tensor
    is_copied: torch.Tensor
    disagreed: torch.Tensor


def with_structure(
    smooth: torch.Tensor,
    picture: torch.Tensor,
    known: torch.Tensor,
    busy: np.ndarray,
    evidence: np.ndarray,
    wanted: np.ndarray,
) -> torch.Tensor:
    """What ``with_detail`` returns, with the known part's structure continued into the unknown one where there is any.

    Args:
        smooth: (1, 3, H, W) the picture filled with neither, 0…1.
        picture: (1, 3, H, W) the picture; its sides are multiples of 16.
        known: (1, 1, H, W) 0 unknown … 1 known.
        busy: (H, W) what ``busyness`` returns.
        evidence: (H, W) float32 how likely the unknown part is what the picture shows there, 0…1; it is not copied.
        wanted: (H, W) bool, which pixels of the unknown part are needed.
    """
    with thread_beside() as beside:
        detailed = beside.submit(with_detail, smooth, picture, known)
        is_known = known[0, 0].numpy() > KNOWN
        inside = distance_to(is_known)
        wanted = wanted & (inside < REACH)
        if not busy[wanted].any():
            return detailed.result()
        texture = beside.submit(texture_nearby, picture, known)
        structure = _structure(picture, smooth, is_known, wanted)
    if structure is None:
        return detailed.result()
    trusted = structure.is_copied * torch.from_numpy(((REACH - inside) / FADE).clip(0, 1))
    structured = fill(structure.colours[None], trusted[None, None])
    better = _better(structured, smooth, picture, evidence * ~is_known)
    filled = detailed.result()
    # What is not copied has the detail of leaves and the like; that of letters would show as what it is.
    detail = (filled - smooth).clamp(-STRONGEST, STRONGEST)
    detail = detail * texture.result() * (1 - better * (1 - structure.disagreed))
    estimate = torch.lerp(smooth, structured, better) + detail
    return torch.lerp(filled, estimate, torch.from_numpy(busy) * (1 - known))


def _structure(
    picture: torch.Tensor, smooth: torch.Tensor, is_known: np.ndarray, wanted: np.ndarray
) -> _Structure | None:
    """The structure of a picture (1, 3, H, W), continued where ``wanted`` (H, W) bool; None if too little is known."""
    around = square(2 * BORDER + 1)
    clear = torch.from_numpy(cv2.erode(is_known.astype(np.uint8), around) > 0)
    missing = torch.from_numpy(cv2.dilate(wanted.astype(np.uint8), around) > 0)
    completion = completed(picture[0], smooth[0], clear, missing)
    if completion is None:
        return None
    copied, is_copied, repeated = copy_patches(picture[0], completion.field, completion.spread.shape)
    mean, spread = (
        F.interpolate(values[None], copied.shape[1:], mode="bilinear", align_corners=False)[0]
        for values in (completion.mean, torch.stack([completion.spread, repeated]))
    )
    disagreed = torch.maximum(smoothstep(spread[0], *AGREEMENT), spread[1])
    colours = torch.lerp(copied, mean, disagreed)
    # What it gets wrong at the border is made up for, smoothly.
    border = (clear & is_copied).float()
    error = ((picture[0] - colours) * border).clamp(-MAX_ERROR, MAX_ERROR)
    return _Structure(colours + fill(error[None], border[None, None])[0], is_copied, disagreed)


def _better(
    structured: torch.Tensor, smooth: torch.Tensor, picture: torch.Tensor, evidence: np.ndarray
) -> torch.Tensor:
    """(H, W) 1 where a picture is more like the structured estimate than the smooth one … 0.

    Both are (1, 3, H, W), ``evidence`` (H, W) is how likely the picture shows what is estimated.
    """
    # For what is averaged over such widths, half the resolution is enough.
    evidence, own, *estimates = (
        cv2.resize(array, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for array in (evidence, *(channels_last(values[0]) for values in (picture, structured, smooth)))
    )
    weight, near, errors = blur(evidence, NEAR / 2), to_three_channels(blur(evidence, COARSE_ERROR / 2).clip(1e-3)), []
    for estimate in estimates:
        error = blur((estimate - own) * to_three_channels(evidence), COARSE_ERROR / 2) / near
        squared = sum_of_channels(error * error) / 3
        errors.append(blur(squared * evidence, NEAR / 2) / weight.clip(1e-3) + USUAL_ERROR**2)
    better = smoothstep(errors[1] / (errors[0] + errors[1]), *BETTER)
    better, certain = (torch.from_numpy(array)[None, None] for array in (better, (10 * weight).clip(0, 1)))
    filled = fill(better, certain)[0, 0].numpy()
    return torch.from_numpy(cv2.resize(filled, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR))
