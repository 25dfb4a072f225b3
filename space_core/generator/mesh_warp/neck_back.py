"""The neck behind a jaw: as wide and of the colour that a photo shows below the jaw, up to the hair at the nape.

It comes into view between the ear, the jaw and the shoulder on the near side of a head that turns.
"""

from dataclasses import dataclass

import numpy as np

from space_core.generator.mesh_warp.side_view import SideView

# Normalized: between these heights a photo shows the neck, and between these widths to either side. Where it is
# narrower to one side, it leans away from there: drawn behind the jaw it would end in mid-air.
HEIGHTS, WIDTHS = (0.85, 1.6), (0.35, 0.8)
STRIP = (0.05, 0.2)  # normalized distances from the outline between which its colour is measured
# Neck pixels: their chromaticity (r, g and b as shares of their sum) differs from the skin's by at most ``HUE``, and
# their brightness is within this range, as a multiple of the skin's.
HUE, BRIGHTNESS = 0.05, (0.3, 1.3)
MIN_SHARE = 0.1  # of the rows between ``HEIGHTS`` that have to show it
NARROWEST = 0.05  # normalized: its colour is taken where it is wider than at its narrowest by less than this
SKIN_HUE = 0.75  # share of the face's hue in its colour, which has bits of hair and collar in it
BRIGHTEST = 0.75  # its brightness under the jaw at most, as a multiple of the skin's


@dataclass(frozen=True)
class Neck:
    """What a photo shows of the neck on one side.

    Attributes:
        width: normalized, to that side.
        colour: (3,) 0…1.
        shaded: (3,) 0…1, its colour behind the jaw.
    """

    width: float
    colour: np.ndarray
    shaded: np.ndarray


def find_necks(views: dict[int, SideView]) -> dict[int, Neck | None]:
    """The neck on the left (−1) and right (1) side of a photo's head; None on sides where it is not drawn.

    Where the photo shows it on one side only, the other side gets the same one in its own light. A side from which the
    neck leans away has none.
    """
    views = {side: view[(view.rows > HEIGHTS[0]) & (view.rows < HEIGHTS[1])] for side, view in views.items()}
    skin = {side: view.skin.mean(0) for side, view in views.items()}
    shade = min(skin.values(), key=np.sum)
    shown = {side: _shown_neck(view, shade) for side, view in views.items()}
    necks: dict[int, Neck | None] = {}
    for side, neck in shown.items():
        if views[side].outline.min() < WIDTHS[0]:
            necks[side] = None
            continue
        other = shown[-side]
        if neck is None and other is not None:
            neck = Neck(other.width, *(colour * (skin[side] / skin[-side]) for colour in (other.colour, other.shaded)))
        necks[side] = neck
    return necks


def _shown_neck(view: SideView, shade: np.ndarray) -> Neck | None:
    """The neck on one side as a photo shows it; ``shade`` (3,) is the face's colour on its darker side.

    Bright skin has the hue of the light that it reflects, and would be grey if it were only made darker: in the shade
    it takes the more saturated of the two hues that the photo shows.
    """
    skin, outline = view.skin.mean(0), view.outline
    colours = view.colours_at(np.linspace(*STRIP, 8)).mean(1)
    is_neck = like_skin(colours, skin) & (outline > WIDTHS[0]) & (outline < WIDTHS[1])
    if is_neck.mean() < MIN_SHARE:
        return None
    width = outline[is_neck].min()
    neck = np.median(colours[is_neck & (outline < width + NARROWEST)], axis=0)
    colour = neck + SKIN_HUE * (skin * neck.sum() / skin.sum() - neck)
    hue = max(shade / shade.sum(), neck / neck.sum(), key=np.ptp)
    return Neck(float(width), colour, hue * min(BRIGHTEST * skin.sum(), colour.sum()))


def like_skin(colours: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(…) bool, which colours (…, 3) are like a skin (3,), in light or in shade."""
    total = colours.sum(-1)
    hue = abs(colours / total[..., None].clip(1e-3) - skin / skin.sum()).max(-1)
    return (hue < HUE) & (total > BRIGHTNESS[0] * skin.sum()) & (total < BRIGHTNESS[1] * skin.sum())
