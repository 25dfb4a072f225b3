"""What every frame needs of an eye, prepared once from the photo: its eyeball behind the lids, its lids, its lashes."""

from dataclasses import dataclass

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import EYES, LOWER_BROW_RIMS, Eye
from space_core.generator.mesh_warp.brow_edges import brow_edges
from space_core.generator.mesh_warp.drawn_eyes import flat_skin, share_drawn
from space_core.generator.mesh_warp.eye_in_photo import LIDS_REACH, EyeInPhoto, find_eye, lid_distance
from space_core.generator.mesh_warp.eyeball import eyeball_behind_lids, eyeball_without_shade
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.hidden_eyeball import hidden_eyeball
from space_core.generator.mesh_warp.large_eyes import LARGE, find_large_eyes
from space_core.generator.mesh_warp.lid_shade import as_bright_as_seen, with_shade
from space_core.generator.mesh_warp.sampling import blur_batch, double
from space_core.generator.mesh_warp.smooth_lids import smooth_lids

LASHES_DARK = 0.5  # lashes are at most that bright, relative to the lid
BESIDE_IRIS = 0.4  # half widths from the middle, beyond which what is dark at the upper lid is its lashes
# What lacks so much red, relative to its brightness, is no lash of a cartoon, but an iris that touches its upper lid.
NO_LASH = (0.15, 0.4)
STRONG_LASHES = (0.55, 0.25)  # lashes as bright as the first, relative to the lid, are few; as the second, many
# Eyes lower than this in the photo, in their widths, may be opened further: an eyeball is drawn where lids hide it.
HALF_SHUT = 0.14
MARGIN, LARGE_MARGIN = 1.5, 1.1  # around lids that move, relative to their reach and to that of large drawn eyes
AROUND_BALL = 0.75  # in widths; what is further from an eye is not seen between its lids, however it moves


@dataclass(frozen=True)
class Lids:
    """The lids of a shut eye.

    Attributes:
        picture: (1, 4, h, w) the photo's eyes with the skin continued over this one, and how far it does so, 0…1.
        reach: how far around the tracked lids that is at most, in widths of the eye.
    """

    picture: torch.Tensor
    reach: float


@dataclass(frozen=True)
class Lashes:
    """The lashes of an upper lid.

    Attributes:
        colour: (3, 1, 1) 0…1.
        strength: 0 hardly any hairs … 1 many.
    """

    colour: torch.Tensor
    strength: float


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
        lids: shut lids.
        lashes: of its upper lid.
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
    lids: Lids
    lashes: Lashes
    photo: FaceMotion
    height: float
    width: float
    iris_radius: float
    softening: float


def prepare_eyes(picture: torch.Tensor, photo: FaceMotion, softening: float, cartoon: float = 0.0) -> list[PreparedEye]:
    """Both eyes of a photo.

    Args:
        picture: (1, 3, h, w) both eyes and what is around them, 0…1.
        photo: the photo's own landmarks in pixels of the picture.
        softening: standard deviation in pixels of the Gaussian that makes something sharp as blurred as the picture.
        cartoon: that of the photo's ``Depiction``: what is dark around such eyes is theirs, no shade,
            and their lashes do not have the colour of the iris.
    """
    eyes = [find_eye(picture, photo, points) for points in EYES]
    skins = [flat_skin(eye) for eye in eyes]
    drawn = share_drawn(skins)
    large = find_large_eyes(eyes) if drawn == 0 else None
    brows = _lower_brow_edges(picture, photo)
    lids = [
        smooth_lids(eye, brow, skin.colour, drawn, whole)
        for eye, brow, skin, whole in zip(eyes, brows, skins, large or (None, None), strict=True)
    ]
    lashes = _alike([_find_lashes(eye, lid, cartoon) for eye, lid in zip(eyes, lids, strict=True)])
    reach = LARGE_MARGIN * LARGE.below
    if large is None:  # else what is around the tracked lids is no skin
        shaded, reach = with_shade(lids, eyes, most=1 - max(drawn, cartoon)), MARGIN * max(LIDS_REACH)
        lids = [as_bright_as_seen(lid, eye) for lid, eye in zip(shaded, eyes, strict=True)]
    return [
        _prepare(eye, other, Lids(lid, reach), lashes, softening)
        for eye, other, lid in zip(eyes, reversed(eyes), lids, strict=True)
    ]


