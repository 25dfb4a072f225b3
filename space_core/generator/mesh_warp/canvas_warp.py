"""Frames of any size: the moving portrait drawn into a canvas, at the canvas' own resolution.

The map from a frame's pixels to the photo's is smooth, so it is as coarse as for a crop and scaled up; the canvas is
sampled through it, in tiles, where something moves. Elsewhere it stays as it is, to the bit. Eyes and mouth are drawn
as in a crop, in close-ups of 512 × 512 pixels of the canvas.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.canvas import Canvas
from space_core.face.portrait import MARGIN, SIZE, Crop
from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.eyes import draw_eyes, prepare_eyes
from space_core.generator.mesh_warp.face_motion import FaceMotion, face_motion
from space_core.generator.mesh_warp.glasses import Glasses
from space_core.generator.mesh_warp.mouth import PreparedMouth, draw_mouth
from space_core.generator.mesh_warp.refinement import load_refinement, prepare_refinement, refine
from space_core.generator.mesh_warp.sampling import EXTENT, sample
from space_core.generator.mesh_warp.wrinkles import PreparedWrinkles, shade

QUIET = 1e-3  # what changes a colour by less than this changes nothing
TILE = 128  # side of the squares in which a frame is drawn, pixels
ROOM = 2.2  # a close-up is at least so many times as wide as what it shows


@dataclass(frozen=True)
class CloseUp:
    """An eye or the mouth at a canvas' resolution: a small portrait of its own, whose crop lies around it.

    Attributes:
        points: the landmarks it shows.
        crop: where its crop lies in the canvas' picture, around the photo's eye or mouth.
        draw: draws into a frame (1, 3, 512, 512) of the close-up the motion in its pixels; what it is given last tells
            the places (1, 512, 512, 2) in the close-up's surroundings that the frame's pixels show of the photo.
    """

    points: list[int]
    crop: Crop
    draw: Callable[[torch.Tensor, FaceMotion, Callable[[], torch.Tensor]], None]


@dataclass(frozen=True)
class PreparedCanvas:
    """What every frame on a canvas needs, on the generator's device.

    Attributes:
        canvas: what the film shows.
        still: (H, W, 3) uint8, that at rest; continued to the right and down where it is smaller than a close-up.
        corner: left and top, in the canvas' picture, of the texture.
        texture: (1, 3, h, w) the part of that picture that may move, 0…1.
        behind: (1, 5, 640, 640) over the surroundings: how much of the background shows; how much of it is known; and
            its colours where it is not, times how much of it is not.
        wrinkles: the creases of the skin.
        close_ups: of the eyes and the mouth.
    """

    canvas: Canvas
    still: torch.Tensor
    corner: tuple[int, int]
    texture: torch.Tensor
    behind: torch.Tensor
    wrinkles: PreparedWrinkles
    close_ups: list[CloseUp]


def prepare_canvas(
    canvas: Canvas,
    landmarks: np.ndarray,
    behind: torch.Tensor,
    wrinkles: PreparedWrinkles,
    glasses: Glasses | None,
    mouth: PreparedMouth,
    refined: bool,
) -> PreparedCanvas:
    """Prepares a canvas for a portrait's landmarks (478, 3), its background, and what was prepared in its crop.

    ``refined`` says whether the mouth is to be refined.
    """
    device = behind.device
    left, top, width, height = canvas.shown
    low, high = (_place(canvas.crop, end) for end in (np.full(2, -MARGIN), np.full(2, SIZE + MARGIN - 1)))
    low = np.floor(low).astype(int).clip(0)
    high = np.minimum(np.ceil(high).astype(int) + 1, canvas.picture.shape[1::-1])
    texture = torch.tensor(canvas.picture[low[1] : high[1], low[0] : high[0]], device=device)
    texture = texture.permute(2, 0, 1)[None].float() / 255
    hidden = glasses is not None and glasses.opaque
    close_ups = [_eye(canvas, landmarks, texture, low, glasses, number) for number in range(len(EYES) * (not hidden))]
    close_ups.append(_mouth(canvas, landmarks, texture, low, mouth, refined))
    still = canvas.picture[top : top + height, left : left + width]
    least = SIZE * round(max(close_up.crop.scale for close_up in close_ups))
    still = np.pad(still, ((0, max(least - height, 0)), (0, max(least - width, 0)), (0, 0)), mode="edge")
    return PreparedCanvas(
        canvas=canvas,
        still=torch.tensor(still, device=device),
        corner=(int(low[0]), int(low[1])),
        texture=texture,
        behind=behind,
        wrinkles=wrinkles,
        close_ups=close_ups,
    )


def draw_frame(
    prepared: PreparedCanvas, offsets: torch.Tensor, creases: torch.Tensor, landmarks: np.ndarray
) -> np.ndarray:
    """The film's frame (H, W, 3) uint8 for one moment.

    Args:
        offsets: (1, n, n, 2) evenly over the surroundings, from each place to the one in the photo that it shows, in
            pixels of the crop; zero where nothing moves.
        creases: (2K,) how deep the skin's creases are, 0…1.
        landmarks: (478, 3) posed, in pixels of the crop.
    """
    frame = prepared.still.clone()
    fields = _fields(prepared, offsets, creases)
    for rows, columns in _tiles(prepared, _moving(fields)):
        _draw_tile(frame, prepared, fields, rows, columns)
    for close_up in prepared.close_ups:
        _draw_close_up(frame, prepared, close_up, fields, landmarks)
    width, height = prepared.canvas.shown[2:]
    return frame[:height, :width].cpu().numpy()


def _fields(prepared: PreparedCanvas, offsets: torch.Tensor, creases: torch.Tensor) -> torch.Tensor:
    """(1, 8, n, n) evenly over the surroundings: the offsets; how much of what has moved in is background, and goes;
    how much still background takes its place; what is added for background that is not known; and by which share skin
    is darker in creases.
    """
    offsets = F.avg_pool2d(offsets.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False)  # outlines without steps
    axis = torch.linspace(0, EXTENT - 1, offsets.shape[-1], device=offsets.device)
    places = _grid(axis, axis)
    where = places + offsets.permute(0, 2, 3, 1)
    shows, known, unknown = sample(prepared.behind, where).split((1, 1, 3), 1)
    _, still_known, still_unknown = sample(prepared.behind, places).split((1, 1, 3), 1)
    darker = shade(prepared.wrinkles, creases[None], where)
    return torch.cat([offsets, shows * known, shows * still_known, shows * (still_unknown - unknown), darker], 1)


def _moving(fields: torch.Tensor) -> np.ndarray:
    """(n, n) bool, where in the surroundings a frame differs from the canvas at rest."""
    # Still background that takes the place of moved background looks as before.
    quiet = (1 - fields[:, 2:4]).amax(1).maximum(fields[:, 4:7].abs().amax(1)) < QUIET
    moving = ((fields[:, :2] != 0).any(1) & ~quiet) | (fields[:, 7] > QUIET)
    return F.max_pool2d(moving.float(), 3, 1, 1)[0].cpu().numpy() > 0


def _tiles(prepared: PreparedCanvas, moving: np.ndarray) -> list[tuple[slice, slice]]:
    """Rows and columns of the canvas' picture that the film shows and in which something moves."""
    left, top, width, height = prepared.canvas.shown
    high = np.array(prepared.texture.shape[:1:-1]) + prepared.corner
    x0, y0 = max(left, prepared.corner[0]), max(top, prepared.corner[1])
    x1, y1 = min(left + width, int(high[0])), min(top + height, int(high[1]))

    def footprint(pixels: slice, axis: int) -> slice:
        ends = np.array([pixels.start, pixels.stop - 1]) + 0.5 - prepared.canvas.crop.origin[axis]
        ends = (ends / prepared.canvas.crop.scale - 0.5 + MARGIN) * (len(moving) - 1) / (EXTENT - 1)
        return slice(max(math.floor(ends[0]), 0), max(math.ceil(ends[1]) + 1, 0))

    rows = [slice(y, min(y + TILE, y1)) for y in range(y0, y1, TILE)]
    columns = [slice(x, min(x + TILE, x1)) for x in range(x0, x1, TILE)]
    return [
        (row, column) for row in rows for column in columns if moving[footprint(row, 1), footprint(column, 0)].any()
    ]


