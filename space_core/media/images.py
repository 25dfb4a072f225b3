"""Photos in: whatever Pillow reads becomes an upright 8-bit RGB array."""

import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from space_core.errors import SpaceError
from space_core.media.files import existing_file, shown_name

# Pillow also opens documents and scripts (EPS runs Ghostscript); a photo is none of those.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "JPEG2000", "AVIF", "PPM", "TGA", "ICO")
MAX_FILE_BYTES = 200_000_000
MAX_PIXELS = 64_000_000  # decoded, this is 256 MB with an alpha channel
MAX_SIDE = 3840  # larger photos are scaled down to this, 4K, the largest film that players are ready for
MIN_SIDE = 64
BACKGROUND = (216, 216, 216)  # behind transparent pixels: a studio's light grey, kind to dark and light hair alike

# The turn that puts a picture upright, by the value of EXIF's orientation tag; 1 is upright.
ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on damaged files.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def load_photo(source: str | Path | np.ndarray | Image.Image) -> np.ndarray:
    """Reads a photo, upright and in sRGB, with transparent parts on light grey.

    Args:
        source: a file (JPEG, PNG, WebP, BMP, GIF's first frame, TIFF, …); or an open Pillow image; or an array
            ``(H, W, 3)``, ``(H, W, 4)`` or ``(H, W)`` of uint8: RGB, RGBA or grey.

    Returns:
        ``(H, W, 3)`` uint8 RGB, scaled down to at most 3840 pixels a side, at least 64.

    Raises:
        SpaceError: no such file, not an image, cut off, too large (64 megapixels) or too small (64 pixels a side).
    """
    if isinstance(source, np.ndarray):
        return _normalized(_array_image(source), "The photo")
    if isinstance(source, Image.Image):
        return _normalized(source, "The photo")

    path = existing_file(source, "photo")
    label = f"The photo {shown_name(path)}"
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SpaceError(f"{label} is larger than {MAX_FILE_BYTES // 1_000_000} MB. Save it as a JPEG.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower than Pillow's
            image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as failure:  # Pillow's limit; raised before the size can be asked for
        pixels = re.search(r"\d+", str(failure))
        raise _too_large(label, f"{int(pixels[0]) / 1e6:.0f} megapixels" if pixels else "too many pixels") from None
    except DAMAGED:
        raise SpaceError(_unreadable(path)) from None
    with image:
        return _normalized(image, label, opened_here=True)


def _normalized(image: Image.Image, label: str, opened_here: bool = False) -> np.ndarray:
    """Decodes an image and brings it into the one form used inside, cheapest steps first."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(label, f"{width} x {height} pixels")
    if min(width, height) < MIN_SIDE:
        raise SpaceError(
            f"{label} is too small: {width} x {height} pixels; at least {MIN_SIDE} on each side are needed."
        )
    shrink = min(1.0, MAX_SIDE / max(width, height))
    small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if min(small) < MIN_SIDE:
        raise SpaceError(f"{label} is too narrow: {width} x {height} pixels. Crop it to the person.")
    try:
        if opened_here:  # a caller's image would stay small
            image.draft(None, small)  # a JPEG decodes at half or quarter size for a fraction of the memory
        image.load()
        turn = TURNS.get(_orientation(image))
        profile = image.info.get("icc_profile")
        image = _eight_bit(image)
        if max(image.size) > MAX_SIDE:
            image = image.resize(small, Image.Resampling.LANCZOS, reducing_gap=2.0)
        image = _opaque_rgb(image, profile)
    except MemoryError:
        raise SpaceError("There is not enough memory to read a photo of this size. Scale it down first.") from None
    except (*DAMAGED, Image.DecompressionBombError):
        raise SpaceError(f"{label} is cut off or damaged. Save or upload it again.") from None
    return np.array(image if turn is None else image.transpose(turn))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # EXIF is written by everyone in every way; a broken one doesn't make a photo unusable
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode of 8 bits a channel that can be scaled: L, LA, RGB, RGBA or CMYK."""
    if image.mode[0] in "IF":  # "I;16", "I;16B", "I", "F": one grey channel
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
        # 16-bit files use their whole range; the modes with 32 bits don't tell, so the next usual white is taken.
        whites = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0)[image.mode == "I" :]
        peak = float(values.max())
        white = next((white for white in whites if peak <= white), peak)
        return Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))
    if "transparency" in image.info and image.mode in ("1", "L", "RGB", "P"):
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "P":
        return image.convert(image.palette.mode if image.palette.mode in ("RGB", "RGBA") else "RGB")
    return image.convert({"1": "L", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(image.mode, "RGB"))


def _opaque_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB's colours on the background."""
    if image.mode in ("LA", "RGBA"):
        opaque = Image.new("RGB", image.size, BACKGROUND)
        opaque.paste(image.convert("RGB"), mask=image.getchannel("A"))
        image = opaque
    if profile and image.mode in ("RGB", "CMYK"):
        # Phones save Display P3, printers CMYK of their own; read as sRGB, skin would turn pale or green.
        try:
            return ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, *DAMAGED):  # a profile for other modes, or a broken one
            return image.convert("RGB")
    return image.convert("RGB")


def _array_image(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise SpaceError(f"A photo given as an array must be uint8 (0 to 255), not {array.dtype}.")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise SpaceError(f"A photo given as an array must have the shape (H, W, 3), RGB; this one has {array.shape}.")
    return Image.fromarray(np.ascontiguousarray(array))


def _too_large(label: str, size: str) -> SpaceError:
    return SpaceError(f"{label} has {size}; the limit is {MAX_PIXELS // 1_000_000} megapixels. Scale it down.")


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return f"{shown_name(path)} is a HEIC photo, which can't be read. Save it as a JPEG or PNG."
    return f"{shown_name(path)} is not an image that can be read, or it is damaged. Use JPEG, PNG or WebP."
