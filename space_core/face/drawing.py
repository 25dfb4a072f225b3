"""Visualization: landmarks as lines, a photo with its faces and the crop marked."""

from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import points_in_poly

from space_core.face.crop_size import SIZE
from space_core.face.preview import FacePreview, FoundFace
from space_core.face.topology import (
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

PREVIEW_SIDE = 960  # longer side of a drawn preview, pixels
# A marked photo: what is outside of the crop keeps this part of its light.
OUTSIDE = 0.55
FRAME, CHOSEN, OTHER, REFUSED = (255, 255, 255), (255, 196, 46), (255, 255, 255), (150, 150, 150)
SHADOW = (0, 0, 0, 110)  # around lines, which are seen on white walls too
MARK_LENGTH = 0.16  # of the corners that mark a lone face, in sides of its box

BROWS = (
    (46, 53, 52, 65, 55, 107, 66, 105, 63, 70, 46),
    (276, 283, 282, 295, 285, 336, 296, 334, 293, 300, 276),
)
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
    for ring in ((*OVAL, OVAL[0]), *BROWS, *NOSE):
        _line(pen, points[list(ring)], INK, 3)
    for upper, lower in ((OUTER_UPPER_LIP, OUTER_LOWER_LIP), (INNER_UPPER_LIP, INNER_LOWER_LIP)):
        _line(pen, points[[*upper, *lower[::-1]]], LIPS, 3)
    return np.asarray(picture.reduce(FINER))


def drawn_size(preview: FacePreview, max_side: int = PREVIEW_SIDE) -> tuple[int, int]:
    """Width and height of what ``draw_preview`` draws, pixels."""
    height, width, _ = preview.photo.shape
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_preview(preview: FacePreview, max_side: int = PREVIEW_SIDE) -> np.ndarray:
    """A photo with what would be animated: (h, w, 3) uint8 RGB, at most ``max_side`` pixels a side.

    What the film leaves out is dimmed. Of several faces each has its number, and the chosen one stands out.
    """
    height, width, _ = preview.photo.shape
    size = drawn_size(preview, max_side)
    picture = Image.fromarray(preview.photo).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

    # 1. What the film shows, as far as it lies in the photo.
    scales = np.array(size) / [width, height]
    low, high = preview.frame[0] * scales, preview.frame[2] * scales
    left, top, right, bottom = (*np.clip(low, 0, size).round().astype(int), *np.clip(high, 0, size).round().astype(int))
    dimmed = picture.point([round(value * OUTSIDE) for value in range(256)] * 3)
    dimmed.paste(picture.crop((left, top, right, bottom)), (left, top))

    # 2. Lines, drawn larger and scaled down.
    line = max(2, round(max(size) / 320)) * FINER
    lines = Image.new("RGBA", (size[0] * FINER, size[1] * FINER))
    pen = ImageDraw.Draw(lines)
    _outline(pen, np.array([left, top, right, bottom]) * FINER, FRAME, line, 0)
    alone = len(preview.faces) == 1
    for face in sorted(preview.faces, key=lambda face: face is preview.chosen):
        box = np.array(face.box) * np.tile(scales, 2) * FINER
        if alone:
            _corners(pen, box, CHOSEN, line)
        else:
            _numbered(pen, box, face, face is preview.chosen, line)
    lines = lines.reduce(FINER)
    dimmed.paste(lines, mask=lines)
    return np.asarray(dimmed)


def _outline(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple[int, int, int], line: int, radius: int) -> None:
    """A rectangle (left, top, right, bottom) with its line inside of it."""
    box = box.round().astype(int)
    pen.rounded_rectangle((*(box[:2] - 1), *box[2:]), radius, outline=SHADOW, width=line + 2)
    pen.rounded_rectangle((*box[:2], *(box[2:] - 1)), radius, outline=colour, width=line)


def _corners(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple[int, int, int], line: int) -> None:
    """The four corners of a box."""
    low, high = box[:2], box[2:]
    length = MARK_LENGTH * (high - low).min()
    for x, inward in ((low[0], length), (high[0], -length)):
        for y, down in ((low[1], length), (high[1], -length)):
            corner = [(x + inward, y), (x, y), (x, y + down)]
            pen.line(corner, SHADOW, line + 2, "curve")
            pen.line(corner, colour, line, "curve")


def _numbered(pen: ImageDraw.ImageDraw, box: np.ndarray, face: FoundFace, chosen: bool, line: int) -> None:
    """A box around a face, with its number on a tab at the top."""
    colour = CHOSEN if chosen else REFUSED if face.refusal else OTHER
    _outline(pen, box, colour, line if chosen else max(line // 2, FINER), 2 * line)
    font = ImageFont.load_default(size=8 * line)
    left, top = box[:2].round()
    tab = np.array([left, top - 10 * line, left + 10 * line, top])
    tab -= np.tile(np.minimum(0, tab[:2]), 2)  # inside the picture
    pen.rounded_rectangle(tuple(tab), 2 * line, fill=colour)
    pen.text(tuple((tab[:2] + tab[2:]) / 2), str(face.number), INK, font, anchor="mm")


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