def _draw_tile(
    frame: torch.Tensor, prepared: PreparedCanvas, fields: torch.Tensor, rows: slice, columns: slice
) -> None:
    """Draws those rows and columns of the canvas' picture into a frame."""
    x, y = (torch.arange(part.start, part.stop, dtype=torch.float32, device=frame.device) for part in (columns, rows))
    places = _in_surroundings(prepared.canvas, x, y)
    offsets, leaves, comes, added, darker = sample(fields, places).split((2, 1, 1, 3, 1), 1)
    (left, top), (shown_left, shown_top) = prepared.corner, prepared.canvas.shown[:2]
    where = _grid(x - left, y - top) + offsets.permute(0, 2, 3, 1) * prepared.canvas.crop.scale
    still = prepared.texture[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    moved = _sharp(prepared.texture, where) * (1 - darker * prepared.wrinkles.tint)
    tile = torch.addcmul(added, moved, 1 - leaves).addcmul_(still, comes)
    frame[rows.start - shown_top : rows.stop - shown_top, columns.start - shown_left : columns.stop - shown_left] = (
        _bytes(tile)[0]
    )


def _draw_close_up(
    frame: torch.Tensor, prepared: PreparedCanvas, close_up: CloseUp, fields: torch.Tensor, landmarks: np.ndarray
) -> None:
    """Draws an eye or the mouth into a frame, where it has moved to."""
    canvas = prepared.canvas
    step = round(close_up.crop.scale)
    corner = _around(canvas.crop, landmarks[close_up.points], step).origin
    corner = np.clip(corner, canvas.shown[:2], canvas.shown[:2] + np.array(frame.shape[1::-1]) - SIZE * step)
    motion = face_motion(_in_close_up(canvas.crop, Crop(corner, step), landmarks)[None], frame.device)
    left, top = (corner - canvas.shown[:2]).astype(int)
    part = frame[top : top + SIZE * step, left : left + SIZE * step]
    before = part.permute(2, 0, 1)[None].float() / 255
    small = before if step == 1 else F.avg_pool2d(before, step)
    drawn = small.clone()

    def places() -> torch.Tensor:
        x, y = _pixels(Crop(corner, step), SIZE, 0, frame.device)
        offsets = sample(fields[:, :2], _in_surroundings(canvas, x, y)).permute(0, 2, 3, 1)
        own = zip((x, y), close_up.crop.origin, strict=True)
        own = _grid(*((axis - start + 0.5) / step - 0.5 + MARGIN for axis, start in own))
        return own + offsets * (canvas.crop.scale / step)

    close_up.draw(drawn, motion, places)
    change = drawn - small
    changed = (change != 0).any(1)[0]
    if not bool(changed.any()):
        return
    if step > 1:
        change = F.interpolate(change, scale_factor=step, mode="bilinear", align_corners=False)
        changed = (change != 0).any(1)[0]
    rows, columns = (slice(int(hit[0]), int(hit[-1]) + 1) for hit in (changed.any(axis).nonzero() for axis in (1, 0)))
    part[rows, columns] = _bytes(before[..., rows, columns] + change[..., rows, columns])[0]


def _eye(
    canvas: Canvas,
    landmarks: np.ndarray,
    texture: torch.Tensor,
    corner: np.ndarray,
    glasses: Glasses | None,
    number: int,
) -> CloseUp:
    points = [*EYES[number].upper_lid, *EYES[number].lower_lid]
    crop = _around(canvas.crop, landmarks[points])
    photo = face_motion(_in_close_up(canvas.crop, crop, landmarks)[None], texture.device)
    frame = glasses and sample(glasses.frame, _in_surroundings(canvas, *_pixels(crop, EXTENT, MARGIN, texture.device)))
    eye = prepare_eyes(_surroundings(texture, corner, crop), photo, frame)[number]
    return CloseUp(points, crop, lambda frame, motion, places: draw_eyes(frame, places(), [eye], motion))


def _mouth(
    canvas: Canvas,
    landmarks: np.ndarray,
    texture: torch.Tensor,
    corner: np.ndarray,
    mouth: PreparedMouth,
    refined: bool,
) -> CloseUp:
    """The mouth as it was prepared in the crop, its teeth and its edges as sharp as the canvas."""
    points = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]
    crop = _around(canvas.crop, landmarks[points])
    picture = _surroundings(texture, corner, crop)
    places = _in_surroundings(canvas, *_pixels(crop, EXTENT, MARGIN, texture.device))
    sharp = replace(
        mouth,
        photo=face_motion(_in_close_up(canvas.crop, crop, landmarks)[None], texture.device),
        gap=mouth.gap * canvas.crop.scale / crop.scale,
        teeth=torch.cat([picture, sample(mouth.teeth[:, 3:], places)], 1),
        softness=max(1.0, 1 / (canvas.original * crop.scale)),
    )
    refinement = prepare_refinement(picture, sharp.photo) if refined else None

    def draw(frame: torch.Tensor, motion: FaceMotion, _: Callable[[], torch.Tensor]) -> None:
        draw_mouth(frame, sharp, motion)
        if refinement:
            refine(frame, load_refinement(frame.device), refinement, motion)

    return CloseUp(points, crop, draw)


