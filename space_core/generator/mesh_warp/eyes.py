"""Drawing the eyes: eyeballs that stay behind the lids, irises that turn, and the lids' skin and lashes when shut."""

from dataclasses import dataclass

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import Eye
from space_core.generator.mesh_warp.eye_in_photo import lid_distance
from space_core.generator.mesh_warp.eyeball import shade_at
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, index_on, upload
from space_core.generator.mesh_warp.opening_mask import (
    WINDOW_MARGIN,
    OpeningMask,
    Window,
    alpha_blend,
    opening_mask,
    window_around,
)
from space_core.generator.mesh_warp.prepared_eyes import HALF_SHUT, PreparedEye
from space_core.generator.mesh_warp.sampling import blur_batch, pairs, reach_of_blur, sample

# Lids and iris that have moved less than the first of these from the photo's (normalized units, root mean square) leave
# the photo's own eye as it is; from the second on, the eye is drawn behind the lids.
MOVED_LOW, MOVED_HIGH = 0.001, 0.008
# Or an iris that is so far from where the mesh would carry it: a quarter of a degree of gaze to a degree and a half.
TURNED_LOW, TURNED_HIGH = 0.0005, 0.003
PUPIL_BEHIND_LIDS = 0.025  # in depth; the mesh spans an eye from lid to lid, so a turning head carries its iris too far
# The iris moves as a whole within its own rim, and the white around it gives way out to this many iris radii.
IRIS_RIM, IRIS_REACH = 1.1, 2.4
LIDS_LOW, LIDS_HIGH = 0.3, 0.6  # of the way shut: from here to there, the prepared lids replace the photo's
MIN_HEIGHT = 0.1  # of an eye, in its widths; below it the tracker's noise would count as shutting
# The lashes of a shut eye hang down over where the lids meet: a dark line, below it hairs that let the skin through.
LASHES_WIDTH = (0.03, 0.05, 0.15)  # of the line upwards and downwards, and of the hairs, in widths of the eye
LASHES_TAPER = 0.45  # how much thinner it is at the corners
LASHES_ENDS = (0.95, 1.15)  # it fades out between these, in half widths
STRANDS, STRANDS_FAN = 45.0, 0.12  # radians from the middle to a corner, how they spread
STRANDS_DEPTH, STRANDS_SHORTER = 0.55, 0.35  # how much of the hairs is missing between them, and how much shorter
HAIRS = 0.65  # their opacity
FEW_SHORTER = 0.5  # few hairs are so long, relative to strong ones
OPENED = 0.08  # in widths; lids that have parted by this have their lashes at the upper one's edge
OPENED_LASHES, OPENED_ENDS = 0.3, 1.2  # those look so long, and end so much sooner, relative to a shut eye's
# The bridge of a nose hides the far eye of a turned head: what is seen there lies in the photo so far along the eye, in
# its widths, from where the eye shows it. In view that is 0.13 at most, behind a bridge 0.7.
HIDDEN = (0.2, 0.4)


@dataclass(frozen=True)
class EyeChange:
    """How an eye differs from the photo's in B frames; on the host, each (B,) from 0 to 1.

    Attributes:
        moved: how far the drawn eye replaces the photo's.
        shut: how far the lids have closed beyond the photo's.
        opened: how far lids that are half shut in the photo have opened.
    """

    moved: np.ndarray
    shut: np.ndarray
    opened: np.ndarray


