"""Estimates whether a portrait is a statue, a varnished painting or a cartoon, whose mouths are drawn differently."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import (
    EYES,
    LOWER_BROW_RIMS,
    NUM_SURFACE_POINTS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    OVAL,
    Eye,
)
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.morphology import disc, square
from space_core.generator.mesh_warp.opening_mask import opening_in_photo
from space_core.generator.mesh_warp.sampling import sample

# A pair is the range in which a measure changes from no to yes, or from yes to no.
# A statue's lips are of the same material as its skin: as bright, and with the same chromaticity (the sum of the
# differences of the shares of red, green and blue). Its irises are hardly darker than the whites. In pictures of little
# colour, such as black-and-white ones, irises may be darker, as carved pupils and shadows are; but then the darkest
# part of the eye has to be brighter, relative to the skin, than people's pupils are.
SAME_BRIGHTNESS, SAME_COLOUR = (0.78, 0.86), (0.036, 0.05)
COLOURLESS = (0.05, 0.1)  # saturations of the skin
IRIS_OF_STONE, IRIS_OF_GREY_STONE = (0.72, 0.82), (0.25, 0.36)  # brightness of irises relative to the whites
PUPIL, PUPIL_OF_GREY_STONE = 0.05, (0.335, 0.36)  # quantile of brightness between the lids; relative to the skin
OPEN_EYE = (0.13, 0.18)  # height of an eye in its widths, below which its iris is not seen
VARNISHED = (0.4, 0.8)  # how far a painting's colours lack blue or green; faded photographs lack less
# Cartoons' eyes are large: their width × height × the iris' diameter, normalized.
CARTOON_EYE = (0.0074, 0.0083)
# Drawings in lines and flat colours. The share ``FLAT_SHARE`` of the mesh's points is in flat squares: of
# ``FLAT_SQUARE`` pixels a side, with a brightness, 0…1, that varies by less than ``FLAT`` and is above ``SHADOW``, as
# shadows in photos are flat, too. The share ``LINES`` of the points is on lines, where brightness varies by
# ``LINE_CONTRAST``; in blurred photos it varies less.
FLAT_SHARE, FLAT_SQUARE, FLAT, SHADOW = (0.16, 0.22), 5, 2 / 255, 0.1
LINES, LINE_CONTRAST = 0.1, (0.2, 0.3)
# Drawings in lines on paper, or on skin of one colour with any grain. The measure is a product of three: the share of
# the skin whose brightness, without lines thinner than ``LINE_WIDTH``, differs from its median by less than the share
# ``ONE_COLOUR``; by what share of the median lines are darker, exceeded by the share ``DARKEST_LINES`` of the skin; the
# variation of brightness on lines, as above. Photos reach at most 0.10. Skin is what is further than ``BESIDE`` from
# eyes, lips and brows. Lengths are normalized.
ON_PAPER, ONE_COLOUR, LINE_WIDTH, DARKEST_LINES, BESIDE = (0.115, 0.155), 0.06, 0.06, 0.01, 0.06


@dataclass(frozen=True)
class Depiction:
    """How far a portrait is no photograph; paintings of many colours count as photographs.

    Attributes:
        stone: 0 … 1 a statue, or a mask of one material.
        varnish: 0 … 1 a painting whose skin and lips have one colour under a varnish.
        cartoon: 0 … 1 a drawn or modelled character with large eyes, or a drawing in lines.
    """

    stone: float
    varnish: float
    cartoon: float


def saturation(colour: np.ndarray) -> np.floating:
    """The saturation, 0…1, of a colour (3,), 0…1; reduced for nearly black colours, where it is mostly noise."""
    return (colour.max() - colour.min()) / max(colour.max(), 0.05)


def estimate_depiction(
    picture: torch.Tensor, photo: FaceMotion, skin: np.ndarray, lips: np.ndarray, tinted: float
) -> Depiction:
    """Estimates what kind of picture a portrait is.

    Args:
        picture: (1, 3, h, w), 0…1.
        photo: the landmarks in it, in its pixels.
        skin, lips: (3,) their colours, 0…1.
        tinted: how far all colours lack blue or green, 0…1.
    """
    eyes = np.array([_measured(eye, photo) for eye in EYES]).mean(0)  # width, height, iris
    irises, pupils = np.mean([_iris_and_pupil(picture, photo, eye) for eye in EYES], axis=0)
    colourless = 1 - smoothstep(saturation(skin), *COLOURLESS)
    seen = smoothstep(eyes[1] / eyes[0], *OPEN_EYE)
    grey = smoothstep(irises, *IRIS_OF_GREY_STONE) * smoothstep(pupils / max(skin.mean(), 0.05), *PUPIL_OF_GREY_STONE)
    pale = max((1 - colourless) * seen * smoothstep(irises, *IRIS_OF_STONE), colourless * grey)
    bright = smoothstep(lips.mean() / max(skin.mean(), 0.05), *SAME_BRIGHTNESS)
    same = bright * (1 - smoothstep(difference_of_shares(lips, skin), *SAME_COLOUR))
    return Depiction(
        stone=float(pale * same),
        varnish=float(smoothstep(tinted, *VARNISHED) * same),
        cartoon=max(float(smoothstep(eyes.prod(), *CARTOON_EYE)), _in_lines(picture, photo)),
    )


def difference_of_shares(one: np.ndarray, other: np.ndarray) -> np.floating:
    """The sum of the differences between two colours' (3,) shares of red, green and blue, 0…2."""
    shares = [colour / max(colour.sum(), 0.05) for colour in (one, other)]
    return np.abs(shares[0] - shares[1]).sum()


