"""Draws the glasses of a photo over the moving face, rigid as the head.

The face is drawn without them: brows rise behind the rims. Like the person, they are a layer with premultiplied alpha.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.canvas import Canvas
from space_core.generator.mesh_warp.compositing.person_layer import doubled_layer, premultiplied
from space_core.generator.mesh_warp.compositing.prepared_canvas import film_transform
from space_core.generator.mesh_warp.face_motion import TO_SURROUNDINGS, FaceMotion
from space_core.generator.mesh_warp.glasses.cut_out import Glasses
from space_core.generator.mesh_warp.glasses.shell import on_shell
from space_core.generator.mesh_warp.sampling import grid_of, pairs, sample

EDGE_ON = (0.1, 0.2)  # of ``on_shell``: less is the shell's edge
CELL = 8  # side in pixels of the portrait's crop of the cells in which it is computed what is seen
BOX_POINTS = 5  # along each side of the glasses, by which their place in a frame is found
DOUBLED_PIXELS = 500_000  # a layer of at most so many pixels is kept at twice its resolution


@dataclass(frozen=True)
class WornGlasses:
    """Glasses on the generator's device.

    Attributes:
        layer: (h, w, 4) uint8, what they add to the share of the face that is seen, and that share, 255 where all is.
        corner: (2,) x and y of the layer's first pixel, in pixels of the film.
        density: 2 where the layer has a pixel between every two of the film's, or 1.
        cell: side in pixels of the film of the cells for which it is computed which place of the layer they show.
        box: (25, 3) normalized points all over a rectangle that holds the layer, on the host.
        shell: see ``Glasses``.
        photo: the photo's own landmarks in pixels of the film.
    """

    layer: torch.Tensor
    corner: np.ndarray
    density: int
    cell: int
    box: np.ndarray
    shell: torch.Tensor
    photo: FaceMotion


def take_off_glasses(canvas: Canvas, glasses: Glasses, photo: FaceMotion) -> tuple[Canvas, WornGlasses]:
    """A canvas without its person's glasses, and these; ``photo`` has the photo's landmarks in pixels of the film."""
    to_film, shown = film_transform(canvas), np.array(canvas.shown[:2])
    from_surroundings = TO_SURROUNDINGS.inverse().then(to_film)
    rows, columns = (np.flatnonzero((glasses.hidden[0, 0] > 0).any(axis).cpu().numpy()) for axis in (1, 0))
    ends = np.array([[columns[0] - 1, rows[0] - 1], [columns[-1] + 1, rows[-1] + 1]])
    first, last = (from_surroundings(end) + shown for end in ends)
    low, high = np.floor(first).astype(int).clip(0), np.ceil(last).astype(int) + 1
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    own, corner = canvas.picture[part], low - shown

    back = from_surroundings.inverse()
    start = back(corner.astype(float))
    x, y = (torch.arange(side) * back.scale + float(begin) for side, begin in zip(own.shape[1::-1], start, strict=True))
    fields = torch.cat([glasses.frame, glasses.hidden, glasses.bare], 1).cpu()
    frame, hidden, *bare = sample(fields, grid_of(x, y))[0].numpy()
    bare = own + hidden[..., None] * (255 * np.dstack(bare) - own)
    bare = bare.round().clip(0, 255).astype(np.uint8)
    layer = premultiplied(own, bare.astype(np.int16), (255 * (1 - frame)).round().astype(np.uint8))
    picture = canvas.picture.copy()
    picture[part] = bare

    density = 2 if own[..., 0].size <= DOUBLED_PIXELS else 1
    # Not only its corners: in a nod the middle of the bent shell goes further than they do.
    spread = np.linspace(corner, corner + own.shape[1::-1], BOX_POINTS).astype(np.float32)
    points = grid_of(*torch.from_numpy(spread.T.copy())).to(photo.posed.device)
    seen = photo.unproject(points, float(glasses.shell[0]))
    for _ in range(2):
        seen = photo.unproject(points, glasses.depth(seen))
    box = torch.cat([seen, glasses.depth(seen)[..., None]], -1)[0].flatten(0, 1)
    worn = WornGlasses(
        layer=torch.from_numpy(doubled_layer(layer) if density == 2 else layer),
        corner=corner,
        density=density,
        cell=max(1, round(CELL * to_film.scale)),
        box=box.cpu().numpy(),
        shell=glasses.shell,
        photo=photo,
    )
    return replace(canvas, picture=picture), worn


def draw_glasses(frames: torch.Tensor, worn: WornGlasses, motion: FaceMotion) -> None:
    """Draws glasses over frames (B, H, W, 3) uint8, in place; ``motion`` is in pixels of the frames."""
    points, limits = motion.host.place(worn.box)[..., :2], np.array(frames.shape[2:0:-1])
    low = np.floor(points.min((0, 1))).astype(int).clip(0, limits)
    high = (np.ceil(points.max((0, 1))).astype(int) + 1).clip(0, limits)
    if (high <= low).any():
        return
    cell, (width, height) = worn.cell, high - low
    x, y = (
        torch.arange(-1, -(-side // cell) + 1, dtype=torch.float32, device=frames.device) * cell
        + (float(start) + (cell - 1) / 2)
        for side, start in zip((width, height), low, strict=True)
    )
    places, facing = _seen_places(worn, motion, grid_of(x, y))
    part = frames[:, low[1] : high[1], low[0] : high[0]]
    draw = draw_in_opencv if frames.device.type == "cpu" else draw_in_torch
    draw(part, worn, places, facing)


def _seen_places(worn: WornGlasses, motion: FaceMotion, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which places (B, h, w, 2), in pixels of the layer, are seen on the shell at pixels (1, h, w, 2) of the film.

    And (B, h, w) 1 where the shell faces the viewer there … 0 where it is seen from its edge or not at all.
    """
    depth, facing = on_shell(worn.shell, motion, pixels)
    places = worn.photo.project(motion.unproject(pixels, depth), depth)
    first_x, first_y = (float(first) for first in worn.corner)
    seen = pairs(places[..., 0] - first_x, places[..., 1] - first_y) * worn.density
    return seen, smoothstep(facing, *EDGE_ON)