def eye_change(prepared: PreparedEye, host: HostMotion) -> EyeChange:
    """How an eye differs from the photo's."""
    eye, photo = prepared.eye, prepared.photo.host
    ring = [*eye.upper_lid, *eye.lower_lid, eye.pupil]
    change = host.normalized[:, ring] - photo.normalized[:, ring]
    moved = smoothstep(np.sqrt(np.square(change).sum(-1).mean(-1)), MOVED_LOW, MOVED_HIGH)
    tilt = np.linalg.norm((host.rotation - photo.rotation)[:, :2, 2], axis=-1)
    turned = np.linalg.norm(change[:, -1], axis=-1) + PUPIL_BEHIND_LIDS * tilt
    moved = np.maximum(moved, smoothstep(turned, TURNED_LOW, TURNED_HIGH))
    # Of eyes that are half shut in the photo, that is how they are: only what is shut beyond it counts.
    height = lid_distance(host.normalized, eye)
    shut = 1 - height / max(prepared.height, MIN_HEIGHT * prepared.width)
    shut = smoothstep(shut, LIDS_LOW, LIDS_HIGH) * moved
    opened = np.zeros_like(shut)
    if prepared.height < HALF_SHUT * prepared.width:
        opened = smoothstep((height - prepared.height) / (OPENED * prepared.width), 0.2, 1) * moved
    return EyeChange(moved, shut, opened)


def eye_margin(prepared: PreparedEye, scale: float) -> int:
    """How far around the lids' points an eye is drawn, pixels, where a normalized unit is ``scale`` pixels long."""
    return WINDOW_MARGIN + int(prepared.lids.reach * prepared.width * scale) + reach_of_blur(prepared.softening)


def draw_eye(
    frames: torch.Tensor, where: torch.Tensor, prepared: PreparedEye, motion: FaceMotion, change: EyeChange
) -> None:
    """Draws an eye into frames (B, 3, h, w) around it, in place.

    ``where`` (B, h, w, 2) is the place in the prepared picture that each pixel of the frames shows; ``motion`` is in
    pixels of the frames.
    """
    moved, shut, opened = (
        upload(weights.astype(np.float32), frames.device)[:, None, None]
        for weights in (change.moved, change.shut, change.opened)
    )
    if change.shut.any():
        lids = sample(prepared.lids.picture, where)
        frames.lerp_(lids[:, :3], (lids[:, 3] * shut)[:, None])

    window = _window(frames, prepared, motion)
    upper, lower = (
        motion.posed.index_select(1, index_on(lid, frames.device))[..., :2]
        for lid in (prepared.eye.upper_lid, prepared.eye.lower_lid)
    )
    opening = opening_mask(upper, lower, window.pixels)
    places = where.flatten(1, 2).gather(1, window.index.flatten(1)[..., None].expand(-1, -1, 2))
    in_view = _in_view(prepared, places.view_as(window.pixels), opening.along)
    places = _eyeball(prepared, motion, window.pixels, opening.along) - prepared.corner
    ball = sample(prepared.ball, places, density=2)
    reach = prepared.shade_reach * motion.scale[:, None, None]
    ball = ball * shade_at(prepared.shade, opening.along, opening.below_upper / reach)
    if prepared.opened_ball is not None and change.opened.any():
        ball = torch.lerp(ball, sample(prepared.opened_ball, places, density=2), opened[:, None])
    alpha_blend(frames, window, ball, _softened(opening.coverage, prepared) * moved * in_view)

    if change.shut.any() or change.opened.any():
        lashes = _softened(_lashes(prepared, motion.scale, opening, opened), prepared)
        drawn = torch.maximum(shut, opened)
        alpha_blend(frames, window, prepared.lashes.colour.expand_as(ball), lashes * drawn * in_view)


def _window(frames: torch.Tensor, prepared: PreparedEye, motion: FaceMotion) -> Window:
    """The part of the frames that has the eye and its lashes."""
    eye = prepared.eye
    margin = WINDOW_MARGIN + int(2.5 * max(LASHES_WIDTH) * prepared.width * float(motion.host.scale.max()))
    margin += reach_of_blur(prepared.softening)
    points = motion.host.posed[:, [*eye.upper_lid, *eye.lower_lid], :2]
    return window_around(points, margin, frames.shape[2:], frames.device)


