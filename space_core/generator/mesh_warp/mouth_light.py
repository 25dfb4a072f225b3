"""Colours of teeth, gums and tongue, and the light on them, estimated from a photo's face."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.luminance import LUMINANCE
from space_core.face.topology import (
    EYES,
    INNER_LOWER_LIP,
    NUM_SURFACE_POINTS,
    OUTER_LOWER_LIP,
    face_normals,
)
from space_core.generator.mesh_warp.depiction import Depiction, difference_of_shares, estimate_depiction
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.opening_mask import opening_in_photo
from space_core.generator.mesh_warp.sampling import downsampled

CHEEKS = [50, 280, 205, 425, 187, 411]
# Enamel in white light, relative to white, and the powers to which the blue of the eyes' whites, relative to their red,
# enters its red, green and blue; a fit to the teeth that photos show. Cameras balance white, so little of it does.
IVORY, CAST = np.array([0.96, 0.909, 0.9], np.float32), np.array([0.0, 0.22, 0.47], np.float32)
# White in the photo's light, from what is seen of it, by the same fit: a power, as what is seen is partly shade, and at
# most so many times what is seen.
WHITE, WHITE_POWER, MAX_WHITE = 1.12, 0.57, 1.9
WHITEST = 0.9  # quantile of brightness between the lids
# The brightest skin, so much of it, shows the light's colour: in pictures of much contrast what is darker is redder.
BRIGHTEST_SKIN = 0.2
# Lips reflect their colour on teeth: that power of the lips' shares of red, green and blue, relative to the skin's and
# between these limits.
LIPS_TINT, LEAST_TINT, MOST_TINT = 0.2, 0.8, 1.15
NECK = np.array([0.88, 0.81, 0.72], np.float32)  # of a tooth, relative to its crown
# Skin in white light, relative to its red. Where a picture's skin lacks more blue or green than the first of the shares
# below, as in varnished paintings, all of the picture does: from the second share on its teeth lack as much. Where the
# eyes' whites have the skin's shares of red, green and blue (differing in sum by this), the third is enough.
SKIN, TINTED, TINTED_WITH_EYES = np.array([1.0, 0.74, 0.6], np.float32), (0.15, 0.45), 0.23
SAME_SHARES = (0.03, 0.06)
# In toned photographs, as sepia ones, brightness decides the shares of red, green and blue, up to this (the root mean
# square deviation from a cubic in pixels reduced so many times, the darkest left out). All flesh has such shares, then.
TONED, TONED_REDUCTION, DARKEST_TONED = (0.012, 0.019), 8, 0.1
MIN_SHARE = 0.05  # of red, green or blue, relative to the brightness of a tone
BRIGHTEST_TONED = 0.02  # so much of such a picture is brighter than all whose tone is told
SHADED = 0.5  # of teeth's light, what is left in a shade in which their tone is told as well
FLESH = np.array([0.92, 0.53, 0.53], np.float32)
# So much of the lips' colour is in that of flesh; none of it where a cartoon's lips are not drawn: where they are no
# redder, by red over green, than its skin, or by less than the second of these factors.
LIPS_IN_FLESH, DRAWN_LIPS = 0.6, (1.0, 1.15)
# Light falls deep into a mouth by way of its flesh, which reddens it: exponents of the light that is left.
REDDENING = np.array([0.88, 1.18, 1.18], np.float32)
FLESH_REDDENING = 0.6  # flesh behind the teeth is redder by that share of these powers: it is red itself
# A tongue is bluer than the lips: factors of flesh in a picture with colours.
TONGUE_TINT = np.array([0.98, 1.0, 1.05], np.float32)
DEPTH = 0.15  # of the light is left in the depth of a mouth
STONE_FLESH = 0.85  # a statue's gums and tongue, relative to its skin
# Those of a varnished painting, whose colours are alike, relative to a photo's: only brightness tells them from teeth.
VARNISHED_FLESH = 0.62
# The depth of a statue's mouth, or of a varnished one's, is as dark as this quantile of its face, relative to its skin.
DEEPEST, SHADE = 0.03, (0.12, 0.45)
MIN_LIGHT, MAX_LIGHT = 0.45, 1.25  # on a surface, relative to one that faces the viewer
TOWARDS_VIEWER = np.array([0.0, 0.0, -1.0], np.float32)
OUTLIERS = 1.5  # standard deviations from the fit; points of brows, lips and shadows lie beyond


@dataclass(frozen=True)
class MouthColours:
    """Colours (3,) float32 in the photo's light, 0…1: of teeth, lips, gums, tongue and the mouth's depth.

    Those of teeth are ``enamel`` at the biting edge and ``neck`` at the gum. ``depiction`` says what they are for,
    ``shade`` how much light is left in the deepest shade of a mouth of stone or varnish; 0 of all other portraits'.
    ``reddening`` is the power to which the light that reaches a place inside is raised.
    """

    enamel: np.ndarray
    neck: np.ndarray
    lips: np.ndarray
    gums: np.ndarray
    tongue: np.ndarray
    depths: np.ndarray
    depiction: Depiction
    shade: float
    reddening: np.ndarray


@dataclass(frozen=True)
class FaceLight:
    """The light on a face: linear in the normal of a surface; 1 on a surface that faces the viewer.

    Attributes:
        slope: (3,) float32 change of brightness along x, y and z of the normal.
        highlight: (3,) float32 unit normal of the surfaces that reflect the light to the viewer.
    """

    slope: np.ndarray
    highlight: np.ndarray

    def on(self, normals: np.ndarray) -> np.ndarray:
        """(…) brightness of surfaces with unit normals (…, 3) in the picture's axes."""
        return (1 + (normals - TOWARDS_VIEWER) @ self.slope).clip(MIN_LIGHT, MAX_LIGHT)


