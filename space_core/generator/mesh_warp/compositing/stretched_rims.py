"""The outline of a cheek of a head that turns towards it: the few pixels that show it in the photo are stretched there.

Their steps would make a comb of it: teeth that are as high as one pixel of the photo is wide, and as long as several.
"""

from functools import reduce

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import OVAL
from space_core.generator.mesh_warp.compositing.grid import Grid, GridWindow, box_sum, differences
from space_core.generator.mesh_warp.compositing.soft_edges import soften_part
from space_core.generator.mesh_warp.face_motion import FaceMotion, upload

# How far the head turns or nods away from the photo's pose, as the distance of unit vectors: speech stays below, and
# takes no time here.
TURN = (0.17, 0.26)
STRETCH = (2.0, 3.5)  # areas of the frame over those of the photo: as it is … wholly blurred
# A photo that is itself turned, by these sines of its yaw, shows its far cheek from the edge: smaller turns stretch it,
# and less is a comb there.
TURNED, FAR_TURN, FAR_STRETCH = (0.1, 0.2), (0.05, 0.1), (1.3, 2.2)
WIDTH = 2.0  # pixels, standard deviation of the blur: neighbouring steps become one line
REACH, GAIN = 2, 1 / 9  # cells around such a place that are blurred, too, and by how much more than its mean
AROUND = 0.25  # normalized units around the face in which rims are sought
# Sine of the photo's yaw, from which on all but the near side is seen mirrored after larger turns, and not stretched;
# and by which share of half the face's width that begins.
FAR, NEAR = 0.33, 0.3
# Of places of the photo, as multiples of the ellipse that is as wide and high as the face: what is further in is nose
# and mouth, what is further out hair, whose strands may be stretched.
OUTLINE = (0.75, 1.08)


def smooth_rims(frames: torch.Tensor, grid: Grid, places: torch.Tensor, photo: FaceMotion, motion: FaceMotion) -> None:
    """Blurs frames (B, H, W, 3) uint8 where a turn stretches the photo, in place.

    ``places`` are those of ``compose``; ``photo`` has the photo's own landmarks, ``motion`` the frames', in pixels of
    the film.
    """
    forward = motion.host.rotation[:, :, 2] - photo.host.rotation[:, :, 2]
    distance, sine = np.linalg.norm(forward, axis=1), photo.host.rotation[0, 2, 0]
    turned = smoothstep(distance, *TURN)
    far_turned = smoothstep(abs(sine), *TURNED) * smoothstep(distance, *FAR_TURN) * (1 - turned)
    if not (turned.any() or far_turned.any()):
        return
    top, bottom, left, right = _window(grid, motion)
    if min(bottom - top, right - left) < 3:
        return
    places = places[:, top:bottom, left:right]
    area, (is_outline, towards_near) = _areas(places, grid.cell), _at_outline(places[:, 1:-1, 1:-1], photo)
    shares = [
        (1 - smoothstep(area, 1 / stretch[1], 1 / stretch[0]))
        * side
        * upload(frames_turned.astype(np.float32), frames.device)[:, None, None]
        for stretch, side, frames_turned in (
            (STRETCH, towards_near > (NEAR if abs(sine) > FAR else -np.inf), turned),
            (FAR_STRETCH, towards_near < 0, far_turned),
        )
        if frames_turned.any()
    ]
    share = reduce(torch.maximum, shares) * is_outline
    share = (box_sum(share[:, None], REACH) * GAIN).clamp_(max=1)[:, 0]
    whole = GridWindow(top + 1, left + 1).in_grid(share, (grid.rows + 2, grid.columns + 2))
    # Across the stretch, which goes along x where the head turns: along it there is nothing sharp.
    turn, nod = np.abs(forward[:, :2]).max(0)
    soften_part(frames, grid, (0.0, WIDTH) if turn > nod else (WIDTH, 0.0), whole[:, None])


def _window(grid: Grid, motion: FaceMotion) -> tuple[int, int, int, int]:
    """The rows, from and to, and the columns, counted with one more around the grid, in which the faces are."""
    outline, around = motion.host.posed[:, list(OVAL), :2], AROUND * motion.host.scale.max()
    ends = np.stack([outline.min((0, 1)) - around, outline.max((0, 1)) + around])
    cells = ((ends - grid.first_centre) / grid.cell + 1).round().astype(int)
    (left, top), (right, bottom) = cells.clip(0, [grid.columns + 2, grid.rows + 2]).tolist()
    return top, bottom, left, right


def _areas(places: torch.Tensor, cell: int) -> torch.Tensor:
    """(B, r − 2, c − 2) areas of the photo that cells between others see, over their own; of places (B, r, c, 2)."""
    (x_along, x_down), (y_along, y_down) = map(differences, places.unbind(-1))
    return (x_along * y_down - x_down * y_along).abs() / (2 * cell) ** 2


def _at_outline(places: torch.Tensor, photo: FaceMotion) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, r, c) whether places of the photo (B, r, c, 2) are at the outline of its face, and how far on its near side.

    The latter as a share of half the face's width, negative on the far side.
    """
    along = photo.host.rotation[0, :2, 0] / np.linalg.norm(photo.host.rotation[0, :2, 0])
    axes = np.array([along, [-along[1], along[0]]])
    outline = photo.host.posed[0, list(OVAL), :2] @ axes.T
    middle, radius = (outline.max(0) + outline.min(0)) / 2, np.ptp(outline, axis=0) / 2
    x, y = places.unbind(-1)
    beside, below = (
        (x * float(axis[0]) + y * float(axis[1]) - float(at)) / float(reach)
        for axis, at, reach in zip(axes, middle, radius, strict=True)
    )
    distance = beside**2 + below**2
    is_outline = (distance > OUTLINE[0] ** 2) & (distance < OUTLINE[1] ** 2)
    return is_outline, -float(np.sign(photo.host.rotation[0, 2, 0])) * beside
