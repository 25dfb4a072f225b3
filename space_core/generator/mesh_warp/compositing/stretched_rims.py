"""The outline of the near cheek of a head that turns: the few pixels that show it in the photo are stretched there.

Their steps would make a comb of it: teeth that are as high as one pixel of the photo is wide, and as long as several.
"""

import numpy as np
import torch

from space_core.face.topology import OVAL
from space_core.generator.mesh_warp.compositing.grid import Grid, GridWindow, box_sum
from space_core.generator.mesh_warp.compositing.soft_edges import soften_part
from space_core.generator.mesh_warp.face_motion import FaceMotion, upload
from space_core.smoothstep import smoothstep

# How far the head turns or nods away from the photo's pose, as the distance of unit vectors: speech stays below, and
# takes no time here.
TURN = (0.17, 0.26)
STRETCH = (2.0, 3.5)  # areas of the frame over those of the photo: as it is … wholly blurred
WIDTH = 2.0  # pixels, standard deviation of the blur: neighbouring steps become one line
REACH, GAIN = 2, 1 / 9  # cells around such a place that are blurred, too, and by how much more than its mean
# Normalized units around the face in which rims are sought; and, of half its width, so far from its middle none is:
# what moves there is nose and mouth.
AROUND, INNER = 0.25, 0.7


def smooth_rims(frames: torch.Tensor, grid: Grid, places: torch.Tensor, photo: FaceMotion, motion: FaceMotion) -> None:
    """Blurs frames (B, H, W, 3) uint8 where a turn stretches the photo, in place.

    ``places`` are those of ``compose``; ``photo`` has the photo's own landmarks, ``motion`` the frames', in pixels of
    the film.
    """
    forward = motion.host.rotation[:, :, 2] - photo.host.rotation[:, :, 2]
    turned = smoothstep(np.linalg.norm(forward, axis=1), *TURN)
    if not turned.any():
        return
    top, bottom, left, right = _window(grid, motion)
    if min(bottom - top, right - left) < 3:
        return
    places = places[:, top:bottom, left:right]
    share = _stretched(places, grid.cell) * _outer(places[:, 1:-1, 1:-1], photo)
    share = share * upload(turned.astype(np.float32), frames.device)[:, None, None]
    share = (box_sum(share[:, None], REACH) * GAIN).clamp_(max=1)[:, 0]
    whole = GridWindow(top + 1, left + 1).in_grid(share, (grid.rows + 2, grid.columns + 2))
    soften_part(frames, grid, WIDTH, whole[:, None])


def _window(grid: Grid, motion: FaceMotion) -> tuple[int, int, int, int]:
    """The rows, from and to, and the columns, counted with one more around the grid, in which the faces are."""
    outline, around = motion.host.posed[:, list(OVAL), :2], AROUND * motion.host.scale.max()
    ends = np.stack([outline.min((0, 1)) - around, outline.max((0, 1)) + around])
    cells = ((ends - grid.first_centre) / grid.cell + 1).round().astype(int)
    (left, top), (right, bottom) = cells.clip(0, [grid.columns + 2, grid.rows + 2]).tolist()
    return top, bottom, left, right


def _stretched(places: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, r − 2, c − 2) whether cells between others see places of the photo (B, r, c, 2) stretched, 0…1."""
    x, y = places.unbind(-1)
    steps = [(axis[:, 1:-1, 2:] - axis[:, 1:-1, :-2], axis[:, 2:, 1:-1] - axis[:, :-2, 1:-1]) for axis in (x, y)]
    area = (steps[0][0] * steps[1][1] - steps[0][1] * steps[1][0]).abs() / (2 * cell) ** 2
    return 1 - smoothstep(area, 1 / STRETCH[1], 1 / STRETCH[0])


def _outer(places: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """(B, r, c) whether places of the photo (B, r, c, 2) are not in the middle of its face."""
    outline = photo.host.posed[0, list(OVAL), :2]
    middle, radius = outline.mean(0), INNER * np.ptp(outline, axis=0).min() / 2
    x, y = (places[..., axis] - float(middle[axis]) for axis in (0, 1))
    return x**2 + y**2 > radius**2
