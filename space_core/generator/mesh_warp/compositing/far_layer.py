"""What the person's layer shows on the far side of a turned face: its mirror image, lit as the far side."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.compositing.person_layer import BIAS, CHUNK_ROWS, outline_cells
from space_core.generator.mesh_warp.face_motion import PixelTransform
from space_core.generator.mesh_warp.far_side import FarAppearance
from space_core.generator.mesh_warp.head_shape import CELL
from space_core.generator.mesh_warp.parallel import map_parts

# The mirrored near side is drawn over the person so far inwards of the outline, pixels of the crop: the outline itself,
# some of which is background; and where it is stretched.
OUTLINE, STRETCHED_OUTLINE = 3, 10


@dataclass(frozen=True)
class FarLayer:
    """What a layer (h, w, 4) shows on the far side of a turned face.

    Attributes:
        layer: (h, w, 4) uint8, the layer as lit where it is seen mirrored.
        outline: (1, 2, r, c) float32, the share of the background over the layer, in cells of the grid's size, 0…1: it
            reaches into the person by ``OUTLINE`` and by ``STRETCHED_OUTLINE``.
        alike: (1, 1, r, c) float32, likewise, 1 where both sides look alike … 0 where they do not.
        cheek: (1, 1, r, c) float32, likewise, ``far_cheek`` of the photo; or None.
    """

    layer: torch.Tensor
    outline: torch.Tensor
    alike: torch.Tensor
    cheek: torch.Tensor | None


def prepare_far_layer(
    layer: np.ndarray,
    appearance: FarAppearance,
    to_surroundings: PixelTransform,
    corner: np.ndarray,
    density: int,
    cell: int,
) -> FarLayer:
    """What a layer (h, w, 4) uint8 shows on the far side.

    Args:
        appearance: of the far side in the photo.
        to_surroundings: from pixels of the film to those of the surroundings.
        corner, density: of the layer, see ``PreparedCanvas``.
        cell: side of the grid's cells, pixels of the film.
    """
    scale, first = to_surroundings.scale / density / CELL, to_surroundings(corner) / CELL
    to_cells = np.column_stack([np.eye(2) * scale, first])
    flags, around = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    gain, size = np.exp(appearance.light), layer.shape[1::-1]
    factor = cv2.warpAffine(gain, to_cells, size, flags=flags, borderMode=around)
    lit = layer.copy()

    def light_rows(top: int) -> None:
        rows = np.s_[top : top + CHUNK_ROWS]
        background = layer[rows, :, 3:] * np.float32(BIAS / 255)
        colours = layer[rows, :, :3] - background
        colours *= factor[rows]
        colours += background
        lit[rows, :, :3] = colours.round(out=colours).clip(0, 255, out=colours)

    map_parts(light_rows, range(0, len(layer), CHUNK_ROWS))

    to_coarse = np.column_stack([np.eye(2) * scale * density * cell, first + scale * density * (cell - 1) / 2])
    outlines = [
        outline_cells(layer, round(reach / to_surroundings.scale), density, cell)
        for reach in (OUTLINE, STRETCHED_OUTLINE)
    ]
    size = outlines[0].shape[::-1]

    def in_cells(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(cv2.warpAffine(values, to_coarse, size, flags=flags, borderMode=around))[None, None]

    return FarLayer(
        layer=torch.from_numpy(lit),
        outline=torch.from_numpy(np.stack(outlines)[None]),
        alike=in_cells(appearance.alike),
        cheek=None if appearance.cheek is None else in_cells(appearance.cheek),
    )