def _in_lines(picture: torch.Tensor, photo: FaceMotion) -> float:
    """How far a face in a picture (1, 3, h, w), 0…1, is drawn in lines, with flat colours or none, 0…1."""
    brightness, around = picture[0].mean(0).numpy(), square(FLAT_SQUARE)
    darkest = cv2.erode(brightness, around)
    squares = torch.from_numpy(np.stack([cv2.dilate(brightness, around) - darkest, darkest]))[None]
    contrast, lowest = sample(squares, photo.posed[:, None, :NUM_SURFACE_POINTS, :2])[0, :, 0]
    flat = ((contrast < FLAT) & (lowest > SHADOW)).float().mean()
    lines = contrast.quantile(1 - LINES)
    flat_colours = smoothstep(flat, *FLAT_SHARE) * smoothstep(lines, *LINE_CONTRAST)
    return float(max(flat_colours, smoothstep(lines * _lines_on_paper(brightness, photo), *ON_PAPER)))


def _lines_on_paper(brightness: np.ndarray, photo: FaceMotion) -> float:
    """The share of a face's skin that has one brightness, times how much darker lines on it are; see ``ON_PAPER``.

    ``brightness`` is (h, w), 0…1.
    """
    scale = float(photo.scale)
    skin = _skin(photo, brightness.shape, BESIDE * scale)
    if not skin.any():
        return 0.0
    left, top, width, height = cv2.boundingRect(skin.astype(np.uint8))
    box = np.s_[top : top + height, left : left + width]
    drawn, skin = (brightness[box] * 255).astype(np.uint8), skin[box]  # bytes are faster
    paper = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, disc(int(LINE_WIDTH * scale / 2)))
    darker, paper = (paper - drawn)[skin], paper[skin].astype(np.float32)
    usual = max(float(np.median(paper)), 1.0)
    one_colour = np.mean(abs(paper / usual - 1) < ONE_COLOUR)
    return float(one_colour * np.quantile(darker, 1 - DARKEST_LINES) / usual)


def _skin(photo: FaceMotion, size: tuple[int, ...], beside: float) -> np.ndarray:
    """(h, w) bool, where a picture of a size has the skin of a face, further than ``beside`` pixels from features."""
    points = photo.host.posed[0, :, :2].round().astype(np.int32)
    face, features = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    cv2.fillPoly(face, [points[list(OVAL)]], 1)
    rings = [(*eye.upper_lid, *reversed(eye.lower_lid)) for eye in EYES]
    rings.append((*OUTER_UPPER_LIP, *reversed(OUTER_LOWER_LIP)))
    for ring in rings:
        cv2.fillPoly(features, [points[list(ring)]], 1)
    cv2.polylines(features, [points[list(rim)] for rim in LOWER_BROW_RIMS], False, 1, int(2 * beside))
    return face > cv2.dilate(features, square(2 * int(beside) + 1))


def _measured(eye: Eye, photo: FaceMotion) -> tuple[float, float, float]:
    """Width, height and diameter of the iris of an eye, normalized."""
    points = photo.host.normalized[0, :, :2]
    middle = len(eye.upper_lid) // 2
    pairs = (
        (eye.upper_lid[0], eye.upper_lid[-1]),
        (eye.upper_lid[middle], eye.lower_lid[middle]),
        (eye.iris_rim[0], eye.iris_rim[2]),
    )
    width, height, iris = (float(np.linalg.norm(points[a] - points[b])) for a, b in pairs)
    return width, height, iris


def _iris_and_pupil(picture: torch.Tensor, photo: FaceMotion, eye: Eye) -> tuple[float, float]:
    """The brightness of an eye's visible iris and of its darkest part.

    Returns:
        The median of the iris, relative to the whites (the 0.9 quantile between the lids); the ``PUPIL`` quantile
        between the lids, 0…1. Both are 0 if no iris is seen.
    """
    window, opening = opening_in_photo(picture, photo, eye.upper_lid, eye.lower_lid)
    between = opening.coverage[0] > 0.5
    brightness = picture[0].flatten(1)[:, window.index[0]].mean(0)
    rim = photo.posed[0, list(eye.iris_rim), :2]
    radius = (rim[0] - rim[2]).norm() / 2
    iris = between & ((window.pixels[0] - photo.posed[0, eye.pupil, :2]).norm(dim=-1) < 0.6 * radius)
    if not iris.any():
        return 0.0, 0.0
    darkest, whites = torch.quantile(brightness[between], torch.tensor([PUPIL, 0.9], device=picture.device))
    return float(brightness[iris].median() / whites.clamp(min=0.05)), float(darkest)
