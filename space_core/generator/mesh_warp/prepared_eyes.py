"""What every frame needs of an eye, prepared once from the photo: its eyeball behind the lids, its lids, its lashes."""

from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.topology import EYES, LOWER_BROW_RIMS, Eye
from space_core.generator.mesh_warp.brow_edges import brow_edges
from space_core.generator.mesh_warp.drawn_eyes import LARGE_BELOW, STROKE, LargeEye, drawn_eye, large_eyes, redness
from space_core.generator.mesh_warp.eyeball import eyeball_behind_lids, eyeball_without_shade
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.lid_shade import RIMS, as_bright_as_seen, with_shade, within_rims
from space_core.generator.mesh_warp.opening_mask import OpeningMask, opening_mask
from space_core.generator.mesh_warp.sampling import blur_batch, box_mean, double, pixels_of, sample
from space_core.generator.mesh_warp.wrinkles import OVEREXPOSED, shadow_tint
from space_core.smoothstep import smoothstep

Array = TypeVar("Array", np.ndarray, torch.Tensor)

# What the photo shows right at the edge of a lid (lashes, shade, a rim of white where the mesh is a pixel off) must not
# be stretched along as the lid closes: lids of smooth skin replace it.
LIDS_REACH = (0.45, 0.2)  # how far those reach above and below the open eye, in widths of the eye
LIDS_ENDS = (1.2, 1.7)  # and to the sides, in half widths
LIDS_MARGIN, LARGE_MARGIN = 1.5, 1.1  # around lids that move, relative to these reaches and to that of large drawn eyes
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
AROUND_LIDS = 0.2  # how far around, in their widths, what is their colour is looked for
USUAL_SKIN, SKIN_BRIGHTNESS = 0.6, (0.5, 0.8)  # skin there is at least that bright, relative to that quantile
BESIDE_DARK = RIMS  # in widths of the eye: so near to brows, lashes and rims skin takes their colour
OTHER_COLOUR = (0.1, 0.3)  # so much it differs, relative to its brightness
TOO_BRIGHT = (1.35, 1.6)  # and no reflection of glasses
# Drawings have eyes larger than the tracked ones, on skin of one colour: half of what is about as bright and coloured
# as skin around them differs in brightness by less than FLAT, relative to it. Lids cover what is darker there than
# skin, or lighter or less red by UNLIKE, to these limits in widths below and half widths to the sides.
FLAT, LIKE_SKIN, OTHER_SHARES, DARKER, UNLIKE = (0.056, 0.066), (0.4, 1.35), 0.25, 0.72, 0.06
DRAWN_BELOW, DRAWN_SIDES = 0.6, 1.3
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
LASHES_DARK = 0.5  # lashes are at most that bright, relative to the lid
BESIDE_IRIS = 0.4  # half widths from the middle, beyond which what is dark at the upper lid is its lashes
STRONG_LASHES = (0.55, 0.25)  # lashes as bright as the first, relative to the lid, are few; as the second, many
# Eyes lower than this in the photo, in their widths, may be opened further: an eyeball is drawn where lids hide it.
# Those lower than the first of SEEN show none of it, from the second on the colours are those they show.
HALF_SHUT, SEEN = 0.14, (0.09, 0.13)
IRIS_SIZE, PUPIL_SIZE = 0.2, (0.3, 0.42)  # radius in widths of the eye, and the pupil's edge in those
IRIS_RISE = 0.06  # how far the middle of an iris lies above the line between the corners, in widths
DARK_BROWN = (0.3, 0.19, 0.13)  # relative to the light; the iris of eyes of which the photo shows none
WHITE, WHITE_GREY = 0.88, 0.65  # how bright its white is, relative to the skin, and how much less coloured
LASHES_OR_WHITE = (0.5, 0.75)  # relative to the light: darker is lashes, lighter is white
AROUND_BALL = 0.75  # in widths; what is further from an eye is not seen between its lids, however it moves