def _lashes(prepared: PreparedEye, scale: torch.Tensor, opening: OpeningMask, opened: torch.Tensor) -> torch.Tensor:
    """(B, h, w) opacity of the lashes of lids that have shut, or opened as far as ``opened`` (B, 1, 1) says.

    ``scale`` (B,) is how many pixels long a normalized unit is.
    """
    width = prepared.width * scale[:, None, None]  # pixels
    width = width * (1 - LASHES_TAPER * opening.along**2).clamp(min=0.1)
    above, below, hanging = ((part * width).clamp(min=0.7) for part in LASHES_WIDTH)
    down = opening.below_upper
    fan = 1 + STRANDS_FAN * (down / hanging).clamp(min=0)
    strand = 0.5 + 0.5 * torch.sin(STRANDS * opening.along / fan + 2 * torch.sin(5 * opening.along))
    hanging = (
        hanging
        * (FEW_SHORTER + (1 - FEW_SHORTER) * prepared.lashes.strength)
        * (1 - STRANDS_SHORTER * strand)
        * (1 - (1 - OPENED_LASHES) * opened)
    )
    hairs = HAIRS * prepared.lashes.strength * (1 - STRANDS_DEPTH * strand) * torch.exp(-((down / hanging) ** 2))
    line = torch.exp(-((down / torch.where(down < 0, above, below)) ** 2))
    ends = opening.along.abs() * (1 + (OPENED_ENDS - 1) * opened)
    return torch.maximum(line, hairs * (down > 0)) * smoothstep(ends, *LASHES_ENDS[::-1])


def _in_view(prepared: PreparedEye, places: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """(B, h, w) 1 where an eye is in view … 0 where the bridge of the nose hides it.

    ``places`` (B, h, w, 2) of the prepared picture are seen there; ``along`` is that of the eye's ``OpeningMask``.
    """
    lid = prepared.eye.upper_lid
    left, right = prepared.photo.posed[0].index_select(0, index_on((lid[0], lid[-1]), places.device))[:, :2]
    axis = right - left
    seen = (places - left) @ axis / axis.square().sum()
    return 1 - smoothstep((seen - (along + 1) / 2).abs(), *HIDDEN)


def _softened(alpha: torch.Tensor, prepared: PreparedEye) -> torch.Tensor:
    """(B, h, w) alpha (B, h, w) of something that is drawn sharp, as blurred as the photo."""
    return blur_batch(alpha[:, None], prepared.softening)[:, 0]


def _eyeball(prepared: PreparedEye, motion: FaceMotion, pixels: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 2) the places of the prepared picture that the eyeball shows at pixels (B, h, w, 2) of the frames.

    ``along`` (B, h, w) is where those lie between the corners, −1 left … 1 right: the eyeball bulges between them.
    """
    bulge = (1 - along**2).clamp(min=0)
    seen = motion.unproject(pixels, _depth(motion, prepared.eye, bulge))
    pupil = motion.normalized[:, prepared.eye.pupil, :2]
    turned = pupil - prepared.photo.normalized[:, prepared.eye.pupil, :2]
    (x, y), (pupil_x, pupil_y), (turned_x, turned_y) = (
        array.unbind(-1) for array in (seen, pupil[:, None, None], turned[:, None, None])
    )
    from_pupil = ((x - pupil_x).square() + (y - pupil_y).square()).sqrt() / prepared.iris_radius
    follows = 1 - smoothstep(from_pupil, IRIS_RIM, IRIS_REACH)
    place = pairs(x - turned_x * follows, y - turned_y * follows)
    return prepared.photo.project(place, _depth(prepared.photo, prepared.eye, bulge))


def _depth(motion: FaceMotion, eye: Eye, bulge: torch.Tensor) -> torch.Tensor:
    """(B, h, w) normalized depth of an eye: that of its corners where ``bulge`` is 0, of its pupil where it is 1."""
    corners = (motion.normalized[:, eye.upper_lid[0], 2] + motion.normalized[:, eye.upper_lid[-1], 2]) / 2
    pupil = motion.normalized[:, eye.pupil, 2]
    return torch.lerp(corners[:, None, None], pupil[:, None, None], bulge)
