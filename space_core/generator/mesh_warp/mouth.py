"""The inside of the mouth, seen between the lips: depth, tongue, lower teeth, upper teeth.

It is drawn in the normalized face: the upper teeth belong to the skull and the lower teeth and the tongue to the jaw,
and each pixel between the lips is followed to the surface it sees. Colours and light are taken from the photo, and so
are the upper teeth themselves where it shows them.
Lengths are normalized: outer eye corners, about 90 mm apart on an adult, are one unit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.topology import (
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_SURFACE_POINTS,
    OUTER_LOWER_LIP,
)
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, index_on, upload
from space_core.generator.mesh_warp.opening_mask import (
    WINDOW_MARGIN,
    OpeningMask,
    alpha_blend,
    opening_mask,
    window_around,
)
from space_core.generator.mesh_warp.sampling import pixels_of, sample, smoothstep

MILLIMETRE = 1 / 90

# Mean widths of the permanent teeth from the middle outwards (incisors, canine, premolars), millimetres.
UPPER_TEETH = (8.4, 6.6, 7.6, 7.0, 6.8, 9.0)
LOWER_TEETH = (5.3, 5.8, 6.8, 7.0, 7.1, 9.0)
TOOTH_HEIGHT = 9.5 * MILLIMETRE
# How far each upper tooth's edge ends above the central incisor's, millimetres.
UPPER_EDGE_RISE = (0.0, 0.7, 0.1, 1.0, 1.4, 1.8)

UPPER_EDGE_BELOW_LIPS = 3.2 * MILLIMETRE  # with the lips at rest, upper incisors end just below where the lips meet
LOWER_EDGE_BELOW_LIPS = 1.8 * MILLIMETRE  # and the lower ones a little above that, behind them
TEETH_BEHIND_LIPS = 5 * MILLIMETRE
ARCH = 2.1  # curvature of the dental arch seen from above: depth = ARCH · x²
TONGUE_ABOVE_EDGE = 4.5 * MILLIMETRE  # how far the tongue rises behind the lower incisors, above their edge

CHEEKS = [50, 280, 205, 425, 187, 411]
CHIN_POINTS = (152, 148, 377, 175, 171, 396, 199)  # the skin over the chin bone, which goes where the jaw goes

# Photos whose lips are further apart than this show a mouth of their own, which the drawn one replaces as soon as the
# lips have moved by the amounts below (root mean square, normalized).
OPEN_IN_PHOTO = 4 * MILLIMETRE
MOVED_LOW, MOVED_HIGH = 0.002, 0.012
# Teeth are at least that bright, compared with the lips, and no more colourful than that.
TOOTH_BRIGHTNESS = (1.1, 1.3)
TOOTH_SATURATION = (0.42, 0.3)
UPPER_TEETH_REACH = 9 * MILLIMETRE  # below the upper lip; what is bright further down belongs to the jaw
PARTED = (1.2 * MILLIMETRE, 3 * MILLIMETRE)  # from here to there, parting lips let light in
WARMTH = 0.7  # of the shade on the teeth of a colourful photo
SEAM = 0.5  # of the lips' brightness is left between closed ones
OPEN_BY_JAW = 0.7  # of what a photo shows its lips apart, the jaw has dropped
LEAST_SHARE_OF_TEETH = 0.3  # of what a photo shows between the lips, for its teeth to be taken


@dataclass(frozen=True)
class PreparedMouth:
    """What every frame needs of the mouth.

    Attributes:
        photo: the photo's own landmarks in pixels of the picture from which the mouth was prepared.
        gap: (11, 1) how far the lips' points are apart in the photo although they touch, normalized; 0 if they do not.
        gap_on_host: (11,) the same.
        open_in_photo: whether the photo shows the inside of the mouth.
        meeting: normalized y at which the lips meet.
        depth: normalized z of the upper incisors.
        enamel, lips, flesh, depths: (3, 1, 1) colours of teeth, lips, tongue and the mouth's depth in the photo's
            light, 0…1.
        teeth: (1, 4, h, w) the picture, and where the photo's own upper teeth are in it, 0…1.
        edge: normalized y of the upper incisors' edge.
        softness: width of the drawn edges in pixels, that of the photo's own.
        jaw: how far the photo's own jaw is dropped, normalized.
        upper_row, lower_row: the rows of teeth.
        warmth: (3,) the powers of light that colour its shade on the teeth.
    """

    photo: FaceMotion
    gap: torch.Tensor
    gap_on_host: np.ndarray
    open_in_photo: bool
    meeting: float
    depth: float
    enamel: torch.Tensor
    lips: torch.Tensor
    flesh: torch.Tensor
    depths: torch.Tensor
    teeth: torch.Tensor
    edge: float
    softness: float
    jaw: float
    upper_row: "RowOfTeeth"
    lower_row: "RowOfTeeth"
    warmth: torch.Tensor


@dataclass(frozen=True)
class RowOfTeeth:
    """Half a row of teeth, from the middle outwards; normalized, on the generator's device.

    Attributes:
        ends: (K,) where each tooth ends, along the arch.
        widths: (K,) how wide it is.
        rises: (K,) how far its biting edge ends above the first one's.
        last: where the last two end, on the host.
    """

    ends: torch.Tensor
    widths: torch.Tensor
    rises: torch.Tensor
    last: tuple[float, float]


def prepare_mouth(picture: torch.Tensor, photo: FaceMotion, softness: float) -> PreparedMouth:
    """The mouth of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks."""
    upper, lower = photo.normalized[0, list(INNER_UPPER_LIP)], photo.normalized[0, list(INNER_LOWER_LIP)]
    opening = float((lower[5, 1] - upper[5, 1]).clamp(min=0))
    open_in_photo = opening > OPEN_IN_PHOTO
    posed_upper, posed_lower = (photo.posed[0, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    gap = (posed_lower - posed_upper).norm(dim=-1, keepdim=True) / photo.scale
    gap = torch.zeros_like(gap) if open_in_photo else gap
    # An open mouth has opened downwards from where its lips meet.
    meeting = float(upper[5, 1]) + (0.0 if open_in_photo else 0.5 * opening)
    enamel, lips, flesh, depths = _colours(picture, photo)
    edge = meeting + UPPER_EDGE_BELOW_LIPS
    teeth = _teeth_in_photo(picture, photo, lips) if open_in_photo else torch.zeros_like(picture[:, :1])
    if bool(teeth.any()):
        enamel = 1.05 * (picture * teeth).sum((0, 2, 3)) / teeth.sum()
        enamel = enamel.clamp(max=1)[:, None, None]
        edge = max(edge, _lower_edge(teeth, photo, depth=float(upper[5, 2]) + TEETH_BEHIND_LIPS))
    # The shade on the teeth of a colourful photo is warm, as flesh lights it.
    warmth = WARMTH * (enamel.amax() - enamel.amin()).clamp(max=0.3)
    return PreparedMouth(
        photo=photo,
        gap=gap,
        gap_on_host=gap[:, 0].cpu().numpy(),
        open_in_photo=open_in_photo,
        meeting=meeting,
        depth=float(upper[5, 2]) + TEETH_BEHIND_LIPS,
        enamel=enamel,
        lips=lips,
        flesh=flesh,
        depths=depths,
        teeth=torch.cat([picture, teeth], 1),
        edge=edge,
        softness=softness,
        jaw=OPEN_BY_JAW * opening if open_in_photo else 0.0,
        upper_row=_row_of_teeth(UPPER_TEETH, UPPER_EDGE_RISE, picture.device),
        lower_row=_row_of_teeth(LOWER_TEETH, (0.0,) * len(LOWER_TEETH), picture.device),
        warmth=1 + warmth * torch.tensor([-1.0, 0.3, 0.7], device=picture.device),
    )


def mouth_is_open(mouth: PreparedMouth, host: HostMotion) -> bool:
    """Whether the lips leave an opening in any of the frames."""
    upper, lower = (host.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    apart = np.linalg.norm(lower - upper, axis=-1) / host.scale[:, None]
    return bool((apart > mouth.gap_on_host).any())


def draw_mouth(frames: torch.Tensor, mouth: PreparedMouth, motion: FaceMotion) -> None:
    """Draws the inside of the mouth into frames (B, 3, h, w) around it, in place, where the lips leave it open.

    ``motion`` is in pixels of the frames.
    """
    device = frames.device
    upper, lower = (
        motion.posed.index_select(1, index_on(lip, device))[..., :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP)
    )
    across = lower - upper
    apart = across.norm(dim=-1, keepdim=True)
    # What the lips were apart in the photo while closed is the tracker's, not the mouth's: it does not count as open.
    closing = 0.5 * across / apart.clamp(min=1e-3) * torch.minimum(mouth.gap * motion.scale[:, None, None], apart)
    upper, lower = upper + closing, lower - closing
    points = motion.host.posed[:, [*INNER_UPPER_LIP, *INNER_LOWER_LIP], :2]
    window = window_around(points, WINDOW_MARGIN, frames.shape[2:], device)
    opening = opening_mask(upper, lower, window.pixels, mouth.softness)
    inside = _inside(mouth, motion, window.pixels, opening)
    alpha = opening.coverage
    if mouth.open_in_photo:
        lips = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]
        change = motion.host.normalized[:, lips] - mouth.photo.host.normalized[:, lips]
        moved = smoothstep(np.sqrt(np.square(change).sum(-1).mean(-1)), MOVED_LOW, MOVED_HIGH)
        alpha = alpha * upload(moved.astype(np.float32), device)[:, None, None]
    alpha_blend(frames, window, inside, alpha)


def _inside(mouth: PreparedMouth, motion: FaceMotion, pixels: torch.Tensor, opening: OpeningMask) -> torch.Tensor:
    """(B, 3, h, w) the inside of the mouth at pixels (B, h, w, 2) of the frames."""
    # Edges as wide as the photo's, in normalized units.
    soft = mouth.softness / motion.scale[:, None, None]
    chin = index_on(CHIN_POINTS, pixels.device)
    jaw = (motion.normalized - mouth.photo.normalized).index_select(1, chin)[..., 1].mean(1)
    jaw = (jaw + mouth.jaw).clamp(min=0)[:, None, None]
    gap = (motion.normalized[:, INNER_LOWER_LIP[5], 1] - motion.normalized[:, INNER_UPPER_LIP[5], 1])[:, None, None]

    x, y = _on_arch(motion, pixels, mouth.depth)
    upper_shape, upper_shade = _teeth(x, y - mouth.edge, mouth.upper_row, soft)
    # Lower incisors stand behind the upper ones, and the jaw swings back as it opens.
    x_low, y_low = _on_arch(motion, pixels, mouth.depth + 2.5 * MILLIMETRE + 0.25 * jaw)
    below_edge = y_low - mouth.meeting - LOWER_EDGE_BELOW_LIPS - jaw
    lower_shape, lower_shade = _teeth(x_low, -below_edge, mouth.lower_row, soft)

    # Light falls in between the lips: it fades sideways, and the lips shade what is close behind them.
    lit = 0.9 + 0.1 * smoothstep(gap, 0.02, 0.2)
    sides = torch.exp(-((x / 0.25) ** 2))
    millimetre = motion.scale[:, None, None] * MILLIMETRE
    under_upper = 0.74 + 0.26 * smoothstep(opening.below_upper / millimetre, 0.0, 3.0)
    over_lower = 0.75 + 0.25 * smoothstep(opening.above_lower / millimetre, 0.0, 2.5)

    tongue_top = 1.6 * x_low**2 - TONGUE_ABOVE_EDGE
    tongue = smoothstep(below_edge - tongue_top, -2.0 * MILLIMETRE, 7.0 * MILLIMETRE)
    groove = 1 - 0.25 * torch.exp(-((x_low / 0.012) ** 2))
    channels = slice(None), None
    picture = torch.lerp(
        mouth.depths.expand(len(x), 3, *x.shape[1:]),
        mouth.flesh * (0.8 * lit * sides * groove * over_lower)[channels],
        (tongue * 0.9 * smoothstep(gap, 0.02, 0.12))[channels],
    )
    picture = torch.lerp(
        picture,
        _shaded(mouth, 0.8 * lit * (0.4 + 0.6 * sides) * over_lower * lower_shade),
        lower_shape[channels],
    )
    picture = torch.lerp(
        picture, _shaded(mouth, lit * (0.4 + 0.6 * sides) * under_upper * upper_shade), upper_shape[channels]
    )
    own = sample(
        mouth.teeth, mouth.photo.project(torch.stack([x, y], -1), mouth.depth + ARCH * x.clamp(-0.35, 0.35) ** 2)
    )
    picture = torch.lerp(picture, own[:, :3], own[:, 3:])
    # Lips that hardly part show the shade between them, no teeth.
    height = (opening.below_upper + opening.above_lower) / motion.scale[:, None, None]
    return torch.lerp(SEAM * mouth.lips, picture, smoothstep(height, *PARTED)[:, None])


def _shaded(mouth: PreparedMouth, light: torch.Tensor) -> torch.Tensor:
    """(B, 3, h, w) teeth under a light (B, h, w)."""
    return mouth.enamel * light.clamp(min=1e-3)[:, None] ** mouth.warmth[:, None, None]


def _teeth_in_photo(picture: torch.Tensor, photo: FaceMotion, lips: torch.Tensor) -> torch.Tensor:
    """(1, 1, 640, 640) where a photo with an open mouth and lips of that colour shows its upper teeth, 0…1."""
    curves = (photo.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    opening = opening_mask(*curves, pixels_of(picture))
    brightest, darkest = picture.amax(1), picture.amin(1)
    saturation = (brightest - darkest) / brightest.clamp(min=0.05)
    tooth = smoothstep(picture.mean(1) / lips.mean(), *TOOTH_BRIGHTNESS) * smoothstep(saturation, *TOOTH_SATURATION)
    tooth = F.avg_pool2d(F.max_pool2d(tooth, 5, 1, 2), 3, 1, 1)  # the gaps between teeth belong to them
    reach = UPPER_TEETH_REACH * float(photo.scale)
    # A pixel or two next to the lips are as much lip as tooth.
    clear = smoothstep(opening.below_upper, 0.5, 2.0) * smoothstep(opening.above_lower, 0.5, 2.0)
    teeth = opening.coverage * tooth * clear * smoothstep(opening.below_upper, reach, 0.8 * reach)
    if float(teeth.sum()) < LEAST_SHARE_OF_TEETH * float(opening.coverage.sum()):
        return torch.zeros_like(teeth)[:, None]
    return teeth[:, None]


def _lower_edge(teeth: torch.Tensor, photo: FaceMotion, depth: float) -> float:
    """Normalized y of the edge of the photo's upper incisors."""
    rows = (teeth[0, 0] > 0.5 * teeth.max()).nonzero()[:, 0].float()
    bottom = torch.quantile(rows, 0.9)
    middle = photo.posed[:, INNER_UPPER_LIP[5], 0]
    return float(photo.unproject(torch.stack([middle, bottom[None]], -1)[:, None, None], depth)[..., 1])