def _prepare(eye: EyeInPhoto, other: EyeInPhoto, lids: Lids, lashes: Lashes, softening: float) -> PreparedEye:
    """An eye, whose colours are those of the other if it shows none; for lids and softening see ``PreparedEye``."""
    points, photo, opened = eye.points, eye.photo, None
    height = float(lid_distance(photo.normalized, points))
    if height * float(photo.scale) < HALF_SHUT * eye.width:
        opened = blur_batch(hidden_eyeball(eye, other), softening)
        visible = blur_batch(eye.opening.coverage[:, None], softening)
        eyeball = eyeball_without_shade(torch.lerp(opened, eye.picture, visible), eye)
    else:
        eyeball = eyeball_behind_lids(eye)
    rim = photo.normalized[0, list(points.iris_rim), :2]
    around, reach = photo.posed[0, [*points.upper_lid, *points.lower_lid], :2].numpy(), AROUND_BALL * eye.width
    low, high = (around.min(0) - reach).astype(int).clip(0), (around.max(0) + reach).astype(int)
    part = np.s_[0, :, low[1] : high[1], low[0] : high[0]]
    return PreparedEye(
        eye=points,
        ball=_doubled(eyeball.picture[part]),
        opened_ball=None if opened is None else _doubled(opened[part]),
        corner=torch.tensor(low, dtype=torch.float32),
        shade=eyeball.shade,
        shade_reach=eyeball.reach / float(photo.scale),
        lids=lids,
        lashes=lashes,
        photo=photo,
        height=height,
        width=eye.width / float(photo.scale),
        iris_radius=float((rim - rim.mean(0)).norm(dim=-1).mean()),
        softening=softening,
    )


def _find_lashes(eye: EyeInPhoto, lids: torch.Tensor, cartoon: float) -> Lashes:
    """The lashes of an eye with those lids: the darkest fifth of the upper lid's edge; of cartoons, no iris."""
    opening = eye.opening
    beside = (opening.along.abs() > BESIDE_IRIS) & (opening.along.abs() < 1)
    edge = ((opening.below_upper.abs() < 0.07 * eye.width) & beside)[0]
    edge = edge if bool(edge.any()) else torch.ones_like(edge)
    colours, lid = eye.picture[0, :, edge], lids[0, :3, edge].mean(1)
    darkest = colours.mean(0).argsort()[: max(colours.shape[1] // 5, 1)]
    colour = colours[:, darkest].mean(1)
    bright = colour.mean() / lid.mean().clamp(min=0.01)
    colour = colour * (LASHES_DARK / bright.clamp(min=0.01)).clamp(max=1)
    iris = cartoon * float(smoothstep(1 - colour[0] / colour.mean().clamp(min=0.01), *NO_LASH))
    if iris > 0:
        colour = torch.lerp(colour, lid * colour.mean() / lid.mean().clamp(min=0.01), iris)
    return Lashes(colour[:, None, None], float(smoothstep(bright, *STRONG_LASHES)))


def _alike(lashes: list[Lashes]) -> Lashes:
    """The lashes of both eyes, which are alike, however the light falls on them."""
    colour = torch.stack([each.colour for each in lashes]).mean(0)
    return Lashes(colour, sum(each.strength for each in lashes) / 2)


def _lower_brow_edges(picture: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """(2, 5, 2) where a picture (1, 3, h, w) shows the lower edges of both brows, often below their tracked rims."""
    points = [point for rim in LOWER_BROW_RIMS for point in rim]
    shift = brow_edges(photo, picture)[points].astype(np.float32)
    edges = photo.host.place(photo.host.normalized[0, points] + shift)[0, :, :2]
    return torch.from_numpy(edges.astype(np.float32)).reshape(2, -1, 2)


def _doubled(picture: torch.Tensor) -> torch.Tensor:
    """(1, 3, 2h − 1, 2w − 1) a picture (3, h, w) at twice its resolution."""
    return torch.from_numpy(double(picture.permute(1, 2, 0).numpy())).permute(2, 0, 1)[None].contiguous()
