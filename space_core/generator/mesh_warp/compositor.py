"""Draws the moving person into a film's picture, of any size: a square crop or a whole photo.

The person is a layer with premultiplied alpha in front of a background that stands still. What the layer adds to the
background may be negative where a mask is soft, so it holds that with an offset, ``BIAS``. A coarse grid holds for each
of its cells which place of the layer is seen there; it is upsampled, and the layer is sampled through it. On a CPU that
is done in eight bits by OpenCV, in tiles, and only where something differs from the picture at rest; on other devices
in torch, everywhere, without a value that the host would wait for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.canvas import Canvas
from space_core.face.portrait import MARGIN, SIZE
from space_core.generator.mesh_warp.face_motion import PixelTransform
from space_core.generator.mesh_warp.far_side import LIGHT_CELL
from space_core.generator.mesh_warp.frame_memory import FrameMemory
from space_core.generator.mesh_warp.sampling import double, grid_of, sample
from space_core.smoothstep import smoothstep

# A layer of at most so many pixels is kept at twice its resolution, and a larger one up to the second number is sampled
# bicubically, so that moving pixels stay as sharp as still ones. In still larger pictures nobody sees the difference.
DOUBLED_PIXELS, BICUBIC_PIXELS = 1_800_000, 6_000_000
CELL = 2  # side of a grid's cell in pixels of the portrait's crop
# Subtracted from the background, and added to the layer as far as the background is seen: it keeps the layer in 0…255.
BIAS = 96
NEGLIGIBLE = 2  # of 255; a layer that changes the background by no more is not drawn on a CPU
TILE = (64, 1024)  # height and width in pixels of the parts in which a frame is drawn on a CPU: they stay in its cache
CHUNK_ROWS = 256  # of a layer that are made at once
# An edge in front of something else is drawn sharp where neighbouring cells see places of the photo so many pixels of
# the crop further apart than themselves. Places between those would show as a line, for example along the far cheek.
JUMP = 8.0
FOLD_CELLS = 2  # around such an edge that are drawn so
EDGE_STEEPNESS = 3.0  # of the front's share at an edge, as a multiple of that of the mean of 3 × 3 cells
# A cell that sees less of the photo than the second share of what it saw at rest sees it stretched, and wholly so if it
# sees less than the first. That is averaged over so many cells around each; more than so large a share is a jump.
STRETCHED, STRETCHED_CELLS, JUMPING = (0.4, 0.8), 3, 3.0
# The mirrored near side is drawn over the person so far inwards of the outline, pixels of the crop: the outline itself,
# some of which is background; and where it is stretched.
OUTLINE, STRETCHED_OUTLINE = 3, 10
IN_FACE = (0.85, 1.0)  # of a share: outside … inside of the face

cv2.setNumThreads(1)  # each core draws a batch of its own


@dataclass(frozen=True)
class Grid:
    """Square cells over the part of a film's picture that may move.

    Attributes:
        left, top: of the first cell, in pixels of the film.
        width, height: of the part, in pixels of the film.
        cell: their side, pixels of the film; the last ones may reach beyond the part.
    """

    left: int
    top: int
    width: int
    height: int
    cell: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.cell)

    @property
    def rows(self) -> int:
        return -(-self.height // self.cell)

    @property
    def first_centre(self) -> np.ndarray:
        """(2,) x and y of the first cell's centre, in pixels of the film."""
        return np.array([self.left, self.top]) + (self.cell - 1) / 2

    def centres(self, pad: int = 0) -> torch.Tensor:
        """(1, rows + 2 · pad, columns + 2 · pad, 2) the cells' centres, in pixels of the film."""
        x, y = (
            torch.arange(-pad, count + pad, dtype=torch.float32) * self.cell + float(first)
            for count, first in zip((self.columns, self.rows), self.first_centre, strict=True)
        )
        return grid_of(x, y)


@dataclass(frozen=True)
class FarLayer:
    """What a layer (h, w, 4) shows on the far side of a turned face.

    Attributes:
        layer: (h, w, 4) uint8, the layer as lit where it is seen mirrored.
        outline: (1, 2, r, c) float32, the share of the background over the layer, in cells of the grid's size, 0…1: it
            reaches into the person by ``OUTLINE`` and by ``STRETCHED_OUTLINE``.
        alike: (1, 1, r, c) float32, likewise, 1 where both sides look alike … 0 where they do not.
    """

    layer: torch.Tensor
    outline: torch.Tensor
    alike: torch.Tensor


