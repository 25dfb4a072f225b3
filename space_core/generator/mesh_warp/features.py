"""Eyes, mouth and folds of a smile: where they are in a film, prepared from the photo there, drawn into its frames.

In a large film they are drawn at a lower resolution, at which an eye or a mouth is some two hundred pixels wide, and
what they change is made finer: so the time they take does not grow with the film.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.canvas import Canvas
from space_core.face.crop_size import MARGIN
from space_core.face.sharpness import SHARP, edge_blur, softening_of
from space_core.face.topology import CHEEKS, EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas, film_transform
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.eyes import draw_eye, eye_change, eye_margin
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform, upload
from space_core.generator.mesh_warp.mouth import draw_mouth, mouth_is_open, mouth_margin
from space_core.generator.mesh_warp.opening_mask import rectangles_around
from space_core.generator.mesh_warp.prepared_eyes import PreparedEye, prepare_eyes
from space_core.generator.mesh_warp.prepared_mouth import EDGE, PreparedMouth
from space_core.generator.mesh_warp.refinement import (
    PreparedRefinement,
    RefinementNetwork,
    lip_motion_weight,
    prepare_refinement,
    refine,
    window_corners,
)
from space_core.generator.mesh_warp.sampling import blur_batch, grid_of, pairs, sample
from space_core.generator.mesh_warp.smile_folds import (
    PreparedSmileFold,
    draw_smile_fold,
    fold_gone,
    prepare_smile_folds,
)
from space_core.generator.mesh_warp.upper_row import continued_teeth

LARGEST = 232  # pixels that the width of an eye or a mouth has at most where it is drawn
AROUND_EYES = 1.7  # how much of the photo around the eyes is kept, in widths of an eye
AROUND_CHEEKS = 0.35  # and around cheeks and lips, in normalized units
AROUND_MOUTH, AROUND_FACE = 0.45, 0.1125  # and around the lips, and around eyes and lips, in normalized units
DRAWN_BLUR = 0.9  # pixels, standard deviation; photos with edges as sharp as that get teeth as sharp as they are drawn
NEGLIGIBLE = 1e-3  # of 255; a smaller change is none

EYE_POINTS = [point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]
LIP_POINTS = [*INNER_UPPER_LIP, *INNER_LOWER_LIP, *OUTER_UPPER_LIP, *OUTER_LOWER_LIP]
INNER_LIP_POINTS = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]


@dataclass(frozen=True)
class Patch:
    """A part of the photo at the resolution at which eyes or mouth are drawn.

    Attributes:
        picture: (1, 3, h, w) 0…1.
        transform: from pixels of the film to those of the patch.
        step: pixels of the film per pixel of the patch.
    """

    picture: torch.Tensor
    transform: PixelTransform
    step: int


@dataclass(frozen=True)
class PreparedEyes:
    """Both eyes of a photo and the patch from which they were prepared."""

    patch: Patch
    eyes: list[PreparedEye]


@dataclass(frozen=True)
class PreparedLips:
    """The mouth of a photo, its refinement or None, and the patch from which they were prepared."""

    patch: Patch
    mouth: PreparedMouth
    refinement: PreparedRefinement | None


@dataclass(frozen=True)
class PreparedSmileFolds:
    """The folds of a photo's smile and the patch from which they were prepared."""

    patch: Patch
    folds: list[PreparedSmileFold]


