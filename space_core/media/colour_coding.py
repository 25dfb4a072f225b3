"""Colours of photos that say how they are coded by other means than an ICC profile: HDR, wide gamuts, other gammas."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from PIL import ExifTags, Image

# Code points of ITU-T H.273, as in PNG's chunk cICP, AVIF's box "nclx" and ICC's tag "cicp". Those that are not here
# differ from sRGB by less than viewers do.
CHROMATICITIES = {  # x and y of red, green, blue and white
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),  # BT.2020
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),  # DCI-P3
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),  # Display P3
}
GAMMAS = {4: 1 / 2.2, 5: 1 / 2.8, 8: 1.0}
PQ, HLG = 16, 18
SRGB = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290)
SRGB_GAMMA = 1 / 2.2  # by which sRGB is stated
ADOBE_RGB = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060, 0.3127, 0.3290)
ADOBE_RGB_GAMMA = 256 / 563
# Cone responses of the Bradford adaptation, by which the photo's white becomes sRGB's.
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
COLOUR_SPACE, UNCALIBRATED = 0xA001, 0xFFFF  # EXIF's tag, and its value for a space that has no number
WHITE_NITS = 203.0  # of paper in an HDR picture, by ITU-R BT.2408
HLG_NITS = 1000.0  # of the display that HLG is adapted to, with a system gamma of 1.2
KNEE = 0.6  # linear light, beyond which that of an HDR picture is compressed: highlights keep their shape below white
HEAD_BYTES = 1 << 16  # of an AVIF, in which its properties are
ROWS = 64  # that are converted at a time
STEPS = 4095  # of the square root of light, from which it is encoded


@dataclass(frozen=True)
class ColourCoding:
    """How the values of a photo are coded.

    Attributes:
        chromaticities: x and y of red, green, blue and white.
        gamma: the exponent by which light was coded; None for sRGB's curve, PQ or HLG.
        transfer: ``PQ``, ``HLG``, or 0.
    """

    chromaticities: tuple[float, ...] = SRGB
    gamma: float | None = None
    transfer: int = 0

    def convert(self, image: Image.Image) -> Image.Image:
        """An image (mode RGB) with these colours, in sRGB."""
        coded = np.arange(256) / 255
        if not self.transfer and np.allclose(self.chromaticities, SRGB, atol=0.002):
            return image.point(list(_encode(self._light(coded))) * 3)
        pixels, light = np.array(image), self._light(coded).astype(np.float32)
        matrix = _matrix_to_srgb(self.chromaticities).T.astype(np.float32)
        encoded = _encode((np.arange(STEPS + 1) / STEPS) ** 2)
        for first in range(0, len(pixels), ROWS):  # the light of a whole photo would take four times its memory
            rows = pixels[first : first + ROWS]
            linear = light[rows]
            if self.transfer == HLG:
                linear *= _hlg_gain(linear)
            linear = np.maximum(linear @ matrix, 0)
            if self.transfer:
                linear *= _highlight_gain(linear.max(-1, keepdims=True))
            rows[:] = encoded[(np.sqrt(np.minimum(linear, 1)) * STEPS + 0.5).astype(np.uint16)]
        return Image.fromarray(pixels)

    def _light(self, coded: np.ndarray) -> np.ndarray:
        """Linear light of coded values in [0, 1]: paper white is 1; for HLG it is that of the scene."""
        if self.gamma is not None:
            return cast(np.ndarray, coded ** (1 / self.gamma))
        return {PQ: _pq_light, HLG: _hlg_light}.get(self.transfer, _srgb_light)(coded)


def colour_coding(image: Image.Image, path: Path, profile: bytes | None) -> ColourCoding | None:
    """How an image is coded; None for sRGB, and where its ICC profile says it.

    Args:
        image: opened, and loaded as far as its information is.
        path: its file.
        profile: its ICC profile.
    """
    code_points = _code_points(image, path, profile)
    if code_points is not None:
        primaries, transfer = code_points
        if primaries not in CHROMATICITIES and transfer not in (*GAMMAS, PQ, HLG):
            return None
        is_hdr = transfer in (PQ, HLG)
        chromaticities = CHROMATICITIES.get(primaries, SRGB)
        return ColourCoding(chromaticities, GAMMAS.get(transfer), transfer if is_hdr else 0)
    if profile or "srgb" in image.info:
        return None
    return _stated_coding(image) or _camera_coding(image)


def _code_points(image: Image.Image, path: Path, profile: bytes | None) -> tuple[int, int] | None:
    """The primaries and the transfer that a file states by ITU-T H.273; None if it states none."""
    code = None
    if image.format == "PNG":
        code = _png_chunk(path, b"cICP")
    elif image.format == "AVIF" and not profile:
        with path.open("rb") as file:
            found = re.search(rb"colrnclx(.{4})", file.read(HEAD_BYTES), re.DOTALL)
        code = bytes((found[1][1], found[1][3])) if found else None
    code = code or _profile_code(profile)
    return (code[0], code[1]) if code is not None and len(code) >= 2 else None


def _camera_coding(image: Image.Image) -> ColourCoding | None:
    """Adobe RGB where EXIF says so, as cameras write it (DCF): a colour space without a number, and the index "R03"."""
    try:
        exif = image.getexif()
        space, index = exif.get_ifd(ExifTags.IFD.Exif).get(COLOUR_SPACE), exif.get_ifd(ExifTags.IFD.Interop).get(1)
    except Exception:  # invalid EXIF data is frequent
        return None
    is_adobe = space == UNCALIBRATED and str(index).startswith("R03")
    return ColourCoding(ADOBE_RGB, ADOBE_RGB_GAMMA) if is_adobe else None


def _stated_coding(image: Image.Image) -> ColourCoding | None:
    """The coding by a PNG's chunks gAMA and cHRM."""
    gamma, stated = image.info.get("gamma"), image.info.get("chromaticity")
    if gamma is None or not 0.1 <= gamma <= 2:
        return None
    chromaticities = SRGB
    if stated and len(stated) == 8 and all(0 < value < 1 for value in stated):
        chromaticities = (*stated[2:], *stated[:2])
    coding = ColourCoding(chromaticities, None if abs(gamma / SRGB_GAMMA - 1) < 0.03 else gamma)
    try:
        _matrix_to_srgb(chromaticities)
    except np.linalg.LinAlgError:  # its primaries lie on a line
        return None
    return coding


