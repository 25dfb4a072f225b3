"""The neck behind a jaw: as wide and of the colour that a photo shows below the jaw, up to the hair at the nape.

It comes into view between the ear, the jaw and the shoulder on the near side of a head that turns.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.hanging_hair import SKIN
from space_core.generator.mesh_warp.head_shape import CELL, HEAD_MIDDLE

# Normalized heights between which a photo shows it, and how wide it is to either side. Where it is narrower to one
# side, it leans away from there: what goes on behind the jaw would end in the air.
HEIGHTS, WIDTHS = (0.85, 1.6), (0.35, 0.8)
STRIP = (0.05, 0.2)  # normalized distances from the outline between which its colour is looked at
# By how much its red, green and blue, as shares of their sum, differ from the skin's at most, and how bright it is,
# as a multiple of the skin.
HUE, BRIGHTNESS = 0.05, (0.3, 1.3)
LEAST = 0.1  # of these heights, the share in which it is seen
NARROWEST = 0.05  # normalized; where it is wider than at its narrowest by less, its colour counts
SKIN_HUE = 0.75  # its hue is so much the face's: bits of hair and collar are in its colour
BRIGHTEST = 0.75  # as a multiple of the skin: the jaw shades it


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


def find_necks(
    photo: FaceMotion,
    seen: np.ndarray,
    rows: np.ndarray,
    outlines: dict[int, np.ndarray],
    skins: dict[int, np.ndarray],
) -> dict[int, Neck | None]:
    """The neck on both sides of a photo, −1 left and 1 right; None if it shows it on neither.

    Where it shows it on one side, it is taken to be the same on the other one, in the light there. There is none on a
    side from which it leans away.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        seen: (640, 640, 3) the surroundings, 0…1.
        rows: (h,) normalized heights.
        outlines: (h,) how far the person reaches beside the head's axis there, normalized, on each side.
        skins: (N, 3) colours of the face on each side, see ``skin_colours``.
    """
    found = (rows > HEIGHTS[0]) & (rows < HEIGHTS[1])
    rows, outlines = rows[found], {side: outline[found] for side, outline in outlines.items()}
    skin = {side: colours.mean(0) for side, colours in skins.items()}
    shade = min(skin.values(), key=np.sum)
    shown = {
        side: _shown_neck(photo, seen, rows, outline, side, skin[side], shade) for side, outline in outlines.items()
    }
    necks: dict[int, Neck | None] = {}
    for side, neck in shown.items():
        if outlines[side].min() < WIDTHS[0]:
            necks[side] = None
            continue
        other = shown[-side]
        if neck is None and other is not None:
            neck = Neck(other.width, *(colour * (skin[side] / skin[-side]) for colour in (other.colour, other.shaded)))
        necks[side] = neck
    return necks


def _shown_neck(
    photo: FaceMotion,
    seen: np.ndarray,
    rows: np.ndarray,
    outline: np.ndarray,
    side: int,
    skin: np.ndarray,
    shade: np.ndarray,
) -> Neck | None:
    """The neck on one side as a photo shows it, see ``find_necks``.

    ``skin`` (3,) is the face's colour there, ``shade`` (3,) that on its darker side. Bright skin has the hue of the
    light that it reflects, and would be grey if it were only made darker: in the shade it is as colourful as it is seen
    to be anywhere.
    """
    colours = seen_beside_axis(seen, photo, side * (outline[:, None] - np.linspace(*STRIP, 8)), rows[:, None]).mean(1)
    is_neck = like_skin(colours, skin) & (outline > WIDTHS[0]) & (outline < WIDTHS[1])
    if is_neck.mean() < LEAST:
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


def skin_colours(photo: FaceMotion, seen: np.ndarray, side: int) -> np.ndarray:
    """(N, 3) colours of the face's skin on one side of a photo whose surroundings are ``seen`` (640, 640, 3), 0…1."""
    points = list(SKIN)
    on_side = side * photo.host.normalized[0, points, 0] > -1e-2
    cells = cv2.resize(seen, None, fx=1 / CELL, fy=1 / CELL, interpolation=cv2.INTER_AREA)
    columns, rows = (photo.host.posed[0, points, :2][on_side] / CELL).astype(int).clip(0, len(cells) - 1).T
    return cells[rows, columns]


def seen_beside_axis(seen: np.ndarray, photo: FaceMotion, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(h, w, 3) what the surroundings (640, 640, 3) of a photo show where ``beside_axis`` says."""
    return cv2.remap(seen, beside_axis(photo, x, y), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def beside_axis(photo: FaceMotion, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(…, 2) float32 pixels at normalized x and y (…), at the depth of the head's axis."""
    x, y = np.broadcast_arrays(x, y)
    points = np.stack([x, y, np.full(x.shape, HEAD_MIDDLE[2])], -1)
    return photo.host.place(points.reshape(-1, 3))[0, :, :2].reshape(*x.shape, 2).astype(np.float32)
