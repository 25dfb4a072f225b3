"""Landmarks drawn as lines."""

from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw
from skimage.measure import points_in_poly

from space_core.face.crop_size import SIZE
from space_core.face.topology import (
    BROWS,
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    OVAL,
    Eye,
    canonical_face,
)

FINER = 2  # drawn so many times larger and scaled down: smooth lines
# Where a normalized face comes to lie: pixels per unit, and the point between the eyes.
UNIT, CENTRE = 200, (256, 176)

PAPER, MESH = (250, 250, 252), (196, 204, 222)
INK, LIPS, IRIS = (52, 58, 92), (196, 62, 84), (32, 128, 140)

BROW_OUTLINES = tuple((*lower, *upper[::-1], lower[0]) for lower, upper in BROWS)
NOSE = ((168, 6, 197, 195, 5, 4), (48, 64, 98, 97, 2, 326, 327, 294, 278))
AROUND_IRIS = np.linspace(0, 2 * np.pi, 41)


def draw_normalized(landmarks: np.ndarray) -> np.ndarray:
    """Normalized landmarks (478, 3) as a drawing (512, 512, 3) uint8 RGB: from the front, in one place."""
    return draw_posed(landmarks[:, :2] * UNIT + CENTRE)


def draw_posed(landmarks: np.ndarray) -> np.ndarray:
    """Posed landmarks (478, 2 or 3), in pixels of a portrait's crop, as a drawing (512, 512, 3) uint8 RGB."""
    points = (np.asarray(landmarks, np.float64)[:, :2] + 0.5) * FINER - 0.5
    picture = Image.new("RGB", (SIZE * FINER,) * 2, PAPER)
    pen = ImageDraw.Draw(picture)
    _line(pen, points[_mesh()], MESH, 1)
    for eye in EYES:
        outline = points[[*eye.upper_lid, *eye.lower_lid[::-1]]]
        for piece in _visible_iris(points, eye, outline):
            _line(pen, piece, IRIS, 3)
        _line(pen, outline, INK, 3)
    for ring in ((*OVAL, OVAL[0]), *BROW_OUTLINES, *NOSE):
        _line(pen, points[list(ring)], INK, 3)
    for upper, lower in ((OUTER_UPPER_LIP, OUTER_LOWER_LIP), (INNER_UPPER_LIP, INNER_LOWER_LIP)):
        _line(pen, points[[*upper, *lower[::-1]]], LIPS, 3)
    return np.asarray(picture.reduce(FINER))


def _line(pen: ImageDraw.ImageDraw, points: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    pen.line(points.ravel().tolist(), colour, width, "curve" if width > 1 else None)


def _visible_iris(points: np.ndarray, eye: Eye, outline: np.ndarray) -> list[np.ndarray]:
    """The parts of an iris' rim and pupil that lie within the outline (18, 2) of the lids, as lines (n, 2)."""
    right, top, left, bottom = points[list(eye.iris_rim)]
    across, along = (right - left) / 2, (bottom - top) / 2
    circle = np.cos(AROUND_IRIS)[:, None] * across + np.sin(AROUND_IRIS)[:, None] * along
    pieces = []
    for size in (1.0, 0.25):
        rim = points[eye.pupil] + size * circle
        inside = points_in_poly(rim, outline)
        ends = np.flatnonzero(np.diff(inside, prepend=False, append=False))
        pieces += [rim[first:last] for first, last in zip(ends[::2], ends[1::2], strict=True) if last - first > 1]
    return pieces


@cache
def _mesh() -> np.ndarray:
    """The mesh's edges as one walk over its points: a single long line is drawn much faster than a thousand short ones.

    From each point on to a neighbour by an edge not walked yet; where there is none left, back along the walk.
    """
    ahead: dict[int, set[int]] = {}
    for triangle in canonical_face().triangles.tolist():
        for one, other in pairwise((*triangle, triangle[0])):
            ahead.setdefault(one, set()).add(other)
            ahead.setdefault(other, set()).add(one)
    way, walk = [OVAL[0]], [OVAL[0]]
    while way:
        here = way[-1]
        if ahead[here]:
            there = min(ahead[here])
            ahead[here].remove(there)
            ahead[there].remove(here)
            way.append(there)
        else:
            way.pop()
            if not way:
                break
        walk.append(way[-1])
    return np.array(walk)
