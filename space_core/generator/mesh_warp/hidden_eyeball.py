"""The eyeball of an eye that is half shut in a photo, drawn where lids hide it: its white, its iris, its pupil."""

import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.eye_in_photo import EyeInPhoto, lid_distance, skin_around
from space_core.generator.mesh_warp.sampling import pixels_of

# An eye that shows less of its eyeball than the first, in its widths, shows nothing of its colours, from the second on
# those are its own.
SEEN = (0.09, 0.13)
IRIS_SIZE, PUPIL_SIZE = 0.2, (0.3, 0.42)  # radius in widths of the eye, and the pupil's edge in those
IRIS_RISE = 0.06  # how far the middle of an iris lies above the line between the corners, in widths
DARK_BROWN = (0.3, 0.19, 0.13)  # relative to the light; the iris of eyes of which the photo shows none
WHITE, WHITE_GREY = 0.88, 0.65  # how bright its white is, relative to the skin, and how much less coloured
LASHES_OR_WHITE = (0.5, 0.75)  # relative to the light: darker is lashes, lighter is white


def hidden_eyeball(eye: EyeInPhoto, other: EyeInPhoto) -> torch.Tensor:
    """(1, 3, h, w) an eyeball where lids hide it: of its own colours if some is seen, of the other's, or brown."""
    corners = _corners(eye)
    along = corners[1] - corners[0]
    width = along.norm()
    white, iris, light = _ball_colours(eye, other)

    # A shut eye's iris is not where the tracker guesses but where it is when the lids part.
    seen = _share_seen(eye, width)
    pupil = eye.photo.posed[0, eye.points.pupil, :2]
    rise = torch.stack([along[1], -along[0]]) * IRIS_RISE
    pupil = torch.lerp(corners.mean(0) + rise, pupil, seen)
    offset = (pixels_of(eye.picture) - pupil) / (IRIS_SIZE * width)
    away, up = offset.norm(dim=-1)[:, None], -offset[..., 1][:, None]
    disc, hole = smoothstep(away, 1.05, 0.85), smoothstep(away, *PUPIL_SIZE[::-1])
    white, iris = white[:, None, None], iris[:, None, None]
    iris = iris * (1 - 0.4 * smoothstep(away, 0.6, 1.0)) * (1 - 0.2 * up.clamp(-1, 1)) * (1 - 0.8 * hole)
    ball = torch.lerp(white * (1 - 0.3 * (eye.opening.along**2).clamp(max=1)[:, None]), iris, disc)
    ball = ball * (1 - 0.35 * smoothstep(up, 0.0, 1.2))  # the upper lid's shade
    spot = torch.exp(-((offset - torch.tensor([-0.2, -0.3]).to(offset)) / 0.16).square().sum(-1))[:, None]
    return torch.lerp(ball, light.clamp(min=0.5), 0.75 * spot * (1 - seen)).clamp(0, 1)


def _ball_colours(eye: EyeInPhoto, other: EyeInPhoto) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The colours (3,) of white and iris of an eye that lids hide, and how bright the light on it is, 0…1."""
    corners, opening = _corners(eye), eye.opening
    width = (corners[1] - corners[0]).norm()
    skin = skin_around(eye.picture, (opening.below_upper > -0.3 * width) & (opening.along.abs() < 1.3))
    light = skin.mean() * WHITE
    white = torch.lerp(skin * WHITE, light.expand(3), WHITE_GREY)
    iris = torch.tensor(DARK_BROWN, device=eye.picture.device) * light
    for shown in (other, eye):
        trust = _share_seen(shown, width)
        if bool(trust > 0):
            colours = _colours(shown)
            # What is much darker than a white can be was lashes.
            bright = smoothstep(colours[0].mean() / light, *LASHES_OR_WHITE) * trust
            white, iris = torch.lerp(white, colours[0], bright), torch.lerp(iris, colours[1], trust)
    return white, iris, light


def _share_seen(eye: EyeInPhoto, width: torch.Tensor) -> torch.Tensor:
    """How far an eye of that width in pixels shows its eyeball: 0 not … 1 enough for its colours."""
    return smoothstep(lid_distance(eye.photo.normalized, eye.points) / (width / eye.photo.scale), *SEEN)


def _colours(eye: EyeInPhoto) -> tuple[torch.Tensor, torch.Tensor]:
    """The colours (3,) of the white and of the iris of an eye that is seen."""
    picture, opening, corners = eye.picture, eye.opening, _corners(eye)
    inside = (opening.coverage > 0.9) & (opening.along.abs() < 0.8)
    width = (corners[1] - corners[0]).norm()
    away = (pixels_of(picture) - eye.photo.posed[0, eye.points.pupil, :2]).norm(dim=-1) / (IRIS_SIZE * width)
    every = (
        picture[0, :, (opening.coverage > 0.5)[0]] if bool((opening.coverage > 0.5).any()) else picture[0].flatten(1)
    )
    parts = (picture[0, :, (inside & part)[0]] for part in (away > 1.15, (away > 0.45) & (away < 0.85)))
    white, iris = (part.median(1).values if part.shape[1] else every.median(1).values for part in parts)
    return white, iris


def _corners(eye: EyeInPhoto) -> torch.Tensor:
    """(2, 2) the corners of an eye, left and right, in pixels."""
    return eye.photo.posed[0, [eye.points.upper_lid[0], eye.points.upper_lid[-1]], :2]
