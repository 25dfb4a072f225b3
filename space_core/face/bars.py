"""Bars, frames and corners of one colour at a photo's edges, as around films and turned crops: no part of its picture.

A person who is cut off by one goes on behind it: the picture is continued there, and the bar is in front of it.
"""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from space_core.face.crop import Crop
from space_core.face.crop_size import MARGIN, SIZE

# A pixel has the bar's colour up to a difference of ``TOLERANCE`` in each channel (0…255), as JPEG leaves noise beside
# an edge. ``FURTHER_IN`` pixels inside of the edge the median difference has to be at least ``CONTRAST``.
TOLERANCE, CONTRAST, FURTHER_IN = 20, 32, 2
CORNER = 5  # pixels along an edge, at its end, that are of one colour where there is a bar
STEEPEST, ANGLE_STEP = 45.0, 0.25  # degrees: greatest slope of a bar's inner edge, and steps in which it is searched
# The edge is seen where the picture begins within ``NEAR`` pixels of the line: along at least the share ``SHOWN``.
# Where the picture itself has the bar's colour, it begins more than ``BEYOND`` pixels away; both together make up at
# least the share ``EXPLAINED``.
NEAR, SHOWN, BEYOND, EXPLAINED = 1.6, 0.35, 6.0, 0.8
# Where less than the share ``MOSTLY_SHOWN`` of the edge is seen, it may be the outline of hair or of a sleeve before a
# plain wall, unless the median distance from the line is at most ``STRAIGHT`` pixels.
MOSTLY_SHOWN, STRAIGHT = 0.7, 0.3
AT_PHOTO_EDGE = 0.8  # share of the photo's outermost pixels above a bar that are of its colour at least
COLUMNS = 100  # places along the photo's edge at which a bar is looked for, about
MIN_LENGTH = 0.18  # of the part of the edge that is seen, as a share of the photo's side
CLEARANCE = 1.5  # pixels beside a bar's edge that may have some of its colour; of the photo or the picture, the larger
# Pixels of the crop. The picture is continued behind a bar by its mirror image; the place that is read approaches this
# distance from the edge exponentially.
MIRRORED = 8.0
# Repeated strands and wrinkles would show as stripes: with the distance from the edge (scale ``SMOOTH_FROM``) the
# picture is blurred by a Gaussian of this standard deviation, but for the share ``STRANDS``. Pixels of the crop.
SMOOTH_FROM, SMOOTH_WIDTH, STRANDS = 8.0, 8.0, 0.3


@dataclass(frozen=True)
class Bar:
    """What lies beyond a straight line, in pixels of the portrait's crop, counted from the edges of its pixels.

    Attributes:
        normal: (2,) the unit vector at right angles to the line, out of the picture.
        offset: how far along it the line lies from the crop's top left corner.
    """

    normal: np.ndarray
    offset: float


def find_bars(photo: np.ndarray, crop: Crop) -> tuple[Bar, ...]:
    """The bars in a photo (H, W, 3) uint8 in and around a portrait's crop of it."""
    low = np.floor(crop.to_photo(np.full(2, -MARGIN))).astype(int).clip(0)
    high = np.minimum(np.ceil(crop.to_photo(np.full(2, SIZE + MARGIN))).astype(int), photo.shape[1::-1])
    step = max(1, round(max(high - low) / SIZE))
    part = photo[low[1] : high[1] : step, low[0] : high[0] : step]
    first = low + 0.5 * (1 - step)  # where the part's edges would be if its pixels were ``step`` wide
    bars = []
    for swapped, far in itertools.product((False, True), repeat=2):
        facing, whole = (picture.swapaxes(0, 1) if swapped else picture for picture in (part, photo))
        facing, whole = (picture[::-1] if far else picture for picture in (facing, whole))
        outermost = whole[0, low[int(swapped)] : high[int(swapped)] : step]
        for mirrored in (False, True):
            line = _upper_line(*(pixels[..., ::-1, :] if mirrored else pixels for pixels in (facing, outermost)))
            if line is None:
                continue
            normal, offset = np.array([line.slope, -1.0]), -line.height
            for axis, flipped in enumerate((mirrored, far)):
                if flipped:
                    offset -= normal[axis] * facing.shape[1 - axis]
                    normal[axis] *= -1
            normal = normal[::-1] if swapped else normal
            offset = (offset * step - normal @ (crop.origin - first)) / crop.scale
            length = np.hypot(*normal)
            bars.append(Bar(normal / length, float(offset / length)))
            if line.is_whole:
                break
    return tuple(bars)


