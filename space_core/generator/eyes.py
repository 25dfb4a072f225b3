"""The eyes behind the lids: eyeballs that stay when the lids close and irises that turn."""

from dataclasses import dataclass

import torch

from space_core.face.portrait import MARGIN, SIZE
from space_core.face.topology import EYES, Eye
from space_core.generator.aperture import MARGIN_OF_WINDOW, aperture, paint, whole_window, window_around
from space_core.generator.face_motion import FaceMotion
from space_core.generator.inpainting import fill
from space_core.generator.sampling import sample, smoothstep

# Lids and iris that have moved less than the first of these from the photo's (normalized units, root mean square) leave
# the photo's own eye as it is; from the second on, the eye is drawn behind the lids.
MOVED_LOW, MOVED_HIGH = 0.001, 0.008
# The iris moves as a whole within its own rim, and the white around it gives way out to this many iris radii.
IRIS_RIM, IRIS_REACH = 1.1, 2.4


@dataclass(frozen=True)
class PreparedEye:
    """What every frame needs of one eye.

    Attributes:
        eye: which points it has.
        texture: (1, 3, 640, 640) the surroundings with the eyeball's colours continued behind the lids.
        photo: the photo's own landmarks.
        depth: normalized depth of the eye.
        iris_radius: normalized.
    """

    eye: Eye
    texture: torch.Tensor
    photo: FaceMotion
    depth: float
    iris_radius: float


def prepare_eyes(picture: torch.Tensor, photo: FaceMotion) -> list[PreparedEye]:
    """Both eyes of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks."""
    return [_prepare(picture, photo, eye) for eye in EYES]


def draw_eyes(frames: torch.Tensor, eyes: list[PreparedEye], motion: FaceMotion) -> None:
    """Draws the eyes into frames (B, 3, 512, 512) in place, where the lids leave them open."""
    for prepared in eyes:
        eye = prepared.eye
        ring = [*eye.upper_lid, *eye.lower_lid, eye.pupil]
        change = motion.normalized[:, ring] - prepared.photo.normalized[:, ring]
        moved = smoothstep(change.square().sum(-1).mean(-1).sqrt(), MOVED_LOW, MOVED_HIGH)
        if not bool((moved > 0).any()):
            continue
        upper, lower = (motion.posed[:, list(lid), :2] - MARGIN for lid in (eye.upper_lid, eye.lower_lid))
        window = window_around(torch.cat([upper, lower], 1), MARGIN_OF_WINDOW, SIZE)
        opening = aperture(upper, lower, window.pixels)
        ball = sample(prepared.texture, _eyeball(prepared, motion, window.pixels + MARGIN))
        paint(frames, window, ball, opening.coverage * moved[:, None, None])


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
    everywhere = whole_window(picture.shape[-1], picture.device).pixels
    visible = aperture(upper, lower, everywhere).coverage[:, None]
    rim = photo.normalized[0, list(eye.iris_rim), :2]
    return PreparedEye(
        eye=eye,
        texture=fill(picture, visible),
        photo=photo,
        depth=float(photo.normalized[0, [eye.upper_lid[0], eye.upper_lid[-1]], 2].mean()),
        iris_radius=float((rim - rim.mean(0)).norm(dim=-1).mean()),
    )
