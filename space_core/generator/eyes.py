"""The eyes: eyeballs that stay behind closing lids, irises that turn, and the lids' own skin and lashes when shut."""

from dataclasses import dataclass

import torch

from space_core.face.portrait import MARGIN, SIZE
from space_core.face.topology import EYES, Eye
from space_core.generator.aperture import MARGIN_OF_WINDOW, aperture, paint, window_around
from space_core.generator.face_motion import FaceMotion
from space_core.generator.inpainting import fill
from space_core.generator.sampling import pixels_of, sample, smoothstep

# Lids and iris that have moved less than the first of these from the photo's (normalized units, root mean square) leave
# the photo's own eye as it is; from the second on, the eye is drawn behind the lids.
MOVED_LOW, MOVED_HIGH = 0.001, 0.008
# The iris moves as a whole within its own rim, and the white around it gives way out to this many iris radii.
IRIS_RIM, IRIS_REACH = 1.1, 2.4
# A closing lid is stretched skin. What the photo shows right at its edge (lashes, shade, a rim of white where the mesh
# is a pixel off) must not be stretched along: from here to there of the way shut, lids of smooth skin replace it.
LIDS_LOW, LIDS_HIGH = 0.3, 0.8
LIDS_REACH = (0.17, 0.11)  # how far that edge reaches above and below the open eye, in widths of the eye
LASHES_WIDTH = 0.022  # of the line of lashes of a shut eye, in widths of the eye
LASHES = 0.7  # how strong that line is
LEAST_HEIGHT = 0.1  # of an eye, in its widths; below it the tracker's noise would count as shutting


@dataclass(frozen=True)
class PreparedEye:
    """What every frame needs of one eye.

    Attributes:
        eye: which points it has.
        ball: (1, 3, 640, 640) the surroundings with the eyeball's colours continued behind the lids.
        lids: (1, 4, 640, 640) the surroundings with the skin continued over the eye, and how far it does so, 0…1.
        lashes: (3, 1, 1) colour.
        photo: the photo's own landmarks.
        depth: normalized depth of the eye.
        height: mean distance between the lids in the photo, normalized.
        width: of the eye, normalized.
        iris_radius: normalized.
    """

    eye: Eye
    ball: torch.Tensor
    lids: torch.Tensor
    lashes: torch.Tensor
    photo: FaceMotion
    depth: float
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
        moved = smoothstep(change.square().sum(-1).mean(-1).sqrt(), MOVED_LOW, MOVED_HIGH)[:, None, None]
        if not bool((moved > 0).any()):
            continue
        upper, lower = (motion.posed[:, list(lid), :2] - MARGIN for lid in (eye.upper_lid, eye.lower_lid))
        width = float((upper[:, -1] - upper[:, 0]).norm(dim=-1).mean())
        margin = MARGIN_OF_WINDOW + int(2 * max(LIDS_REACH) * width)
        window = window_around(torch.cat([upper, lower], 1), margin, SIZE)
        opening = aperture(upper, lower, window.pixels)

        # Of eyes that are half shut in the photo, that is how they are: only what is shut beyond it counts.
        shut = 1 - _height(motion, eye) / max(prepared.height, LEAST_HEIGHT * prepared.width)
        shut = smoothstep(shut, LIDS_LOW, LIDS_HIGH)[:, None, None] * moved
        index = window.index.flatten(1)[..., None].expand(-1, -1, 2)
        lids = sample(prepared.lids, where.flatten(1, 2).gather(1, index).view(window.pixels.shape))
        paint(frames, window, lids[:, :3], lids[:, 3] * shut)

        ball = sample(prepared.ball, _eyeball(prepared, motion, window.pixels + MARGIN))
        paint(frames, window, ball, opening.coverage * moved)

        line = max(LASHES_WIDTH * width, 0.7)  # pixels
        lashes = torch.exp(-((opening.below_upper / line) ** 2)) * smoothstep(opening.along.abs(), 1.0, 0.8)
        paint(frames, window, prepared.lashes.expand_as(ball), LASHES * lashes * shut)


def _height(motion: FaceMotion, eye: Eye) -> torch.Tensor:
    """(B,) mean normalized distance between the lids of an eye."""
    across = motion.normalized[:, list(eye.lower_lid[1:-1])] - motion.normalized[:, list(eye.upper_lid[1:-1])]
    return across.norm(dim=-1).mean(-1)


def _eyeball(prepared: PreparedEye, motion: FaceMotion, pixels: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 2) the places of the photo that the eyeball shows at pixels (B, h, w, 2), both of the surroundings."""
    seen = motion.unproject(pixels, prepared.depth)
    pupil = motion.normalized[:, prepared.eye.pupil, :2]
    turned = pupil - prepared.photo.normalized[:, prepared.eye.pupil, :2]
    from_pupil = (seen - pupil[:, None, None]).norm(dim=-1) / prepared.iris_radius
    follows = 1 - smoothstep(from_pupil, IRIS_RIM, IRIS_REACH)
    return prepared.photo.project(seen - turned[:, None, None] * follows[..., None], prepared.depth)


def _prepare(picture: torch.Tensor, photo: FaceMotion, eye: Eye) -> PreparedEye:
    upper, lower = (photo.posed[:, list(lid), :2] for lid in (eye.upper_lid, eye.lower_lid))
    opening = aperture(upper, lower, pixels_of(picture))
    visible = opening.coverage[:, None]
    width = float((upper[0, -1] - upper[0, 0]).norm())  # pixels
    above, below = (reach * width for reach in LIDS_REACH)
    edge = smoothstep(opening.below_upper, -above, -0.4 * above) * smoothstep(opening.above_lower, -below, -0.4 * below)
    edge = (edge * smoothstep(opening.along.abs(), 1.15, 0.95))[:, None]
    rim = photo.normalized[0, list(eye.iris_rim), :2]
    return PreparedEye(
        eye=eye,
        ball=fill(picture, visible),
        lids=torch.cat([fill(picture, (edge <= 0).float()), edge], 1),
        lashes=_lashes(picture, (opening.below_upper.abs() < 0.07 * width) & (opening.along.abs() < 1)),
        photo=photo,
        depth=float(photo.normalized[0, [eye.upper_lid[0], eye.upper_lid[-1]], 2].mean()),
        height=float(_height(photo, eye)),
        width=width / float(photo.scale),
        iris_radius=float((rim - rim.mean(0)).norm(dim=-1).mean()),
    )


def _lashes(picture: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
    """(3, 1, 1) the mean of the darkest fifth of the pixels at the upper lid's edge (1, 640, 640)."""
    colours = picture[0, :, edge[0]] if bool(edge.any()) else picture.flatten(2)[0]
    darkest = colours.mean(0).argsort()[: max(colours.shape[1] // 5, 1)]
    return colours[:, darkest].mean(1)[:, None, None]