def prepare_patch(canvas: Canvas, points: np.ndarray, extent: float, margin: float, device: torch.device) -> Patch:
    """The part of a canvas around points (N, 2) in pixels of the film.

    Args:
        extent: of what is to be drawn, in pixels of the film.
        margin: around the points, in pixels of the film.
    """
    step = max(1, math.ceil(extent / LARGEST))
    low, high = np.floor(points.min(0) - margin).astype(int), np.ceil(points.max(0) + margin).astype(int)
    count = -(-(high - low) // step)
    shown, edges = np.array(canvas.shown[:2]), canvas.picture.shape[1::-1]
    # Past the picture's edges its outermost pixels go on.
    columns, rows = (
        (np.arange(low[axis], low[axis] + count[axis] * step) + shown[axis]).clip(0, edges[axis] - 1) for axis in (0, 1)
    )
    # Cut out first, and then axis by axis: all at once NumPy takes several times as long.
    part = canvas.picture[:, columns[0] : columns[-1] + 1][rows].take(columns - columns[0], 1)
    picture = torch.from_numpy(part).to(device).permute(2, 0, 1)[None].float() / 255
    return Patch(F.avg_pool2d(picture, step) if step > 1 else picture, _to_patch(low, step), step)


def photo_blur(canvas: Canvas, photo: FaceMotion) -> float:
    """The standard deviation of the Gaussian that has blurred a photo in its face, in pixels of the film.

    ``photo`` has the photo's own landmarks in pixels of the film.
    """
    points = photo.host.posed[0, [*EYE_POINTS, *LIP_POINTS], :2]
    extent = float(np.ptp(photo.host.posed[0, LIP_POINTS, :2], axis=0).max())
    face = prepare_patch(canvas, points, extent, AROUND_FACE * float(photo.host.scale[0]), photo.posed.device)
    return edge_blur(face.picture[0].permute(1, 2, 0).cpu().numpy()) * face.step


def prepare_eyes_on(canvas: Canvas, photo: FaceMotion, softening: float, depiction: Depiction) -> PreparedEyes:
    """The eyes of a photo with these landmarks in pixels of the film; for ``softening`` see ``PreparedCanvas``."""
    points, device = photo.host.posed[0, EYE_POINTS, :2], photo.posed.device
    width = max(
        np.linalg.norm(np.subtract(*photo.host.posed[0, [eye.upper_lid[0], eye.upper_lid[-1]], :2])) for eye in EYES
    )
    patch = prepare_patch(canvas, points, float(width), AROUND_EYES * float(width), device)
    eyes = prepare_eyes(patch.picture, photo.transformed(patch.transform), softening / patch.step, depiction.cartoon)
    return PreparedEyes(patch, eyes)


def prepare_lips_on(
    canvas: Canvas, photo: FaceMotion, mouth: PreparedMouth, blur: float, refined: bool
) -> PreparedLips:
    """The mouth as it was prepared in the portrait's surroundings, its teeth and its edges as sharp as the film.

    ``photo`` has the photo's own landmarks in pixels of the film, ``blur`` is what ``photo_blur`` returns; ``refined``
    says whether the mouth is to be refined.
    """
    points, device = photo.host.posed[0, LIP_POINTS, :2], photo.posed.device
    margin = AROUND_MOUTH * float(photo.host.scale[0])
    extent = float(np.ptp(points, axis=0).max())
    patch = prepare_patch(canvas, points, extent, margin, device)
    own = photo.transformed(patch.transform)
    back = patch.transform.inverse().then(film_transform(canvas).inverse())
    crop_pixel = film_transform(canvas).scale
    soft = softening_of(blur, crop_pixel) / patch.step
    shown = _surroundings_at(mouth.teeth[:, 3:], patch.picture, back)
    colours = mouth.colours
    gums = colours.gums + colours.depiction.cartoon * (colours.enamel - colours.gums)
    gums = torch.from_numpy(gums).to(device) * mouth.dimmed[:, 0, 0]
    teeth = continued_teeth(patch.picture, shown, float(own.host.scale[0]), gums)
    teeth = torch.cat([teeth[:, :3], blur_batch(teeth[:, 3:], soft)], 1)
    sharp = replace(
        mouth,
        photo=own,
        teeth=teeth,
        softness=max(1.0, 1 / (canvas.original * patch.step)),
        blur=math.sqrt(max((min(blur, SHARP * crop_pixel) / patch.step) ** 2 - DRAWN_BLUR**2, 0.0)),
        softening=soft,
    )
    depiction = mouth.colours.depiction
    made = max(depiction.stone, depiction.cartoon)
    edge = EDGE if mouth.open_in_photo else 0.0
    refinement = prepare_refinement(patch.picture, own, made, sharp.softening, edge) if refined else None
    return PreparedLips(patch, sharp, refinement)


def prepare_smile_folds_on(canvas: Canvas, photo: FaceMotion, depiction: Depiction) -> PreparedSmileFolds:
    """The folds of a photo's smile; ``photo`` has its landmarks in pixels of the film."""
    points = photo.host.posed[0, [*CHEEKS, *LIP_POINTS], :2]
    extent = float(np.ptp(photo.host.posed[0, LIP_POINTS, :2], axis=0).max())
    patch = prepare_patch(canvas, points, extent, AROUND_CHEEKS * float(photo.host.scale[0]), photo.posed.device)
    folds = prepare_smile_folds(patch.picture, photo.transformed(patch.transform), depiction)
    return PreparedSmileFolds(patch, folds)


def draw_smile_folds(
    frames: torch.Tensor, canvas: PreparedCanvas, places: torch.Tensor, prepared: PreparedSmileFolds, motion: FaceMotion
) -> None:
    """Takes the folds of a smile that goes out of frames (B, H, W, 3) uint8, in place; see ``draw_eyes``."""
    for fold in prepared.folds:
        gone = fold_gone(fold, motion.host)
        if not gone.any():
            continue
        window = _Window(frames, motion.host.posed[:, fold.points, :2], 1, prepared.patch.step)
        draw_smile_fold(window.picture, _in_patch(canvas, places, window, prepared.patch), fold, gone)
        window.write()


def draw_eyes(
    frames: torch.Tensor, canvas: PreparedCanvas, places: torch.Tensor, prepared: PreparedEyes, motion: FaceMotion
) -> None:
    """Draws the eyes into frames (B, H, W, 3) uint8, in place; ``places`` are those of ``compose``."""
    for eye in prepared.eyes:
        change = eye_change(eye, motion.host)
        if not change.moved.any():
            continue
        step = prepared.patch.step
        points = motion.host.posed[:, [*eye.eye.upper_lid, *eye.eye.lower_lid], :2]
        margin = step * eye_margin(eye, float(motion.host.scale.max()) / step)
        window = _Window(frames, points, margin, step)
        where = _in_patch(canvas, places, window, prepared.patch)
        draw_eye(window.picture, where, eye, motion.transformed(window.transform), change)
        window.write()


def draw_lips(frames: torch.Tensor, prepared: PreparedLips, network: RefinementNetwork, motion: FaceMotion) -> None:
    """Draws the mouth into frames (B, H, W, 3) uint8, in place."""
    mouth, refinement = prepared.mouth, prepared.refinement
    is_open = mouth_is_open(mouth, motion.host)
    if refinement is not None and not lip_motion_weight(refinement.photo, motion).any():
        refinement = None
    if not is_open and refinement is None:
        return
    points = motion.host.posed[:, LIP_POINTS if mouth.open_in_photo else INNER_LIP_POINTS, :2]
    if refinement is not None:
        points = np.concatenate([points, window_corners(refinement, motion.host)], 1)
    step = prepared.patch.step
    window = _Window(frames, points, step * mouth_margin(mouth), step)
    own = motion.transformed(window.transform)
    if is_open:
        draw_mouth(window.picture, mouth, own)
    if refinement is not None:
        refine(window.picture, network, refinement, own)
    window.write()


class _Window:
    """A rectangle of each of several frames, as a picture (B, 3, h, w), 0…1, to draw into and to write back."""

    def __init__(self, frames: torch.Tensor, points: np.ndarray, margin: int, step: int) -> None:
        """Around points (B, N, 2) of frames (B, H, W, 3) uint8; ``step`` pixels of those are one of the picture's."""
        self._frames, self._step = frames, step
        self._corners, size = rectangles_around(points, margin, frames.shape[1:3])
        height, width = (max(side // step, 1) * step for side in size)  # whole pixels of the picture
        if frames.device.type == "cpu":
            self._parts = [
                frame[top : top + height, left : left + width]
                for frame, (left, top) in zip(frames, self._corners.tolist(), strict=True)
            ]
            self.picture = _reduced_in_opencv(self._parts, step)
        else:  # all at once: frame by frame, starting the operations would take longer than computing them
            self._pixels = _pixels_of_rectangles(self._corners, (height, width), frames.device)
            self.picture = _reduced_in_torch(frames[self._pixels], step)
        self._before = self.picture.clone() if step > 1 else None
        self.transform = _to_patch(self._corners, step)

    def film_pixels(self) -> torch.Tensor:
        """(B, h, w, 2) the picture's pixels in those of the film."""
        first = upload((self._corners + (self._step - 1) / 2).astype(np.float32), self.picture.device)
        height, width = self.picture.shape[2:]
        steps = torch.arange(max(height, width), dtype=torch.float32, device=first.device) * self._step
        x, y = (first[:, axis, None] + steps[:side] for axis, side in ((0, width), (1, height)))
        return pairs(x[:, None], y[..., None])

    def write(self) -> None:
        """Writes what was drawn into the picture back into the frames."""
        (self._write_in_opencv if self._frames.device.type == "cpu" else self._write_in_torch)()

    def _write_in_torch(self) -> None:
        """See ``write``."""
        if self._before is None:
            drawn = self.picture * 255
        else:
            finer = F.interpolate(self.picture - self._before, scale_factor=self._step, mode="bilinear")
            drawn = self._frames[self._pixels].permute(0, 3, 1, 2) + finer * 255
        self._frames[self._pixels] = drawn.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)

    def _write_in_opencv(self) -> None:
        """The same on the CPU, faster, and equal but for rounding."""
        if self._before is None:
            drawn = (self.picture * 255).round_().clamp_(0, 255).byte()
            for part, planes in zip(self._parts, drawn, strict=True):
                part.numpy()[:] = cv2.merge(planes.numpy())
            return
        changes = (self.picture - self._before).permute(0, 2, 3, 1) * 255
        for part, change in zip(self._parts, changes, strict=True):
            _add_in_opencv(part, change, self._step)


def _in_patch(canvas: PreparedCanvas, places: torch.Tensor, window: _Window, patch: Patch) -> torch.Tensor:
    """(B, h, w, 2) the pixels of a patch that a window's pixels show; ``places`` are those of ``compose``."""
    seen = canvas.seen_at(places, window.film_pixels())
    return seen * patch.transform.scale + upload(patch.transform.offset.astype(np.float32), seen.device)


def _pixels_of_rectangles(
    corners: np.ndarray, size: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frame, row and column of each pixel (B, h, w) of rectangles of a height and width; as an index of B frames."""
    (columns, rows), (height, width) = upload(corners, device).unbind(1), size
    steps = torch.arange(max(len(corners), *size), device=device)
    frame = steps[: len(corners), None, None]
    return frame, rows[:, None, None] + steps[:height, None], columns[:, None, None] + steps[:width]


def _reduced_in_torch(parts: torch.Tensor, step: int) -> torch.Tensor:
    """(B, 3, h, w) 0…1, the means of ``step`` × ``step`` pixels of parts (B, step · h, step · w, 3) uint8 of frames."""
    whole = parts.permute(0, 3, 1, 2).contiguous().float() / 255
    return F.avg_pool2d(whole, step) if step > 1 else whole


def _reduced_in_opencv(parts: list[torch.Tensor], step: int) -> torch.Tensor:
    """The same of each frame's part on the CPU, faster, and rounded to eight bits."""
    if step == 1:
        return _reduced_in_torch(torch.stack(parts), step)
    size = parts[0].shape[1] // step, parts[0].shape[0] // step
    means = np.stack([cv2.resize(part.numpy(), size, interpolation=cv2.INTER_AREA) for part in parts])
    return torch.from_numpy(means).permute(0, 3, 1, 2).float().div_(255).contiguous()


def _add_in_opencv(part: torch.Tensor, change: torch.Tensor, step: int) -> None:
    """Adds a change (h, w, 3), made finer, to a part (step · h, step · w, 3) uint8 of a frame, in place, on the CPU."""
    coarse = change.contiguous().numpy()
    changed = (np.abs(coarse) > NEGLIGIBLE).reshape(len(coarse), -1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0)) // 3
    if not len(rows):
        return
    # With one more around: what lies between two pixels belongs to both.
    top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    used = coarse[top : int(rows[-1]) + 2, left : int(columns[-1]) + 2]
    height, width = (side * step for side in used.shape[:2])
    own = part.numpy()[top * step : top * step + height, left * step : left * step + width]
    own[:] = cv2.add(own, cv2.resize(used, (width, height)), dtype=cv2.CV_8U)


def _to_patch(corner: np.ndarray, step: int) -> PixelTransform:
    """From pixels of the film to those of a picture that begins at a corner, each of ``step`` pixels a side."""
    return PixelTransform(1 / step, (0.5 - corner) / step - 0.5)


def _surroundings_at(fields: torch.Tensor, picture: torch.Tensor, to_crop: PixelTransform) -> torch.Tensor:
    """(1, C, h, w) what fields (1, C, 640, 640) over the surroundings are at the pixels of a picture (1, 3, h, w)."""
    height, width = picture.shape[2:]
    x, y = (
        torch.arange(side, dtype=torch.float32, device=picture.device) * to_crop.scale + float(first) + MARGIN
        for side, first in zip((width, height), to_crop.offset, strict=True)
    )
    return sample(fields, grid_of(x, y))
