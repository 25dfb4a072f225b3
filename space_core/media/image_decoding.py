"""Decoding of photos: every format that Pillow decodes, as an upright 8-bit sRGB array."""

import io
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from space_core.errors import SpaceError
from space_core.media.colour_coding import colour_coding
from space_core.media.files import named_kind, shown_name

# Pillow also opens documents and scripts (EPS runs Ghostscript), which are not accepted as photos.
# TGA comes last: it has no signature, and its decoder takes icons for its own.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "JPEG2000", "AVIF", "PPM", "ICO", "TGA")
MAX_FILE_BYTES = 200_000_000
# Each of these takes at most 1.3 s. A JPEG is decoded at a fraction of its size where it is larger than needed.
MAX_PIXELS = {"JPEG": 64_000_000, "MPO": 64_000_000, "JPEG2000": 10_000_000}
MAX_OTHER_PIXELS = 32_000_000
# Every scan of a progressive JPEG goes through all pixels; cameras and optimizers write up to 12 scans.
MAX_SCANNED_PIXELS = 800_000_000
# Of formats that Pillow decodes in Python, by the name of the decoder.
MAX_PYTHON_BYTES = {"bmp_rle": 2_500_000, "ppm_plain": 3_000_000}
# Of a compressed text or profile of a PNG, unpacked. Pillow's own 1 MB is too little for what image generators write.
PngImagePlugin.MAX_TEXT_CHUNK = 16_000_000
MAX_SIDE = 3840  # pixels; larger photos are scaled down to this (4K), the largest video that most players decode
MIN_SIDE = 64  # pixels
BACKGROUND = (216, 216, 216)  # behind transparent pixels: light grey contrasts with both dark and light hair

# The transposition that makes a picture upright, by the value of EXIF's orientation tag; 1 is upright.
ORIENTATION_TAG = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Markers of JPEG, without those that occur within a scan: FF 00 and the restart markers.
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
SIGNATURE_BYTES = 1024  # in which a file's kind shows, after the comments of programs that draw
# What people give instead of a photo that can be read, and what such files begin with, whatever their names are.
OTHER_PHOTOS = {
    "a HEIC photo": rb"....ftyp(heic|heix|mif1|msf1|hevc)",
    "a JPEG XL photo": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a raw photo, or a rare or damaged TIFF": rb"II\*\0|MM\0\*|FUJIFILMCCD-RAW|....ftypcrx |IIU\0|IIRO|MMOR",
    "a Photoshop file": rb"8BPS",
    "a drawing (SVG)": rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--((?!-->).)*-->\s*)*<(svg|!DOCTYPE svg)",
}
NO_PHOTOS = {
    "a PDF": rb"%PDF-",
    "an archive or a document": rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b",
    "a web page": rb"(?i)\s*<(!doctype html|html)",
    "a recording": rb"RIFF....WAVE|fLaC|OggS|ID3|....ftypM4A",
    "a video": rb"....ftyp(iso|mp4|avc1|qt  |M4V|3g|dash)|\x1aE\xdf\xa3|RIFF....AVI ",
}
# What Pillow's decoders raise on damaged files.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    RuntimeError,  # for AVIF
    struct.error,
    zlib.error,
)


