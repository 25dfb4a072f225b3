"""What every frame needs of a mouth, prepared once from the photo: its colours, its light, its size, its own teeth.

Lengths are normalized: outer eye corners, about 90 mm apart on an adult, are one unit.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.smile import smile_of
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.dental_arch import TEETH_BEHIND_LIPS, hanging_and_tilt, lower_edge, row_ends
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.lower_row import LowerRow, find_lower_row, find_row_below
from space_core.generator.mesh_warp.mouth_light import FaceLight, MouthColours, estimate_colours, estimate_light
from space_core.generator.mesh_warp.upper_row import (
    COLOUR_KNOWN,
    MAX_TILTED,
    MIN_HANGING,
    MIN_HEIGHT,
    UPPER_LIP_SHADE,
    UpperRow,
    enamel_in_light,
    find_upper_row,
    row_height,
    shade_on,
)

# Upper incisors end just below where the lips meet at rest, and further below in a smile, which lifts the lips.
UPPER_EDGE_BELOW_LIPS, BELOW_IN_SMILE = 1.6 * MILLIMETRE, 2.0 * MILLIMETRE
SKULL_SIDES = (234, 454)  # the skin over the hinges of the jaw
TYPICAL_MOUTH = 0.55  # normalized width of a mouth at rest; wider ones have wider rows of teeth
TEETH_SIZES = (0.92, 1.1)
SEAM = 0.5  # of the lips' brightness is left between closed ones
# Of the light, what is left where lips nearly touch. They have reflected it many times, so it is red: a power of
# ``MouthColours.reddening``.
LIPS_SHADE, LIPS_REDDENING = 0.9, 6
# How far apart they keep no light from one another; and as a share of how far a photo shows them, if it shows teeth,
# which are then as light as there.
FULL_LIGHT, FULL_LIGHT_AGAIN = 12.0 * MILLIMETRE, 0.6

# Photos whose lips are further apart show a mouth of their own: all of them, and those that show teeth. Closed lips are
# tracked up to 2 mm apart.
OPEN_IN_PHOTO, PARTED_IN_PHOTO = 4 * MILLIMETRE, 1.2 * MILLIMETRE
# Of lips that are open in the photo, the edges are drawn over, which show some of what lies between them; at most that
# share of the opening.
EDGE, EDGE_SHARE = 0.6 * MILLIMETRE, 0.12
JAW_AT_REST = 0.8 * MILLIMETRE  # the lower incisors are that far from where they bite
LIP_SHARE = 0.5  # of the way of the lower lip, the lower incisors go at least
LIP_SHARE_OF_LOWER_ROW = 0.85  # if the photo shows them, as people who show them keep them in sight
LOWER_LIGHT = (0.6, 1.0)  # on lower teeth, as a photo shows it, relative to that on upper ones: between these
# In a photo that shows upper or lower teeth alone, the others end so far beyond the edge of the lip that hides them.
HIDDEN_BELOW_LIP, HIDDEN_ABOVE_LIP = 1.8 * MILLIMETRE, 1.0 * MILLIMETRE
OPEN_BY_JAW = 0.7  # of what a photo without teeth shows its lips apart, the jaw has dropped
LIP_RAISED = (8 * MILLIMETRE, 16 * MILLIMETRE)  # the rest is the upper lip's where they are apart by these distances
# Lips keep light from the photo's teeth, the less, the further they are apart in it. Where they open further, these
# become that much brighter, at most, and at most as bright as a share of what teeth are in the face's light.
DIMMED, OWN_LIGHT = (0.65, 1.0), 0.9
REDDENED = 0.5  # power of how much redder they are than the face's light would make them, that is the lips' reflection


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
        lip_share: of the way of the lower lip, the lower incisors go at least.
        colours, light: of the photo.
        lips, seam, depths: (3, 1, 1) colours of lips, of their seam if they are closed, and of the mouth's depth, 0…1.
        reddening: (3, 1, 1) that of ``colours``.
        near_lips: (3, 1, 1) of red, green and blue light, what is left where the lips nearly touch.
        teeth: (1, 4, h, w) the picture, and where the photo's own upper teeth are in it, 0…1.
        shows_teeth: whether it shows any, upper or lower ones.
        has_teeth: whether they are large and clear enough to be shown.
        row: (2,) normalized x of the left and the right end of the row that is shown; empty without one.
        opening: how far the lips are apart in the photo, normalized.
        dimmed: (3, 1, 1) of red, green and blue light between wide open lips, what falls on the photo's own teeth.
        full_light: how far lips are apart that keep no light from one another, normalized.
        upper_lip_shade: by how much of light the upper lip shades what is close behind it.
        lower_light: the light on lower teeth, relative to that on upper ones.
        softness: width of the drawn edges in pixels, that of the photo's own.
        blur: standard deviation in pixels of the Gaussian that makes drawn teeth and flesh as blurred as the photo, at
            most as the least sharp of those that count as sharp.
        softening: that of the Gaussian that makes all that is drawn, with its edges, as blurred as the photo is beyond.
    """

    photo: FaceMotion
    gap: torch.Tensor
    gap_on_host: np.ndarray
    open_in_photo: bool
    origin: np.ndarray
    millimetre: float
    hinge: np.ndarray
    jaw: float
    lip_share: float
    colours: MouthColours
    light: FaceLight
    lips: torch.Tensor
    seam: torch.Tensor
    depths: torch.Tensor
    reddening: torch.Tensor
    near_lips: torch.Tensor
    teeth: torch.Tensor
    shows_teeth: bool
    has_teeth: bool
    row: np.ndarray
    opening: float
    dimmed: torch.Tensor
    full_light: float
    upper_lip_shade: float
    lower_light: float
    softness: float = 1.0
    blur: float = 0.0
    softening: float = 0.0


