"""The sides of a head that the photo's side edges cut off, continued: they come into view when the head turns."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy

from space_core.face.canvas import Canvas
from space_core.face.crop import Crop
from space_core.face.crop_size import MARGIN, SIZE
from space_core.generator.mesh_warp.sampling import EXTENT, blur_along

# Value of the mask from which on a pixel shows the person, ``INSIDE`` pixels from the photo's edge. At the edge itself
# the mask is far less sure: there its mean over what is cut off has to exceed ``AT_EDGE``. A cut is at least
# ``SHORTEST`` pixels high.
PERSON, INSIDE, AT_EDGE, SHORTEST = 0.3, 8, 0.03, 12
# The continued head ends in an arc. Its slope at the edge is that of the outline inside, measured over ``RISE`` pixels;
# an arc that would reach beyond ``FARTHEST``, normalized, is flattened.
RISE, FARTHEST = 16, 0.35
SOFTNESS = 3.0  # pixels over which the mask falls off at that arc
BORDER = 24  # pixels along the surroundings' border, in which the mesh is stretched: nothing is continued there
# What is drawn beyond the edge is the mirror image of what is inside of its outermost pixels, which may be a frame's.
# The place that is read approaches, exponentially, a distance that is this share of how far the head reaches, and at
# least ``MIN_MIRRORED`` pixels of the crop.
OUTERMOST, MIRRORED, MIN_MIRRORED = 3, 0.5, 6.0
# So that it is not recognized as a mirror image, the picture is averaged along the edge with the distance from it
# (scale ``SMOOTH_FROM``) by a Gaussian of this standard deviation, but for the share ``STRANDS``. Pixels of the crop.
SMOOTH_FROM, SMOOTH_WIDTH, STRANDS = 8.0, 6.0, 0.5


@dataclass(frozen=True)
class HeadSides:
    """A person who goes on beyond the photo's side edges.

    Attributes:
        person: (640, 640) the mask over the surroundings, 0 background … 1 person.
        left, right: in which columns of the surroundings, counted from that side, the edge lies; None where it does not
            cut the person off, or lies where the film shows what is beyond it.
    """

    person: np.ndarray
    left: float | None
    right: float | None


def with_head_sides(person: np.ndarray, edges: np.ndarray, scale: float) -> HeadSides:
    """A person's mask (640, 640), the head continued beyond the photo's left and right edges.

    Args:
        person: over the surroundings, 0 background … 1 person.
        edges: (2, 2) the photo's left and top, right and bottom in pixels of the surroundings.
        scale: pixels per normalized unit.
    """
    (left, top), (right, bottom) = edges
    rows = np.s_[max(int(np.ceil(top)), 0) : min(int(bottom), EXTENT)]
    ends = [left, EXTENT - right]
    for side, edge in enumerate(ends):
        facing = person if side == 0 else person[:, ::-1]
        continued = _with_left_side(facing, edge, rows, FARTHEST * scale)
        if continued is None:
            ends[side] = None
        else:
            person = continued if side == 0 else np.ascontiguousarray(continued[:, ::-1])
    return HeadSides(person, *ends)


def continued_beside(canvas: Canvas, sides: HeadSides) -> Canvas:
    """The canvas, its picture continued from the photo's side edges to those of the surroundings."""
    if sides.left is None and sides.right is None:
        return canvas
    picture, crop, (left, top, width, height) = canvas.picture, canvas.crop, canvas.shown
    height_of_all, width_of_all = picture.shape[:2]
    before = after = np.empty((height_of_all, 0, 3), np.uint8)
    first, last = 0, width_of_all
    if sides.left is not None:
        before, first = _beyond_left(picture, crop, sides.person, sides.left)
    if sides.right is not None:
        origin = np.array([width_of_all - crop.origin[0] - SIZE * crop.scale, crop.origin[1]])
        facing = Crop(origin, crop.scale)
        after, covered = _beyond_left(picture[:, ::-1], facing, sides.person[:, ::-1], sides.right)
        last = width_of_all - covered
    more = before.shape[1] - first
    return replace(
        canvas,
        picture=np.concatenate([before, picture[:, first:last], after[:, ::-1]], 1),
        crop=Crop(crop.origin + [more, 0], crop.scale),
        shown=(left + more, top, width, height),
        continued=(before.shape[1], canvas.continued[1], after.shape[1]),
    )