@dataclass(frozen=True)
class PreparedEye:
    """What every frame needs of one eye. Pictures are those of the photo's eyes, see ``prepare_eyes``.

    Attributes:
        eye: which points it has.
        ball: (1, 3, 2h − 1, 2w − 1) the picture around the eye at twice its resolution, the eyeball continued behind
            the lids.
        opened_ball: the same of an eye that is half shut in the photo, without what is seen there between the lids, or
            None: opened further, it would have that slit and its lashes across its middle.
        corner: (2,) x and y in the picture of its first pixel.
        shade: (1, 3, rows, columns) by which factor the upper lid darkens the eyeball, see ``Eyeball``; 1 for eyes that
            are half shut.
        shade_reach: how far down it does, normalized.
        lids: (1, 4, h, w) the picture with the skin continued over the eye, and how far it does so, 0…1.
        lids_reach: how far around the tracked lids that is at most, in widths of the eye.
        lashes: (3, 1, 1) colour.
        lash_strength: 0 hardly any hairs … 1 many.
        photo: the photo's own landmarks.
        height: mean distance between the lids in the photo, normalized.
        width: of the eye, normalized.
        iris_radius: normalized.
        softening: standard deviation in pixels of the Gaussian that makes drawn edges as blurred as the photo.
    """

    eye: Eye
    ball: torch.Tensor
    opened_ball: torch.Tensor | None
    corner: torch.Tensor
    shade: torch.Tensor
    shade_reach: float
    lids: torch.Tensor
    lids_reach: float
    lashes: torch.Tensor
    lash_strength: float
    photo: FaceMotion
    height: float
    width: float
    iris_radius: float
    softening: float


def prepare_eyes(picture: torch.Tensor, photo: FaceMotion, softening: float) -> list[PreparedEye]:
    """Both eyes of a photo.

    Args:
        picture: (1, 3, h, w) both eyes and what is around them, 0…1.
        photo: the photo's own landmarks in pixels of the picture.
        softening: standard deviation in pixels of the Gaussian that makes something sharp as blurred as the picture.
    """
    openings = [_opening(picture, photo, eye) for eye in EYES]
    skins, spreads = zip(*(_flat_skin(picture, *opening) for opening in openings), strict=True)
    drawn = 1 - float(smoothstep(np.mean(spreads), *FLAT))
    large = large_eyes(picture, openings) if drawn == 0 else None
    brows = _lower_brow_edges(picture, photo)
    eyes = [
        _prepare(picture, photo, eye, *opening, brow, skin, drawn, whole, softening)
        for eye, opening, brow, skin, whole in zip(EYES, openings, brows, skins, large or (None, None), strict=True)
    ]
    lids = [eye.lids for eye in eyes]
    if large is None:  # else what is around the tracked lids is no skin
        lids = with_shade(picture, lids, openings, 1 - drawn)
        lids = [as_bright_as_seen(picture, lid, *opening) for lid, opening in zip(lids, openings, strict=True)]
    # The lashes of both are alike, however the light falls on them.
    lashes = torch.stack([eye.lashes for eye in eyes]).mean(0)
    strength = sum(eye.lash_strength for eye in eyes) / 2
    return [replace(eye, lids=lid, lashes=lashes, lash_strength=strength) for eye, lid in zip(eyes, lids, strict=True)]


def lid_distance(normalized: Array, eye: Eye) -> Array:
    """(B,) mean distance between the lids of an eye in normalized landmarks (B, 478, 3), NumPy or torch."""
    across = normalized[:, list(eye.lower_lid[1:-1])] - normalized[:, list(eye.upper_lid[1:-1])]
    return ((across**2).sum(-1) ** 0.5).mean(-1)


def _opening(picture: torch.Tensor, photo: FaceMotion, eye: Eye) -> tuple[OpeningMask, float]:
    """The opening between the lids of an eye in the photo, and its width in pixels."""
    upper, lower = (photo.posed[:, list(lid), :2] for lid in (eye.upper_lid, eye.lower_lid))
    return opening_mask(upper, lower, pixels_of(picture)), float((upper[0, -1] - upper[0, 0]).norm())