@dataclass(frozen=True)
class _Line:
    """The lower edge of a bar that lies at the top, or of a corner at the top left.

    Attributes:
        height: at the left, pixels.
        slope: of its height, per pixel to the right.
        is_whole: whether the bar reaches the right.
    """

    height: float
    slope: float
    is_whole: bool


def _upper_line(part: np.ndarray, outermost: np.ndarray) -> _Line | None:
    """The lower edge of what is of the colour of the top left corner of a part of a photo (h, w, 3); or None.

    ``outermost`` (w, 3) is the photo's uppermost row above the part: a bar reaches it, a wall beside a person need not.
    """
    height, width = part.shape[:2]
    colour = np.median(part[0, :CORNER], axis=0)
    if (abs(part[0, :CORNER] - colour) > TOLERANCE).any():
        return None
    step = max(width // COLUMNS, 1)
    columns = np.arange(0, width, step)
    part, outermost = np.ascontiguousarray(part[:, ::step]), outermost[::step]
    low, high = (np.clip(colour + sign * TOLERANCE, 0, 255) for sign in (-1, 1))
    other = np.ascontiguousarray(cv2.inRange(part, low, high).T == 0)
    depth = np.where(other.any(1), other.argmax(1), height).astype(np.float32)

    slopes = -np.tan(np.radians(np.arange(0, STEEPEST + ANGLE_STEP, ANGLE_STEP, dtype=np.float32)))[:, None]
    above = depth - slopes * columns.astype(np.float32)
    heights = above.min(1, keepdims=True)
    near = (above - heights < NEAR) & (heights + slopes * columns > 0)
    best = int(near.sum(1).argmax())
    if near[best].sum() < max(MIN_LENGTH * len(columns), 3):
        return None
    slope, intercept = np.polyfit(columns[near[best]], depth[near[best]], 1)
    line = intercept + slope * columns
    bar = line > 0.5
    shown = bar & (abs(depth - line) < NEAR)
    explained = shown | (bar & (depth > line + BEYOND))
    if shown.sum() < SHOWN * bar.sum() or explained.sum() < EXPLAINED * bar.sum():
        return None
    if shown.sum() < MOSTLY_SHOWN * bar.sum() and np.median(abs(depth - line)[shown]) > STRAIGHT:
        return None
    at_edge = abs(outermost[bar & (depth > 0)] - colour).max(1) <= TOLERANCE
    if at_edge.mean() < AT_PHOTO_EDGE:
        return None
    rows = (depth[shown].astype(int) + FURTHER_IN).clip(0, height - 1)
    contrast = abs(part[rows, np.flatnonzero(shown)] - colour).max(1)
    if np.median(contrast) < CONTRAST:
        return None
    return _Line(float(intercept), float(slope), bool(line[-1] > 0))


def continued_behind(
    picture: np.ndarray, bars: tuple[Bar, ...], crop: Crop, photo: Crop, photo_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a photo, continued behind its bars, and (H, W) bool, where they are in front of it.

    Args:
        picture: (H, W, 3) uint8, or a mask (H, W) float32.
        crop: where the portrait's crop lies in the picture.
        photo: where it lies in the photo.
        photo_size: the photo's height and width.
    """
    in_front = np.zeros(picture.shape[:2], bool)
    clearance = CLEARANCE * max(1 / photo.scale, 1 / crop.scale)
    area = _reached_area(picture.shape[:2], bars, crop, photo, photo_size, clearance)
    if area is None:
        return picture, in_front
    part, along = area
    places, depth = _mirrored(np.stack(np.meshgrid(*along), -1).astype(np.float32), bars, clearance)
    behind = depth > 0
    where = (places * crop.scale + crop.origin - 0.5).astype(np.float32)
    mirrored = cv2.remap(
        picture,
        where,
        None,  # type: ignore[call-overload]  # the second map, which the first one contains
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mirrored, weights = np.atleast_3d(mirrored.astype(np.float32)), behind[..., None].astype(np.float32)
    total = _smooth(np.dstack([mirrored * weights, weights]), crop.scale)
    share = (1 - STRANDS) * (1 - np.exp(-depth / SMOOTH_FROM))[..., None]
    mirrored += share * (total[..., :-1] / total[..., -1:].clip(1e-3) - mirrored)

    continued, in_front[part] = picture.copy(), behind
    values = mirrored.reshape(continued[part].shape)[behind]
    continued[part][behind] = values.round() if picture.dtype == np.uint8 else values
    return continued, in_front


def _reached_area(
    size: tuple[int, int],
    bars: tuple[Bar, ...],
    crop: Crop,
    photo: Crop,
    photo_size: tuple[int, int],
    clearance: float,
) -> tuple[tuple[slice, slice], list[np.ndarray]] | None:
    """The rows and columns of a picture of that height and width which bars reach; None if there are none.

    Whole photos have many others, which need not be computed. For the other arguments see ``continued_behind`` and
    ``_mirrored``.

    Returns:
        Their slices; and x of the columns (W,) and y of the rows (H,) in pixels of the portrait's crop.
    """
    if not bars:
        return None
    corner, end = (
        np.round(crop.to_photo(np.full(2, place))).astype(int).clip(0, size[::-1]) for place in (-MARGIN, SIZE + MARGIN)
    )
    # Beyond the photo's edges its outermost pixels go on.
    low, high = photo.to_crop(np.array([[0.5, 0.5], np.array(photo_size[::-1]) - 0.5]))
    along = [
        ((np.arange(corner[axis], end[axis]) + 0.5 - crop.origin[axis]) / crop.scale).clip(low[axis], high[axis])
        for axis in (0, 1)
    ]
    for axis, reached in enumerate(_reached(bars, along, clearance)):
        if not reached.any():
            return None
        first, last = np.flatnonzero(reached)[[0, -1]]
        along[axis] = along[axis][first : last + 1]
        corner[axis], end[axis] = corner[axis] + first, corner[axis] + last + 1
    return np.s_[corner[1] : end[1], corner[0] : end[0]], along


def _mirrored(places: np.ndarray, bars: tuple[Bar, ...], clearance: float) -> tuple[np.ndarray, np.ndarray]:
    """Places (h, w, 2) in the crop, those behind bars mirrored at their edges, and (h, w) how far behind each lies."""
    depth = np.zeros(places.shape[:2], np.float32)
    for bar in 2 * bars:  # twice: what was mirrored at one edge may lie behind another
        normal = bar.normal.astype(np.float32)
        distance = (places @ normal - np.float32(bar.offset - clearance)).clip(0)
        places = places - (distance + MIRRORED * (1 - np.exp(-distance / MIRRORED)))[..., None] * normal
        depth = np.maximum(depth, distance)
    return places, depth


def _reached(bars: tuple[Bar, ...], along: list[np.ndarray], clearance: float) -> list[np.ndarray]:
    """(W,) and (H,) bool, which of the columns at ``along[0]`` and the rows at ``along[1]``, ascending, bars reach."""
    reached = []
    for axis in (0, 1):
        farthest = [
            bar.normal[axis] * along[axis] + (bar.normal[1 - axis] * along[1 - axis][[0, -1]]).max() for bar in bars
        ]
        reached.append(np.any([far > bar.offset - clearance for far, bar in zip(farthest, bars, strict=True)], axis=0))
    return reached


def _smooth(picture: np.ndarray, scale: float) -> np.ndarray:
    """A picture (h, w, n) float32 averaged over ``SMOOTH_WIDTH`` pixels of the crop, each ``scale`` of its own wide."""
    (height, width), reduction = picture.shape[:2], max(scale, 1.0)
    size = max(round(width / reduction), 1), max(round(height / reduction), 1)
    # In a large picture's own resolution the wide filter would take seconds.
    reduced = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    reduced = cv2.GaussianBlur(reduced, (0, 0), SMOOTH_WIDTH * scale / reduction)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)
