"""Lids of smooth skin, which replace what a photo shows around an eye as it shuts."""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.drawn_eyes import drawn_eye, unlike_skin
from space_core.generator.mesh_warp.eye_in_photo import LIDS_REACH, EyeInPhoto, skin_around
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.large_eyes import LargeEye
from space_core.generator.mesh_warp.lid_shade import RIMS, within_rims
from space_core.generator.mesh_warp.morphology import disc, square
from space_core.generator.mesh_warp.opening_mask import OpeningMask
from space_core.generator.mesh_warp.sampling import box_mean, sample
from space_core.generator.mesh_warp.wrinkles import OVEREXPOSED, shadow_tint

# What the photo shows right at the edge of a lid (lashes, shade, a rim of white where the mesh is a pixel off) must not
# be stretched along as the lid closes: lids of smooth skin replace it.
LIDS_ENDS = (1.2, 1.7)  # how far those reach to the sides, in half widths
# Lashes that reach further do not stay behind as it closes: what is thinner than this, in widths, and darker than what
# is beside it by so much, relative to the skin; to these half widths from the middle towards the nose and the temple.
LASH, LASH_CONTRAST, LASHES_BESIDE = 0.2, (0.1, 0.2), ((1.0, 1.2), (1.7, 2.1))
# Liner goes on beyond the outer corner, from and to these half widths and so far up and down in widths. It is thinner
# than WING; what is broader and dark beside an eye, from these half widths on, is hair, which stays.
CORNER, CORNER_END, CORNER_HEIGHT, WING, LINED, BESIDE_EYE = (
    (0.8, 1.0),
    (1.5, 1.9),
    (0.2, 0.3),
    0.4,
    (0.45, 0.65),
    (1.12, 1.25),
)
HAIR_BELOW = (0.15, 0.4)  # widths below an eye's outer corner, where hair beside it goes on and liner does not
MIDDLE = 2.0  # half widths from the middle of an eye to that of the nose; what is beyond colours no lid
SKIN_BRIGHTNESS = (0.5, 0.8)  # skin around lids is at least that bright, relative to its usual brightness
BESIDE_DARK = RIMS  # in widths of the eye: so near to brows, lashes and rims skin takes their colour
OTHER_COLOUR = (0.1, 0.3)  # so much it differs, relative to its brightness
TOO_BRIGHT = (1.35, 1.6)  # and no reflection of glasses
# Brows and the rims of glasses stay: above lashes and crease, the lids end where it gets that dark.
CREASE_BELOW, MIN_REACH, CLEARANCE, OBSTACLE, PLACES = 0.15, 0.28, 0.04, 0.35, 30
# A fringe covers an eye, and no lid is known, where that much of what is so many widths above the eye is that dark; of
# what is dark in shade or by make-up, less is at the height of the forehead.
COVERED, COVERED_SHARES = 0.45, (((0.1, 0.4), (0.75, 0.9)), ((0.4, 0.9), (0.3, 0.5)))
# The lid is round: darker by these at its lashes, its crease and its corners, lighter in its middle.
SHADE_LASHES, SHADE_CREASE, SHADE_ENDS, SHINE = 0.05, 0.07, 0.10, 0.08
CREASE, CREASE_WIDTH = 0.6, 0.13  # of its reach
# Its pores are those of the cheek: from so far below, in widths, and by the eye's height, where no lashes are.
GRAIN_FROM, GRAIN_FINENESS, GRAIN_MOST = 0.6, 0.03, 0.02


