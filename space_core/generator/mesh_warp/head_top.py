"""The top of a head that the photo's upper edge cuts off, continued: it comes into view when the head sinks."""

from dataclasses import replace

import numpy as np

from space_core.face.canvas import Canvas
from space_core.face.crop import Crop
from space_core.face.crop_size import MARGIN
from space_core.generator.mesh_warp.sampling import EXTENT, blur_along

# Value of the mask from which on a pixel shows the person, ``INSIDE`` pixels from the photo's edge. At the edge itself
# the mask is far less sure: there its mean over the head's width has to exceed ``AT_EDGE``.
PERSON, INSIDE, AT_EDGE = 0.3, 8, 0.03
# The continued head ends in an arc. Its slope at the edge is that of the outline below, measured over ``RISE`` pixels;
# its radius is at most that of a head with its hair, normalized.
RISE, RADIUS = 16, 1.05
SOFTNESS = 3.0  # pixels over which the mask falls off at that arc
# Pixels of the crop. What is drawn above the edge is the mirror image of what is below it; the place that is read
# approaches this distance below the edge exponentially.
MIRRORED = 6.0
# Repeated strands would show as stripes: with the distance from the edge (scale ``SMOOTH_FROM``) the picture is
# averaged along the edge by a Gaussian of this standard deviation, but for the share ``STRANDS``. Pixels of the crop.
SMOOTH_FROM, SMOOTH_WIDTH, STRANDS = 8.0, 12.0, 0.2


def with_head_top(person: np.ndarray, top: float, scale: float) -> np.ndarray | None:
    """(640, 640) a person's mask, the head continued above the photo's upper edge.

    None where that doesn't cut the person off, or lies where the film shows what is beyond it.

    Args:
        person: (640, 640) over the surroundings, 0 background … 1 person.
        top: the photo's upper edge in pixels of the surroundings.
        scale: pixels per normalized unit.
    """
    edge = int(np.ceil(top - 1e-6))
    if not 0 < edge <= MARGIN:
        return None
    columns = np.flatnonzero(person[edge + INSIDE] > PERSON)
    if not len(columns) or person[edge, columns].mean() < AT_EDGE:
        return None
    half = (columns[-1] - columns[0] + 1) / 2
    below = np.flatnonzero(person[edge + INSIDE + RISE] > PERSON)
    inwards = max((below[-1] - below[0] + 1) / 2 - half, 0) if len(below) else 0
    radius = min(half * np.hypot(1, inwards / RISE), max(RADIUS * scale, half))
    beside = np.arange(EXTENT) - (columns[0] + columns[-1]) / 2
    # Of the head above that line; below zero beside it.
    height = np.sqrt((radius**2 - beside**2).clip(0)) - np.sqrt(radius**2 - half**2) - (abs(beside) > half) * SOFTNESS
    above = np.arange(edge + INSIDE, 0, -1)[:, None]
    continued = ((height - above) / SOFTNESS + 1).clip(0, 1)
    continued[edge:] = np.maximum(continued[edge:], person[edge : edge + INSIDE])
    return np.concatenate([continued.astype(np.float32), person[edge + INSIDE :]])


def continued_above(canvas: Canvas, top: float, person: np.ndarray) -> Canvas:
    """The canvas, its picture continued from the photo's upper edge to that of the surroundings, where ``top`` is.

    ``person`` (640, 640) is what ``with_head_top`` returns.
    """
    picture, scale = canvas.picture, canvas.crop.scale
    edge = max(0, int(np.ceil(canvas.crop.origin[1] + (top - MARGIN) * scale - 1e-6)))
    rows = max(edge, round(top * scale))
    distance = np.arange(rows, 0, -1) - 0.5
    mirrored = MIRRORED * scale * (1 - np.exp(-distance / (MIRRORED * scale)))
    above = picture[edge + mirrored.astype(int).clip(0, len(picture) - edge - 1)].astype(np.float32)

    # Averages of the head's own colours, not of those beside it.
    columns = (np.arange(picture.shape[1]) - canvas.crop.origin[0]) / scale + MARGIN
    own = np.interp(columns, np.arange(EXTENT), person[int(np.ceil(top - 1e-6))]).astype(np.float32)
    own = np.broadcast_to(own[:, None], above.shape[:2] + (1,)) + 1e-3
    total = blur_along(np.dstack([above * own, own]).swapaxes(0, 1), SMOOTH_WIDTH * scale).swapaxes(0, 1)
    share = (1 - STRANDS) * (1 - np.exp(-distance / (SMOOTH_FROM * scale)))[:, None, None].astype(np.float32)
    above += share * (total[..., :3] / total[..., 3:] - above)

    left, shown_top, width, height = canvas.shown
    more = rows - edge
    return replace(
        canvas,
        picture=np.concatenate([above.round().astype(np.uint8), picture[edge:]]),
        crop=Crop(canvas.crop.origin + [0, more], scale),
        shown=(left, shown_top + more, width, height),
        continued=(canvas.continued[0], rows, canvas.continued[2]),
    )
