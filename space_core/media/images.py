"""Reading of photos. Files are decoded in other processes, which a hostile one may exhaust or crash."""

from pathlib import Path

import numpy as np
from PIL import Image

from space_core.media import decoding_pool
from space_core.media.files import existing_file
from space_core.media.image_decoding import MAX_SIDE, decode_image

DRAFT_SIDE = 1920  # pixels


def load_photo(source: str | Path | np.ndarray | Image.Image) -> np.ndarray:
    """Decodes a photo, upright and in sRGB, with transparent parts on light grey.

    Args:
        source: a file (JPEG, PNG, WebP, BMP, the first frame of a GIF, TIFF, …); or a Pillow image; or an array
            ``(H, W, 3)``, ``(H, W, 4)`` or ``(H, W)`` of uint8: RGB, RGBA or grey.

    Returns:
        ``(H, W, 3)`` uint8 RGB, the shorter side at least 64 and the longer one at most 3840 pixels; larger photos are
        scaled down.

    Raises:
        SpaceError: the file does not exist, is not an image, is truncated, too large (over 64 megapixels as a JPEG, 32
            in other formats), too small (under 64 pixels a side), or takes more than two seconds to decode.
    """
    if isinstance(source, np.ndarray | Image.Image):
        return decode_image(source)
    return decoding_pool.decode(existing_file(source, "photo"), MAX_SIDE)[0]


def load_draft(source: str | Path | np.ndarray | Image.Image) -> tuple[np.ndarray, float]:
    """Like ``load_photo``, but the photo of a file is reduced to ``DRAFT_SIDE``, which is faster.

    Returns:
        The photo; and how many times larger it would be from ``load_photo``.
    """
    if isinstance(source, np.ndarray | Image.Image):
        return decode_image(source), 1.0
    return decoding_pool.decode(existing_file(source, "photo"), DRAFT_SIDE)
