"""Strips of teeth along the tracked inner edges of lips that are open in the photo, as trackers are a little off."""

import numpy as np
import torch

from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.lip_seam import smooth_along_lip
from space_core.generator.mesh_warp.sampling import sample

STEP, REACH = 0.2 * MILLIMETRE, 2.4 * MILLIMETRE  # of a profile across a lip's edge
WIDEST = 1.8 * MILLIMETRE  # greatest width of a strip
# From this distance on, or from this share of the lip's height, a profile shows the lip.
LIP_FROM, LIP_FROM_SHARE = 1.8 * MILLIMETRE, 0.4
# Teeth exceed a lip by at least ``TEETH_CONTRAST``, 0…1, in the channel in which the lip is darkest; a strip of them
# ends where the share ``TEETH_END`` of that difference is left.
TEETH_CONTRAST, TEETH_END = 0.12, 0.3
NEGLIGIBLE = 0.05 * MILLIMETRE  # narrower strips are none


def strips_shift(picture: torch.Tensor, photo: FaceMotion) -> np.ndarray:
    """(2, 9, 3) float32 by how much the upper and the lower lip end beside their tracked inner edges, normalized.

    From the left to the right, without the corners. In a picture (1, 3, h, w), 0…1, on the host, of a photo with open
    lips and these landmarks in its pixels.
    """
    scale = float(photo.scale)
    curves = INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_UPPER_LIP, OUTER_LOWER_LIP
    inner, outer = torch.stack([photo.posed[0, list(curve), :2] for curve in curves]).split(2)  # (2, 11, 2)
    outwards = outer - inner
    heights = outwards.norm(dim=-1, keepdim=True)  # (2, 11, 1)
    outwards = outwards / heights.clamp(min=1e-3)
    steps = torch.arange(-REACH, REACH + STEP, STEP)
    places = inner[:, :, None] + outwards[:, :, None] * (steps[:, None] * scale)
    colours = sample(picture, places.flatten(0, 1)[None])[0].permute(1, 2, 0).unflatten(0, (2, -1))
    from_edge = (LIP_FROM_SHARE * heights / scale).clamp(max=LIP_FROM)
    is_lip = (steps >= from_edge) & (steps <= from_edge + 0.5 * REACH)  # (2, 11, steps)
    lips = (colours * is_lip[..., None]).sum(2, keepdim=True) / is_lip.sum(-1)[..., None, None].clamp(min=1)
    widths = _teeth_on_lips(colours, lips, steps, from_edge)
    widths = torch.where(widths < NEGLIGIBLE, 0.0, widths.clamp(max=WIDEST))[:, 1:-1]
    shift = smooth_along_lip(widths.numpy())[..., None] * outwards[:, 1:-1].numpy()
    return (np.concatenate([shift, np.zeros_like(shift[..., :1])], -1) @ photo.host.rotation[0]).astype(np.float32)


def _teeth_on_lips(
    colours: torch.Tensor, lips: torch.Tensor, steps: torch.Tensor, from_edge: torch.Tensor
) -> torch.Tensor:
    """(2, 11) how far teeth reach from the inner edges onto the upper and the lower lip, normalized.

    Args:
        colours: (2, 11, steps, 3) of profiles across the edges, 0…1.
        lips: (2, 11, 1, 3) of the lips there, 0…1.
        steps: (steps,) distances from the edges, normalized; positive on the lips.
        from_edge: (2, 11, 1) distances from which on a profile shows the lip, normalized.
    """
    brighter = colours.amin(-1) - lips.amin(-1)
    most = torch.where(steps <= 0, brighter, -torch.inf).amax(-1, keepdim=True)
    teeth = (brighter > TEETH_END * most.clamp(min=TEETH_CONTRAST)) | (steps < 0)
    reach = (teeth.cumprod(-1) * (steps <= from_edge)).sum(-1) * STEP - REACH
    return torch.where(most[..., 0] > TEETH_CONTRAST, reach.clamp(min=0), 0.0)
