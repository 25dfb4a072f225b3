"""Strips of teeth along the tracked inner edges of lips that are open in the photo, as trackers are a little off."""

import numpy as np
import torch

from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.sampling import sample

PLACES = 21  # along the lips, from corner to corner
STEP, REACH = 0.2 * MILLIMETRE, 2.4 * MILLIMETRE  # of a profile across a lip's edge
WIDEST = 1.8 * MILLIMETRE
# A profile is the lip's colour from the first of these places on, or from that share of the lip's height.
LIP_FROM, LIP_FROM_SHARE = 1.8 * MILLIMETRE, 0.4
# Teeth are brighter than a lip in the channel in which it is darkest, by that much at least; a strip of them ends where
# that share of it is left.
TEETH_CONTRAST, TEETH_END = 0.12, 0.3
NEGLIGIBLE = 0.3 * MILLIMETRE


def measure_lip_strips(picture: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """(2, 21) widths of the strips on the upper and the lower lip, normalized, from the left to the right corner.

    In a picture (1, 3, h, w), 0…1, of a photo with open lips and these landmarks in its pixels.
    """
    scale = float(photo.scale)
    curves = INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_UPPER_LIP, OUTER_LOWER_LIP
    inner, outer = torch.stack([photo.posed[0, list(curve), :2] for curve in curves]).split(2)  # (2, 11, 2)
    outwards = outer - inner
    heights = outwards.norm(dim=-1, keepdim=True)  # (2, 11, 1)
    steps = torch.arange(-REACH, REACH + STEP, STEP, device=picture.device)
    places = inner[:, :, None] + (outwards / heights.clamp(min=1e-3))[:, :, None] * (steps[:, None] * scale)
    colours = sample(picture, places.flatten(0, 1)[None])[0].permute(1, 2, 0).unflatten(0, (2, -1))
    from_edge = (LIP_FROM_SHARE * heights / scale).clamp(max=LIP_FROM)
    is_lip = (steps >= from_edge) & (steps <= from_edge + 0.5 * REACH)  # (2, 11, steps)
    lips = (colours * is_lip[..., None]).sum(2, keepdim=True) / is_lip.sum(-1)[..., None, None].clamp(min=1)
    widths = _teeth_on_lips(colours, lips, steps, from_edge)
    widths = torch.where(widths < NEGLIGIBLE, 0.0, widths.clamp(max=WIDEST))
    widths[:, [0, -1]] = 0
    along = inner.mean(0)[:, 0].cpu().numpy()
    evenly = np.linspace(along[0], along[-1], PLACES)
    order = along.argsort()
    even = np.stack([np.interp(evenly, along[order], lip[order]) for lip in _without_outliers(widths).cpu().numpy()])
    return torch.from_numpy(even.astype(np.float32)).to(picture.device)


def _teeth_on_lips(
    colours: torch.Tensor, lips: torch.Tensor, steps: torch.Tensor, from_edge: torch.Tensor
) -> torch.Tensor:
    """(2, 11) up to where teeth reach from the edges onto the lips; for the arguments see ``measure_lip_strips``."""
    brighter = colours.amin(-1) - lips.amin(-1)
    most = torch.where(steps <= 0, brighter, -torch.inf).amax(-1, keepdim=True)
    teeth = (brighter > TEETH_END * most.clamp(min=TEETH_CONTRAST)) | (steps < 0)
    reach = (teeth.cumprod(-1) * (steps <= from_edge)).sum(-1) * STEP - REACH
    return torch.where(most[..., 0] > TEETH_CONTRAST, reach.clamp(min=0), 0.0)


def _without_outliers(widths: torch.Tensor) -> torch.Tensor:
    """Widths (2, 11): the median of each with its neighbours, and then their mean, so that they change smoothly."""
    for reduce in (lambda near: near.median(-1).values, lambda near: near.mean(-1)):
        widths = reduce(torch.nn.functional.pad(widths[:, None], (1, 1), mode="replicate")[:, 0].unfold(-1, 3, 1))
    return widths
