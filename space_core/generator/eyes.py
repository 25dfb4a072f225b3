"""The eyes: eyeballs that stay behind closing lids, irises that turn, and the lids' own skin and lashes when shut."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from space_core.face.portrait import MARGIN, SIZE
from space_core.face.topology import EYES, Eye
from space_core.generator.aperture import MARGIN_OF_WINDOW, Window, aperture, paint, window_around
from space_core.generator.face_motion import FaceMotion
from space_core.generator.inpainting import fill
from space_core.generator.sampling import double, pixels_of, sample, smoothstep

# Lids and iris that have moved less than the first of these from the photo's (normalized units, root mean square) leave
# the photo's own eye as it is; from the second on, the eye is drawn behind the lids.
MOVED_LOW, MOVED_HIGH = 0.001, 0.008
# Or an iris that is so far from where the mesh would carry it: a quarter of a degree of gaze to a degree and a half.
TURNED_LOW, TURNED_HIGH = 0.0005, 0.003
PUPIL_BEHIND_LIDS = 0.025  # in depth; the mesh spans an eye from lid to lid, so a turning head carries its iris too far
# The iris moves as a whole within its own rim, and the white around it gives way out to this many iris radii.
IRIS_RIM, IRIS_REACH = 1.1, 2.4
# A closing lid is stretched skin. What the photo shows right at its edge (lashes, shade, a rim of white where the mesh
# is a pixel off) must not be stretched along: from here to there of the way shut, lids of smooth skin replace it.
LIDS_LOW, LIDS_HIGH = 0.3, 0.8
LIDS_REACH = (0.45, 0.11)  # how far that edge reaches above and below the open eye, in widths of the eye
AROUND_LIDS = 0.2  # how far around, in their widths, what is their colour is looked for
USUAL_SKIN, SKIN_BRIGHTNESS = 0.6, (0.5, 0.8)  # skin there is at least that bright, relative to that quantile
LIDS_ENDS = (1.1, 1.4)  # and to the sides, in half widths
# The lashes of a shut eye hang down over where the lids meet: a line, sharp above and soft below, in widths of the eye.
LASHES_WIDTH = (0.04, 0.11)
LASHES_TAPER = 0.5  # how much thinner it is at the corners
LASHES_ENDS = (1.0, 1.2)  # it fades out between these, in half widths
LASHES = 0.9  # how strong that line is
LEAST_HEIGHT = 0.1  # of an eye, in its widths; below it the tracker's noise would count as shutting


@dataclass(frozen=True)
class PreparedEye:
    """What every frame needs of one eye.

    Attributes:
        eye: which points it has.
        ball: (1, 3, 1279, 1279) the surroundings at twice their resolution, the eyeball continued behind the lids.
        lids: (1, 4, 640, 640) the surroundings with the skin continued over the eye, and how far it does so, 0…1.
        lashes: (3, 1, 1) colour.
        photo: the photo's own landmarks.
        height: mean distance between the lids in the photo, normalized.
        width: of the eye, normalized.
        iris_radius: normalized.
    """

    eye: Eye
    ball: torch.Tensor
    lids: torch.Tensor
    lashes: torch.Tensor
    photo: FaceMotion
    height: float
    width: float
    iris_radius: float


def prepare_eyes(picture: torch.Tensor, photo: FaceMotion) -> list[PreparedEye]:
    """Both eyes of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks."""
    return [_prepare(picture, photo, eye) for eye in EYES]


def draw_eyes(frames: torch.Tensor, where: torch.Tensor, eyes: list[PreparedEye], motion: FaceMotion) -> None:
    """Draws the eyes into frames (B, 3, 512, 512) in place.

    ``where`` (B, 512, 512, 2) is the place in the surroundings of the photo that each pixel of the frames shows.
    """
    for prepared in eyes:
        eye = prepared.eye
        ring = [*eye.upper_lid, *eye.lower_lid, eye.pupil]
        change = motion.normalized[:, ring] - prepared.photo.normalized[:, ring]
        moved = smoothstep(change.square().sum(-1).mean(-1).sqrt(), MOVED_LOW, MOVED_HIGH)
        tilt = (motion.rotation - prepared.photo.rotation)[:, :2, 2].norm(dim=-1)
        turned = change[:, -1].norm(dim=-1) + PUPIL_BEHIND_LIDS * tilt
        turned = smoothstep(turned, TURNED_LOW, TURNED_HIGH)
        moved = torch.maximum(moved, turned)[:, None, None]
        if not bool((moved > 0).any()):
            continue
        # Of eyes that are half shut in the photo, that is how they are: only what is shut beyond it counts.
        shut = 1 - _height(motion, eye) / max(prepared.height, LEAST_HEIGHT * prepared.width)
        shut = smoothstep(shut, LIDS_LOW, LIDS_HIGH)[:, None, None] * moved
        if bool((shut > 0).any()):
            window = _window(prepared, motion, 1.5 * max(LIDS_REACH))
            index = window.index.flatten(1)[..., None].expand(-1, -1, 2)
            lids = sample(prepared.lids, where.flatten(1, 2).gather(1, index).view(window.pixels.shape))
            paint(frames, window, lids[:, :3], lids[:, 3] * shut)

        window = _window(prepared, motion, 2.5 * max(LASHES_WIDTH))
        upper, lower = (motion.posed[:, list(lid), :2] - MARGIN for lid in (eye.upper_lid, eye.lower_lid))
        opening = aperture(upper, lower, window.pixels)
        ball = sample(prepared.ball, _eyeball(prepared, motion, window.pixels + MARGIN, opening.along))
        paint(frames, window, ball, opening.coverage * moved)

        width = prepared.width * motion.scale[:, None, None]  # pixels
        width = width * (1 - LASHES_TAPER * opening.along**2).clamp(min=0.1)
        above, below = ((part * width).clamp(min=0.7) for part in LASHES_WIDTH)
        line = opening.below_upper / torch.where(opening.below_upper < 0, above, below)
        lashes = torch.exp(-(line**2)) * smoothstep(opening.along.abs(), *LASHES_ENDS[::-1])
        paint(frames, window, prepared.lashes.expand_as(ball), LASHES * lashes * shut)


def _window(prepared: PreparedEye, motion: FaceMotion, reach: float) -> Window:
    """The pixels of an eye and around it, as far as ``reach`` in its widths."""
    lids = motion.posed[:, [*prepared.eye.upper_lid, *prepared.eye.lower_lid], :2] - MARGIN
    margin = reach * prepared.width * float(motion.scale.max())
    return window_around(lids, MARGIN_OF_WINDOW + int(margin), SIZE)


def _height(motion: FaceMotion, eye: Eye) -> torch.Tensor:
    """(B,) mean normalized distance between the lids of an eye."""
    across = motion.normalized[:, list(eye.lower_lid[1:-1])] - motion.normalized[:, list(eye.upper_lid[1:-1])]
    return across.norm(dim=-1).mean(-1)


def _eyeball(prepared: PreparedEye, motion: FaceMotion, pixels: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 2) the places of the photo that the eyeball shows at pixels (B, h, w, 2), both of the surroundings.

    ``along`` (B, h, w) is where those lie between the corners, −1 left … 1 right: the eyeball bulges between them.
    """
    bulge = (1 - along**2).clamp(min=0)
    seen = motion.unproject(pixels, _depth(motion, prepared.eye, bulge))
    pupil = motion.normalized[:, prepared.eye.pupil, :2]
    turned = pupil - prepared.photo.normalized[:, prepared.eye.pupil, :2]
    from_pupil = (seen - pupil[:, None, None]).norm(dim=-1) / prepared.iris_radius
    follows = 1 - smoothstep(from_pupil, IRIS_RIM, IRIS_REACH)
    place = seen - turned[:, None, None] * follows[..., None]
    return prepared.photo.project(place, _depth(prepared.photo, prepared.eye, bulge))