def _prepare(
    picture: torch.Tensor,
    photo: FaceMotion,
    eye: Eye,
    opening: OpeningMask,
    width: float,
    brow: torch.Tensor,
    skin: torch.Tensor,
    drawn: float,
    large: LargeEye | None,
    softening: float,
) -> PreparedEye:
    lids = _lids(picture, opening, -opening.along if eye is EYES[0] else opening.along, width, brow, skin, drawn, large)
    lashes, strength = _lashes(picture, lids, opening, width)
    height, opened = float(lid_distance(photo.normalized, eye)), None
    if height * float(photo.scale) < HALF_SHUT * width:
        other = EYES[1 - EYES.index(eye)]
        opened = blur_batch(_unseen(picture, photo, eye, other, opening), softening)
        visible = blur_batch(opening.coverage[:, None], softening)
        eyeball = eyeball_without_shade(torch.lerp(opened, picture, visible), opening, width)
    else:
        eyeball = eyeball_behind_lids(picture, photo, eye, opening, width)
    rim = photo.normalized[0, list(eye.iris_rim), :2]
    lids_points, reach = photo.posed[0, [*eye.upper_lid, *eye.lower_lid], :2].numpy(), AROUND_BALL * width
    low, high = (lids_points.min(0) - reach).astype(int).clip(0), (lids_points.max(0) + reach).astype(int)
    part = np.s_[0, :, low[1] : high[1], low[0] : high[0]]
    return PreparedEye(
        eye=eye,
        ball=_doubled(eyeball.picture[part]),
        opened_ball=None if opened is None else _doubled(opened[part]),
        corner=torch.tensor(low, dtype=torch.float32),
        shade=eyeball.shade,
        shade_reach=eyeball.reach / float(photo.scale),
        lids=lids,
        lids_reach=LIDS_MARGIN * max(LIDS_REACH) if large is None else LARGE_MARGIN * LARGE_BELOW,
        lashes=lashes,
        lash_strength=strength,
        photo=photo,
        height=height,
        width=width / float(photo.scale),
        iris_radius=float((rim - rim.mean(0)).norm(dim=-1).mean()),
        softening=softening,
    )