@dataclass(frozen=True)
class _Teeth:
    """Where drawn teeth are, and what the photo's own say about their light and colours.

    Attributes:
        edge: normalized y of the upper incisors' edge.
        jaw, colours, lip_share, row, dimmed, upper_lip_shade, lower_light: see ``PreparedMouth``.
        known: how far the photo shows their colour, 0…1.
    """

    edge: float
    jaw: float
    colours: MouthColours
    lip_share: float = LIP_SHARE
    row: np.ndarray = field(default_factory=lambda: np.array([np.inf, -np.inf], np.float32))
    dimmed: np.ndarray = field(default_factory=lambda: np.ones(3, np.float32))
    upper_lip_shade: float = UPPER_LIP_SHADE
    lower_light: float = 1.0
    known: float = 0.0


def prepare_mouth(picture: torch.Tensor, photo: FaceMotion) -> PreparedMouth:
    """The mouth of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks; on the host."""
    normalized = photo.host.normalized[0]
    upper, lower = normalized[list(INNER_UPPER_LIP)], normalized[list(INNER_LOWER_LIP)]
    opening = max(float(lower[5, 1] - upper[5, 1]), 0.0)
    colours = estimate_colours(picture, photo)
    lower_row = find_lower_row(picture, photo, colours.lips)
    upper_row = None
    if lower_row is None and opening > PARTED_IN_PHOTO:
        upper_row = find_upper_row(picture, photo, colours)
    shows_teeth = upper_row is not None or lower_row is not None
    open_in_photo = shows_teeth or opening > OPEN_IN_PHOTO
    gap = torch.zeros(len(INNER_UPPER_LIP), 1) if open_in_photo else _gap(photo)
    depth = float(upper[5, 2]) + TEETH_BEHIND_LIPS
    meeting = _meeting(upper, opening, open_in_photo, shows_teeth)
    edge = meeting + UPPER_EDGE_BELOW_LIPS + BELOW_IN_SMILE * smile_of(normalized)
    teeth = _Teeth(edge, OPEN_BY_JAW * opening if open_in_photo else 0.0, colours)
    if upper_row is not None:
        teeth = _like_upper_row(teeth, upper_row, picture, photo, depth, opening)
    elif lower_row is not None:
        teeth = _like_lower_row(teeth, lower_row, float(upper[5, 1]), opening)
    reddening = torch.from_numpy(colours.reddening.astype(np.float32))[:, None, None]
    lips = torch.from_numpy(colours.lips)[:, None, None]
    width = float(np.linalg.norm(upper[0] - upper[-1]))
    mask = torch.zeros_like(picture[:, :1]) if upper_row is None else upper_row.shown
    return PreparedMouth(
        photo=photo,
        gap=gap,
        gap_on_host=gap[:, 0].cpu().numpy(),
        open_in_photo=open_in_photo,
        # The teeth's middle is that of the lips, which is off the face's in turned and in asymmetric faces.
        origin=np.array([upper[3:8, 0].mean(), teeth.edge, depth], np.float32),
        millimetre=MILLIMETRE * float(np.clip((width / TYPICAL_MOUTH) ** 0.5, *TEETH_SIZES)),
        hinge=normalized[list(SKULL_SIDES)].mean(0)[1:],
        jaw=teeth.jaw,
        lip_share=teeth.lip_share,
        colours=teeth.colours,
        light=estimate_light(picture, photo),
        lips=lips,
        seam=SEAM**reddening * lips,
        depths=torch.from_numpy(colours.depths)[:, None, None],
        reddening=reddening,
        near_lips=LIPS_SHADE ** ((1 - colours.depiction.cartoon) * reddening**LIPS_REDDENING),
        teeth=torch.cat([picture, mask], 1),
        shows_teeth=shows_teeth,
        has_teeth=bool(np.isfinite(teeth.row).all()),
        row=teeth.row,
        opening=opening,
        dimmed=torch.from_numpy(teeth.dimmed)[:, None, None],
        full_light=FULL_LIGHT + teeth.known * (FULL_LIGHT_AGAIN * opening - FULL_LIGHT),
        upper_lip_shade=teeth.upper_lip_shade,
        lower_light=teeth.lower_light,
    )