def _depth(motion: FaceMotion, eye: Eye, bulge: torch.Tensor) -> torch.Tensor:
    """(B, h, w) normalized depth of an eye: that of its corners where ``bulge`` is 0, of its pupil where it is 1."""
    corners = motion.normalized[:, [eye.upper_lid[0], eye.upper_lid[-1]], 2].mean(1)
    pupil = motion.normalized[:, eye.pupil, 2]
    return torch.lerp(corners[:, None, None], pupil[:, None, None], bulge)


def _prepare(picture: torch.Tensor, photo: FaceMotion, eye: Eye) -> PreparedEye:
    upper, lower = (photo.posed[:, list(lid), :2] for lid in (eye.upper_lid, eye.lower_lid))
    opening = aperture(upper, lower, pixels_of(picture))
    visible = opening.coverage[:, None]
    width = float((upper[0, -1] - upper[0, 0]).norm())  # pixels
    above, below = (reach * width for reach in LIDS_REACH)
    edge = smoothstep(opening.below_upper, -above, -0.4 * above) * smoothstep(opening.above_lower, -below, -0.4 * below)
    edge = (edge * smoothstep(opening.along.abs(), *LIDS_ENDS[::-1]))[:, None]
    rim = photo.normalized[0, list(eye.iris_rim), :2]
    return PreparedEye(
        eye=eye,
        ball=_finer(fill(picture, visible), _around(upper, lower, width, picture.shape[-1])),
        lids=torch.cat([fill(picture, (edge <= 0) * _skin(picture, edge)), edge], 1),
        lashes=_lashes(picture, (opening.below_upper.abs() < 0.07 * width) & (opening.along.abs() < 1)),
        photo=photo,
        height=float(_height(photo, eye)),
        width=width / float(photo.scale),
        iris_radius=float((rim - rim.mean(0)).norm(dim=-1).mean()),
    )


