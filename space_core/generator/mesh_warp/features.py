"""Eyes, mouth and folds of a smile: where they are in a film, prepared from the photo there, drawn into its frames.

In a large film they are drawn at a lower resolution, at which an eye or a mouth is about two hundred pixels wide, and
their changes are enlarged: the time that they take does not grow with the size of the film.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.canvas import Canvas
from space_core.face.crop_size import MARGIN
from space_core.face.sharpness import SHARP, edge_blur, softening_of
from space_core.face.topology import CHEEKS, EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas, film_transform
from space_core.generator.mesh_warp.continued_teeth import continued_teeth
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.eyes import draw_eye, eye_change, eye_margin
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform, upload
from space_core.generator.mesh_warp.frame_window import FrameWindow, to_reduced
from space_core.generator.mesh_warp.mouth import draw_mouth, mouth_is_open, mouth_margin
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
from space_core.generator.mesh_warp.sampling import blur_batch, grid_of, sample
from space_core.generator.mesh_warp.smile_folds import (
    PreparedSmileFold,
    draw_smile_fold,
    fold_gone,
    prepare_smile_folds,
)

LARGEST = 232  # pixels: greatest width of an eye or a mouth in the pictures into which they are drawn
# Margins of the parts of the photo that are kept: around the eyes, in widths of an eye; around cheeks and lips, around
# the lips, and around eyes and lips, in normalized units.
AROUND_EYES = 1.7
AROUND_CHEEKS, AROUND_MOUTH, AROUND_FACE = 0.35, 0.45, 0.1125
DRAWN_BLUR = 0.9  # pixels, standard deviation: blur that rendered teeth have by themselves; sharper photos add none

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
    # Beyond the picture's edges its outermost pixels are repeated.
    columns, rows = (
        (np.arange(low[axis], low[axis] + count[axis] * step) + shown[axis]).clip(0, edges[axis] - 1) for axis in (0, 1)
    )
    # First a slice, then one axis after the other: NumPy takes several times as long to index both at once.
    part = canvas.picture[:, columns[0] : columns[-1] + 1][rows].take(columns - columns[0], 1)
    picture = torch.from_numpy(part).to(device).permute(2, 0, 1)[None].float() / 255
    return Patch(F.avg_pool2d(picture, step) if step > 1 else picture, to_reduced(low, step), step)


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
    """Prepares a mouth for a film: teeth and edges get the film's resolution.

    Args:
        canvas: of the film.
        photo: the photo's own landmarks, in pixels of the film.
        mouth: as prepared in the portrait's surroundings.
        blur: what ``photo_blur`` returns.
        refined: whether the mouth is to be refined.
    """
    points, device = photo.host.posed[0, LIP_POINTS, :2], photo.posed.device
    margin = AROUND_MOUTH * float(photo.host.scale[0])
    extent = float(np.ptp(points, axis=0).max())
    patch = prepare_patch(canvas, points, extent, margin, device)
    own = photo.transformed(patch.transform)
    crop_pixel = film_transform(canvas).scale
    soft = softening_of(blur, crop_pixel) / patch.step
    teeth = _own_teeth(canvas, mouth, patch, float(own.host.scale[0]))
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


def _own_teeth(canvas: Canvas, mouth: PreparedMouth, patch: Patch, scale: float) -> torch.Tensor:
    """(1, 4, h, w) a patch with the teeth that the photo shows, continued under the lip, and where they are, 0…1.

    ``mouth`` is that of the portrait's surroundings; ``scale`` is in pixels of the patch per normalized unit.
    """
    to_crop = patch.transform.inverse().then(film_transform(canvas).inverse())
    shown = _surroundings_at(mouth.teeth[:, 3:], patch.picture, to_crop)
    colours = mouth.colours
    gums = colours.gums + colours.depiction.cartoon * (colours.enamel - colours.gums)
    gums = torch.from_numpy(gums).to(patch.picture.device) * mouth.dimmed[:, 0, 0]
    return continued_teeth(patch.picture, shown, scale, gums)


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
    """Removes the folds of a smile where it fades, in frames (B, H, W, 3) uint8, in place; see ``draw_eyes``."""
    for fold in prepared.folds:
        gone = fold_gone(fold, motion.host)
        if not gone.any():
            continue
        window = FrameWindow(frames, motion.host.posed[:, fold.points, :2], 1, prepared.patch.step)
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
        window = FrameWindow(frames, points, margin, step)
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
    window = FrameWindow(frames, points, step * mouth_margin(mouth), step)
    own = motion.transformed(window.transform)
    if is_open:
        draw_mouth(window.picture, mouth, own)
    if refinement is not None:
        refine(window.picture, network, refinement, own)
    window.write()


def _in_patch(canvas: PreparedCanvas, places: torch.Tensor, window: FrameWindow, patch: Patch) -> torch.Tensor:
    """(B, h, w, 2) the pixels of a patch that a window's pixels show; ``places`` are those of ``compose``."""
    seen = canvas.seen_at(places, window.film_pixels())
    return seen * patch.transform.scale + upload(patch.transform.offset.astype(np.float32), seen.device)


def _surroundings_at(fields: torch.Tensor, picture: torch.Tensor, to_crop: PixelTransform) -> torch.Tensor:
    """(1, C, h, w) what fields (1, C, 640, 640) over the surroundings are at the pixels of a picture (1, 3, h, w)."""
    height, width = picture.shape[2:]
    x, y = (
        torch.arange(side, dtype=torch.float32, device=picture.device) * to_crop.scale + float(first) + MARGIN
        for side, first in zip((width, height), to_crop.offset, strict=True)
    )
    return sample(fields, grid_of(x, y))
