"""What every frame needs of a mouth, prepared once from the photo: its colours, its light, its size, its own teeth.

Lengths are normalized: outer eye corners, about 90 mm apart on an adult, are one unit.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.smile import smile_of
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.mouth_light import FaceLight, MouthColours, estimate_colours, estimate_light
from space_core.generator.mesh_warp.opening_mask import OpeningMask, opening_mask
from space_core.generator.mesh_warp.sampling import pixels_of
from space_core.smoothstep import smoothstep

# Upper incisors end just below where the lips meet at rest, and further below in a smile, which lifts the lips.
UPPER_EDGE_BELOW_LIPS, BELOW_IN_SMILE = 1.0 * MILLIMETRE, 2.0 * MILLIMETRE
TEETH_BEHIND_LIPS = 5 * MILLIMETRE
SKULL_SIDES = (234, 454)  # the skin over the hinges of the jaw
TYPICAL_MOUTH = 0.55  # normalized width of a mouth at rest; wider ones have wider rows of teeth
TEETH_SIZES = (0.92, 1.1)
SEAM = 0.5  # of the lips' brightness is left between closed ones
# Of the light, what is left where lips nearly touch. They have reflected it many times, so it is red: a power of
# ``MouthColours.reddening``.
LIPS_SHADE, LIPS_REDDENING = 0.7, 3
# How far apart they keep no light from one another; and as a share of how far a photo shows them, if it shows teeth,
# which are then as light as there.
FULL_LIGHT, FULL_LIGHT_AGAIN = 12.0 * MILLIMETRE, 0.6

OPEN_IN_PHOTO = 4 * MILLIMETRE  # photos whose lips are further apart show a mouth of their own
OPEN_BY_JAW = 0.7  # of what a photo shows its lips apart, the jaw has dropped
# Teeth are at least that bright, compared with the lips, and no more colourful than that.
TOOTH_BRIGHTNESS = (1.1, 1.3)
TOOTH_SATURATION = (0.42, 0.3)
# The upper row ends where it gets that much darker than it is above, or at the lower lip, between these distances below
# the upper lip; one that does not is taken to end at the last distance: the lower row touches it.
ROW_END, ROW_ENDS_WITHIN, TYPICAL_ROW = 0.75, (4 * MILLIMETRE, 14.5 * MILLIMETRE), 8.5 * MILLIMETRE
BETWEEN_TEETH, ROW_SMOOTHNESS = 1.5 * MILLIMETRE, 9 * MILLIMETRE  # widths: of dark gaps, of the row's edge's median
LEAST_SHARE_OF_TEETH = 0.3  # of what a photo shows between the lips, for its teeth to be taken


@dataclass(frozen=True)
class PreparedMouth:
    """What every frame needs of the mouth.

    Attributes:
        photo: the photo's own landmarks in pixels of the picture from which the mouth was prepared.
        gap: (11, 1) how far the lips' points are apart in the photo although they touch, normalized; 0 if they do not.
        gap_on_host: (11,) the same.
        open_in_photo: whether the photo shows the inside of the mouth.
        origin: (3,) float32, normalized place of the middle of the upper incisors' edge.
        millimetre: of the anatomy, normalized.
        hinge: (2,) float32, normalized y and z of the axis about which the jaw turns.
        jaw: how far the photo's own jaw is dropped, normalized.
        colours, light: of the photo.
        seam, depths: (3, 1, 1) colours of closed lips' seam and of the mouth's depth, 0…1.
        near_lips: (3, 1, 1) of red, green and blue light, what is left where the lips nearly touch.
        teeth: (1, 4, h, w) the picture, and where the photo's own upper teeth are in it, 0…1.
        has_teeth: whether they are anywhere.
        full_light: how far lips are apart that keep no light from one another, normalized.
        softness: width of the drawn edges in pixels, that of the photo's own.
        blur: standard deviation in pixels of the Gaussian that makes what is drawn as blurred as the photo.
    """

    photo: FaceMotion
    gap: torch.Tensor
    gap_on_host: np.ndarray
    open_in_photo: bool
    origin: np.ndarray
    millimetre: float
    hinge: np.ndarray
    jaw: float
    colours: MouthColours
    light: FaceLight
    seam: torch.Tensor
    depths: torch.Tensor
    near_lips: torch.Tensor
    teeth: torch.Tensor
    has_teeth: bool
    full_light: float
    softness: float
    blur: float


def prepare_mouth(picture: torch.Tensor, photo: FaceMotion) -> PreparedMouth:
    """The mouth of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks; on the host."""
    normalized = photo.host.normalized[0]
    upper, lower = normalized[list(INNER_UPPER_LIP)], normalized[list(INNER_LOWER_LIP)]
    opening = max(float(lower[5, 1] - upper[5, 1]), 0.0)
    open_in_photo = opening > OPEN_IN_PHOTO
    posed_upper, posed_lower = (photo.posed[0, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    gap = (posed_lower - posed_upper).norm(dim=-1, keepdim=True) / photo.scale
    gap = torch.zeros_like(gap) if open_in_photo else gap
    # An open mouth has opened downwards from where its lips meet.
    meeting = float(upper[5, 1]) + (0.0 if open_in_photo else 0.5 * opening)
    depth = float(upper[5, 2]) + TEETH_BEHIND_LIPS
    colours = estimate_colours(picture, photo)
    edge = meeting + UPPER_EDGE_BELOW_LIPS + BELOW_IN_SMILE * smile_of(normalized)
    lips = torch.from_numpy(colours.lips)
    near_lips = LIPS_SHADE ** ((1 - colours.depiction.cartoon) * colours.reddening**LIPS_REDDENING)
    teeth = _teeth_in_photo(picture, photo, lips) if open_in_photo else torch.zeros_like(picture[:, :1])
    has_teeth = bool(teeth.any())
    if has_teeth:
        enamel = (1.05 * (picture * teeth).sum((0, 2, 3)) / teeth.sum()).clamp(max=1).numpy()
        colours = replace(colours, enamel=enamel, neck=enamel * colours.neck / colours.enamel)
        edge = max(edge, _lower_edge(teeth, photo, depth))
    width = float(np.linalg.norm(upper[0] - upper[-1]))
    sides = normalized[list(SKULL_SIDES)].mean(0)
    return PreparedMouth(
        photo=photo,
        gap=gap,
        gap_on_host=gap[:, 0].cpu().numpy(),
        open_in_photo=open_in_photo,
        # The teeth's middle is that of the lips, which is off the face's in turned and in asymmetric faces.
        origin=np.array([upper[3:8, 0].mean(), edge, depth], np.float32),
        millimetre=MILLIMETRE * float(np.clip((width / TYPICAL_MOUTH) ** 0.5, *TEETH_SIZES)),
        hinge=sides[1:],
        jaw=OPEN_BY_JAW * opening if open_in_photo else 0.0,
        colours=colours,
        light=estimate_light(picture, photo),
        seam=SEAM * lips[:, None, None],
        depths=torch.from_numpy(colours.depths)[:, None, None],
        near_lips=torch.tensor(near_lips, dtype=torch.float32)[:, None, None],
        teeth=torch.cat([picture, teeth], 1),
        has_teeth=has_teeth,
        full_light=FULL_LIGHT_AGAIN * opening if has_teeth else FULL_LIGHT,
        softness=1.0,
        blur=0.0,
    )


def _teeth_in_photo(picture: torch.Tensor, photo: FaceMotion, lips: torch.Tensor) -> torch.Tensor:
    """(1, 1, 640, 640) where a photo with an open mouth and lips of that colour shows its upper teeth, 0…1."""
    curves = (photo.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    opening = opening_mask(*curves, pixels_of(picture))
    brightest, darkest = picture.amax(1), picture.amin(1)
    saturation = (brightest - darkest) / brightest.clamp(min=0.05)
    tooth = smoothstep(picture.mean(1) / lips.mean(), *TOOTH_BRIGHTNESS) * smoothstep(saturation, *TOOTH_SATURATION)
    tooth = F.avg_pool2d(F.max_pool2d(tooth, 5, 1, 2), 3, 1, 1)  # the gaps between teeth belong to them
    # A pixel or two next to the lips are as much lip as tooth.
    clear = smoothstep(opening.below_upper, 0.5, 2.0) * smoothstep(opening.above_lower, 0.5, 2.0)
    below_edge = opening.below_upper - _edge_of_upper_row(picture, opening, float(photo.scale))
    teeth = opening.coverage * tooth * clear * smoothstep(below_edge, 0.5, -1.0)
    if float(teeth.sum()) < LEAST_SHARE_OF_TEETH * float(opening.coverage.sum()):
        return torch.zeros_like(teeth)[:, None]
    return teeth[:, None]


def _edge_of_upper_row(picture: torch.Tensor, opening: OpeningMask, scale: float) -> torch.Tensor:
    """(1, 1, w) how far below the upper lip the upper teeth end in each column of a picture (1, 3, h, w), pixels.

    ``scale`` is in pixels per normalized unit.
    """
    gaps, smoothness = (2 * round(0.5 * width * scale) + 1 for width in (BETWEEN_TEETH, ROW_SMOOTHNESS))
    white = picture.amin(1) * (opening.coverage > 0.5)  # teeth are bright in all three colours
    white = F.max_pool2d(white, (1, gaps), 1, (0, gaps // 2))
    least, most = (distance * scale for distance in ROW_ENDS_WITHIN)
    has_ended = (white < ROW_END * white.cummax(1).values) & (opening.below_upper > least)
    edge = torch.where(has_ended, opening.below_upper, torch.inf).amin(1)
    edge = torch.where(edge < most, edge, TYPICAL_ROW * scale)
    wide = F.pad(edge[:, None], (smoothness // 2,) * 2, mode="replicate")
    return wide.unfold(2, smoothness, 1).median(-1).values


def _lower_edge(teeth: torch.Tensor, photo: FaceMotion, depth: float) -> float:
    """Normalized y of the edge of the photo's upper incisors."""
    rows = (teeth[0, 0] > 0.5 * teeth.max()).nonzero()[:, 0].float()
    bottom = torch.quantile(rows, 0.9)
    middle = photo.posed[:, INNER_UPPER_LIP[5], 0]
    return float(photo.unproject(torch.stack([middle, bottom[None]], -1)[:, None, None], depth)[..., 1])