def decode_file(path: Path, max_side: int) -> tuple[np.ndarray, float]:
    """Decodes the file of a photo, upright and in sRGB, with transparent parts on light grey.

    Args:
        path: an existing file: JPEG, PNG, WebP, BMP, the first frame of a GIF, TIFF, …
        max_side: the longest side of the result in pixels, at most ``MAX_SIDE``; a larger photo is scaled down.

    Returns:
        ``(H, W, 3)`` uint8 RGB; and how many times larger the result would be with ``MAX_SIDE``.

    Raises:
        SpaceError: it is not an image, is truncated, too large for its format or too small (under 64 pixels a side),
            or would take too long to decode.
    """
    label = f"The photo {shown_name(path)}"
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SpaceError(f"{label} is larger than {MAX_FILE_BYTES // 1_000_000} MB. Save it as a JPEG.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size, for which our own limit is lower, and of damaged metadata
            image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as failure:  # Pillow's limit; raised before the size can be asked for
        pixels = re.search(r"\d+", str(failure))
        size = f"{int(pixels[0]) / 1e6:.0f} megapixels" if pixels else "too many pixels"
        raise SpaceError(f"{label} has {size}; {_limit('JPEG')}") from None
    except MemoryError:
        raise _no_memory() from None
    except DECODE_ERRORS as failure:
        if "out of memory" in str(failure):
            raise _no_memory() from None
        raise SpaceError(_unreadable(path)) from None
    with image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_effort(image, path, label)
        return _decode(image, label, max_side, path)


def decode_image(source: np.ndarray | Image.Image) -> np.ndarray:
    """``decode_file`` for an open image, or for an array ``(H, W, 3)``, ``(H, W, 4)`` or ``(H, W)`` of uint8."""
    image = _array_image(source) if isinstance(source, np.ndarray) else source
    width, height = image.size
    if width * height > MAX_PIXELS["JPEG"]:
        raise SpaceError(f"The photo has {width} x {height} pixels; {_limit('JPEG')}")
    return _decode(image, "The photo", MAX_SIDE)[0]


def _check_effort(image: Image.Image, path: Path, label: str) -> None:
    """Refuses, by its header, an image that takes too long to decode."""
    (width, height), kind = image.size, str(image.format)
    if width * height > MAX_PIXELS.get(kind, MAX_OTHER_PIXELS):
        raise SpaceError(f"{label} has {width} x {height} pixels; {_limit(kind)}")
    if kind in ("JPEG", "MPO"):
        scans = _count_scans(path.read_bytes())
        if scans * width * height > MAX_SCANNED_PIXELS:
            raise SpaceError(f"{label} is a JPEG of {scans} scans, which takes too long to read. Save it again.")
    tiles = getattr(image, "tile", None)
    decoder = tiles[0][0] if tiles else None
    if path.stat().st_size > MAX_PYTHON_BYTES.get(str(decoder), MAX_FILE_BYTES):
        raise SpaceError(f"{label} is compressed in a way that takes too long to read. Save it as a JPEG.")


def _count_scans(content: bytes) -> int:
    """The number of scans of a JPEG, those of its thumbnails left out."""
    place, scans = 2, 0
    while (marker := NEXT_MARKER.search(content, place)) and marker[0][1] != END_OF_IMAGE:
        place = marker.end()
        scans += marker[0][1] == START_OF_SCAN
        place += int.from_bytes(content[place : place + 2], "big")
    return scans


def _limit(kind: str) -> str:
    megapixels = f"{MAX_PIXELS.get(kind, MAX_OTHER_PIXELS) // 1_000_000} megapixels"
    if kind in ("JPEG", "MPO"):
        return f"the limit is {megapixels}. Scale it down."
    return f"the limit of this format is {megapixels}. Scale it down, or save it as a JPEG."


def _no_memory() -> SpaceError:
    return SpaceError("There is not enough memory to read a photo of this size. Scale it down first.")


def _decode(image: Image.Image, label: str, max_side: int, path: Path | None = None) -> tuple[np.ndarray, float]:
    """See ``decode_file``; the steps are in the order that needs the least memory. ``path`` is None where the image was
    opened elsewhere."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise SpaceError(
            f"{label} is too small: {width} x {height} pixels; at least {MIN_SIDE} on each side are needed."
        )
    largest, shrink = (min(1.0, side / max(width, height)) for side in (MAX_SIDE, max_side))
    if min(width, height) * largest < MIN_SIDE:
        raise SpaceError(f"{label} is too narrow: {width} x {height} pixels. Crop it to the person.")
    target = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    try:
        if path is not None:  # draft changes the image, and a caller's image must stay as it is
            image.draft(None, target)  # a JPEG can be decoded at 1/2 or 1/4 of its size, with less memory
        image.load()
        transposition = TRANSPOSITIONS.get(_orientation(image))
        profile = image.info.get("icc_profile")
        coding = None if path is None else colour_coding(image, path, profile)
        image = _to_8_bit(image)
        if max(image.size) > max_side:
            image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
        image = _to_opaque_srgb(image, profile) if coding is None else coding.convert(_to_opaque_srgb(image, None))
    except MemoryError:
        raise _no_memory() from None
    except (*DECODE_ERRORS, Image.DecompressionBombError) as failure:
        if "out of memory" in str(failure):
            raise _no_memory() from None
        raise SpaceError(f"{label} is cut off or damaged. Save or upload it again.") from None
    return np.array(image if transposition is None else image.transpose(transposition)), largest / shrink


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # invalid EXIF data is frequent and does not make the pixels unusable
        return 1


def _to_8_bit(image: Image.Image) -> Image.Image:
    """The image in a mode of 8 bits a channel that can be scaled: L, LA, RGB, RGBA or CMYK."""
    if image.mode[0] in "IF":  # "I;16", "I;16B", "I", "F": one grey channel
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
        # 16-bit files use their whole range. The 32-bit modes do not state theirs: the next usual white level is taken.
        white_levels = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0)[image.mode == "I" :]
        peak = float(values.max())
        white = next((level for level in white_levels if peak <= level), peak)
        return Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))
    if "transparency" in image.info and image.mode in ("1", "L", "RGB", "P"):
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "P":
        return image.convert("RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB")
    return image.convert({"1": "L", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(image.mode, "RGB"))


def _to_opaque_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in sRGB, on the background colour where it is transparent; ``profile`` is its ICC profile."""
    if image.mode in ("LA", "RGBA"):
        opaque = Image.new("RGB", image.size, BACKGROUND)
        opaque.paste(image.convert("RGB"), mask=image.getchannel("A"))
        image = opaque
    if profile and image.mode in ("RGB", "CMYK"):
        # Phones save Display P3, and CMYK files have profiles of printers; read as sRGB, their colours are wrong.
        try:
            source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            return cast(Image.Image, ImageCms.profileToProfile(image, source, srgb, outputMode="RGB"))
        except (ImageCms.PyCMSError, *DECODE_ERRORS):  # a profile for another mode, or an invalid one
            return image.convert("RGB")
    return image.convert("RGB")


def _array_image(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise SpaceError(f"A photo given as an array must be uint8 (0 to 255), not {array.dtype}.")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise SpaceError(f"A photo given as an array must have the shape (H, W, 3), RGB; this one has {array.shape}.")
    return Image.fromarray(np.ascontiguousarray(array))


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(SIGNATURE_BYTES)
    if kind := named_kind(start, OTHER_PHOTOS):
        return f"{shown_name(path)} is {kind}, which can't be read. Save it as a JPEG or PNG."
    if kind := named_kind(start, NO_PHOTOS):
        return f"{shown_name(path)} is {kind}, not a photo. Use JPEG, PNG or WebP."
    return f"{shown_name(path)} is not an image that can be read, or it is damaged. Use JPEG, PNG or WebP."
