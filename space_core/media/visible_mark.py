"""The visible mark: a small label "AI-generated" in a corner of the picture."""

from functools import lru_cache
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL = "AI-generated"
# Font size in pixels = FONT_SIZE + FONT_SCALE * (shorter side of the picture): 11 at 256, 15 at 512, 22 at 1024, 39 at
# 2160. Relative to the picture, small pictures need larger letters to be readable.
FONT_SIZE, FONT_SCALE = 7.3, 0.0145
PADDING_X, PADDING_Y, MARGIN, CORNER_RADIUS = 0.55, 0.32, 0.7, 0.35  # in units of the font size
LABEL_COLOR = (0, 0, 0, 150)  # RGBA: dark, so that the text has contrast on a white background too
TEXT_COLOR = (255, 255, 255, 235)  # RGBA


def marked(frame: np.ndarray) -> np.ndarray:
    """A copy of a frame with the label in its lower right corner.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB, H and W at least 64.

    Returns:
        ``(H, W, 3)`` uint8 RGB, a new array.
    """
    height, width, _ = frame.shape
    addend, factor, margin = _label(min(height, width))
    label_height, label_width, _ = addend.shape
    result = frame.copy()
    corner = result[height - margin - label_height : height - margin, width - margin - label_width : width - margin]
    corner[:] = corner * factor + addend
    return result


@lru_cache(maxsize=8)
def _label(side: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The label for pictures whose shorter side is ``side``.

    Returns:
        The label as premultiplied colour (h, w, 3) float32, plus 0.5 for rounding; the picture's weight under it,
        (h, w, 1) float32 in [0, 1]; and the distance from the edges of the picture in pixels.
    """
    font_size = FONT_SIZE + FONT_SCALE * side
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(font_size))  # with a size it is never a bitmap font
    text_width = font.getlength(LABEL)
    ascent, descent = font.getmetrics()
    size = round(text_width + 2 * PADDING_X * font_size), round(ascent + descent + 2 * PADDING_Y * font_size)
    image = Image.new("RGBA", size)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius=CORNER_RADIUS * font_size, fill=LABEL_COLOR)
    text = Image.new("L", size)
    # Centred on the letters without descenders, which appears centred.
    ImageDraw.Draw(text).text((size[0] / 2, size[1] / 2), LABEL, font=font, anchor="mm", fill=255)
    image = Image.composite(Image.new("RGBA", size, TEXT_COLOR), image, text)
    layers = np.asarray(image, np.float32)
    opacity = layers[..., 3:] / 255
    return layers[..., :3] * opacity + 0.5, 1 - opacity, max(2, round(MARGIN * font_size))