def _lower_brow_edges(picture: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """(2, 5, 2) where a picture (1, 3, h, w) shows the lower edges of both brows, often below their tracked rims."""
    points = [point for rim in LOWER_BROW_RIMS for point in rim]
    shift = brow_edges(photo, picture)[points].astype(np.float32)
    edges = photo.host.place(photo.host.normalized[0, points] + shift)[0, :, :2]
    return torch.from_numpy(edges.astype(np.float32)).reshape(2, -1, 2)


def _doubled(picture: torch.Tensor) -> torch.Tensor:
    """(1, 3, 2h − 1, 2w − 1) a picture (3, h, w) at twice its resolution."""
    return torch.from_numpy(double(picture.permute(1, 2, 0).numpy())).permute(2, 0, 1)[None].contiguous()


def _unseen(picture: torch.Tensor, photo: FaceMotion, eye: Eye, other: Eye, opening: OpeningMask) -> torch.Tensor:
    """(1, 3, h, w) an eyeball where lids hide it: of its own colours if some is seen, of the other's, or brown."""
    corners = photo.posed[0, [eye.upper_lid[0], eye.upper_lid[-1]], :2]
    along = corners[1] - corners[0]
    width = along.norm()
    white, iris, light = _ball_colours(picture, photo, eye, other, opening)

    # A shut eye's iris is not where the tracker guesses but where it is when the lids part.
    seen = _share_seen(photo, eye, width)
    pupil = photo.posed[0, eye.pupil, :2]
    rise = torch.stack([along[1], -along[0]]) * IRIS_RISE
    pupil = torch.lerp(corners.mean(0) + rise, pupil, seen)
    offset = (pixels_of(picture) - pupil) / (IRIS_SIZE * width)
    away, up = offset.norm(dim=-1)[:, None], -offset[..., 1][:, None]
    disc, hole = smoothstep(away, 1.05, 0.85), smoothstep(away, *PUPIL_SIZE[::-1])
    white, iris = white[:, None, None], iris[:, None, None]
    iris = iris * (1 - 0.4 * smoothstep(away, 0.6, 1.0)) * (1 - 0.2 * up.clamp(-1, 1)) * (1 - 0.8 * hole)
    ball = torch.lerp(white * (1 - 0.3 * (opening.along**2).clamp(max=1)[:, None]), iris, disc)
    ball = ball * (1 - 0.35 * smoothstep(up, 0.0, 1.2))  # the upper lid's shade
    spot = torch.exp(-((offset - torch.tensor([-0.2, -0.3]).to(offset)) / 0.16).square().sum(-1))[:, None]
    return torch.lerp(ball, light.clamp(min=0.5), 0.75 * spot * (1 - seen)).clamp(0, 1)


def _ball_colours(
    picture: torch.Tensor, photo: FaceMotion, eye: Eye, other: Eye, opening: OpeningMask
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The colours (3,) of white and iris of an eye that lids hide, and how bright the light on it is, 0…1."""
    upper_lid = photo.posed[0, [eye.upper_lid[0], eye.upper_lid[-1]], :2]
    width = (upper_lid[1] - upper_lid[0]).norm()
    skin = _around_lids(picture, (opening.below_upper > -0.3 * width) & (opening.along.abs() < 1.3))
    light = skin.mean() * WHITE
    white = torch.lerp(skin * WHITE, light.expand(3), WHITE_GREY)
    iris = torch.tensor(DARK_BROWN, device=picture.device) * light
    for shown in (other, eye):
        trust = _share_seen(photo, shown, width)
        if bool(trust > 0):
            colours = _colours(picture, photo, shown)
            # What is much darker than a white can be was lashes.
            bright = smoothstep(colours[0].mean() / light, *LASHES_OR_WHITE) * trust
            white, iris = torch.lerp(white, colours[0], bright), torch.lerp(iris, colours[1], trust)
    return white, iris, light


def _share_seen(photo: FaceMotion, eye: Eye, width: torch.Tensor) -> torch.Tensor:
    """How far an eye of that width in pixels shows its eyeball: 0 not … 1 enough for its colours."""
    return smoothstep(lid_distance(photo.normalized, eye) / (width / photo.scale), *SEEN)


def _colours(picture: torch.Tensor, photo: FaceMotion, eye: Eye) -> tuple[torch.Tensor, torch.Tensor]:
    """The colours (3,) of the white and of the iris of an eye that is seen."""
    upper, lower = (photo.posed[:, list(lid), :2] for lid in (eye.upper_lid, eye.lower_lid))
    pixels = pixels_of(picture)
    opening = opening_mask(upper, lower, pixels)
    inside = (opening.coverage > 0.9) & (opening.along.abs() < 0.8)
    width = (upper[0, -1] - upper[0, 0]).norm()
    away = (pixels - photo.posed[0, eye.pupil, :2]).norm(dim=-1) / (IRIS_SIZE * width)
    every = (
        picture[0, :, (opening.coverage > 0.5)[0]] if bool((opening.coverage > 0.5).any()) else picture[0].flatten(1)
    )
    parts = (picture[0, :, (inside & part)[0]] for part in (away > 1.15, (away > 0.45) & (away < 0.85)))
    white, iris = (part.median(1).values if part.shape[1] else every.median(1).values for part in parts)
    return white, iris


def _lids(
    picture: torch.Tensor,
    opening: OpeningMask,
    outwards: torch.Tensor,
    width: float,
    brow: torch.Tensor,
    flat_skin: torch.Tensor,
    drawn: float,
    large: LargeEye | None,
) -> torch.Tensor:
    """(1, 4, h, w) the picture with smooth lids over an eye of that width in pixels, and where they are.

    ``outwards`` (1, h, w) is how far pixels are from its middle towards the temple, in half widths; ``brow`` (N, 2)
    the lower rim of the brow, ``flat_skin`` (3,) the colour of ``_flat_skin``, ``drawn`` how far the picture is a
    drawing of flat colours, 0…1, and ``large`` the whole eye if it is a shaded drawing's.
    """
    above, below = (reach * width for reach in LIDS_REACH)
    ends = smoothstep(opening.along.abs(), *LIDS_ENDS[::-1])
    usual = _around_lids(picture, (opening.below_upper > -above) & (opening.above_lower > -below) & (ends > 0))
    usual = usual if large is None else large.skin
    brightness = picture.mean(1) / usual.mean()
    up = (-opening.below_upper / _reach(brightness, opening, brow, above, width)).clamp(0, 1)
    edge = smoothstep(1 - up, 0, 0.6) * smoothstep(opening.above_lower, -below, -0.4 * below) * ends
    edge = edge.maximum(_long_lashes(brightness, opening, outwards, up, width))
    liner = _liner(brightness, opening, outwards, width)
    hair = smoothstep(brightness, *SKIN_BRIGHTNESS[::-1]) * (1 - liner) * smoothstep(opening.along.abs(), *BESIDE_EYE)
    edge = edge.maximum(_outer_corner(opening, outwards, width) * liner) * (1 - hair)
    edge = edge * (1 - _covered(brightness, opening, width))
    other = torch.zeros_like(edge)
    if drawn > 0:
        other = _unlike_skin(picture, flat_skin)
        eye = drawn_eye(other > 0, opening, width, LIDS_REACH[0], DRAWN_BELOW, DRAWN_SIDES)
        edge = edge.maximum(drawn * smoothstep(1 - up, 0, 0.2) * (1 - hair) * eye)
    elif large is not None:
        other = (large.eye > 0).float()
        edge = edge.maximum(large.eye)
    is_skin = _is_skin(picture, usual, BESIDE_DARK * width)
    known = (edge <= 0) * (outwards > -MIDDLE) * is_skin * (1 - (drawn if large is None else 1) * other)
    skin = fill(picture, known[:, None])
    grain = picture - box_mean(picture, int(GRAIN_FINENESS * width) + 1)
    height = float((opening.below_upper + opening.above_lower).max())
    grain = grain.roll(-int(GRAIN_FROM * width + height), 2).clamp(-GRAIN_MOST, GRAIN_MOST)
    grain = grain if large is None else torch.zeros_like(grain)  # below lie the eye's own outlines
    return torch.cat([(skin * (1 - _lid_shade(skin, opening, up)) + grain).clamp(0, 1), edge[:, None]], 1)


def _long_lashes(
    brightness: torch.Tensor, opening: OpeningMask, outwards: torch.Tensor, up: torch.Tensor, width: float
) -> torch.Tensor:
    """(1, h, w) where lashes reach beyond the lids, 0…1; ``up`` (1, h, w) is 0 at an eye … 1 where its lid ends."""
    lashes = (opening.above_lower > 0) * smoothstep(1 - up, 0, 0.2)
    for away, beside in zip((-outwards, outwards), LASHES_BESIDE, strict=True):
        lashes = lashes * smoothstep(away, *beside[::-1])
    return lashes * _thin_and_dark(brightness, LASH * width)


def _liner(brightness: torch.Tensor, opening: OpeningMask, outwards: torch.Tensor, width: float) -> torch.Tensor:
    """(1, h, w) where something around an eye is as thin and dark as liner, 0…1."""
    eye = within_rims(opening, width)
    # At half the resolution: the time that broad shapes take grows with the fourth power of it.
    coarse = F.avg_pool2d(brightness.clamp(max=1).masked_fill(eye, 1), 2, ceil_mode=True)
    liner = _thin_and_dark(coarse, WING * width / 2, int(BESIDE_DARK * width / 2), LINED)
    liner = F.interpolate(liner[None], brightness.shape[1:], mode="bilinear")[0]
    beside = (outwards > BESIDE_EYE[0]) & (outwards < CORNER_END[0])
    under = -opening.above_lower / width
    cheek = brightness[beside & (under > HAIR_BELOW[0]) & (under < HAIR_BELOW[1])]
    if cheek.numel():  # where hair falls beside an eye, strands of it are no liner
        liner = liner * smoothstep(cheek.median(), *SKIN_BRIGHTNESS)
    return liner


def _outer_corner(opening: OpeningMask, outwards: torch.Tensor, width: float) -> torch.Tensor:
    """(1, h, w) 1 at and beyond an eye's outer corner, where liner may go on … 0."""
    height = opening.below_upper.abs().minimum(opening.above_lower.abs()) / width
    corner = smoothstep(outwards, *CORNER) * smoothstep(outwards, *CORNER_END[::-1])
    return corner * smoothstep(height, *CORNER_HEIGHT[::-1])


def _lid_shade(skin: torch.Tensor, opening: OpeningMask, up: torch.Tensor) -> torch.Tensor:
    """(1, 3, h, w) by which share lids of that skin (1, 3, h, w) are darker; for ``up`` see ``_long_lashes``."""
    middle = (1 - opening.along**2).clamp(0, 1)
    shade = SHADE_LASHES * torch.exp(-((up / 0.3) ** 2)) * (opening.above_lower > 0)
    shade = shade + SHADE_CREASE * torch.exp(-(((up - CREASE) / CREASE_WIDTH) ** 2)) * middle
    shade = shade + SHADE_ENDS * (1 - middle) - SHINE * torch.exp(-(((up - 0.3) / 0.2) ** 2)) * middle**2
    shade = shade * (1 - smoothstep(skin.mean(1), *OVEREXPOSED))  # none on the white of drawings
    return shade[:, None] * shadow_tint(skin.mean((0, 2, 3)))[:, None, None]


def _flat_skin(picture: torch.Tensor, opening: OpeningMask, width: float) -> tuple[torch.Tensor, float]:
    """The colour (3,) of most skin around an eye, and by how much half of it differs in brightness, relative to it."""
    near = (opening.below_upper > -LIDS_REACH[0] * width) & (opening.above_lower > -DRAWN_BELOW * width)
    near &= opening.along.abs() < DRAWN_SIDES
    usual = _around_lids(picture, near & (opening.above_lower > -LIDS_REACH[1] * width))
    brightness = picture.mean(1) / usual.mean()
    shares = picture / picture.mean(1).clamp(min=0.02) - (usual / usual.mean())[:, None, None]
    other = (brightness < LIKE_SKIN[0]) | (brightness > LIKE_SKIN[1]) | (shares.square().sum(1).sqrt() > OTHER_SHARES)
    other |= opening.coverage > 0
    reach = 2 * int(STROKE * width) + 3
    other = torch.from_numpy(cv2.dilate(other[0].numpy().astype(np.uint8), np.ones((reach, reach)))) > 0
    colours = picture[0, :, near[0] & ~other]
    if not colours.shape[1]:
        return usual, np.inf
    brightness, order = colours.mean(0).sort()
    half = len(brightness) // 2
    spread = brightness[half:] - brightness[: len(brightness) - half]
    start = int(spread.argmin())
    colour = colours[:, order[start : start + half + 1]].median(1).values.clamp(min=0.02)
    return colour, float(spread[start] / colour.mean())


def _unlike_skin(picture: torch.Tensor, skin: torch.Tensor) -> torch.Tensor:
    """(1, h, w) 1 where a drawing is darker, lighter or less red than its skin (3,), else 0."""
    brightness = picture.mean(1) / skin.mean()
    redder = redness(picture) - redness(skin[None, :, None, None])
    return ((brightness < DARKER) | (brightness > 1 + UNLIKE) | (redder < -2 * UNLIKE)).float()


def _around_lids(picture: torch.Tensor, lids: torch.Tensor) -> torch.Tensor:
    """(3,) the usual colour of the skin around lids (1, h, w) bool."""
    reach = 1 + 2 * int(lids.float().amax((0, 1)).sum() * AROUND_LIDS / 2)
    near = cv2.dilate(lids[0].numpy().astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    around = picture[0, :, torch.from_numpy(near) & ~lids[0]]
    if not around.shape[1]:
        return picture.mean((0, 2, 3)).clamp(min=0.02)
    brightness = around.mean(0)
    usual = brightness.quantile(USUAL_SKIN).clamp(min=0.02)
    colour = around[:, brightness.argsort()[brightness.shape[0] // 2 :]].mean(1)
    return colour * usual / colour.mean().clamp(min=0.02)


def _is_skin(picture: torch.Tensor, usual: torch.Tensor, beside: float) -> torch.Tensor:
    """(1, h, w) how much pixels of a picture (1, 3, h, w) are skin, whose usual colour (3,) is given.

    Lashes, brows and glasses are not, nor is what is nearer to them than ``beside`` pixels, which they shade.
    """
    brightness = picture.mean(1)
    colour = picture / brightness[:, None].clamp(min=0.02) - (usual / usual.mean())[:, None, None]
    brightness = brightness / usual.mean()
    skin = smoothstep(brightness, *SKIN_BRIGHTNESS) * smoothstep(brightness, *TOO_BRIGHT[::-1])
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(beside) + 1,) * 2)
    skin = torch.from_numpy(cv2.erode(skin[0].numpy(), near))[None]
    return skin * smoothstep(colour.square().sum(1).sqrt(), *OTHER_COLOUR[::-1]).clamp(min=0.05)


def _thin_and_dark(
    brightness: torch.Tensor, thickness: float, soft: int = 1, beside: tuple[float, float] = (-1.0, 0.0)
) -> torch.Tensor:
    """(1, h, w) how far a brightness (1, h, w), relative to the skin's, is that of lashes of that thickness, 0…1.

    So are ``soft`` pixels around them. What they lie on is brighter than the first of ``beside``.
    """
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(thickness / 2) + 1,) * 2)
    without = cv2.morphologyEx(brightness[0].numpy(), cv2.MORPH_CLOSE, shape)
    darker = smoothstep(without - brightness[0].numpy(), *LASH_CONTRAST)
    lashes = (darker * smoothstep(without, *beside)).astype(np.float32)
    grown = cv2.dilate(lashes, np.ones((2 * soft + 1, 2 * soft + 1)))
    return torch.from_numpy(cv2.blur(grown, (3, 3)))[None]


def _reach(
    brightness: torch.Tensor, opening: OpeningMask, brow: torch.Tensor, most: float, width: float
) -> torch.Tensor:
    """(1, h, w) how many pixels above an eye the lid may reach there: to the brow (N, 2) or the rim of glasses."""
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


def _covered(brightness: torch.Tensor, opening: OpeningMask, width: float) -> float:
    """How far a dark fringe covers an eye, 0…1."""
    up, covered = -opening.below_upper / width, 1.0
    for (low, high), shares in COVERED_SHARES:
        above = brightness[(up > low) & (up < high) & (opening.along.abs() < 1)]
        covered *= float(smoothstep((above < COVERED).float().mean(), *shares)) if above.numel() else 0.0
    return covered


def _lashes(
    picture: torch.Tensor, lids: torch.Tensor, opening: OpeningMask, width: float
) -> tuple[torch.Tensor, float]:
    """The colour (3, 1, 1) of lashes, and how strong they are, 0…1: the darkest fifth of the upper lid's edge."""
    beside = (opening.along.abs() > BESIDE_IRIS) & (opening.along.abs() < 1)
    edge = ((opening.below_upper.abs() < 0.07 * width) & beside)[0]
    edge = edge if bool(edge.any()) else torch.ones_like(edge)
    colours, lid = picture[0, :, edge], lids[0, :3, edge].mean(1)
    darkest = colours.mean(0).argsort()[: max(colours.shape[1] // 5, 1)]
    colour = colours[:, darkest].mean(1)
    bright = colour.mean() / lid.mean().clamp(min=0.01)
    colour = colour * (LASHES_DARK / bright.clamp(min=0.01)).clamp(max=1)
    return colour[:, None, None], float(smoothstep(bright, *STRONG_LASHES))
