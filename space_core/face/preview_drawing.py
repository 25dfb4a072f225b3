"""A previewed photo drawn with its faces and the crop marked."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from space_core.face.drawing import FINER, INK
from space_core.face.preview import FacePreview, FoundFace

PREVIEW_SIDE = 960  # longer side of a drawn preview, pixels
# A marked photo: what is outside of the film keeps this part of its light.
OUTSIDE = 0.55
FRAME, CHOSEN, OTHER, REFUSED = (255, 255, 255), (255, 196, 46), (255, 255, 255), (150, 150, 150)
SHADOW = (0, 0, 0, 110)  # around lines, which are seen on white walls too
MARK_LENGTH = 0.16  # of the corners that mark a lone face, in sides of its box


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
    (left, top), (right, bottom) = (np.clip(corner, 0, size).round().astype(int) for corner in (low, high))
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