@dataclass(frozen=True)
class PreparedCanvas:
    """What every frame on a canvas needs.

    Attributes:
        grid: the cells in which the motion is given.
        still: (H, W, 3) uint8, the picture at rest.
        background: (height, width, 3) int16, the grid's part of the picture without the person, less ``BIAS``.
        layer: (h, w, 4) uint8, what the person adds to the background's share, and that share: 255 where only the
            background is seen, 0 where only the person is.
        far: what it shows mirrored, if the photo hides a side of the face; or None.
        corner: (2,) x and y of the layer's first pixel, in pixels of the film.
        density: 2 where the layer has a pixel between every two of the film's, or 1.
        bicubic: whether it is sampled bicubically.
        effect: (rows, columns) uint8, how much the layer changes the background in each cell and its neighbours, on the
            host.
        centres: (1, rows + 2, columns + 2, 2) float32, the cells' centres with one more around, in pixels of the film.
        middle: (2,) float32, the middle of the face in the photo, in pixels of the film.
        jump: see ``JUMP``, in pixels of the film.
    """

    grid: Grid
    still: torch.Tensor
    background: torch.Tensor
    layer: torch.Tensor
    far: FarLayer | None
    corner: np.ndarray
    density: int
    bicubic: bool
    effect: np.ndarray
    centres: torch.Tensor
    middle: torch.Tensor
    jump: float


@dataclass(frozen=True)
class Fold:
    """A window of cells in which parts of the person lie in front of others, for each of a few frames.

    Attributes:
        top, left: the first cell, counted with one more around the grid.
        front: (B, r, c, 2) places that are seen in front of an edge, continued beyond it by the outermost.
        behind: (B, r, c, 2) places that are seen behind it, continued by their offsets.
        share: (B, r, c) 0 where what is behind is seen … 1 what is in front.
        near: (B, r, c) 1 near an edge, 0 where there is none.
    """

    top: int
    left: int
    front: torch.Tensor
    behind: torch.Tensor
    share: torch.Tensor
    near: torch.Tensor


@dataclass(frozen=True)
class FarView:
    """A window of cells in which the far side of the face is seen, for each of a few frames.

    Attributes:
        top, left: the first cell, counted with one more around the grid.
        places: (B, r, c, 2) of the far layer, pixels of the film.
        weights: (B, r, c, 4) 0…1: where the far side may be seen at all; where it is known, and not only to be hidden;
            where it is seen although there is the person's outline; and although there is the person.
    """

    top: int
    left: int
    places: torch.Tensor
    weights: torch.Tensor


def film_transform(canvas: Canvas) -> PixelTransform:
    """From pixels of the portrait's crop to pixels of the film."""
    scale, shown = canvas.crop.scale, np.array(canvas.shown[:2])
    return PixelTransform(scale, 0.5 * scale + canvas.crop.origin - 0.5 - shown)


def prepare_canvas(
    canvas: Canvas,
    middle: np.ndarray,
    shows: torch.Tensor,
    known: torch.Tensor,
    unknown: torch.Tensor,
    light: np.ndarray | None,
) -> PreparedCanvas:
    """Prepares a canvas.

    Args:
        canvas: what the film shows.
        middle: (2,) of the face in the photo, in pixels of the film.
        shows: (1, 1, 640, 640) over the portrait's surroundings, where the background is seen: 0 person … 1 background.
        known: (1, 1, 640, 640) where the photo itself shows what the background is like, 0…1.
        unknown: (1, 3, 640, 640) the background's colours where it does not, 0…1, times 1 − ``known``.
        light: (160, 160, 4) how the far side is lit, see ``far_light``; None if the photo shows both sides.
    """
    to_film = film_transform(canvas)
    left, top, width, height = canvas.shown
    shown, edges = np.array([left, top]), np.array(canvas.picture.shape[1::-1])
    # The pixels whose centres lie in the surroundings.
    first, last = (to_film(np.full(2, float(end))) + shown for end in (-MARGIN, SIZE + MARGIN - 1))
    low = np.ceil(first - 1e-6).astype(int).clip(0)
    high = np.minimum(np.floor(last + 1e-6).astype(int) + 1, edges)
    picture, corner = canvas.picture[low[1] : high[1], low[0] : high[0]], low - shown

    density = 2 if picture[..., 0].size <= DOUBLED_PIXELS else 1
    soft = torch.cat([shows, known, unknown], 1)
    to_surroundings = to_film.inverse().then(PixelTransform(1.0, np.full(2, float(MARGIN))))
    continued = max(0, canvas.continued - int(low[1]))
    layer, background, effect = _cut_out(picture, soft, to_surroundings, corner, continued)
    seen_low, seen_high = corner.clip(0), np.minimum(high - shown, [width, height])
    own = np.s_[seen_low[1] - corner[1] : seen_high[1] - corner[1], seen_low[0] - corner[0] : seen_high[0] - corner[0]]
    cell = max(1, round(CELL * to_film.scale))
    grid = Grid(*seen_low.tolist(), *(seen_high - seen_low).tolist(), cell)
    # The whole photo's own memory, which nobody writes to, is used as it is.
    still = np.require(canvas.picture[top : top + height, left : left + width], requirements=["C", "W"])
    layer = doubled_layer(layer) if density == 2 else layer
    return PreparedCanvas(
        grid,
        *(torch.from_numpy(array) for array in (still, np.ascontiguousarray(background[own]), layer)),
        far=None if light is None else _far_layer(layer, light, to_surroundings, corner, density, cell),
        corner=corner,
        density=density,
        bicubic=density == 1 and picture[..., 0].size <= BICUBIC_PIXELS,
        effect=_cell_maximum(cv2.threshold(effect[own], NEGLIGIBLE, 0, cv2.THRESH_TOZERO)[1], grid),
        centres=grid.centres(pad=1),
        middle=torch.tensor(middle, dtype=torch.float32),
        jump=JUMP * to_film.scale,
    )


