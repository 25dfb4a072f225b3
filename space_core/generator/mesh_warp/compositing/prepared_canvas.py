"""What every frame on a canvas needs, prepared once: picture at rest, background, the person's layer, grid."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.canvas import Canvas
from space_core.face.crop_size import MARGIN, SIZE
from space_core.generator.mesh_warp.background import Background
from space_core.generator.mesh_warp.compositing.far_layer import OUTLINE, FarLayer, prepare_far_layer
from space_core.generator.mesh_warp.compositing.grid import Grid, scaled
from space_core.generator.mesh_warp.compositing.person_layer import cut_out, doubled_layer, outline_cells
from space_core.generator.mesh_warp.face_motion import TO_SURROUNDINGS, PixelTransform
from space_core.generator.mesh_warp.far_side import FarAppearance
from space_core.generator.mesh_warp.sampling import pairs

# A layer of at most so many pixels is kept at twice its resolution, and a larger one up to the second number is sampled
# bicubically, so that moving pixels stay as sharp as still ones. In still larger pictures the difference is invisible.
DOUBLED_PIXELS, BICUBIC_PIXELS = 1_800_000, 6_000_000
CELL = 2  # side of a grid's cell in pixels of the portrait's crop
NEGLIGIBLE = 2  # of 255; a layer that changes the background by no more is not drawn on a CPU


@dataclass(frozen=True)
class PreparedCanvas:
    """What every frame on a canvas needs.

    Attributes:
        grid: the cells in which the motion is given.
        still: (H, W, 3) uint8, the picture at rest.
        background: (height, width, 3) uint8, the grid's part of the picture without the person.
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
        scale: of the film, pixels per pixel of the portrait's crop.
        softening: standard deviation, in pixels of the film, of the Gaussian that makes sharp edges as blurred as the
            photo; 0 where it is sharp.
        outline: (1, 1, r, c) float32, the share of the background over the layer, in cells of the grid's size, 0…1: it
            reaches into the person by ``OUTLINE``.
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
    scale: float
    softening: float
    outline: torch.Tensor

    def in_layer(self, places: np.ndarray) -> np.ndarray:
        """Places (h, w, 2) float32 in pixels of the film, in pixels of the layer."""
        return scaled(places, self.corner, self.density)

    def sampled(self, layer: np.ndarray, where: np.ndarray) -> np.ndarray:
        """(h, w, 4) uint8 ``layer``, or one of its size, at ``where`` (h, w, 2) float32, in its pixels."""
        interpolation = cv2.INTER_CUBIC if self.bicubic else cv2.INTER_LINEAR
        return cv2.remap(layer, where, None, interpolation, borderMode=cv2.BORDER_REPLICATE)

    def over_layer(self, cells: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(B, r, c, C) values (1, C, h, w) over the whole layer at places (B, r, c, 2), in pixels of the film."""
        steps = self.density / (np.array(self.layer.shape[1::-1]) + self.density - 1)  # shares of the layer per pixel
        if cells.device.type == "cpu":
            return _sampled_in_opencv(cells, places, steps * cells.shape[:1:-1], 0.5 - self.corner)
        where = [(places[..., axis] - float(self.corner[axis]) + 0.5) * (2 * steps[axis]) - 1 for axis in (0, 1)]
        cells = cells.expand(len(places), -1, -1, -1)
        found = F.grid_sample(cells, pairs(*where), padding_mode="border", align_corners=False)
        return found.permute(0, 2, 3, 1)

    def effect_at(self, places: np.ndarray) -> np.ndarray:
        """(h, w) uint8 ``effect`` at places (h, w, 2) float32 in pixels of the film."""
        cells = scaled(places, self.grid.first_centre, 1 / self.grid.cell)
        return cv2.remap(self.effect, cells, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    def seen_at(self, places: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """(B, h, w, 2) which places of the photo are seen at pixels (B, h, w, 2), all in pixels of the film.

        ``places`` (B, rows + 2, columns + 2, 2) are those that the cells see, see ``compose``.
        """
        first = self.grid.first_centre - self.grid.cell  # of the cells around
        x, y = ((pixels[..., axis] - float(first[axis])) / self.grid.cell for axis in (0, 1))
        height, width = places.shape[1:3]
        where = pairs(x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1)
        found = F.grid_sample(places.permute(0, 3, 1, 2), where, padding_mode="border", align_corners=True)
        return found.permute(0, 2, 3, 1)


def _sampled_in_opencv(cells: torch.Tensor, places: torch.Tensor, scale: np.ndarray, first: np.ndarray) -> torch.Tensor:
    """(B, r, c, C) values (1, C, h, w) on the CPU, in a third of the time: places are rounded to the 32nd of a cell.

    Of places (B, r, c, 2), plus ``first`` (2,), there are ``scale`` (2,) cells in one pixel.
    """
    values = np.ascontiguousarray(cells[0].permute(1, 2, 0).numpy())
    to_cells = np.column_stack([np.diag(scale), scale * first - 0.5])
    found = [
        cv2.remap(values, cv2.transform(frame, to_cells), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for frame in places.numpy()
    ]
    return torch.from_numpy(np.stack(found)).view(*places.shape[:-1], cells.shape[1])


def film_transform(canvas: Canvas) -> PixelTransform:
    """From pixels of the portrait's crop to pixels of the film."""
    scale, shown = canvas.crop.scale, np.array(canvas.shown[:2])
    return PixelTransform(scale, 0.5 * scale + canvas.crop.origin - 0.5 - shown)


def prepare_canvas(
    canvas: Canvas, middle: np.ndarray, behind: Background, appearance: FarAppearance | None, softening: float
) -> PreparedCanvas:
    """Prepares a canvas.

    Args:
        canvas: what the film shows.
        middle: (2,) of the face in the photo, in pixels of the film.
        behind: the background, and where the person hides it.
        appearance: of the far side; None if the photo shows both sides.
        softening: see ``PreparedCanvas``.
    """
    to_film = film_transform(canvas)
    left, top, width, height = canvas.shown
    shown, edges = np.array([left, top]), np.array(canvas.picture.shape[1::-1])
    low, high = _in_surroundings(to_film, shown, edges)
    picture, corner = canvas.picture[low[1] : high[1], low[0] : high[0]], low - shown

    density = 2 if picture[..., 0].size <= DOUBLED_PIXELS else 1
    to_surroundings = to_film.inverse().then(TO_SURROUNDINGS)
    outside = low[0], low[1], edges[0] - high[0]
    before, above, after = (max(0, own - int(cut)) for own, cut in zip(canvas.continued, outside, strict=True))
    layer, background, effect = cut_out(picture, behind, to_surroundings, corner, (before, above, after))
    seen_low, seen_high = corner.clip(0), np.minimum(high - shown, [width, height])
    own = np.s_[seen_low[1] - corner[1] : seen_high[1] - corner[1], seen_low[0] - corner[0] : seen_high[0] - corner[0]]
    cell = max(1, round(CELL * to_film.scale))
    (seen_left, seen_top), (seen_width, seen_height) = seen_low.tolist(), (seen_high - seen_low).tolist()
    grid = Grid(seen_left, seen_top, seen_width, seen_height, cell)
    # The whole photo's own memory, which is never written to, is used as it is.
    still = np.require(canvas.picture[top : top + height, left : left + width], requirements=["C", "W"])
    layer = doubled_layer(layer) if density == 2 else layer
    far = None if appearance is None else prepare_far_layer(layer, appearance, to_surroundings, corner, density, cell)
    return PreparedCanvas(
        grid,
        still=torch.from_numpy(still),
        background=torch.from_numpy(np.ascontiguousarray(background[own])),
        layer=torch.from_numpy(layer),
        far=far,
        corner=corner,
        density=density,
        bicubic=density == 1 and picture[..., 0].size <= BICUBIC_PIXELS,
        effect=grid.maximum(cv2.threshold(effect[own], NEGLIGIBLE, 0, cv2.THRESH_TOZERO)[1]),
        centres=grid.centres(pad=1),
        middle=torch.tensor(middle, dtype=torch.float32),
        scale=to_film.scale,
        softening=softening,
        outline=torch.from_numpy(outline_cells(layer, round(OUTLINE * to_film.scale), density, cell))[None, None],
    )


def _in_surroundings(to_film: PixelTransform, shown: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first column and row (2,) of a picture whose pixels' centres lie in the surroundings, and their ends (2,).

    ``shown`` (2,) is the film's first pixel in the picture, and ``edges`` (2,) are the picture's width and height.
    """
    first, last = (to_film(np.full(2, float(end))) + shown for end in (-MARGIN, SIZE + MARGIN - 1))
    low = np.ceil(first - 1e-6).astype(int).clip(0)
    return low, np.minimum(np.floor(last + 1e-6).astype(int) + 1, edges)
