"""How the upper teeth of a photo go on under its lip: a lip that rises further uncovers their crowns, then gum.

Lengths are normalized, see ``prepared_mouth``.
"""

import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.upper_row import SIDES_FADE, enamel_in_light

# Teeth of a photo go on upwards from so far below their upper edge, which has some of the colour of lip or gum, as
# crowns of this height do: by so much at least. At its ends less of a row is seen; as much is covered there as where
# it has that share of its greatest height. Above the crowns, up to this distance, there is gum.
TEETH_EDGE, CROWN, MIN_COVERED, TEETH_GO_ON = 1.2 * MILLIMETRE, 10.5 * MILLIMETRE, 2 * MILLIMETRE, 14 * MILLIMETRE
MOST_OF_ROW = 0.9
BELOW_EDGE = 2.5 * MILLIMETRE  # over which a tooth's brightness is taken
# The dark gap between two teeth does not go on, beyond this share of the brightness next to it; that far.
SHALLOW_GAP, BESIDE_GAP = 0.9, 2.2 * MILLIMETRE
GUM_LINE, GUM_WAVE = 1.2 * MILLIMETRE, 1.5 * MILLIMETRE  # how gradually crowns go over to gum; smoothing along the row
GUM_ABOVE = 0.8 * MILLIMETRE  # an edge that shows gum between teeth; from there on there is gum
GUM_SHADE, GUM_SHADE_REACH = 0.45, 4 * MILLIMETRE  # of light, that the lip keeps from gum so far above the teeth
# Gum is so much redder than teeth, by red over green, and at least so bright: gaps between teeth are darker. Between
# two teeth it reaches down furthest, which are so wide at most.
GUM_REDNESS, GUM_BRIGHTNESS, TOOTH_WIDTH = (1.15, 1.3), (0.45, 0.6), 8 * MILLIMETRE


def continued_teeth(picture: torch.Tensor, teeth: torch.Tensor, scale: float, gums: torch.Tensor) -> torch.Tensor:
    """(1, 4, h, w) a picture and where its upper teeth are, 0…1, which go on upwards: as far as crowns do, then gum.

    A lip that rises further than in the photo uncovers more of them.

    Args:
        picture: (1, 3, h, w).
        teeth: (1, 1, h, w) where it shows them.
        scale: pixels per normalized unit.
        gums: (3,) their colour where the picture shows none.
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
    """(1, 3, h, w) what is above upper teeth, ``shown`` (h, w) in a picture: the rest of their crowns, and gum.

    From the row ``edge`` (w,) upwards; for the other arguments see ``continued_teeth``.
    """
    has, rows = shown.any(0), torch.arange(len(shown), device=picture.device)[:, None]
    enamel = enamel_in_light(picture, shown[None, None].float()).clamp(min=0.01)
    gum, gum_seen = _gum_at(
        picture[0].gather(1, edge.clamp(max=len(rows) - 1).expand(3, 1, -1))[:, 0], has, enamel, scale
    )
    gum = torch.lerp(gums, gum, gum_seen.amax())
    # Teeth stay as bright as each is below its edge, which lies in the lip's shade; gaps between them are shallow.
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
    """(3,) the colour of the gum that is seen at a row's upper edge (3, w), and (w,) how far there is some, 0…1.

    ``has`` (w,) is where the row is, ``enamel`` (3,) its colour.
    """
    redder = smoothstep(edge[0] / edge[1].clamp(min=0.01) / (enamel[0] / enamel[1]), *GUM_REDNESS)
    is_gum = has * redder * smoothstep(edge.mean(0) / enamel.mean(), *GUM_BRIGHTNESS)
    colour = (edge * is_gum).sum(1) / is_gum.sum().clamp(min=0.01)
    width = 2 * round(0.5 * TOOTH_WIDTH * scale) + 1
    between = F.max_pool1d(is_gum[None], width, 1, width // 2)[0]
    return colour, _along_row(between[None], has, TOOTH_WIDTH * scale)[0]


def _along_row(values: torch.Tensor, has: torch.Tensor, reach: float) -> torch.Tensor:
    """Values (N, w) of the columns of a row of teeth, which is where ``has`` (w,) says, smoothed over ``reach``."""
    width = 2 * round(0.5 * reach) + 1
    near = torch.cat([values * has, has[None].float()])[None]
    for _ in range(2):
        near = F.avg_pool1d(near, width, 1, width // 2)
    return near[0, :-1] / near[0, -1:].clamp(min=1e-3)