def _around(upper: torch.Tensor, lower: torch.Tensor, width: float, size: int) -> tuple[slice, slice]:
    """Rows and columns of a picture of that size that hold all that an eye with these lids (1, 9, 2) may show."""
    lids = torch.cat([upper, lower], 1)[0]
    low = (lids.amin(0) - width).long().clamp(0, size - 2)
    high = (lids.amax(0) + width).long().clamp(max=size).maximum(low + 2)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _finer(picture: torch.Tensor, part: tuple[slice, slice]) -> torch.Tensor:
    """(1, C, 2n − 1, 2n − 1) a picture (1, C, n, n) at twice its resolution; sharp, which is slow, in a part alone."""
    size = 2 * picture.shape[-1] - 1
    finer = F.interpolate(picture, (size, size), mode="bilinear", align_corners=True)
    sharp = double(picture[..., part[0], part[1]])
    top, left = (2 * side.start for side in part)
    finer[..., top : top + sharp.shape[-2], left : left + sharp.shape[-1]] = sharp
    return finer


def _skin(picture: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
    """(1, 1, 640, 640) what of a picture is as light as the skin around an eye, 0…1: lashes, brows and rims are not.

    ``edge`` (1, 1, 640, 640) is above 0 on the eye and its lids.
    """
    brightness = picture.mean(1, keepdim=True)
    reach = 1 + 2 * int(edge.amax((0, 1, 2)).sum() * AROUND_LIDS / 2)
    near = F.max_pool2d(F.max_pool2d(edge, (reach, 1), 1, (reach // 2, 0)), (1, reach), 1, (0, reach // 2))
    around = brightness[(near > 0) & (edge <= 0)]
    usual = around.quantile(USUAL_SKIN) if len(around) else brightness.mean()
    return smoothstep(brightness / usual.clamp(min=0.02), *SKIN_BRIGHTNESS)


def _lashes(picture: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
    """(3, 1, 1) the mean of the darkest fifth of the pixels at the upper lid's edge (1, 640, 640)."""
    colours = picture[0, :, edge[0]] if bool(edge.any()) else picture.flatten(2)[0]
    darkest = colours.mean(0).argsort()[: max(colours.shape[1] // 5, 1)]
    return colours[:, darkest].mean(1)[:, None, None]