def draw_in_torch(part: torch.Tensor, worn: WornGlasses, places: torch.Tensor, facing: torch.Tensor) -> None:
    """Draws over a part (B, h, w, 3) uint8 of frames, in place.

    Args:
        places: (B, rows + 2, columns + 2, 2) in pixels of the layer, for cells of the part and one more around.
        facing: (B, rows + 2, columns + 2) see ``_seen_places``.
    """
    height, width = part.shape[1:3]
    cells, cell = torch.cat([places, facing[..., None]], -1).permute(0, 3, 1, 2), worn.cell
    finer = F.interpolate(cells, scale_factor=cell, mode="bilinear", align_corners=False) if cell > 1 else cells
    finer = finer[:, :, cell : cell + height, cell : cell + width].permute(0, 2, 3, 1)
    # As a share of the glasses, not of the face: beyond the layer there is nothing.
    layer = torch.cat([worn.layer[..., :3], 255 - worn.layer[..., 3:]], -1).permute(2, 0, 1)[None].float()
    seen = finer[..., 2:] * sample(layer, finer[..., :2], padding_mode="zeros").permute(0, 2, 3, 1)
    part.copy_((part * (1 - seen[..., 3:] / 255) + seen[..., :3]).round_().clamp_(0, 255))


def draw_in_opencv(part: torch.Tensor, worn: WornGlasses, places: torch.Tensor, facing: torch.Tensor) -> None:
    """The same on the CPU, faster, and equal but for rounding."""
    layer, cell = worn.layer.numpy(), worn.cell
    height, width = part.shape[1:3]
    finer, inside = (places.shape[2] * cell, places.shape[1] * cell), np.s_[cell : cell + height, cell : cell + width]
    for own, where, faces in zip(part.numpy(), places.numpy(), facing.numpy(), strict=True):
        where = cv2.resize(where, finer)[inside]
        seen = cv2.remap(layer, where, None, cv2.INTER_LINEAR, borderValue=(0, 0, 0, 255))
        colours, hides = cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB), 255 - cv2.extractChannel(seen, 3)
        if faces.min() < 1:
            share = cv2.resize((faces * 255).round().astype(np.uint8), finer)[inside]
            colours = cv2.multiply(colours, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB), scale=1 / 255)
            hides = cv2.multiply(hides, share, scale=1 / 255)
        behind = cv2.multiply(own, cv2.cvtColor(255 - hides, cv2.COLOR_GRAY2RGB), scale=1 / 255)
        own[:] = cv2.add(colours, behind)