def _png_chunk(path: Path, kind: bytes) -> bytes | None:
    """The first 64 bytes in the first chunk of a kind before the pixels; None without one."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            (length,) = struct.unpack(">I", head[:4])
            if head[4:] == kind:
                return file.read(min(length, 64))
            file.seek(length + 4, 1)
    return None


def _profile_code(profile: bytes | None) -> bytes | None:
    """Primaries and transfer by the tag "cicp" of an ICC profile that is for HDR; other profiles are applied."""
    if not profile or len(profile) < 132:
        return None
    count = min(int.from_bytes(profile[128:132], "big"), 100)
    for entry in range(132, 132 + 12 * count, 12):
        if profile[entry : entry + 4] == b"cicp":
            start = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            code = profile[start + 8 : start + 10]
            return code if code[1:] in (bytes([PQ]), bytes([HLG])) else None
    return None


def _matrix_to_srgb(chromaticities: tuple[float, ...]) -> np.ndarray:
    """From linear light with these primaries and white to sRGB's, as columns of RGB."""
    white = np.diag((BRADFORD @ _white(SRGB)) / (BRADFORD @ _white(chromaticities)))
    adaptation = np.linalg.inv(BRADFORD) @ white @ BRADFORD
    return cast(np.ndarray, np.linalg.inv(_matrix_to_xyz(SRGB)) @ adaptation @ _matrix_to_xyz(chromaticities))


def _matrix_to_xyz(chromaticities: tuple[float, ...]) -> np.ndarray:
    x, y = np.array(chromaticities[0:6:2]), np.array(chromaticities[1:6:2])
    primaries = np.stack([x / y, np.ones(3), (1 - x - y) / y])
    return primaries * np.linalg.solve(primaries, _white(chromaticities))


def _white(chromaticities: tuple[float, ...]) -> np.ndarray:
    x, y = chromaticities[6:]
    return np.array([x / y, 1, (1 - x - y) / y])


def _encode(light: np.ndarray) -> np.ndarray:
    """sRGB's values, uint8, of linear light in [0, 1]."""
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clip(1e-9) ** (1 / 2.4) - 0.055)
    return np.round(255 * values).astype(np.uint8)


def _srgb_light(coded: np.ndarray) -> np.ndarray:
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def _pq_light(coded: np.ndarray) -> np.ndarray:
    """By SMPTE ST 2084."""
    power = coded ** (1 / 78.84375)
    light = ((power - 0.8359375).clip(0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return cast(np.ndarray, light * (10000 / WHITE_NITS))


def _hlg_light(coded: np.ndarray) -> np.ndarray:
    """By ITU-R BT.2100."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)


def _hlg_gain(scene: np.ndarray) -> np.ndarray:
    """By what HLG's display multiplies the light (…, 3) of a scene, with paper white at 1."""
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    return cast(np.ndarray, np.maximum(luminance, 1e-9)[..., None] ** 0.2 * (HLG_NITS / WHITE_NITS))


def _highlight_gain(peak: np.ndarray) -> np.ndarray:
    """By what light beyond ``KNEE`` is multiplied, so that it stays below white."""
    rolled = KNEE + (1 - KNEE) * (1 - np.exp((KNEE - peak) / (1 - KNEE)))
    return np.where(peak > KNEE, rolled / np.maximum(peak, KNEE), 1).astype(np.float32)
