"""The eyeball behind the lids of a photo's eye, and the shade and lashes of the upper lid, which go with the lid."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.eye_in_photo import EyeInPhoto
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.opening_mask import places_below
from space_core.generator.mesh_warp.sampling import pairs, pixels_of, sample

# What is that near to the edge of the lower lid, in widths of the eye, is its rim and lashes, not the eyeball.
LOWER_RIM = (0.0, 0.05)
# So far down, in widths of the eye and at most of its height, the upper lid's lashes and shade reach; from the first
# share of that on they fade out. Towards the corners, from these half widths on, there is no eyeball to darken.
REACH, OF_HEIGHT, FADES = 0.13, 0.45, (0.5, 1.0)
NO_CORNER, CONTINUED = (0.75, 0.95), (0.4, 0.9)
LASHES = (0.4, 0.8)  # shares of the light that a lid leaves: of the first, nothing is known of what is below its lashes
DARKEST = 0.02  # added to brightness before it is divided by
ROWS, COLUMNS = 20, 72  # of the picture of that shade
# An iris has rings of one colour each, up to where its edge, which is as blurred as the photo, has ended, in its radii.
# Relative to the white behind it an iris is at most that bright from its middle on, and as bright as it at its edge.
# If nothing of its pupil is seen, this is darker than the ring around it by that share, to these radii.
RINGS, IRIS_EDGE, BRIGHTEST, INNER = 20, (1.1, 1.35), 0.8, 0.8
PUPIL, PUPIL_DARKER = (0.42, 0.3), 0.75
WHITEST, LIT = 0.75, (0.4, 0.9)  # quantile of the brightness of what is seen beside it, and shares of it that count
MIN_SEEN = 0.002  # what less is seen of, in squares of the eye's width, is not continued


@dataclass(frozen=True)
class Eyeball:
    """An eyeball, and what its upper lid casts on it.

    Attributes:
        picture: (1, 3, h, w) the photo with the eyeball continued behind the lids, and without the lid's shade.
        shade: (1, 3, ROWS, COLUMNS) by which factor the lid darkens its red, green and blue, from its edge down and
            from corner to corner.
        reach: how far down that is, in pixels.
    """

    picture: torch.Tensor
    shade: torch.Tensor
    reach: float


def eyeball_behind_lids(eye: EyeInPhoto) -> Eyeball:
    """The eyeball of an eye.

    Its white goes on as white and its iris as a disc of rings, without the rims and the lashes of the lids.
    """
    picture, photo, opening, width = eye.picture, eye.photo, eye.opening, eye.width
    visible = opening.coverage[:, None]
    reach = _shade_reach(eye)
    seen = visible * smoothstep(opening.above_lower / width, *LOWER_RIM)[:, None]
    clear = seen * smoothstep(opening.below_upper / reach, *FADES)[:, None]
    rim = photo.posed[0, list(eye.points.iris_rim), :2]
    pupil, radius = photo.posed[0, eye.points.pupil, :2], (rim - rim.mean(0)).norm(dim=-1).mean()
    away = (pixels_of(picture) - pupil).norm(dim=-1) / radius
    disc = smoothstep(away, *IRIS_EDGE[::-1])[:, None]
    beside, bright = clear * (1 - disc), picture.mean(1, keepdim=True)
    if bool((beside > 0.5).any()):  # what is in shade there says little of the white
        beside = beside * smoothstep(bright / bright[beside > 0.5].quantile(WHITEST).clamp(min=DARKEST), *LIT)
    around = fill(picture, visible)
    white = fill(picture, beside) if float(beside.sum()) > MIN_SEEN * width**2 else around
    iris = _iris(picture, away, clear[:, 0] > 0.5, around)
    brightest = white.mean(1) * (BRIGHTEST + (1 - BRIGHTEST) * smoothstep(away, INNER, IRIS_EDGE[0]))
    iris = iris * (brightest / iris.mean(1).clamp(min=DARKEST)).clamp(max=1)[:, None]
    clean = torch.lerp(white, iris, disc)

    shade = _shade(picture, clean, photo.posed[:, list(eye.points.upper_lid), :2], reach)
    cast = shade_at(shade, opening.along, opening.below_upper / reach)
    own = torch.lerp(clean, picture / cast, smoothstep(cast.mean(1, keepdim=True), *LASHES))
    share = smoothstep(opening.along.abs(), *CONTINUED[::-1])[:, None]
    return Eyeball(torch.lerp(around, torch.lerp(clean, own, seen), share), shade, reach)


def eyeball_without_shade(picture: torch.Tensor, eye: EyeInPhoto) -> Eyeball:
    """The eyeball of an eye that ``picture`` (1, 3, h, w) shows as it is."""
    return Eyeball(picture, torch.ones(1, 3, ROWS, COLUMNS), _shade_reach(eye))


def _shade_reach(eye: EyeInPhoto) -> float:
    """How far below the upper lid of an eye its lashes and shade reach, in pixels."""
    height = float((eye.opening.below_upper + eye.opening.above_lower).max())
    return max(min(REACH * eye.width, OF_HEIGHT * height), 1.0)


def shade_at(shade: torch.Tensor, along: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """(B, 3, h, w) the factor of an ``Eyeball.shade`` at pixels of an eye.

    ``along`` (B, h, w) is where those lie between the corners, −1 left … 1 right, ``down`` (B, h, w) how far below the
    lid, relative to the shade's reach.
    """
    places = pairs(along, 2 * down - 1)
    return F.grid_sample(shade.expand(len(along), -1, -1, -1), places, padding_mode="border", align_corners=True)


def _shade(picture: torch.Tensor, clean: torch.Tensor, lid: torch.Tensor, reach: float) -> torch.Tensor:
    """The shade of a lid (1, K, 2) down to ``reach`` pixels, from a picture (1, 3, h, w) and the eyeball without it."""
    along, down = torch.linspace(-1, 1, COLUMNS), torch.linspace(0, 1, ROWS)
    places = places_below(lid, along, reach * down)
    shaded, bright = (sample(each, places) for each in (picture, clean))
    share = smoothstep(down, *FADES[::-1])[:, None] * smoothstep(along.abs(), *NO_CORNER[::-1])
    left, light = (each.mean(1, keepdim=True) + DARKEST for each in (shaded, bright))
    darker = (1 - left / light).clamp(min=0) * share
    # Lashes have one colour: where it is that dark, those of single pixels are noise.
    own, other = ((darker * each).sum((0, 2, 3)) + DARKEST for each in (shaded, bright))
    tint = (own / own.mean()) / (other / other.mean())
    return (1 - darker) * (1 + darker * (tint[:, None, None] - 1))


def _iris(picture: torch.Tensor, away: torch.Tensor, seen: torch.Tensor, otherwise: torch.Tensor) -> torch.Tensor:
    """(1, 3, h, w) an iris of rings, each of its usual colour where it is ``seen`` (1, h, w) bool.

    ``away`` (1, h, w) is how far pixels are from its middle, in its radii. Where nothing of it is seen, ``otherwise``.
    """
    radii = np.linspace(0, IRIS_EDGE[1], RINGS)
    rings = [picture[0, :, (seen & ((away - radius).abs() < radii[1]))[0]] for radius in radii]
    known = [number for number, ring in enumerate(rings) if ring.numel()]
    if not known:
        return otherwise
    colours = torch.stack([rings[number].median(1).values for number in known]).numpy()
    planes = [np.interp(away.numpy(), radii[known], colours[:, channel]) for channel in range(3)]
    iris = torch.from_numpy(np.stack(planes, 1).astype(np.float32))
    if radii[known[0]] > PUPIL[1]:
        iris = iris * (1 - PUPIL_DARKER * smoothstep(away, *PUPIL))[:, None]
    return iris