def estimate_light(picture: torch.Tensor, photo: FaceMotion) -> FaceLight:
    """The light on the face of a picture (1, 3, h, w), 0…1, with these landmarks in its pixels."""
    normals = face_normals(photo.host.posed[0, :NUM_SURFACE_POINTS].astype(np.float64))
    brightness = LUMINANCE @ _surface_colours(picture, photo)
    kept = normals[:, 2] < -0.3
    terms = np.concatenate([np.ones((len(normals), 1)), normals], 1)
    for _ in range(3):
        # Slopes are drawn to zero where the face's normals leave them open.
        ridge = np.diag([0, 1, 1, 1]) * 0.02 * kept.sum()
        fit = np.linalg.solve(terms[kept].T @ terms[kept] + ridge, terms[kept].T @ brightness[kept])
        error = np.abs(terms @ fit - brightness)
        kept &= error < OUTLIERS * max(float(error[kept].std()), 1e-3)
        if kept.sum() < 50:
            break
    front = max(float(fit[0] - fit[3]), 0.05)
    slope = (fit[1:] / front).clip(-0.9, 0.9).astype(np.float32)
    # Light that comes from above and from where the face is bright.
    source = slope + np.array([0.0, -0.5, -1.0], np.float32)
    highlight = source / np.linalg.norm(source) + TOWARDS_VIEWER
    return FaceLight(slope, (highlight / np.linalg.norm(highlight)).astype(np.float32))


def estimate_colours(picture: torch.Tensor, photo: FaceMotion) -> MouthColours:
    """The colours of a mouth's inside, as the photo's light, palette and exposure show them or would.

    Of a picture (1, 3, h, w), 0…1, with these landmarks in its pixels.
    """
    whites = np.maximum(*(_colour_between(picture, photo, eye.upper_lid, eye.lower_lid, WHITEST) for eye in EYES))
    lips = _colour_between(picture, photo, INNER_LOWER_LIP, OUTER_LOWER_LIP, 0.5)
    surface = _surface_colours(picture, photo)
    skin = np.median(surface[:, CHEEKS], axis=1)
    # The light on the face shows where the skin is brightest: that holds for dark skin, too.
    highlight = np.quantile(LUMINANCE @ surface, 0.9)
    seen = max(whites @ LUMINANCE, 0.85 * highlight)
    light = float(min(WHITE * seen**WHITE_POWER, MAX_WHITE * seen))
    colourful = float(smoothstep((skin.max() - skin.min()) / max(skin.max(), 0.05), 0.04, 0.2))
    # A picture is tinted as far as both skin and whites say so: skin may be dark, and whites in the shade are bluish.
    tint, of_whites = skin / max(skin[0], 0.05) / SKIN, whites / max(whites[0], 0.05)
    cast = max(min(of_whites[2], max(tint[2], 1.0)), 0.05) ** CAST
    tint = np.maximum(tint, of_whites).clip(0.3, 1)
    differ = smoothstep(difference_of_shares(whites, skin), *SAME_SHARES)
    toned, tone = _toned(picture)
    tinted = smoothstep(1 - tint.min(), TINTED[0], TINTED_WITH_EYES + differ * (TINTED[1] - TINTED_WITH_EYES))
    shares = IVORY * cast ** (1 - 0.5 * tinted)
    grey_ivory = IVORY @ LUMINANCE
    shares = shares / (shares @ LUMINANCE) * grey_ivory
    enamel = light * (grey_ivory + colourful * (shares - grey_ivory)) * tint**tinted
    enamel = enamel * (1 + colourful * (_tint_of_lips(lips, skin) - 1))
    enamel = np.maximum(enamel, enamel[0] * _least_of_red(surface))
    enamel = enamel + toned * (enamel.mean() * tone(enamel.mean()) - enamel)
    enamel = enamel.clip(0, 1)  # the neck keeps its colour beside an overexposed crown
    depiction = estimate_depiction(picture, photo, skin, lips, tinted)
    on_paper = depiction.cartoon * (1 - colourful)  # a pencil draws nothing lighter than its paper
    paper = skin * (highlight / max(LUMINANCE @ skin, 0.05))
    enamel = enamel + on_paper * (np.minimum(enamel, np.maximum(paper, whites)) - enamel)
    # In a picture without colours, or of one colour, flesh is as dark as in one with them.
    grey = LUMINANCE @ FLESH * (1 + toned * (skin / max(LUMINANCE @ skin, 0.05) - 1))
    red = colourful * (1 - toned)
    own = LIPS_IN_FLESH * (1 - depiction.cartoon * (1 - smoothstep(_redness(lips) / _redness(skin), *DRAWN_LIPS)))
    flesh = own * lips + (1 - own) * light * (grey + red * (FLESH - grey)) * tint**depiction.varnish
    neck = enamel * (NECK.mean() + colourful * (NECK - NECK.mean()))
    neck = neck + depiction.cartoon * (enamel - neck)  # teeth of one colour
    reddening = 1 + red * (1 - depiction.stone) * (REDDENING - 1)
    # What is darker has another tone.
    darker = tone(SHADED * enamel.mean()) / tone(enamel.mean())
    reddening = reddening + toned * np.log(darker) / np.log(SHADED)
    gums, tongue = 0.85 * flesh, 0.85 * flesh * (1 + red * (TONGUE_TINT - 1))
    colours = (enamel, neck, lips, gums, tongue, flesh * DEPTH ** (1 + FLESH_REDDENING * (reddening - 1)))
    shade = float((np.quantile(LUMINANCE @ surface, DEEPEST) / max(LUMINANCE @ skin, 0.05)).clip(*SHADE))
    stone = (skin, skin, lips, STONE_FLESH * skin, STONE_FLESH * skin, shade * skin)
    varnished = (*colours[:3], *(VARNISHED_FLESH * colour for colour in colours[3:5]), shade * skin)
    for share, others in ((depiction.varnish, varnished), (depiction.stone, stone)):
        colours = tuple(colour + share * (other - colour) for colour, other in zip(colours, others, strict=True))
    enamel, neck, lips, gums, tongue, depths = (colour.clip(0, 1).astype(np.float32) for colour in colours)
    shade *= max(depiction.stone, depiction.varnish)
    return MouthColours(enamel, neck, lips, gums, tongue, depths, depiction, shade, reddening)