def _on_arch(
    motion: FaceMotion, pixels: torch.Tensor, depth: torch.Tensor | float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized x and y (B, h, w) of the dental arch seen at pixels (B, h, w, 2), its middle at the given depth."""
    seen = motion.unproject(pixels, depth + torch.zeros_like(pixels[..., 0]))
    for _ in range(2):
        x = seen[..., 0].clamp(-0.35, 0.35)
        seen = motion.unproject(pixels, depth + ARCH * x**2)
    return seen[..., 0], seen[..., 1]


def _teeth(
    x: torch.Tensor, below_edge: torch.Tensor, row: RowOfTeeth, soft: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a row of teeth is, 0…1, and how bright, 0…1, both (B, h, w).

    Args:
        x: (B, h, w) normalized, 0 in the middle of the row.
        below_edge: (B, h, w) distance beyond the biting edge; negative on the teeth.
        row: the teeth.
        soft: (B, 1, 1) width of an edge, normalized.
    """
    # Along the arch a tooth is as wide as it is; towards the sides it is seen foreshortened.
    steep = 2 * ARCH
    sideways = x.abs()
    arc = 0.5 * sideways * (1 + (steep * sideways) ** 2).sqrt() + torch.asinh(steep * sideways) / (2 * steep)
    tooth = torch.searchsorted(row.ends, arc.contiguous()).clamp(max=len(row.widths) - 1)
    width = row.widths[tooth]
    place = ((arc - (row.ends[tooth] - width)) / width).clamp(0, 1)  # across the tooth
    corner = 1.1 * MILLIMETRE * (2 * place - 1).abs() ** 4  # rounded corners of the biting edge
    inside = -(below_edge + row.rises[tooth] + corner)
    shape = smoothstep(inside, -0.5 * soft, 0.5 * soft) * smoothstep(arc, *row.last)
    # A tooth is rounded: darker towards its neighbours and its neck, translucent at the edge.
    between = torch.exp(-((torch.minimum(place, 1 - place) * width / (0.35 * MILLIMETRE + 0.35 * soft)) ** 2))
    neck = smoothstep(inside, 0.55 * TOOTH_HEIGHT, 1.15 * TOOTH_HEIGHT)
    edge = smoothstep(inside, 2.0 * MILLIMETRE, 0.0)
    shade = (1 - 0.17 * between) * (1 - 0.3 * neck) * (1 - 0.1 * edge) * (1 - 0.1 * (2 * place - 1) ** 2)
    return shape, shade


def _row_of_teeth(widths: tuple[float, ...], rises: tuple[float, ...], device: torch.device) -> RowOfTeeth:
    """Half a row of teeth of these widths and rises in millimetres, from the middle outwards."""
    ends, wide, rise = (torch.tensor(values) * MILLIMETRE for values in (np.cumsum(widths), widths, rises))
    last = float(ends[-1]), float(ends[-2])
    return RowOfTeeth(*(values.float().to(device) for values in (ends, wide, rise)), last)


def _colours(picture: torch.Tensor, photo: FaceMotion) -> tuple[torch.Tensor, ...]:
    """Teeth, lips, tongue and depth, (3, 1, 1) each, as the photo's light, palette and exposure show them or would."""
    whites = _colour_between(picture, photo, EYES[0].upper_lid, EYES[0].lower_lid, 0.75)
    whites = torch.maximum(whites, _colour_between(picture, photo, EYES[1].upper_lid, EYES[1].lower_lid, 0.75))
    lips = _colour_between(picture, photo, INNER_LOWER_LIP, OUTER_LOWER_LIP, 0.5)
    surface = _surface_colours(picture, photo)
    skin = surface[:, CHEEKS].median(1).values
    luminance = torch.tensor([0.299, 0.587, 0.114], device=picture.device)
    # The light on the face shows where the skin is brightest: that holds for dark skin, too.
    highlight = torch.quantile(luminance @ surface, 0.9)
    light = 1.35 * float(torch.maximum((whites * luminance).sum(), 0.85 * highlight).clamp(0.25, 0.72))
    colourful = float(smoothstep((skin.max() - skin.min()) / skin.max().clamp(min=0.05), 0.04, 0.2))
    ivory = torch.lerp(torch.ones(3), torch.tensor([1.03, 0.98, 0.87]), colourful).to(picture.device)
    # The eyes' whites tell the colour of the light, unless the eyes are so far shut that they are mostly skin.
    cast = (whites / (whites * luminance).sum().clamp(min=0.05)).clamp(0.7, 1.3)
    trust = 0.75 - 0.45 * smoothstep(1 - whites.min() / whites.max().clamp(min=0.05), 0.25, 0.45)
    enamel = light * ivory * torch.lerp(torch.ones_like(cast), cast, trust)
    flesh = torch.lerp(
        lips, light * torch.lerp(torch.ones(3), torch.tensor([0.95, 0.5, 0.48]), colourful).to(lips), 0.4
    )
    depths = 0.22 * lips
    return tuple(colour.clamp(0, 1)[:, None, None] for colour in (enamel, lips, 0.9 * flesh, depths))


def _colour_between(
    picture: torch.Tensor, photo: FaceMotion, upper: tuple, lower: tuple, quantile: float
) -> torch.Tensor:
    """(3,) the colour at that quantile of brightness between two curves of the photo."""
    curves = [photo.posed[:, list(curve), :2] for curve in (upper, lower)]
    points = photo.host.posed[:, [*upper, *lower], :2]
    window = window_around(points, WINDOW_MARGIN, picture.shape[2:], picture.device)
    between = window.index[opening_mask(*curves, window.pixels).coverage > 0.5]
    colours = picture[0].flatten(1)
    colours = colours[:, between] if len(between) else colours
    brightness = colours.mean(0)
    order = brightness.argsort()
    middle = round(quantile * (len(order) - 1))
    near = order[max(middle - len(order) // 10, 0) : middle + len(order) // 10 + 1]
    return colours[:, near].mean(1)


def _surface_colours(picture: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """(3, 468) the photo's colours at the points of the face's surface."""
    x, y = photo.posed[0, :NUM_SURFACE_POINTS, :2].round().long().clamp(0, picture.shape[-1] - 1).unbind(1)
    return picture[0, :, y, x]
