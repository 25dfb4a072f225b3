"""A small label in a corner of the picture that tells every viewer what the video is."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL = "AI-generated"
# Height of the letters in pixels: so much, and a share of the picture's shorter side. Small pictures need larger
# letters to be read, and on large ones they would be in the way: 11 at 256, 15 at 512, 22 at 1024, 39 at 2160.
LETTERS, LETTERS_SHARE = 7.3, 0.0145
PADDING_X, PADDING_Y, MARGIN, CORNER = 0.55, 0.32, 0.7, 0.35  # of the height of the letters
GROUND = (0, 0, 0, 150)  # dark and see-through, so that the letters stand out from a white wall, too
INK = (255, 255, 255, 235)


def marked(frame: np.ndarray) -> np.ndarray:
    """A copy of a frame with "AI-generated" in its lower right corner.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB, H and W at least 64.

    Returns:
        ``(H, W, 3)`` uint8 RGB, a new array.
    """
    height, width, _ = frame.shape
    added, kept, margin = _label(min(height, width))
    label_height, label_width, _ = added.shape
    result = frame.copy()
    corner = result[height - margin - label_height : height - margin, width - margin - label_width : width - margin]
    corner[:] = corner * kept + added
    return result


@lru_cache(maxsize=8)
def _label(side: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The label for pictures whose shorter side is ``side``.

    Returns:
        (h, w, 3) float32 to add to the picture, (h, w, 1) float32 to multiply it with before, and the distance from
        its edges in pixels.
    """
    letters = LETTERS + LETTERS_SHARE * side
    font = ImageFont.load_default(letters)
    text_width = font.getlength(LABEL)
    ascent, descent = font.getmetrics()
    size = round(text_width + 2 * PADDING_X * letters), round(ascent + descent + 2 * PADDING_Y * letters)
    image = Image.new("RGBA", size)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius=CORNER * letters, fill=GROUND)
    text = Image.new("L", size)
    # The middle of the letters without what hangs below the line, where the eye sees the middle.
    ImageDraw.Draw(text).text((size[0] / 2, size[1] / 2), LABEL, font=font, anchor="mm", fill=255)
    image = Image.composite(Image.new("RGBA", size, INK), image, text)
    layers = np.asarray(image, np.float32)
    opacity = layers[..., 3:] / 255
    return layers[..., :3] * opacity + 0.5, 1 - opacity, max(2, round(MARGIN * letters))
