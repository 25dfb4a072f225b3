"""The upper teeth of a photo whose lips are apart: where they are and how they are lit.

Lengths are normalized, see ``prepared_mouth``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.mouth_light import MouthColours
from space_core.generator.mesh_warp.opening_mask import WINDOW_MARGIN, OpeningMask, opening_in_photo, opening_mask
from space_core.generator.mesh_warp.sampling import pixels_of

# By how much of light, which comes from above, the upper lip shades what is close behind it, and how many millimetres
# from its edge no more. Where a photo shows teeth in less shade, that counts.
UPPER_LIP_SHADE, UPPER_LIP_REACH = 0.55, 5.0
# Teeth are at least that bright and at most that saturated, compared with the lips, in whose shade they may lie. Beside
# pale lips, as in black-and-white photos, brightness alone distinguishes them from tongue and lips.
TOOTH_BRIGHTNESS, TOOTH_BRIGHTNESS_BY_PALE_LIPS = (0.5, 0.7), (1.1, 1.3)
BRIGHT_ENOUGH = (0.8, 0.92)  # for any tooth, also beside overexposed lips
TOOTH_SATURATION, PALE_LIPS = (0.95, 0.72), (0.25, 0.15)
# Under warm light they are as saturated as lips, but less red: green over red is nearer to what it is in enamel in the
# photo's light than in the lips, by these shares of the difference. Where that is no larger than the last, it is not
# used.
TOOTH_GREEN, MIN_LESS_RED = (0.5, 0.8), 0.1
# The upper row ends where it gets that much darker than it is above, or at the lower lip, between these distances below
# the upper lip; one that does not is taken to end at the last distance: the lower row touches it.
ROW_END, ROW_ENDS_WITHIN, TYPICAL_ROW = 0.75, (4 * MILLIMETRE, 14.5 * MILLIMETRE), 8.5 * MILLIMETRE
BETWEEN_TEETH, ROW_SMOOTHNESS = 1.5 * MILLIMETRE, 2.5 * MILLIMETRE  # widths: of dark gaps, of the edge's smoothing
ROW_FITS, ROW_OUTLIERS = 5, 1.5 * MILLIMETRE  # rounds in which columns that end so far from that edge lose weight
# Where that edge steps to the lower teeth or to a shadow on the row, it is further from a parabola: at most so far.
ROW_STEPS = 0.6 * MILLIMETRE
# A row is kept if its edge is no further from a parabola, root mean square, and if that share of it is as bright and
# pale as teeth: the rest are gaps and gum.
MAX_UNEVEN, CLEAR_SHARE = 1.5 * MILLIMETRE, 0.6
# Seen from the front, an upper row ends at least that much lower in its middle than at its sides; a border that rises
# there is that between lower teeth and lip.
MIN_HANGING = 0.2 * MILLIMETRE
MAX_TILTED = 0.18  # slope of a row; what is steeper goes over from upper to lower teeth
ROW_EDGE = (1.0, -1.0)  # pixels over which the row ends
# Within this distance of its ends a row is shown, column by column, no further down than there are teeth: that curve
# goes on over lips and the dark beyond the last tooth. These are darker than the whitest part of the row, or redder:
# green over red is nearer to the lips'.
ROW_ENDS, END_BRIGHTNESS, END_GREEN = 8 * MILLIMETRE, (0.25, 0.4), (0.2, 0.45)
MIN_IN_COLUMN, SIDES_FADE = 0.7 * MILLIMETRE, 3 * MILLIMETRE  # of teeth in a column; where it ends at the sides
# Of what a photo shows within a row's length below the upper lip, teeth are that share if they are taken: where hardly
# anything else is among them the first, otherwise the second.
MIN_SHARE_OF_TEETH = (0.15, 0.3)
# A row of teeth is shown if it is that high: of a lower one, drawn teeth beside and above would show what is missing.
# The lips' colour and shade lie on the pixels of low rows: their own colour counts from the first of these heights on,
# and in full from the second.
MIN_HEIGHT, COLOUR_KNOWN = 5.8 * MILLIMETRE, (2 * MILLIMETRE, 6 * MILLIMETRE)
LIT_SHARE = 0.3  # of the photo's teeth, the whitest, lies in full light
# Where the shade of the upper lip on teeth is measured in a photo, below the lip.
SHADE_SEEN = 0.8 * MILLIMETRE, 2 * MILLIMETRE


@dataclass(frozen=True)
class UpperRow:
    """The upper teeth that a photo shows.

    Attributes:
        mask: (1, 1, 640, 640) where they are, 0…1, all that lies between the upper lip and the row's lower border:
            gum and the gaps of a child's teeth as well.
        shown: (1, 1, 640, 640) the same without what is no tooth at its ends.
        likeness: (1, 1, 640, 640) how far what is around the lips has the colours of teeth, 0…1.
        clear: whether hardly anything else is there, so that their colour can be measured.
        even: whether their lower border is like that of a row of teeth.
    """

    mask: torch.Tensor
    shown: torch.Tensor
    likeness: torch.Tensor
    clear: bool
    even: bool


def find_upper_row(picture: torch.Tensor, photo: FaceMotion, colours: MouthColours) -> UpperRow | None:
    """The upper teeth of a photo with an open mouth; None if it shows none."""
    scale = float(photo.scale)
    margin = WINDOW_MARGIN + round(TYPICAL_ROW * scale)
    window, opening = opening_in_photo(picture, photo, INNER_UPPER_LIP, INNER_LOWER_LIP, margin)
    around_lips = window.part
    size, picture = picture.shape[2:], picture[around_lips]
    tooth = _tooth_likeness(picture, colours)
    # A pixel or two next to the lips are as much lip as tooth.
    clear = smoothstep(opening.below_upper, 0.5, 2.0) * smoothstep(opening.above_lower, 0.5, 2.0)
    border = _edge_of_upper_row(picture, opening, tooth, scale)
    between = opening.coverage * clear
    below_border = torch.arange(picture.shape[2], device=picture.device)[:, None] - border
    teeth = between * tooth * smoothstep(below_border, *ROW_EDGE)
    gap = float((opening.below_upper + opening.above_lower).amax())
    row = min(1.0, TYPICAL_ROW * scale / max(gap, 1.0))
    columns = _columns_with_teeth(teeth, scale)
    share = float(teeth.sum()) / max(row * float(between.sum()), 1.0)
    if not columns.any() or share < MIN_SHARE_OF_TEETH[0]:
        return None
    uneven = border[0, 0] - _robust_parabola(border[0, 0], columns[0, 0], ROW_OUTLIERS * scale)
    below_border = below_border + uneven - uneven.clamp(-ROW_STEPS * scale, ROW_STEPS * scale)
    rounded = (1 - columns) * SIDES_FADE * scale  # ends
    mask = between * columns * smoothstep(below_border + rounded, *ROW_EDGE)
    if not 0 < row_height(mask) < ROW_ENDS_WITHIN[1] * scale:  # nothing, or a tongue that is put out
        return None
    clear = float((mask * tooth).sum()) > CLEAR_SHARE * float(mask.sum())
    if not clear and share < MIN_SHARE_OF_TEETH[1]:
        return None
    shown = mask * _teeth_at_ends(picture, mask, columns, colours.lips, scale)
    planes = torch.zeros(3, 1, 1, *size, device=picture.device)
    planes[around_lips] = torch.stack([mask, shown, tooth])[:, None]
    even = _unevenness(border[0, 0], columns[0, 0]) < MAX_UNEVEN * scale
    return UpperRow(planes[0], planes[1], planes[2], clear, even)


def _tooth_likeness(picture: torch.Tensor, colours: MouthColours) -> torch.Tensor:
    """(1, h, w) how far a picture (1, 3, h, w), 0…1, has the colours of teeth, 0…1, by those of the lips."""
    lips = torch.from_numpy(colours.lips)
    of_lips = _saturation(lips[None])
    pale = smoothstep(of_lips, *PALE_LIPS)
    low, high = (a + pale * (b - a) for a, b in zip(TOOTH_BRIGHTNESS, TOOTH_BRIGHTNESS_BY_PALE_LIPS, strict=True))
    low, high = (
        (level * lips.mean()).clamp(max=enough) for level, enough in zip((low, high), BRIGHT_ENOUGH, strict=True)
    )
    paler = smoothstep(_saturation(picture) / of_lips.clamp(min=PALE_LIPS[0]), *TOOTH_SATURATION)
    if (as_teeth := _green_as_teeth(picture, lips, torch.from_numpy(colours.enamel))) is not None:
        paler = torch.maximum(paler, smoothstep(as_teeth, *TOOTH_GREEN))
    tooth = smoothstep(picture.mean(1), low, high) * paler
    return F.avg_pool2d(F.max_pool2d(tooth, (1, 5), 1, (0, 2)), 3, 1, 1)  # the gaps between teeth belong to them


def _columns_with_teeth(teeth: torch.Tensor, scale: float) -> torch.Tensor:
    """(1, 1, w) from the first to the last column of a row of teeth (1, h, w), 0…1, and fading beyond."""
    has = (teeth > 0.5).sum(1, keepdim=True) > MIN_IN_COLUMN * scale
    reach = has.cummax(2).values & has.flip(2).cummax(2).values.flip(2)
    width = 2 * round(0.5 * SIDES_FADE * scale) + 1
    return F.avg_pool1d(reach.float(), width, 1, width // 2)


def _teeth_at_ends(
    picture: torch.Tensor, mask: torch.Tensor, columns: torch.Tensor, lips: np.ndarray, scale: float
) -> torch.Tensor:
    """(1, h, w) 0 below the lowest teeth in the columns at the ends of a row, 1 above and elsewhere.

    ``mask`` (1, h, w) is where a picture (1, 3, h, w), 0…1, shows the row, beside ``lips`` (3,); ``columns`` (1, 1, w)
    are those of ``_columns_with_teeth``.
    """
    enamel = enamel_in_light(picture, mask[:, None]).clamp(min=0.05)
    teeth = smoothstep(picture.mean(1) / enamel.mean(), *END_BRIGHTNESS)
    if (as_teeth := _green_as_teeth(picture, torch.from_numpy(lips).to(enamel), enamel)) is not None:
        teeth = teeth * smoothstep(as_teeth, *END_GREEN)
    width = 2 * round(ROW_ENDS * scale) + 1
    inside = F.avg_pool1d((columns >= 0.5).float(), width, 1, width // 2)
    above = F.avg_pool2d(teeth * mask, 3, 1, 1).flip(1).cummax(1).values.flip(1)
    return torch.lerp(smoothstep(above, 0.3, 0.7), torch.ones_like(above), smoothstep(inside, 0.75, 1.0))


def _robust_parabola(border: torch.Tensor, columns: torch.Tensor, outlier: float) -> torch.Tensor:
    """(w,) the parabola near which most of a row's border (w,) is where columns (w,) have teeth.

    Places that are more than ``outlier`` pixels away count little.
    """
    weights = columns
    for _ in range(ROW_FITS):
        parabola = _fit_parabola(border, weights)
        weights = columns * (1 - ((border - parabola) / outlier) ** 2).clamp(min=1e-3)
    return parabola


def _unevenness(border: torch.Tensor, columns: torch.Tensor) -> float:
    """How far, in pixels, root mean square, a row's border (w,) is from a parabola where columns (w,) have teeth."""
    heights = border[columns > 0.25]
    return float((heights - _fit_parabola(heights, torch.ones_like(heights))).square().mean().sqrt())


