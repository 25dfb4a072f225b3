"""Where a warp shows more than one pixel of the photo in a pixel of the film: there the layer is sampled four times.

On the far side of a head that turns, hair is pushed together. Sampled once a pixel, its strands become dots, which
flicker as the head moves.
"""

import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.compositing.grid import differences

# Pixels of the photo per pixel of the film, along x or y: sampled once a pixel … four times.
MINIFIED = (1.5, 2.0)


def minified(places: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, rows + 2, columns + 2) 0 where a cell is sampled once a pixel … 1 where it is sampled four times.

    ``places`` (B, rows + 2, columns + 2, 2) are those of ``compose``, ``cell`` is a cell's side; pixels of the film.
    """
    along, down = (x.square_() + y.square_() for x, y in zip(*map(differences, places.unbind(-1)), strict=True))
    least, most = ((2 * cell * scale) ** 2 for scale in MINIFIED)
    return F.pad(smoothstep(along.maximum(down), least, most), (1, 1, 1, 1))
