"""How the person is warped in a few frames: which place of the photo each cell of the grid shows."""

from dataclasses import dataclass, replace

import torch

from space_core.generator.mesh_warp.compositing.back_view import DrawnBack


@dataclass(frozen=True)
class Warp:
    """The warp of a few frames.

    Attributes:
        offsets: (B, rows, columns, 2) from each cell's centre to the place of the photo that is seen there, in pixels
            of the film; zero where nothing moves.
        far: (B, rows, columns, 6 or 7) likewise to the place whose mirror image may be seen instead, ``hidden`` of
            ``FarSide`` times how much of it is in view, that, ``kind``, and, if that is anywhere, 1 where a cell beside
            the face may not show the photo's far cheek … 0 where it may; or None.
        back: the back of the head, or None.
    """

    offsets: torch.Tensor
    far: torch.Tensor | None = None
    back: DrawnBack | None = None

    def of_frame(self, index: int) -> "Warp":
        """The warp of one of the frames."""
        own = slice(index, index + 1)
        far = None if self.far is None else self.far[own]
        return Warp(self.offsets[own], far, self.back and replace(self.back, cells=self.back.cells[own]))