def compose(
    prepared: PreparedCanvas,
    offsets: torch.Tensor,
    shade: torch.Tensor | None,
    far: torch.Tensor | None = None,
    memory: FrameMemory | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws a few frames.

    Args:
        offsets: (B, rows, columns, 2) from each cell's centre to the place of the photo that is seen there, in pixels
            of the film; zero where nothing moves.
        shade: (B, 3, rows, columns) by which factor the layer's red, green and blue are darkened, 0…1, or None.
        far: (B, rows, columns, 5) likewise to the place whose mirror image may be seen instead, and ``hidden`` and
            ``kind`` of ``FarSide``; or None.
        memory: where a CPU's frames are taken from; by default it is fresh.

    Returns:
        Frames (B, H, W, 3) uint8, and the places that are seen, smoothed and with one more cell around,
        (B, rows + 2, columns + 2, 2) in pixels of the film.
    """
    places = prepared.centres + _smooth(offsets)
    if offsets.device.type == "cpu":
        return compose_in_opencv(prepared, places, shade, offsets, far, memory), places
    return compose_in_torch(prepared, places, shade, offsets, far), places


def _find_far_side(
    prepared: PreparedCanvas, places: torch.Tensor, offsets: torch.Tensor, far: torch.Tensor | None
) -> FarView | None:
    """Where the far side is seen, for arguments and places of ``compose``.

    On the CPU the window is as small as can be, or None where there is none; elsewhere it is the whole grid.
    """
    if far is None or prepared.far is None:
        return None
    top = left = 0
    if offsets.device.type == "cpu":
        hidden = far[..., 2].numpy() > 0
        rows, columns = (np.flatnonzero(hidden.any(axes)) for axes in ((0, 2), (0, 1)))
        if not len(rows):
            return None
        top, left = (max(int(used[0]) - 1, 0) for used in (rows, columns))
        window = np.s_[:, top : int(rows[-1]) + 2, left : int(columns[-1]) + 2]
        far, offsets = far[window], offsets[window]
    smoothed = _smooth(torch.cat([far, _stretched(offsets, prepared.grid.cell)], -1))
    window = np.s_[:, top : top + smoothed.shape[1], left : left + smoothed.shape[2]]
    hidden, known, in_face, stretched = smoothed[..., 2:].split(1, -1)
    mirrored = prepared.centres[window] + smoothed[..., :2]
    narrow, wide = _over_layer(prepared, prepared.far.outline, places[window]).split(1, -1)
    in_face = smoothstep(in_face, *IN_FACE)
    alike = 1 - in_face * (1 - _over_layer(prepared, prepared.far.alike, mirrored))
    worse = stretched * torch.maximum(wide, in_face)
    return FarView(top, left, places=mirrored, weights=torch.cat([hidden * alike, known, narrow, worse], -1))


def _over_layer(prepared: PreparedCanvas, cells: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, r, c, C) values (1, C, h, w), given over the whole layer, at places (B, r, c, 2) in pixels of the film."""
    where = [
        (places[..., axis] - float(prepared.corner[axis]) + 0.5)
        * (2 * prepared.density / (prepared.layer.shape[1 - axis] + prepared.density - 1))
        - 1
        for axis in (0, 1)
    ]
    cells = cells.expand(len(places), -1, -1, -1)
    found = F.grid_sample(cells, torch.stack(where, -1), padding_mode="border", align_corners=False)
    return found.permute(0, 2, 3, 1)


def _without_unused(prepared: PreparedCanvas, view: FarView) -> FarView:
    """The view of one frame, on the CPU, nothing hidden in cells that the far side doesn't change."""
    cells = _scaled(view.places[0].numpy(), prepared.grid.first_centre, 1 / prepared.grid.cell)
    person = cv2.remap(prepared.effect, cells, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) > 0
    narrow, worse = view.weights[0, ..., 2:].numpy().transpose(2, 0, 1)
    used = (worse > NEGLIGIBLE / 255) | (person & (narrow > 0))
    hidden = view.weights[..., :1] * torch.from_numpy(cv2.dilate(used.astype(np.uint8), np.ones((3, 3)))[..., None])
    return replace(view, weights=torch.cat([hidden, view.weights[..., 1:]], -1))


def _stretched(offsets: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, rows, columns, 1) 0 where cells see as much of the photo as at rest … 1 where they see far less of it."""
    wide = F.pad(offsets.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate") / (2 * cell)
    along = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]
    down = wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]
    area = (1 + along[:, 0]) * (1 + down[:, 1]) - along[:, 1] * down[:, 0]
    known = ((area > 0) & (area < JUMPING)).float()
    total = _box_sum(torch.stack([known * (1 - smoothstep(area, *STRETCHED)), known], 1), STRETCHED_CELLS)
    return (total[:, 0] / total[:, 1].clamp(min=1))[..., None]


def _smooth(cells: torch.Tensor) -> torch.Tensor:
    """(B, rows + 2, columns + 2, C) means of 3 × 3 cells: outlines in front of something else are smooth lines."""
    return (_smooth_in_opencv if cells.device.type == "cpu" else _smooth_in_torch)(cells)


def _smooth_in_torch(offsets: torch.Tensor) -> torch.Tensor:
    """See ``_smooth``."""
    wide = F.pad(offsets.permute(0, 3, 1, 2), (2, 2, 2, 2), mode="replicate")
    wide = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    return (wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]).permute(0, 2, 3, 1) / 9


def _smooth_in_opencv(offsets: torch.Tensor) -> torch.Tensor:
    """The same on the CPU, three times as fast."""
    around = cv2.BORDER_REPLICATE
    wide = (cv2.copyMakeBorder(frame, 1, 1, 1, 1, around) for frame in offsets.numpy())
    return torch.from_numpy(np.stack([cv2.blur(frame, (3, 3), borderType=around) for frame in wide]))


def _find_fold(prepared: PreparedCanvas, offsets: torch.Tensor) -> Fold | None:
    """Where parts of the person lie in front of others, for offsets (B, rows, columns, 2) of ``compose``.

    On the CPU the window is as small as can be, or None where there is no edge; elsewhere it is the whole grid.
    """
    on_cpu = offsets.device.type == "cpu"
    rows, columns = slice(0, offsets.shape[1] + 2), slice(0, offsets.shape[2] + 2)
    if on_cpu:
        # Edges are longer than that, so every so many'th row and column is enough to find them.
        step, margin, values = 2 * FOLD_CELLS, 4 * FOLD_CELLS, offsets.numpy()
        beside, below = (
            np.abs(line[after] - line[before]) > prepared.jump
            for line, after, before in (
                (values[:, ::step], np.s_[:, :, 1:], np.s_[:, :, :-1]),
                (values[:, :, ::step], np.s_[:, 1:], np.s_[:, :-1]),
            )
        )
        if not (beside.any() or below.any()):
            return None
        cells = np.concatenate(
            [np.argwhere(found.any((0, 3))) * scale for found, scale in ((beside, [step, 1]), (below, [1, step]))]
        )
        low, high = (cells.min(0) - margin + 1).clip(0).tolist(), (cells.max(0) + margin + 2).tolist()
        rows, columns = slice(low[0], min(high[0], rows.stop)), slice(low[1], min(high[1], columns.stop))
    padded = F.pad(offsets.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")[..., rows, columns].contiguous()
    centres = prepared.centres.permute(0, 3, 1, 2)[..., rows, columns]
    places = centres + padded
    # Heads are round: of two places that meet at an edge, that nearer to the middle of the face is in front.
    away = (places - prepared.middle[:, None, None]).norm(dim=1, keepdim=True)
    limits = torch.zeros_like(away).repeat(1, 2, 1, 1)  # the sum of what lies between both places, and its weight
    for axis in (2, 3):
        found = _jumps(padded, axis, prepared.jump).float()
        count = found.shape[axis]
        between = (away.narrow(axis, 0, count) + away.narrow(axis, 1, count)) / 2
        for start in (0, 1):
            limits.narrow(axis, start, count).add_(torch.cat([between * found, found], 1))
    limits = _box_sum(limits, FOLD_CELLS)
    near = (limits[:, 1:] > 0).float()
    front = near * (away * limits[:, 1:] < limits[:, :1])
    share = _box_sum(torch.cat([front, near], 1), 1)
    return Fold(
        top=rows.start,
        left=columns.start,
        front=_continued(places, front).permute(0, 2, 3, 1),
        behind=(centres + _continued(padded, near - front)).permute(0, 2, 3, 1),
        share=((share[:, 0] / share[:, 1].clamp(min=1) - 0.5) * EDGE_STEEPNESS + 0.5).clamp(0, 1),
        near=near[:, 0],
    )


def _jumps(offsets: torch.Tensor, axis: int, least: float) -> torch.Tensor:
    """(B, 1, h, w) bool, where offsets (B, 2, h, w) differ from the next ones along an axis by more than ``least``."""
    count = offsets.shape[axis] - 1
    apart = offsets.narrow(axis, 1, count) - offsets.narrow(axis, 0, count)
    return apart.abs_().amax(1, keepdim=True) > least


def _continued(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Values (B, C, h, w) as the mean of their known neighbours, 3 × 3 or else 5 × 5; known (B, 1, h, w) is 1 or 0."""
    whole = torch.cat([values * known, known], 1)
    for radius in (2, 1):
        total = _box_sum(whole, radius)
        weight = total[:, -1:]
        values = torch.where(weight > 0, total[:, :-1] / weight.clamp(min=1), values)
    return values


def _box_sum(values: torch.Tensor, radius: int) -> torch.Tensor:
    """The sum of values (B, C, h, w) over the square of cells around each; outside there is nothing."""
    for axis in (2, 3):
        length = values.shape[axis]
        wide = F.pad(values, (0, 0, radius, radius) if axis == 2 else (radius, radius))
        values = wide.narrow(axis, 0, length) + wide.narrow(axis, 1, length)
        for start in range(2, 2 * radius + 1):
            values += wide.narrow(axis, start, length)
    return values


def seen_at(prepared: PreparedCanvas, places: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 2) which places of the photo are seen at pixels (B, h, w, 2), all in pixels of the film."""
    first = prepared.grid.first_centre - prepared.grid.cell  # of the cells around
    x, y = ((pixels[..., axis] - float(first[axis])) / prepared.grid.cell for axis in (0, 1))
    height, width = places.shape[1:3]
    where = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], -1)
    found = F.grid_sample(places.permute(0, 3, 1, 2), where, padding_mode="border", align_corners=True)
    return found.permute(0, 2, 3, 1)


def compose_in_torch(
    prepared: PreparedCanvas,
    places: torch.Tensor,
    shade: torch.Tensor | None,
    offsets: torch.Tensor,
    far: torch.Tensor | None,
) -> torch.Tensor:
    """Frames (B, H, W, 3) uint8, wholly on the device; arguments as ``compose`` returns and takes them."""
    fold = _find_fold(prepared, offsets)
    grid = prepared.grid
    frames = prepared.still.expand(len(places), -1, -1, -1).clone()
    height, width = grid.height, grid.width
    layer = _seen_in_torch(prepared, prepared.layer, places)
    if fold is not None:
        front, behind, share, near = (
            _whole(values, fold, places.shape[1:3]) for values in (fold.front, fold.behind, fold.share, fold.near)
        )
        front, behind = (_seen_in_torch(prepared, prepared.layer, values) for values in (front, behind))
        share, near = (_finer(values, grid.cell)[:, :, :height, :width] for values in (share[:, None], near[:, None]))
        layer = layer.lerp(behind.lerp(front, share), near)
    view = _find_far_side(prepared, places, offsets, far)
    if view is not None and prepared.far is not None:
        where, weights = (_whole(values, view, places.shape[1:3]) for values in (view.places, view.weights))
        mirrored = _seen_in_torch(prepared, prepared.far.layer, where)
        weights = _finer(weights.permute(0, 3, 1, 2), grid.cell)[:, :, :height, :width]
        layer = _with_far_side(*(values.permute(0, 2, 3, 1) for values in (layer, mirrored, weights)))
        layer = layer.permute(0, 3, 1, 2)
    colours, share = layer.split((3, 1), 1)
    if shade is not None:
        colours = colours * _finer(F.pad(shade, (1, 1, 1, 1), mode="replicate"), grid.cell)[:, :, :height, :width]
    part = np.s_[grid.top : grid.top + height, grid.left : grid.left + width]
    background = prepared.background.permute(2, 0, 1).float()
    drawn = colours + background * (share / 255)
    frames[:, *part] = drawn.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)
    return frames


def _whole(values: torch.Tensor, window: Fold | FarView, size: tuple[int, int]) -> torch.Tensor:
    """Values (B, r, c) or (B, r, c, C) of a window in a grid of that size, zero outside the window."""
    below, right = size[0] - window.top - values.shape[1], size[1] - window.left - values.shape[2]
    last = (0, 0) * (values.dim() - 3)
    return F.pad(values, (*last, window.left, right, window.top, below))


def _with_far_side(seen: torch.Tensor, mirrored: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(…, 4) float32 the layer as it is seen, 0…255, with the far side of the face.

    Args:
        seen: (…, 4) the layer at the places that are seen without the far side, 0…255.
        mirrored: (…, 4) the far layer at those of a ``FarView``, 0…255.
        weights: (…, 4) the view's.
    """
    hidden, known, outline, worse = weights.split(1, -1)
    person = known * (1 - mirrored[..., 3:].float() / 255)
    mirrored = torch.cat([BIAS + known * (mirrored[..., :3].float() - BIAS), 255 * (1 - person)], -1)
    free = torch.minimum(torch.maximum(seen[..., 3:].float() / 255, outline), person)
    return torch.lerp(seen.float(), mirrored, hidden * torch.maximum(free, worse))


def _seen_in_torch(prepared: PreparedCanvas, layer: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, C, height, width) pixels of a layer at places (B, rows + 2, columns + 2, 2), for the grid's part."""
    grid = prepared.grid
    where = _finer(places.permute(0, 3, 1, 2), grid.cell)[:, :, : grid.height, : grid.width].permute(0, 2, 3, 1)
    layer = layer.permute(2, 0, 1)[None].float()
    size = layer.shape[:1:-1]
    x, y = (
        (where[..., axis] - float(prepared.corner[axis])) * (2 * prepared.density / (size[axis] - 1)) - 1
        for axis in (0, 1)
    )
    return F.grid_sample(
        layer.expand(len(places), -1, -1, -1),
        torch.stack([x, y], -1),
        mode="bicubic" if prepared.bicubic else "bilinear",
        padding_mode="border",
        align_corners=True,
    )


def compose_in_opencv(
    prepared: PreparedCanvas,
    places: torch.Tensor,
    shade: torch.Tensor | None,
    offsets: torch.Tensor,
    far: torch.Tensor | None,
    memory: FrameMemory | None = None,
) -> torch.Tensor:
    """The same on the CPU, faster, and equal but for rounding."""
    frames = (memory or FrameMemory()).take((len(places), *prepared.still.shape))
    for index in range(len(places)):
        own_shade = None if shade is None else shade[index]
        fold = _find_fold(prepared, offsets[index : index + 1])  # of one frame, so that none depends on its batch
        own = slice(index, index + 1)
        view = _find_far_side(prepared, places[own], offsets[own], None if far is None else far[own])
        view = view and _without_unused(prepared, view)
        _draw_in_opencv(frames[index], prepared, places[index].numpy(), own_shade, fold, view)
    return torch.from_numpy(frames)


def _draw_in_opencv(
    frame: np.ndarray,
    prepared: PreparedCanvas,
    places: np.ndarray,
    shade: torch.Tensor | None,
    fold: Fold | None,
    view: FarView | None,
) -> None:
    """Draws a frame (H, W, 3) uint8 on the CPU, tile by tile."""
    still, background = prepared.still.numpy(), prepared.background.numpy()
    frame[:] = still
    grid, cell = prepared.grid, prepared.grid.cell
    moving = frame[grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
    drawn = _changes(prepared, places[1:-1, 1:-1])
    darker = None
    if shade is not None:
        darker = (shade.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        creased = (darker[..., 0] < 255) | (darker[..., 1] < 255) | (darker[..., 2] < 255)
        drawn |= cv2.dilate(creased.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        darker = cv2.copyMakeBorder(darker, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    if view is not None:
        drawn |= _whole(view.weights[..., 0], view, places.shape[:2])[0, 1:-1, 1:-1].numpy() > 0
    source = _in_layer(prepared, places)
    for top, bottom, left, right in _tiles(drawn, cell):
        part = np.s_[top : bottom + 2, left : right + 2]
        area = np.s_[top * cell : min(bottom * cell, grid.height), left * cell : min(right * cell, grid.width)]
        inside = np.s_[cell : cell + area[0].stop - area[0].start, cell : cell + area[1].stop - area[1].start]
        finer = ((right - left + 2) * cell, (bottom - top + 2) * cell)
        seen = _seen_in_opencv(prepared, prepared.layer, source[part], finer, inside)
        if fold is not None:
            _draw_fold(seen, prepared, fold, part)
        if view is not None:
            _draw_far_side(seen, prepared, view, part)
        colours = cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB)
        if darker is not None and darker[part].min() < 255:
            colours = cv2.multiply(colours, cv2.resize(darker[part], finer)[inside], scale=1 / 255)
        share = cv2.extractChannel(seen, 3)
        if share.any():
            share = cv2.cvtColor(share, cv2.COLOR_GRAY2RGB).astype(np.int16)
            behind = cv2.multiply(background[area], share, scale=1 / 255)
            colours = cv2.add(colours, behind, dtype=cv2.CV_8U)
        moving[area] = colours


def _tiles(drawn: np.ndarray, cell: int) -> Iterator[tuple[int, int, int, int]]:
    """Top, bottom, left and right of tiles, in cells, that hold all cells that are ``drawn`` (rows, columns) bool."""
    rows, columns = (max(side // cell, 1) for side in TILE)
    for top in range(0, len(drawn), rows):
        used = drawn[top : top + rows].any(0)
        for left in range(0, len(used), columns):
            own = np.flatnonzero(used[left : left + columns])
            if len(own):
                yield top, min(top + rows, len(drawn)), left + int(own[0]), left + int(own[-1]) + 1


def _in_layer(prepared: PreparedCanvas, places: np.ndarray) -> np.ndarray:
    """Places (…, 2) float32 in pixels of the film, in pixels of the layer."""
    return _scaled(places, prepared.corner, prepared.density)


def _scaled(places: np.ndarray, origin: np.ndarray, scale: float) -> np.ndarray:
    """Scale · (places − origin) of places (h, w, 2) float32; NumPy, two numbers at a time, takes 20 times as long."""
    return cv2.transform(places, np.column_stack([np.eye(2), -origin]) * scale)


def _seen_in_opencv(
    prepared: PreparedCanvas,
    layer: torch.Tensor,
    source: np.ndarray,
    finer: tuple[int, int],
    inside: tuple[slice, slice],
) -> np.ndarray:
    """(h, w, C) uint8 a layer's pixels for cells that see ``source`` (r, c, 2), in pixels of the layer.

    ``finer`` are the cells' width and height in pixels of the film, ``inside`` the part of those that is returned.
    """
    where = cv2.resize(source, finer)[inside]
    interpolation = cv2.INTER_CUBIC if prepared.bicubic else cv2.INTER_LINEAR
    return cv2.remap(layer.numpy(), where, None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _draw_fold(seen: np.ndarray, prepared: PreparedCanvas, fold: Fold, tile: tuple[slice, slice]) -> None:
    """Draws the edges of one frame into the layer as it is seen (h, w, 4) in a tile.

    ``tile`` are its rows and columns with one more cell around, counted like those of ``fold``.
    """
    found = _window_in_tile(seen, prepared.grid.cell, fold, fold.near[0].numpy(), tile)
    if found is None:
        return
    (rows, columns), finer, own, part = found
    layers = []
    for places in (fold.front, fold.behind):
        source = _in_layer(prepared, places[0, rows, columns].numpy())
        layers.append(_seen_in_opencv(prepared, prepared.layer, source, finer, own).astype(np.float32))
    front, behind = layers
    share, near = (
        cv2.resize(array[0, rows, columns].numpy(), finer)[own][..., None] for array in (fold.share, fold.near)
    )
    part[:] = (part + near * (behind + share * (front - behind) - part)).round()


def _draw_far_side(seen: np.ndarray, prepared: PreparedCanvas, view: FarView, tile: tuple[slice, slice]) -> None:
    """Draws the far side of one frame into the layer as it is seen (h, w, 4) in a tile; see ``_draw_fold``."""
    found = _window_in_tile(seen, prepared.grid.cell, view, view.weights[0, ..., 0].numpy(), tile)
    if found is None or prepared.far is None:
        return
    (rows, columns), finer, own, part = found
    source = _in_layer(prepared, view.places[0, rows, columns].numpy())
    mirrored = _seen_in_opencv(prepared, prepared.far.layer, source, finer, own)
    weights = cv2.resize(view.weights[0, rows, columns].numpy(), finer)[own]
    arrays = (torch.from_numpy(array) for array in (part.copy(), mirrored, weights))
    part[:] = _with_far_side(*arrays).round_().numpy()


def _window_in_tile(
    seen: np.ndarray, cell: int, window: Fold | FarView, used: np.ndarray, tile: tuple[slice, slice]
) -> tuple[tuple[slice, slice], tuple[int, int], tuple[slice, ...], np.ndarray] | None:
    """The part of a window's cells that a tile shows; None if it shows none that are ``used`` (r, c), not zero.

    Args:
        seen: (h, w, C) the tile's pixels.
        tile: see ``_draw_fold``.

    Returns:
        The window's rows and columns, their width and height in pixels, the part of those that lies in the tile, and
        that part of ``seen``.
    """
    corner = window.top, window.left
    rows, columns = (
        slice(max(own.start - start, 0), min(own.stop - start, extent))
        for own, start, extent in zip(tile, corner, used.shape, strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    columns_used = np.flatnonzero(used[rows, columns].any(0)) + columns.start
    if not len(columns_used):
        return None
    columns = slice(max(int(columns_used[0]) - 1, columns.start), min(int(columns_used[-1]) + 2, columns.stop))
    # The window's first pixel in the tile.
    parts = zip(corner, (rows, columns), tile, strict=True)
    first = [(start + part.start - own.start - 1) * cell for start, part, own in parts]
    finer = ((columns.stop - columns.start) * cell, (rows.stop - rows.start) * cell)
    own = tuple(
        slice(max(-start, 0), min(side, extent - start))
        for start, side, extent in zip(first, finer[::-1], seen.shape[:2], strict=True)
    )
    if any(part.start >= part.stop for part in own):
        return None
    part = seen[tuple(slice(start + one.start, start + one.stop) for start, one in zip(first, own, strict=True))]
    return (rows, columns), finer, own, part


def _changes(prepared: PreparedCanvas, places: np.ndarray) -> np.ndarray:
    """(rows, columns) bool, which cells differ from the picture at rest: the person is there now, or was."""
    centres = prepared.centres[0, 1:-1, 1:-1].numpy()
    moving = np.not_equal(places, centres).view(np.uint16)[..., 0] > 0  # along x or y
    if not moving.any():
        return moving
    cells = _scaled(places, prepared.grid.first_centre, 1 / prepared.grid.cell)
    moved_in = cv2.remap(prepared.effect, cells, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    changed = moving & (cv2.bitwise_or(moved_in, prepared.effect) > 0)
    return cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _finer(cells: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, C, H, W) values of cells (B, C, rows + 2, columns + 2) at the pixels of all but the outermost."""
    finer = F.interpolate(cells, scale_factor=cell, mode="bilinear", align_corners=False) if cell > 1 else cells
    return finer[:, :, cell:-cell, cell:-cell]


def _cell_maximum(values: np.ndarray, grid: Grid) -> np.ndarray:
    """(rows, columns) the greatest of uint8 values (h, w) in each cell and those around it."""
    padded = np.zeros((grid.rows * grid.cell, grid.columns * grid.cell), np.uint8)
    padded[: grid.height, : grid.width] = values
    cells = padded.reshape(grid.rows, grid.cell, grid.columns, grid.cell).max((1, 3))
    return cv2.dilate(cells, np.ones((3, 3), np.uint8))


def _cut_out(
    picture: np.ndarray, soft: torch.Tensor, to_surroundings: PixelTransform, corner: np.ndarray, continued: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts the person out of a picture (H, W, 3) whose first pixel is ``corner`` of the film.

    ``soft`` (1, 5, 640, 640) holds ``shows``, ``known`` and ``unknown`` of ``prepare_canvas``. So many rows at the top
    as are ``continued`` show the person before the background; the others are as they are.

    Returns:
        The person as a layer (H, W, 4) uint8; the background (H, W, 3) int16, less ``BIAS``; and how much the layer
        changes the background, (H, W) uint8.
    """
    height, width = picture.shape[:2]
    background, layer = np.empty((height, width, 3), np.int16), np.empty((height, width, 4), np.uint8)
    effect = np.empty((height, width), np.uint8)
    values = np.arange(256)[None, :, None]
    changes = np.abs(values - [BIAS, BIAS, BIAS, 255]).astype(np.uint8)  # of the background, by values of the layer
    x = torch.arange(width, dtype=torch.float32) * to_surroundings.scale
    for top in range(0, height, CHUNK_ROWS):
        rows = np.s_[top : min(top + CHUNK_ROWS, height)]
        y = torch.arange(rows.start, rows.stop, dtype=torch.float32) * to_surroundings.scale
        first = to_surroundings(corner)
        fields = sample(soft, grid_of(x + float(first[0]), y + float(first[1])))[0]
        own = torch.from_numpy(picture[rows].copy()).permute(2, 0, 1).float()
        behind = (own * fields[1] + fields[2:] * 255).round_().clamp_(0, 255).sub_(BIAS)
        background[rows] = cv2.merge(list(behind.short().numpy()))
        if rows.start < continued:
            above = np.s_[: continued - rows.start]
            own[:, above] = torch.lerp(own, behind + BIAS, fields[0])[:, above]
        colours = own.round().byte().permute(1, 2, 0).numpy()
        layer[rows] = premultiplied(colours, background[rows], (fields[0] * 255).round_().byte().numpy())
        effect[rows] = reduce(cv2.max, cv2.split(cv2.LUT(layer[rows], changes)))
    return layer, background, effect


def _far_layer(
    layer: np.ndarray, light: np.ndarray, to_surroundings: PixelTransform, corner: np.ndarray, density: int, cell: int
) -> FarLayer:
    """What a layer (h, w, 4) shows on the far side; arguments as in ``prepare_canvas``."""
    scale, first = to_surroundings.scale / density / LIGHT_CELL, to_surroundings(corner) / LIGHT_CELL
    to_cells = np.column_stack([np.eye(2) * scale, first])
    flags, around = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    gain, size = np.exp(light[..., :3]), layer.shape[1::-1]
    factor = cv2.warpAffine(gain, to_cells, size, flags=flags, borderMode=around)
    background = layer[..., 3:] * np.float32(BIAS / 255)
    lit = ((layer[..., :3] - background) * factor + background).round().clip(0, 255).astype(np.uint8)

    to_coarse = np.column_stack([np.eye(2) * scale * density * cell, first + scale * density * (cell - 1) / 2])
    share, outlines = np.ascontiguousarray(layer[::density, ::density, 3]), []
    for reach in (OUTLINE, STRETCHED_OUTLINE):
        size = 2 * round(reach / to_surroundings.scale) + 1
        wide = cv2.blur(cv2.dilate(share, np.ones((size, size), np.uint8)), (size, size))
        cells = -(-wide.shape[1] // cell), -(-wide.shape[0] // cell)
        outlines.append(cv2.resize(wide, cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
    size = outlines[0].shape[::-1]
    alike = cv2.warpAffine(light[..., 3], to_coarse, size, flags=flags, borderMode=around)
    arrays = np.dstack([lit, layer[..., 3]]), np.stack(outlines)[None], alike[None, None]
    return FarLayer(*(torch.from_numpy(array) for array in arrays))


def doubled_layer(layer: np.ndarray) -> np.ndarray:
    """A layer (h, w, 4) uint8 with a pixel between every two: colours sharp, share bilinear, (2h − 1, 2w − 1, 4)."""
    colours = cv2.convertScaleAbs(double(layer[..., :3].astype(np.float32) / 255), alpha=255)
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    share = cv2.warpAffine(layer[..., 3], half, colours.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.ascontiguousarray(np.dstack([colours, share]))  # or OpenCV would copy all of it for every tile


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
    return np.dstack([cv2.subtract(colours, seen, dtype=cv2.CV_8U), share])