def _with_left_side(person: np.ndarray, left: float, rows: slice, farthest: float) -> np.ndarray | None:
    """A mask (640, 640) with what the photo's left edge, at that column, cuts off within rows of the photo; or None."""
    edge = int(np.ceil(left - 1e-6))
    if not 0 < edge <= MARGIN:
        return None
    farthest = min(farthest, edge - BORDER)
    line = edge + INSIDE
    reach = np.zeros(len(person), np.float32)
    for (cut,) in scipy.ndimage.find_objects(scipy.ndimage.label(person[rows, line] > PERSON)[0]):
        if cut.stop - cut.start >= SHORTEST and person[rows, edge][cut].mean() > AT_EDGE:
            reach[rows][cut] = _reach(cut, person[rows, line + RISE] > PERSON, farthest)
    if not reach.any():
        return None
    beyond = (reach[:, None] - np.arange(line, 0, -1)) / SOFTNESS + 1
    continued = np.where(reach[:, None] > 0, beyond.clip(0, 1), 0)
    continued[:, edge:] = np.maximum(continued[:, edge:], person[:, edge:line])
    return np.concatenate([continued.astype(np.float32), person[:, line:]], 1)


def _reach(cut: slice, inside: np.ndarray, farthest: float) -> np.ndarray:
    """(n,) how far rows of the photo reach beyond the line that cuts them off, at most about ``farthest``.

    ``inside`` (m,) bool is where the photo shows the person ``RISE`` pixels from that line.
    """
    length, ends_above, ends_below = cut.stop - cut.start, cut.start > 0, cut.stop < len(inside)
    if not (ends_above or ends_below):
        return np.full(length, farthest, np.float32)
    # Where the photo's other edges cut it off, too, as much again lies beyond them.
    half = length / 2 if ends_above and ends_below else float(length)
    beside = np.arange(length) + 0.5 - (half if ends_above else 0)
    outside = ~inside
    rises = []
    if ends_above:
        rises.append(_first(outside[: cut.start][::-1]))
    if ends_below:
        rises.append(_first(outside[cut.stop :]))
    radius = half * np.hypot(1, np.mean(rises) / RISE)
    height = np.sqrt((radius**2 - beside**2).clip(0)) - np.sqrt(radius**2 - half**2)
    return height * min(1, farthest / height.max())


def _first(found: np.ndarray) -> int:
    """The index of the first that is true, or how many there are."""
    return int(found.argmax()) if found.any() else len(found)


def _beyond_left(picture: np.ndarray, crop: Crop, person: np.ndarray, left: float) -> tuple[np.ndarray, int]:
    """What goes on to the left of a photo's edge, (H, n, 3) uint8, and how many columns of the picture it replaces."""
    scale = crop.scale
    edge = max(0, int(np.ceil(crop.origin[0] + (left - MARGIN) * scale - 1e-6)))
    distance = np.arange(max(edge, round(left * scale)), 0, -1, dtype=np.float32) - 0.5
    line = int(np.ceil(left - 1e-6))
    most = max(MIRRORED * float(person[:, :line].sum(1).max()), MIN_MIRRORED) * scale
    columns = edge + OUTERMOST * scale + most * (1 - np.exp(-distance / most))
    columns = columns.astype(int).clip(0, picture.shape[1] - 1)
    beyond = picture[:, columns].astype(np.float32)

    # Averages of the person's own colours, not of those beside it.
    x, y = (
        ((places - crop.origin[axis]) / scale + MARGIN).astype(np.float32)
        for axis, places in enumerate((columns, np.arange(len(picture))))
    )
    own = cv2.remap(person, *np.meshgrid(x, y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[..., None]
    weighted = np.dstack([beyond * own, own]) + 1e-3
    total = blur_along(weighted, SMOOTH_WIDTH * scale)
    smooth = total[..., :3] / total[..., 3:]
    share = (1 - own) + own * ((1 - STRANDS) * (1 - np.exp(-distance / (SMOOTH_FROM * scale)))[:, None])
    return (beyond + share * (smooth - beyond)).round().clip(0, 255).astype(np.uint8), edge