def _around(crop: Crop, points: np.ndarray, step: int | None = None) -> Crop:
    """The crop, on the canvas' pixels, of a close-up of points (N, 3) of the portrait's crop.

    ``step`` is how many pixels of the canvas are one of the close-up's; None for one, or as many as make them fit.
    """
    low, high = (_place(crop, end(points[:, :2], axis=0)) for end in (np.min, np.max))
    step = step or math.ceil(ROOM * float((high - low).max()) / SIZE)
    return Crop(np.round((low + high) / 2 - SIZE * step / 2), float(step))


def _surroundings(texture: torch.Tensor, corner: np.ndarray, crop: Crop) -> torch.Tensor:
    """(1, 3, 640, 640) the surroundings of a close-up, continued past the texture's edges."""
    step = round(crop.scale)
    x, y = (
        (torch.arange(EXTENT * step, device=texture.device) + int(start) - MARGIN * step).clamp(0, length - 1)
        for start, length in zip(crop.origin - corner, texture.shape[:1:-1], strict=True)
    )
    return F.avg_pool2d(texture[:, :, y][..., x], step)


def _place(crop: Crop, points: np.ndarray) -> np.ndarray:
    """Where pixels (..., 2) of a crop lie, in the pixels of what it was cut from; both count from the middle of one."""
    return crop.to_photo(points + 0.5) - 0.5


