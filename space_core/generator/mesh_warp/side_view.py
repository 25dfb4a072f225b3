"""One side of a head as a photo shows it: what is seen beside the head's axis, row by row."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.hanging_hair import SKIN
from space_core.generator.mesh_warp.head_shape import CELL, HEAD_MIDDLE


@dataclass(frozen=True)
class SideView:
    """One side of a photo's head.

    Attributes:
        photo: the photo's own landmarks in pixels of the surroundings, on the host.
        seen: (640, 640, 3) the surroundings, 0…1.
        side: −1 left or 1 right in the image.
        rows: (h,) normalized heights.
        outline: (h,) how far the person reaches beside the head's axis there, normalized.
        skin: (N, 3) colours of the face on that side, 0…1, see ``skin_colours``.
    """

    photo: FaceMotion
    seen: np.ndarray
    side: int
    rows: np.ndarray
    outline: np.ndarray
    skin: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> "SideView":
        """The same of some of the rows: a slice, or (h,) bool."""
        return replace(self, rows=self.rows[rows], outline=self.outline[rows])

    def colours_at(self, inwards: np.ndarray) -> np.ndarray:
        """(h, w, 3) colours, 0…1, at distances (w,) inwards from the outline, normalized."""
        where = beside_axis(self.photo, self.side * (self.outline[:, None] - inwards), self.rows[:, None])
        return cv2.remap(self.seen, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def skin_colours(photo: FaceMotion, seen: np.ndarray, side: int) -> np.ndarray:
    """(N, 3) colours of the face's skin on one side; arguments as in ``SideView``."""
    points = list(SKIN)
    on_side = side * photo.host.normalized[0, points, 0] > -1e-2
    cells = cv2.resize(seen, None, fx=1 / CELL, fy=1 / CELL, interpolation=cv2.INTER_AREA)
    columns, rows = (photo.host.posed[0, points, :2][on_side] / CELL).astype(int).clip(0, len(cells) - 1).T
    return cells[rows, columns]


def beside_axis(photo: FaceMotion, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(…, 2) float32 pixels of the surroundings at normalized x and y (…), at the depth of the head's axis."""
    x, y = np.broadcast_arrays(x, y)
    points = np.stack([x, y, np.full(x.shape, HEAD_MIDDLE[2])], -1)
    return photo.host.place(points.reshape(-1, 3))[0, :, :2].reshape(*x.shape, 2).astype(np.float32)
