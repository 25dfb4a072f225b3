"""The lower teeth of a photo whose lips are apart: those that it shows alone, and those below the upper ones."""

from dataclasses import dataclass

import numpy as np
import torch

from space_core.face.luminance import LUMINANCE
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.dental_arch import TEETH_BEHIND_LIPS, on_arch
from space_core.generator.mesh_warp.depiction import saturation
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.opening_mask import opening_in_photo
from space_core.generator.mesh_warp.sampling import sample
from space_core.generator.mesh_warp.upper_row import UpperRow, enamel_in_light

MIDDLE = slice(3, 8)  # points of the inner lips, the middle third of the mouth
STEPS = 40  # places from the upper lip to the lower one
# The row is that much brighter and paler than the lips; than pale lips, as those of black-and-white photos, brighter.
BRIGHTER, PALER, BRIGHTER_THAN_PALE, PALE_LIPS = 1.05, 0.85, 1.3, 0.2
# It begins where that share of its brightness is reached, so far below the upper lip at least, or that share of the
# opening. Above it is somewhere darker than the last share of its brightness.
ROW_BEGINS, MIN_DARK, DARK = 0.6, (2 * MILLIMETRE, 0.2), 0.45
LIP_EDGE = 1.2 * MILLIMETRE  # so far beside a tracked lip there may still be lip
LIT_SHARE = 0.3  # of it, the brightest, lies in full light
# A row below an upper one: how far it is at least from that and from the lower lip, whose colours its pixels share
# there; how high it is at least, in that share of the columns.
BETWEEN_ROWS, ROW_ABOVE_LIP, LOWER_HEIGHT, LOWER_SHARE = 0.6 * MILLIMETRE, 0.8 * MILLIMETRE, 1.5 * MILLIMETRE, 0.6


@dataclass(frozen=True)
class LowerRow:
    """A row of lower teeth in a photo.

    Attributes:
        top: normalized y of its biting edge.
        height: normalized, of what is seen of it.
        colour: (3,) float32 of it in full light, 0…1.
    """

    top: float
    height: float
    colour: np.ndarray


@dataclass(frozen=True)
class RowBelow:
    """The lower teeth of a photo that shows upper ones as well.

    Attributes:
        edge: normalized y of the incisors' edge.
        light: their brightness, relative to that of the upper ones.
    """

    edge: float
    light: float


def find_lower_row(picture: torch.Tensor, photo: FaceMotion, lips: np.ndarray) -> LowerRow | None:
    """The row that a picture shows alone: above it, it is dark as far as the upper lip.

    The picture (1, 3, h, w), 0…1, is on the host, the landmarks are in its pixels, ``lips`` (3,) is their colour.
    """
    normalized = photo.host.normalized[0]
    upper, lower = (normalized[list(lip[MIDDLE]), 1].mean() for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    opening = float(lower - upper)
    if opening <= MIN_DARK[0] + LIP_EDGE:
        return None
    edges = (photo.posed[0, list(lip[MIDDLE]), None, :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    down = torch.linspace(0, 1, STEPS)
    places = torch.lerp(*edges, down[:, None])  # (5, STEPS, 2)
    colours = sample(picture, places[None])[0].numpy()
    profile = colours.mean(1)  # (3, STEPS)
    brightness = LUMINANCE @ profile
    brightest = int(brightness.argmax())
    row = brightness[brightest]
    if not _is_teeth(profile[:, brightest], lips):
        return None
    begins = int((brightness > ROW_BEGINS * row).argmax())
    dark = begins / (STEPS - 1) * opening
    if dark < max(MIN_DARK[0], MIN_DARK[1] * opening) or brightness[:begins].min() > DARK * row:
        return None
    # In every column, what has begun goes on to the lower lip; upper teeth end before.
    edge = round(LIP_EDGE / opening * (STEPS - 1))
    columns = (LUMINANCE @ colours.transpose(1, 0, 2))[:, edge:-edge]
    begun = np.maximum.accumulate(columns > ROW_BEGINS * row, axis=1)
    if brightness[-1 - edge] < ROW_BEGINS * row or (begun & (columns < DARK * row)).any():
        return None
    # Upper teeth that touch the lower lip end there, too, and below their edge there is lip.
    if brightest < STEPS - 1 - edge and brightness[-1 - edge] < LUMINANCE @ lips:
        return None
    of_row = colours[:, :, begins:].reshape(3, -1)
    white = of_row.min(0)
    lit = of_row[:, white >= np.quantile(white, 1 - LIT_SHARE)].mean(1)
    return LowerRow(float(upper) + dark, opening - dark, lit)


def _is_teeth(colour: np.ndarray, lips: np.ndarray) -> bool:
    """Whether a colour (3,) is that of teeth beside lips of a colour (3,)."""
    of_lips, brighter = saturation(lips), LUMINANCE @ colour / max(LUMINANCE @ lips, 0.05)
    if of_lips < PALE_LIPS:
        return bool(brighter > BRIGHTER_THAN_PALE)
    return bool(brighter > BRIGHTER and saturation(colour) < PALER * of_lips)


def find_row_below(picture: torch.Tensor, photo: FaceMotion, upper: UpperRow) -> RowBelow | None:
    """The lower teeth in a picture (1, 3, h, w), 0…1, that shows an ``upper`` row as well.

    None if they are not seen: there are no teeth in most columns of the middle of the mouth, below the upper ones and
    a line between them.
    """
    scale = float(photo.scale)
    window, opening = opening_in_photo(picture, photo, INNER_UPPER_LIP, INNER_LOWER_LIP)
    seen = picture[window.part]
    teeth = (upper.likeness[0][window.part] > 0.5) & (opening.coverage > 0.5)
    shown, rows = upper.mask[0][window.part] > 0.5, window.pixels[..., 1]
    below = rows - torch.where(shown, rows, -torch.inf).amax(1, keepdim=True)
    teeth &= (below > BETWEEN_ROWS * scale) & (opening.above_lower > ROW_ABOVE_LIP * scale)
    lower = teeth[None].float()
    first, last = (
        round(float(photo.posed[0, INNER_UPPER_LIP[at], 0])) - window.corner[0, 0]
        for at in (MIDDLE.start, MIDDLE.stop - 1)
    )
    shown, teeth, rows = (values[0, :, first:last] for values in (shown, teeth, rows))
    has = shown.any(0)
    heights = teeth.sum(0)
    columns = has & (heights > LOWER_HEIGHT * scale)
    if not has.any() or float(columns.sum() / has.sum()) < LOWER_SHARE:
        return None
    # Measured from below, as pixels next to the upper row may look like teeth, too.
    edge = (torch.where(teeth, rows, -torch.inf).amax(0) - heights + 1)[columns].median()
    place = torch.stack([photo.posed[0, INNER_UPPER_LIP[5], 0], edge])[None, None, None]
    depth = float(photo.host.normalized[0, INNER_UPPER_LIP[5], 2]) + TEETH_BEHIND_LIPS
    light = enamel_in_light(seen, lower).mean() / enamel_in_light(picture, upper.mask).mean().clamp(min=0.05)
    return RowBelow(float(on_arch(photo, place, depth)[0, 0, 0, 1]), float(light))