def smooth_lids(
    eye: EyeInPhoto, brow: torch.Tensor, flat_skin: torch.Tensor, drawn: float, large: LargeEye | None
) -> torch.Tensor:
    """(1, 4, h, w) the picture with smooth lids over an eye, and where they are, 0…1.

    ``brow`` (N, 2) is the lower edge of the brow in pixels, ``flat_skin`` (3,) the colour of ``FlatSkin``, ``drawn``
    how far the picture is a drawing of flat colours, 0…1, and ``large`` the whole eye if it is a shaded drawing's.
    """
    picture, opening, width = eye.picture, eye.opening, eye.width
    above, below = (reach * width for reach in LIDS_REACH)
    ends = smoothstep(opening.along.abs(), *LIDS_ENDS[::-1])
    usual = skin_around(picture, (opening.below_upper > -above) & (opening.above_lower > -below) & (ends > 0))
    usual = usual if large is None else large.skin
    brightness = picture.mean(1) / usual.mean()
    up = (-opening.below_upper / _reach(brightness, eye, brow, above)).clamp(0, 1)
    edge = smoothstep(1 - up, 0, 0.6) * smoothstep(opening.above_lower, -below, -0.4 * below) * ends
    edge = edge.maximum(_long_lashes(brightness, eye, up))
    liner = _liner(brightness, eye)
    hair = smoothstep(brightness, *SKIN_BRIGHTNESS[::-1]) * (1 - liner) * smoothstep(opening.along.abs(), *BESIDE_EYE)
    edge = edge.maximum(_outer_corner(eye) * liner) * (1 - hair)
    edge = edge * (1 - _covered(brightness, eye))
    other = torch.zeros_like(edge)
    if drawn > 0:
        other = unlike_skin(picture, flat_skin)
        edge = edge.maximum(drawn * smoothstep(1 - up, 0, 0.2) * (1 - hair) * drawn_eye(other > 0, eye))
    elif large is not None:
        other = (large.shown > 0).float()
        edge = edge.maximum(large.shown)
    is_skin = _is_skin(picture, usual, BESIDE_DARK * width)
    known = (edge <= 0) * (eye.outwards > -MIDDLE) * is_skin * (1 - (drawn if large is None else 1) * other)
    skin = fill(picture, known[:, None])
    grain = picture - box_mean(picture, int(GRAIN_FINENESS * width) + 1)
    height = float((opening.below_upper + opening.above_lower).max())
    grain = grain.roll(-int(GRAIN_FROM * width + height), 2).clamp(-GRAIN_MOST, GRAIN_MOST)
    grain = grain if large is None else torch.zeros_like(grain)  # below lie the eye's own outlines
    return torch.cat([(skin * (1 - _lid_shade(skin, opening, up)) + grain).clamp(0, 1), edge[:, None]], 1)


def _long_lashes(brightness: torch.Tensor, eye: EyeInPhoto, up: torch.Tensor) -> torch.Tensor:
    """(1, h, w) where lashes reach beyond the lids, 0…1; ``up`` (1, h, w) is 0 at an eye … 1 where its lid ends."""
    lashes = (eye.opening.above_lower > 0) * smoothstep(1 - up, 0, 0.2)
    for away, beside in zip((-eye.outwards, eye.outwards), LASHES_BESIDE, strict=True):
        lashes = lashes * smoothstep(away, *beside[::-1])
    return lashes * _thin_and_dark(brightness, LASH * eye.width)


def _liner(brightness: torch.Tensor, eye: EyeInPhoto) -> torch.Tensor:
    """(1, h, w) where something around an eye is as thin and dark as liner, 0…1."""
    width, outwards = eye.width, eye.outwards
    # At half the resolution: the time that broad shapes take grows with the fourth power of it.
    coarse = F.avg_pool2d(brightness.clamp(max=1).masked_fill(within_rims(eye), 1), 2, ceil_mode=True)
    liner = _thin_and_dark(coarse, WING * width / 2, int(BESIDE_DARK * width / 2), LINED)
    liner = F.interpolate(liner[None], brightness.shape[1:], mode="bilinear")[0]
    beside = (outwards > BESIDE_EYE[0]) & (outwards < CORNER_END[0])
    under = -eye.opening.above_lower / width
    cheek = brightness[beside & (under > HAIR_BELOW[0]) & (under < HAIR_BELOW[1])]
    if cheek.numel():  # where hair falls beside an eye, strands of it are no liner
        liner = liner * smoothstep(cheek.median(), *SKIN_BRIGHTNESS)
    return liner


def _outer_corner(eye: EyeInPhoto) -> torch.Tensor:
    """(1, h, w) 1 at and beyond an eye's outer corner, where liner may go on … 0."""
    height = eye.opening.below_upper.abs().minimum(eye.opening.above_lower.abs()) / eye.width
    corner = smoothstep(eye.outwards, *CORNER) * smoothstep(eye.outwards, *CORNER_END[::-1])
    return corner * smoothstep(height, *CORNER_HEIGHT[::-1])