def _in_close_up(crop: Crop, close_up: Crop, landmarks: np.ndarray) -> np.ndarray:
    """(478, 3) landmarks of the portrait's crop, in pixels of a close-up's."""
    scale = crop.scale / close_up.scale
    xy = close_up.to_crop(_place(crop, landmarks[:, :2]) + 0.5) - 0.5
    return np.concatenate([xy, landmarks[:, 2:] * scale], 1)


def _pixels(crop: Crop, size: int, margin: int, device: torch.device) -> list[torch.Tensor]:
    """The x (size,) and the y (size,) of a close-up's pixels and of its margin's, in those of the canvas' picture."""
    steps = torch.arange(size, dtype=torch.float32, device=device) - margin + 0.5
    return [steps * crop.scale - 0.5 + float(start) for start in crop.origin]


def _in_surroundings(canvas: Canvas, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(1, H, W, 2) where columns (W,) and rows (H,) of the canvas' picture cross, in pixels of the surroundings."""
    axes = zip((x, y), canvas.crop.origin, strict=True)
    return _grid(*((axis + 0.5 - float(start)) / canvas.crop.scale - 0.5 + MARGIN for axis, start in axes))


def _grid(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(1, H, W, 2) x and y where columns (W,) and rows (H,) cross."""
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def _sharp(texture: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(1, 3, H, W) a texture (1, 3, h, w) at places (1, H, W, 2) in its pixels: bicubic, so that it stays sharp."""
    size = torch.tensor(texture.shape[:1:-1], device=texture.device)
    grid = where * (2 / (size - 1)) - 1
    return F.grid_sample(texture, grid, mode="bicubic", padding_mode="border", align_corners=True)


def _bytes(pictures: torch.Tensor) -> torch.Tensor:
    """(B, H, W, 3) uint8 of pictures (B, 3, H, W), 0…1."""
    return (pictures * 255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)
