"""The shade or make-up around both eyes of a photo, which their lids have as well when they shut."""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.eye_in_photo import EyeInPhoto
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import disc

RIMS = 0.06  # how far the rims of the lids reach from an eye, in its widths
# What is dark around an eye over more than the first of these widths is shade or make-up, where it is darker than the
# second, relative to the skin of the lid, over more than these shares of what a lid covers of both eyes. Then lids have
# its red, green and blue: no darker than this, and blurred by the last, in widths.
BROAD_SHADE, DARK_SHADE, SHADED_SHARES, DARKEST_SHADE, SHADE_BLUR = 0.16, 0.75, (0.48, 0.55), 0.4, 0.05
# Nor are lids darker than this quantile of what is above the eye: the darkest there are liner, lashes and the brow's
# shadow, which a lid that shuts does not spread over the eye.
USUAL_SHADE = 0.7
# What the photo shows of the upper lid itself, from the rims to so far above the eye, in widths, and to these half
# widths to the sides: between and above the lids, as far as the latter, lids are at least as bright as this quantile of
# it, by no more than that factor, and that of one colour is no more than so many times another's.
OWN_LID, OWN_SIDES, OWN_ENDS, OWN_BRIGHT, MOST_BRIGHTER, MOST_PALER = 0.25, 0.8, (0.8, 1.2), 0.6, 1.4, 1.08
NEGLIGIBLE = 0.02  # brightness that is divided by is at least that


def within_rims(eye: EyeInPhoto) -> torch.Tensor:
    """(1, h, w) bool, an eye and the rims of its lids."""
    opening, rim = eye.opening, RIMS * eye.width
    return (opening.below_upper > -rim) & (opening.above_lower > -rim) & (opening.along.abs() < 1 + 2 * RIMS)


def with_shade(lids: list[torch.Tensor], eyes: list[EyeInPhoto], most: float) -> list[torch.Tensor]:
    """The lids of both eyes as dark as what they cover of the picture, if both are in broad shade.

    Args:
        lids: each (1, 4, h, w), their colour and how far they cover the picture, 0…1.
        eyes: those that they cover.
        most: how far at most they are shaded, 0…1; of drawings, lids cover dark irises.
    """
    covers = [(lid[:, 3] > 0.5) & ~within_rims(eye) for lid, eye in zip(lids, eyes, strict=True)]
    broad = [_without_thin(eye) for eye in eyes]
    relative = [dark / lid[:, :3].clamp(min=NEGLIGIBLE) for dark, lid in zip(broad, lids, strict=True)]
    darker = [dark.mean(1) / lid[:, :3].mean(1).clamp(min=NEGLIGIBLE) for dark, lid in zip(broad, lids, strict=True)]
    shares = [
        float((dark[around] < DARK_SHADE).float().mean()) if bool(around.any()) else 0.0
        for dark, around in zip(darker, covers, strict=True)
    ]
    share = most * float(smoothstep(np.min(shares), *SHADED_SHARES))
    if share == 0:
        return lids
    return [
        torch.cat([lid[:, :3] * (1 - share * (1 - _shade(dark, around, eye))), lid[:, 3:]], 1)
        for lid, dark, around, eye in zip(lids, relative, covers, eyes, strict=True)
    ]


def as_bright_as_seen(lid: torch.Tensor, eye: EyeInPhoto) -> torch.Tensor:
    """A lid (1, 4, h, w), see ``with_shade``, no darker than what the picture shows of it above the eye."""
    picture, opening, width = eye.picture, eye.opening, eye.width
    above = -opening.below_upper / width
    own = (above > RIMS) & (above < OWN_LID) & (opening.along.abs() < OWN_SIDES) & (lid[:, 3] > 0.5)
    if not bool(own.any()):
        return lid
    brighter = (picture[:, :, own[0]] / lid[:, :3, own[0]].clamp(min=NEGLIGIBLE)).quantile(OWN_BRIGHT, dim=2)
    # Glints are paler than skin, so that no colour grows much more than the one that grows least.
    brighter = brighter.minimum(MOST_PALER * brighter.min()).clamp(1, MOST_BRIGHTER)[..., None, None]
    within = smoothstep(opening.along.abs(), *OWN_ENDS[::-1]) * smoothstep(opening.above_lower / width, 0, RIMS)
    factors = torch.lerp(torch.ones_like(brighter), brighter, within)
    return torch.cat([(lid[:, :3] * factors).clamp(max=1), lid[:, 3:]], 1)


def _without_thin(eye: EyeInPhoto) -> torch.Tensor:
    """(1, 3, h, w) the picture of an eye without what is dark and thin, such as lashes."""
    shape = disc(int(BROAD_SHADE / 4 * eye.width))
    # At half the resolution: the time that broad shapes take grows with the fourth power of it.
    coarse = F.avg_pool2d(eye.picture, 2, ceil_mode=True)[0].numpy()
    planes = np.stack([cv2.morphologyEx(plane, cv2.MORPH_CLOSE, shape) for plane in coarse])
    return F.interpolate(torch.from_numpy(planes)[None], eye.picture.shape[2:], mode="bilinear")


def _shade(relative: torch.Tensor, around: torch.Tensor, eye: EyeInPhoto) -> torch.Tensor:
    """(1, 3, h, w) by which factor each colour of a lid is darker.

    ``relative`` (1, 3, h, w) is how bright the picture is, relative to the lid, of which ``around`` (1, h, w) bool is
    known.
    """
    shade = relative.clamp(DARKEST_SHADE, 1)
    above = (around & (eye.opening.below_upper < 0))[0]
    if bool(above.any()):
        shade = shade.maximum(shade[0, :, above].quantile(USUAL_SHADE, dim=1)[:, None, None])
    filled = fill(shade, around.float()[:, None])[0].permute(1, 2, 0).numpy()
    blurred = cv2.GaussianBlur(filled, (0, 0), max(SHADE_BLUR * eye.width, 0.5))
    return torch.from_numpy(blurred).permute(2, 0, 1)[None]