def _lid_shade(skin: torch.Tensor, opening: OpeningMask, up: torch.Tensor) -> torch.Tensor:
    """(1, 3, h, w) by which share lids of that skin (1, 3, h, w) are darker; for ``up`` see ``_long_lashes``."""
    middle = (1 - opening.along**2).clamp(0, 1)
    shade = SHADE_LASHES * torch.exp(-((up / 0.3) ** 2)) * (opening.above_lower > 0)
    shade = shade + SHADE_CREASE * torch.exp(-(((up - CREASE) / CREASE_WIDTH) ** 2)) * middle
    shade = shade + SHADE_ENDS * (1 - middle) - SHINE * torch.exp(-(((up - 0.3) / 0.2) ** 2)) * middle**2
    shade = shade * (1 - smoothstep(skin.mean(1), *OVEREXPOSED))  # none on the white of drawings
    return shade[:, None] * shadow_tint(skin.mean((0, 2, 3)))[:, None, None]


def _is_skin(picture: torch.Tensor, usual: torch.Tensor, beside: float) -> torch.Tensor:
    """(1, h, w) how much pixels of a picture (1, 3, h, w) are skin, whose usual colour (3,) is given.

    Lashes, brows and glasses are not, nor is what is nearer to them than ``beside`` pixels, which they shade.
    """
    brightness = picture.mean(1)
    colour = picture / brightness[:, None].clamp(min=0.02) - (usual / usual.mean())[:, None, None]
    brightness = brightness / usual.mean()
    skin = smoothstep(brightness, *SKIN_BRIGHTNESS) * smoothstep(brightness, *TOO_BRIGHT[::-1])
    near = disc(int(beside))
    skin = torch.from_numpy(cv2.erode(skin[0].numpy(), near))[None]
    return skin * smoothstep(colour.square().sum(1).sqrt(), *OTHER_COLOUR[::-1]).clamp(min=0.05)


def _thin_and_dark(
    brightness: torch.Tensor, thickness: float, soft: int = 1, beside: tuple[float, float] = (-1.0, 0.0)
) -> torch.Tensor:
    """(1, h, w) how far a brightness (1, h, w), relative to the skin's, is that of lashes of that thickness, 0…1.

    So are ``soft`` pixels around them. What they lie on is brighter than the first of ``beside``.
    """
    shape = disc(int(thickness / 2))
    without = cv2.morphologyEx(brightness[0].numpy(), cv2.MORPH_CLOSE, shape)
    darker = smoothstep(without - brightness[0].numpy(), *LASH_CONTRAST)
    lashes = (darker * smoothstep(without, *beside)).astype(np.float32)
    grown = cv2.dilate(lashes, square(2 * soft + 1))
    return torch.from_numpy(cv2.blur(grown, (3, 3)))[None]


def _reach(brightness: torch.Tensor, eye: EyeInPhoto, brow: torch.Tensor, most: float) -> torch.Tensor:
    """(1, h, w) how many pixels above an eye the lid may reach there: to the brow (N, 2) or the rim of glasses."""
    opening, width = eye.opening, eye.width
    up = -opening.below_upper
    at = ((opening.along + 1) / 2 * (PLACES - 1)).clamp(0, PLACES - 1.001)
    place = at.round().long()
    dark = (brightness < OBSTACLE) & (up > CREASE_BELOW * width) & (up < most) & (opening.along.abs() < 0.95)
    free = torch.full((PLACES,), most, device=up.device).scatter_reduce(0, place[dark], up[dark], "amin")
    free = torch.where(free < MIN_REACH * width, most, free)  # that is the crease, not what lies above it
    rim_along, rim_up = (sample(plane[:, None], brow[None, None])[0, 0, 0].numpy() for plane in (opening.along, up))
    rim = np.interp(np.linspace(-1, 1, PLACES), rim_along, (rim_up + CLEARANCE * width).clip(CREASE_BELOW * width))
    free = free.minimum(torch.from_numpy(rim.astype(np.float32)))
    free = -F.max_pool1d(-free[None], 5, 1, 2)
    free = F.avg_pool1d(F.pad(free[None], (3, 3), mode="replicate"), 7, 1)[0, 0]
    low = at.long()
    return torch.lerp(free[low], free[low + 1], at - low) - CLEARANCE * width


def _covered(brightness: torch.Tensor, eye: EyeInPhoto) -> float:
    """How far a dark fringe covers an eye, 0…1."""
    up, covered = -eye.opening.below_upper / eye.width, 1.0
    for (low, high), shares in COVERED_SHARES:
        above = brightness[(up > low) & (up < high) & (eye.opening.along.abs() < 1)]
        covered *= float(smoothstep((above < COVERED).float().mean(), *shares)) if above.numel() else 0.0
    return covered
