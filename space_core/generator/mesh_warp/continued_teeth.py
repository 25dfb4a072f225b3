"""Continues the upper teeth of a photo under its lip: a lip that rises further uncovers their crowns, then gum.

Lengths are normalized, see ``prepared_mouth``.
"""

import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.upper_row import SIDES_FADE, enamel_in_light

# Teeth are continued from TEETH_EDGE below their upper edge, as the edge has some of the colour of lip or gum. Crowns
# are CROWN high; at least MIN_COVERED of them is taken to be covered. At the ends of a row, where less is seen, as much
# is covered as where MOST_OF_ROW of its greatest height is seen. Gum follows, up to TEETH_GO_ON above the edge.
TEETH_EDGE, CROWN, MIN_COVERED, TEETH_GO_ON = 1.2 * MILLIMETRE, 10.5 * MILLIMETRE, 2 * MILLIMETRE, 14 * MILLIMETRE
MOST_OF_ROW = 0.9
BELOW_EDGE = 2.5 * MILLIMETRE  # over which a tooth's brightness is taken
# Dark gaps between teeth are not continued: everywhere continued teeth have at least this share of the greatest
# brightness in a window of this width along the row.
SHALLOW_GAP, BESIDE_GAP = 0.9, 2.2 * MILLIMETRE
GUM_LINE, GUM_WAVE = 1.2 * MILLIMETRE, 1.5 * MILLIMETRE  # how gradually crowns go over to gum; smoothing along the row
GUM_ABOVE = 0.8 * MILLIMETRE  # height above an edge that shows gum between teeth, from which on there is only gum
GUM_SHADE, GUM_SHADE_REACH = 0.45, 4 * MILLIMETRE  # share of light that gum lacks at the teeth; up to this height above
# Ratios of gum to teeth: gum is redder (red over green), and gaps between teeth are darker than it (brightness). Gum
# reaches down furthest between two teeth, which are at most TOOTH_WIDTH wide.
GUM_REDNESS, GUM_BRIGHTNESS, TOOTH_WIDTH = (1.15, 1.3), (0.45, 0.6), 8 * MILLIMETRE


def continued_teeth(picture: torch.Tensor, teeth: torch.Tensor, scale: float, gums: torch.Tensor) -> torch.Tensor:
    """Continues the upper teeth of a picture upwards, as far as crowns reach, and then gum.

    Args:
        picture: (1, 3, h, w), 0…1.
        teeth: (1, 1, h, w), 0…1, where it shows upper teeth.
        scale: pixels per normalized unit.
        gums: (3,) colour of gums, 0…1, for pictures that show none.

    Returns:
        (1, 4, h, w) the continued picture, and where it has teeth or gum, 0…1.
    """
    shown = teeth[0, 0] > 0.5
    if not shown.any():
        return torch.cat([picture, teeth], 1)
    rows = torch.arange(picture.shape[2], device=picture.device)[:, None].expand(shown.shape)
    length, has = shown.sum(0), shown.any(0)
    top = torch.where(shown, rows, rows[-1]).amin(0)
    edge = top + torch.clamp(length // 2, max=round(TEETH_EDGE * scale))
    above = _above_teeth(picture, shown, edge, scale, gums)
    from_edge = (_along_row(edge[None], has, GUM_WAVE * scale) - rows) / scale
    continued = has * smoothstep(from_edge / TEETH_EDGE, -1.0, 0.0)
    width = 2 * round(0.5 * SIDES_FADE * scale) + 1
    within = smoothstep(F.avg_pool1d(has[None].float(), width, 1, width // 2)[0], 0.5, 1.0)
    reach = torch.where(rows < top, within * smoothstep(from_edge / TEETH_GO_ON, 1.0, 0.8), 1.0)
    reach = torch.where(has & (rows < edge), torch.maximum(reach, teeth), teeth)
    return torch.cat([torch.lerp(picture, above, continued), reach], 1)


def _above_teeth(
    picture: torch.Tensor, shown: torch.Tensor, edge: torch.Tensor, scale: float, gums: torch.Tensor
) -> torch.Tensor:
    """(1, 3, h, w) colours above upper teeth: the rest of their crowns, then gum.

    ``shown`` (h, w) bool is where the picture shows the teeth, ``edge`` (w,) the row from which on they are continued
    upwards; for the other arguments see ``continued_teeth``.
    """
    has, rows = shown.any(0), torch.arange(len(shown), device=picture.device)[:, None]
    enamel = enamel_in_light(picture, shown[None, None].float()).clamp(min=0.01)
    gum, gum_seen = _gum_at(
        picture[0].gather(1, edge.clamp(max=len(rows) - 1).expand(3, 1, -1))[:, 0], has, enamel, scale
    )
    gum = torch.lerp(gums, gum, gum_seen.amax())
    # Each tooth is continued with its brightness below the edge, as the edge is in the lip's shade.
    below = shown & (rows >= edge) & (rows < edge + BELOW_EDGE * scale)
    bright = ((picture[0].mean(0) * below).sum(0) / below.sum(0).clamp(min=1))[None]
    width = 2 * round(0.5 * BESIDE_GAP * scale) + 1
    bright = torch.maximum(bright, SHALLOW_GAP * F.max_pool1d(bright, width, 1, width // 2))[0]
    edge, length, bright = _along_row(torch.stack([edge, shown.sum(0), bright]), has, GUM_WAVE * scale)
    length = length / scale
    covered = (CROWN - length).clamp(max=CROWN - MOST_OF_ROW * length.amax()).clamp(min=MIN_COVERED)
    over_gum_line = (edge - rows) / scale - torch.lerp(covered, torch.full_like(covered, GUM_ABOVE), gum_seen)
    gum = gum[:, None, None] * (1 - GUM_SHADE * smoothstep(over_gum_line / GUM_SHADE_REACH, 0.0, 1.0))
    crowns = (enamel / enamel.mean())[:, None, None] * bright
    return torch.lerp(crowns, gum, smoothstep(over_gum_line / GUM_LINE, -0.5, 0.5))[None]


def _gum_at(
    edge: torch.Tensor, has: torch.Tensor, enamel: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gum at the upper edge (3, w) of a row of teeth: its colour (3,), and how far each column has some (w,), 0…1.

    ``has`` (w,) bool says which columns have teeth, ``enamel`` (3,) is their colour.
    """
    redder = smoothstep(edge[0] / edge[1].clamp(min=0.01) / (enamel[0] / enamel[1]), *GUM_REDNESS)
    is_gum = has * redder * smoothstep(edge.mean(0) / enamel.mean(), *GUM_BRIGHTNESS)
    colour = (edge * is_gum).sum(1) / is_gum.sum().clamp(min=0.01)
    width = 2 * round(0.5 * TOOTH_WIDTH * scale) + 1
    between = F.max_pool1d(is_gum[None], width, 1, width // 2)[0]
    return colour, _along_row(between[None], has, TOOTH_WIDTH * scale)[0]


def _along_row(values: torch.Tensor, has: torch.Tensor, reach: float) -> torch.Tensor:
    """Values (N, w) smoothed over ``reach`` pixels along a row of teeth; only columns with teeth (``has``) count."""
    width = 2 * round(0.5 * reach) + 1
    near = torch.cat([values * has, has[None].float()])[None]
    for _ in range(2):
        near = F.avg_pool1d(near, width, 1, width // 2)
    return near[0, :-1] / near[0, -1:].clamp(min=1e-3)