def _like_upper_row(
    teeth: _Teeth, row: UpperRow, picture: torch.Tensor, photo: FaceMotion, depth: float, opening: float
) -> _Teeth:
    """Teeth at the height, in the light and in the colour of the upper row that a photo shows at that depth."""
    edge = max(teeth.edge, lower_edge(row.mask, photo, depth))
    below = find_row_below(picture, photo, row)
    bottom = float(photo.host.normalized[0, INNER_LOWER_LIP[5], 1]) + HIDDEN_BELOW_LIP
    if below is not None:
        bottom, light = below.edge, float(np.clip(below.light, *LOWER_LIGHT))
        teeth = replace(teeth, lip_share=LIP_SHARE_OF_LOWER_ROW, lower_light=light)
    teeth = replace(teeth, edge=edge, jaw=max(bottom - edge - JAW_AT_REST, 0.0))
    height = row_height(row.mask) / float(photo.scale)
    known = float(smoothstep(np.float32(height), *COLOUR_KNOWN)) if row.clear else 0.0
    if known == 0:
        return teeth
    hanging, tilt = hanging_and_tilt(row.mask, photo, depth)
    if row.even and height > MIN_HEIGHT and hanging > MIN_HANGING and tilt < MAX_TILTED:
        teeth = replace(teeth, row=row_ends(row.shown, photo, depth))
    enamel = enamel_in_light(picture, row.mask).numpy()
    shade = UPPER_LIP_SHADE + known * min(shade_on(picture, row.mask, enamel, photo) - UPPER_LIP_SHADE, 0)
    colours, dimmed = _with_own_enamel(teeth.colours, enamel, known, opening)
    return replace(teeth, colours=colours, dimmed=dimmed, upper_lip_shade=shade, known=known)


def _like_lower_row(teeth: _Teeth, row: LowerRow, upper_lip: float, opening: float) -> _Teeth:
    """Teeth whose lower row is where a photo shows it, in its colour; ``upper_lip`` is the normalized y of its edge."""
    edge = upper_lip - HIDDEN_ABOVE_LIP
    known = float(smoothstep(np.float32(row.height), *COLOUR_KNOWN))
    colours, dimmed = _with_own_enamel(teeth.colours, row.colour, known, opening)
    jaw, share = row.top - edge - JAW_AT_REST, LIP_SHARE_OF_LOWER_ROW
    return replace(teeth, edge=edge, jaw=jaw, lip_share=share, colours=colours, dimmed=dimmed, known=known)


def _gap(photo: FaceMotion) -> torch.Tensor:
    """(11, 1) how far apart the lips are, normalized."""
    upper, lower = (photo.posed[0, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    return (lower - upper).norm(dim=-1, keepdim=True) / photo.scale


def _meeting(upper: np.ndarray, opening: float, is_open: bool, shows_teeth: bool) -> float:
    """The normalized y at which lips meet that have parted by ``opening``; ``upper`` (11, 3) is the upper one's edge.

    An open mouth has opened downwards from there. One that is wide open has raised its upper lip, too.
    """
    raised = 0.0 if shows_teeth else (1 - OPEN_BY_JAW) * float(smoothstep(np.float32(opening), *LIP_RAISED))
    return float(upper[5, 1]) + opening * (raised if is_open else 0.5)


def _with_own_enamel(
    colours: MouthColours, enamel: np.ndarray, known: float, opening: float
) -> tuple[MouthColours, np.ndarray]:
    """Colours with the enamel (3,) that a photo shows, as far as it is ``known``, and (3,) its share of the light.

    The further the lips are apart in the photo, the less of the light they keep from it.
    """
    light = enamel / (OWN_LIGHT * colours.enamel)
    light = np.minimum(light, light[0])  # lips redden teeth; those that are whiter than expected stay as white
    least = DIMMED[0] + (DIMMED[1] - DIMMED[0]) * float(smoothstep(np.float32(opening), OPEN_IN_PHOTO, FULL_LIGHT))
    share = light.mean().clip(least, DIMMED[1]) * (light / light.mean()) ** REDDENED
    own = colours.enamel + known * (enamel / share - colours.enamel)
    colours = replace(colours, enamel=own, neck=own * colours.neck / colours.enamel)
    return colours, (1 + known * (share - 1)).astype(np.float32)
