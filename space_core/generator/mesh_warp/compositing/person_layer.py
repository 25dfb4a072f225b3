"""The person as a layer with premultiplied alpha, cut out of the photo in front of its background.

What the layer adds to the background may be negative where a mask is soft, so it holds that with an offset, ``BIAS``.
"""

from functools import reduce

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.background import Background
from space_core.generator.mesh_warp.face_motion import PixelTransform
from space_core.generator.mesh_warp.parallel import map_parts
from space_core.generator.mesh_warp.sampling import REACH_OF_DOUBLE, double, grid_of, sample

# Subtracted from the background, and added to the layer as far as the background is seen: it keeps the layer in 0…255.
BIAS = 96
# What is in front of the background has a colour of its own, in 0…255 or beyond it by no more than that: grain is less.
BEYOND = 16
# By the background's colour, the shares 1/x of what is in front that make the picture x darker, or lighter.
DARKER, LIGHTER = (1 / (np.arange(256, dtype=np.float32)[::step] + BEYOND) for step in (1, -1))
CHUNK_ROWS = 64  # of a layer that are made at once


def cut_out(
    picture: np.ndarray,
    behind: Background,
    to_surroundings: PixelTransform,
    corner: np.ndarray,
    continued: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts the person out of a picture.

    Args:
        picture: (H, W, 3) uint8.
        behind: the background, and where the person hides it.
        to_surroundings: from pixels of the film to those of the surroundings.
        corner: (2,) x and y of the picture's first pixel, in pixels of the film.
        continued: so many columns at the left, rows at the top and columns at the right show the person before the
            background; the others are as they are.

    Returns:
        The person as a layer (H, W, 4) uint8; the background (H, W, 3) uint8; and how much the layer changes it, (H, W)
        uint8.
    """
    soft = torch.cat([behind.shows, behind.known, behind.unknown], 1)
    is_layer = (torch.minimum(behind.shows, behind.known)[0, 0] < 1).numpy()
    height, width = picture.shape[:2]
    left, above, right = continued
    background, layer = np.empty((height, width, 3), np.uint8), np.empty((height, width, 4), np.uint8)
    effect = np.empty((height, width), np.uint8)
    values = np.arange(256)[None, :, None]
    changes = np.abs(values - [BIAS, BIAS, BIAS, 255]).astype(np.uint8)  # of the background, by values of the layer
    first, scale = to_surroundings(corner), to_surroundings.scale

    def cut_rows(top: int) -> None:
        bottom = min(top + CHUNK_ROWS, height)
        # Beside the columns between which there is some of the person, all is background.
        background[top:bottom], layer[top:bottom], effect[top:bottom] = picture[top:bottom], (*[BIAS] * 3, 255), 0
        begin, end = _columns_of_layer(is_layer, first, scale, (top, bottom), width)
        if begin == end:
            return
        part = np.s_[top:bottom, begin:end]
        x, y = (torch.arange(*ends, dtype=torch.float32) * scale for ends in ((begin, end), (top, bottom)))
        fields = sample(soft, grid_of(x + float(first[0]), y + float(first[1])))[0]
        ends = max(left - begin, 0), max(above - top, 0), max(end - (width - right), 0)
        background[part], layer[part] = _cut_part(picture[part], fields, ends)
        effect[part] = reduce(cv2.max, cv2.split(cv2.LUT(layer[part], changes)))

    map_parts(cut_rows, range(0, height, CHUNK_ROWS))
    return layer, background, effect


def _cut_part(
    picture: np.ndarray, fields: torch.Tensor, continued: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The background (h, w, 3) and the person's layer (h, w, 4) of a part of a picture (h, w, 3), all uint8.

    Args:
        fields: (5, h, w) ``shows``, ``known`` and ``unknown`` of the background at the part's pixels.
        continued: see ``cut_out``, of this part.
    """
    own = torch.from_numpy(picture.copy()).permute(2, 0, 1).float()
    bare = (own * fields[1] + fields[2:] * 255).round_().clamp_(0, 255)
    background = cv2.merge(list(bare.byte().numpy()))
    if any(continued):
        before = torch.lerp(own, bare, fields[0])
        left, above, right = continued
        for more in (np.s_[..., :left], np.s_[:, :above], np.s_[..., own.shape[2] - right :]):
            own[more] = before[more]
    colours = own.round().byte().permute(1, 2, 0).numpy()
    biased = np.subtract(background, BIAS, dtype=np.int16)
    shows = (fields[0] * 255).round_().byte().numpy()
    return background, premultiplied(colours, biased, cv2.min(shows, _seen_at_most(colours, background)))


def _seen_at_most(colours: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(h, w) uint8 the greatest share of a background (h, w, 3) that is seen in a picture of colours (h, w, 3).

    What is in front makes them differ, and its own colour is limited. Something that merely added the difference would
    be black, or brighter than white, before another background.
    """
    darker, lighter = cv2.subtract(background, colours), cv2.subtract(colours, background)
    shares = (
        cv2.multiply(difference, cv2.LUT(background, table), scale=255, dtype=cv2.CV_8U)
        for difference, table in ((darker, DARKER), (lighter, LIGHTER))
    )
    return cv2.bitwise_not(reduce(cv2.max, cv2.split(cv2.max(*shares))))


def _columns_of_layer(
    is_layer: np.ndarray, first: np.ndarray, scale: float, rows: tuple[int, int], width: int
) -> tuple[int, int]:
    """The columns of a picture, first and end, between which some of its rows, first and end, show the person.

    Args:
        is_layer: (640, 640) bool, where the surroundings show the person.
        first: (2,) x and y of the picture's first pixel in the surroundings.
        scale: pixels of the surroundings per pixel of the picture.
        width: of the picture.
    """
    low, high = np.clip(first[1] + scale * np.array([rows[0] - 1, rows[1]]), 0, len(is_layer) - 1)
    columns = np.flatnonzero(is_layer[int(low) : int(np.ceil(high)) + 1].any(0))
    if not len(columns):
        return 0, 0
    begin, end = ((columns[[0, -1]] + (-1, 1) - first[0]) / scale).clip(0, width)
    return int(begin), int(np.ceil(end))


def premultiplied(colours: np.ndarray, behind: np.ndarray, shows: np.ndarray) -> np.ndarray:
    """(h, w, 4) uint8 the layer that, in front of a background, gives the colours (h, w, 3) to the bit.

    ``behind`` (h, w, 3) int16 is the background less ``BIAS``, ``shows`` (h, w) uint8 the share of it that is seen. It
    is reduced where the layer would leave 0…255: a colour is much darker, or much lighter, than that share of the
    background would leave it.
    """
    room = np.where(behind > 0, colours, 255 - colours).astype(np.float32)
    most = reduce(cv2.min, cv2.split(room * 255 / np.maximum(np.abs(behind), 1)))
    share = np.minimum(shows, most).astype(np.uint8)
    seen = cv2.multiply(behind, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB).astype(np.int16), scale=1 / 255)
    return cv2.merge([cv2.subtract(colours, seen, dtype=cv2.CV_8U), share])


def outline_cells(layer: np.ndarray, reach: int, density: int, cell: int) -> np.ndarray:
    """(r, c) float32, the share of the background over a layer (h, w, 4), reaching into the person; 0…1.

    Args:
        reach: by how much, pixels of the film.
        density: pixels of the layer per pixel of the film.
        cell: side of the cells, pixels of the film.
    """
    side = (2 * reach + 1, 2 * reach + 1)
    share = np.ascontiguousarray(layer[::density, ::density, 3])
    wide = cv2.blur(cv2.dilate(share, np.ones(side, np.uint8)), side)
    size = -(-wide.shape[1] // cell), -(-wide.shape[0] // cell)
    return cv2.resize(wide, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def doubled_layer(layer: np.ndarray) -> np.ndarray:
    """A layer (h, w, 4) uint8 with a pixel between every two: colours sharp, share bilinear, (2h − 1, 2w − 1, 4)."""
    height, width = layer.shape[:2]
    doubled = np.empty((2 * height - 1, 2 * width - 1, 4), np.uint8)
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]])

    def double_rows(top: int) -> None:
        bottom, before = min(top + CHUNK_ROWS, height), min(top, REACH_OF_DOUBLE)
        rows = np.s_[2 * top : min(2 * bottom, len(doubled))]
        size = (doubled.shape[1], rows.stop - rows.start)
        colours = double(layer[top - before : bottom + REACH_OF_DOUBLE, :, :3].astype(np.float32) / 255)
        colours = cv2.convertScaleAbs(colours[2 * before :][: size[1]], alpha=255)
        share = cv2.warpAffine(layer[top : bottom + 1, :, 3], half, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        doubled[rows] = cv2.merge([colours, share])

    map_parts(double_rows, range(0, height, CHUNK_ROWS))
    return doubled