def _redness(colour: np.ndarray) -> np.floating:
    """Red over green of a colour (3,)."""
    return colour[0] / max(colour[1], 0.05)


def _tint_of_lips(lips: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(3,) factors of the red, green and blue light on teeth that lips of a colour (3,), not the skin, surround."""
    of_lips, of_skin = ((colour / max(colour.mean(), 0.05)).clip(0.05) for colour in (lips, skin))
    return (of_lips / of_skin).clip(LEAST_TINT, MOST_TINT) ** LIPS_TINT


def _least_of_red(surface: np.ndarray) -> np.ndarray:
    """(3,) what enamel's red, green and blue are of its red, at least, beside the skin of a ``surface`` (3, N)."""
    brightness = LUMINANCE @ surface
    brightest = np.median(surface[:, brightness >= np.quantile(brightness, 1 - BRIGHTEST_SKIN)], axis=1)
    return (brightest / max(brightest[0], 0.05)).clip(max=1) * IVORY / IVORY[0]


def _toned(picture: torch.Tensor) -> tuple[float, Callable[[float], np.ndarray]]:
    """How far a picture (1, 3, h, w), 0…1, is one of a single tone, or of none, 0…1, and that tone.

    It is the colour (3,) of what has a given brightness, relative to that.
    """
    colours = downsampled(picture[0], TONED_REDUCTION).flatten(1).T.numpy().astype(np.float64)
    brightness = colours.mean(1)
    seen = brightness > DARKEST_TONED
    if not seen.any():
        return 0.0, lambda _: np.ones(3)
    brightness, colours = brightness[seen], colours[seen]
    shares = colours / colours.sum(1, keepdims=True)
    terms = np.vander(brightness, 4)
    cubic = np.linalg.lstsq(terms, shares)[0]
    deviation = np.sqrt(np.square(shares - terms @ cubic).sum(1).mean())
    known = DARKEST_TONED, float(np.quantile(brightness, 1 - BRIGHTEST_TONED))

    def tone(of: float) -> np.ndarray:
        return (3 * np.vander([np.clip(of, *known)], 4)[0] @ cubic).clip(MIN_SHARE)

    return float(1 - smoothstep(deviation, *TONED)), tone


def _colour_between(
    picture: torch.Tensor, photo: FaceMotion, upper: tuple, lower: tuple, quantile: float
) -> np.ndarray:
    """(3,) the colour at that quantile of brightness between two curves of the photo."""
    window, opening = opening_in_photo(picture, photo, upper, lower)
    between = window.index[opening.coverage > 0.5]
    colours = picture[0].flatten(1)
    colours = colours[:, between] if len(between) else colours
    brightness = colours.mean(0)
    order = brightness.argsort()
    middle = round(quantile * (len(order) - 1))
    near = order[max(middle - len(order) // 10, 0) : middle + len(order) // 10 + 1]
    return colours[:, near].mean(1).numpy()


def _surface_colours(picture: torch.Tensor, photo: FaceMotion) -> np.ndarray:
    """(3, 468) the photo's colours at the points of the face's surface."""
    x, y = (
        photo.posed[0, :NUM_SURFACE_POINTS, axis].round().long().clamp(0, picture.shape[3 - axis] - 1)
        for axis in (0, 1)
    )
    return picture[0, :, y, x].numpy()