def _fit_parabola(heights: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(w,) the parabola through evenly spaced heights (w,) with the least squares of the weighted differences."""
    along = torch.linspace(-1, 1, len(heights), device=heights.device)
    terms = torch.stack([torch.ones_like(along), along, along**2], -1)
    weighted = weights[:, None] * torch.cat([terms, heights[:, None]], 1)
    return terms @ torch.linalg.lstsq(weighted[:, :3], weighted[:, 3:]).solution[:, 0]


def row_height(teeth: torch.Tensor) -> float:
    """The mean height, in pixels, of a row of teeth (…, h, w), 0…1."""
    shown = teeth > 0.5
    return float(shown.sum()) / max(float(shown.any(-2).sum()), 1.0)


def _saturation(colours: torch.Tensor) -> torch.Tensor:
    """(B, …) of colours (B, 3, …), 0…1."""
    brightest = colours.amax(1)
    return (brightest - colours.amin(1)) / brightest.clamp(min=0.05)


def _green_as_teeth(picture: torch.Tensor, lips: torch.Tensor, enamel: torch.Tensor) -> torch.Tensor | None:
    """(1, h, w) where green over red in a picture (1, 3, h, w) lies between that of lips (3,), 0, and enamel (3,), 1.

    None where these two are alike.
    """
    of_lips, of_enamel = (_green(colour[None]) for colour in (lips, enamel))
    if of_enamel - of_lips <= MIN_LESS_RED:
        return None
    return (_green(picture) - of_lips) / (of_enamel - of_lips)


def _green(colours: torch.Tensor) -> torch.Tensor:
    """(B, …) green over red of colours (B, 3, …), 0…1."""
    return colours[:, 1] / colours[:, 0].clamp(min=0.05)


def _edge_of_upper_row(picture: torch.Tensor, opening: OpeningMask, tooth: torch.Tensor, scale: float) -> torch.Tensor:
    """(1, 1, w) the row in which the upper teeth end in each column of a picture (1, 3, h, w), a smooth curve.

    Along the edges that are seen. ``tooth`` (1, h, w) is where there may be teeth, 0…1; ``scale`` is in pixels per
    normalized unit.
    """
    gaps = 2 * round(0.5 * BETWEEN_TEETH * scale) + 1
    white = picture.amin(1) * (opening.coverage > 0.5)  # teeth are bright in all three colours
    white = F.max_pool2d(white, (1, gaps), 1, (0, gaps // 2))
    least, most = (distance * scale for distance in ROW_ENDS_WITHIN)
    has_ended = (white < ROW_END * white.cummax(1).values) & (opening.below_upper > least)
    rows = torch.arange(picture.shape[2], device=picture.device, dtype=picture.dtype)[:, None]
    typical = torch.where(opening.below_upper < TYPICAL_ROW * scale, rows, 0.0).amax(1)[0]
    edge = torch.where(has_ended & (opening.below_upper < most), rows, torch.inf).amin(1)[0]
    seen = edge.isfinite() & (tooth > 0.5).any(1)[0]
    if not seen.any():
        return typical[None, None]
    edge, columns = torch.where(seen, edge, 0.0), torch.arange(len(edge), device=edge.device)
    near = torch.exp(-0.5 * ((columns[:, None] - columns) / (ROW_SMOOTHNESS * scale)) ** 2).clamp(min=1e-9)
    trust = seen.float()
    for _ in range(ROW_FITS):
        curve = near @ (trust * edge) / (near @ trust)
        trust = seen * (1 - ((edge - curve) / (ROW_OUTLIERS * scale)) ** 2).clamp(min=1e-3) ** 2
    return curve[None, None]


def enamel_in_light(picture: torch.Tensor, teeth: torch.Tensor) -> torch.Tensor:
    """(3,) the colour of teeth that lie in full light in a picture (1, 3, h, w), 0…1, which shows them at ``teeth``."""
    shown = picture[0][:, teeth[0, 0] > 0.5 * teeth.max()]
    white = shown.amin(0)
    return shown[:, white >= white.quantile(1 - LIT_SHARE)].mean(1)


def shade_on(picture: torch.Tensor, teeth: torch.Tensor, enamel: np.ndarray, photo: FaceMotion) -> float:
    """By how much of light the upper lip of a photo shades teeth (1, 1, h, w), 0…1, in a picture (1, 3, h, w), 0…1.

    ``enamel`` (3,) is their colour in full light.
    """
    upper, lower = (photo.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    below = opening_mask(upper, lower, pixels_of(picture)).below_upper / float(photo.scale)
    near = (teeth[0, 0] > 0.5) & (below[0] > SHADE_SEEN[0]) & (below[0] < SHADE_SEEN[1])
    if not near.any():
        return UPPER_LIP_SHADE
    light = float(picture[0, :, near].mean() / enamel.mean())
    left = 1 - float(lip_shade(below[0][near] / MILLIMETRE, 1.0, UPPER_LIP_REACH).mean())
    return max(1 - light, 0.0) / left


def lip_shade(away: torch.Tensor, shade: float, reach: float) -> torch.Tensor:
    """The light that a lip leaves to what is seen so many millimetres away from its edge."""
    return 1 - shade * (1 - smoothstep(away, -0.5, reach))
