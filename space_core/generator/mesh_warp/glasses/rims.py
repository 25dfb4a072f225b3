"""The rims and the bridge of glasses: closed lines around the eyes, and one across the nose.

All lengths are normalized units: outer eye corners one apart, which is about 9 cm.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.topology import BROWS, EYES, Brow, Eye
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.glasses.searched_face import SearchedFace, brow_mask, middle_of
from space_core.generator.mesh_warp.sampling import box_mean, sample

# A rim is sought around each eye as a closed line that is darker or lighter than both of its sides.
ANGLES, RADII = 72, 80  # rays from the middle of an eye, and places on each
LENS = (0.29, 0.24)  # half width and half height of a usual lens; distances along rays are relative to this ellipse
NEAREST, FARTHEST = 0.5, 2.1  # where rays begin and end, relative to it
LENS_BELOW, LENS_BESIDE = 0.03, 0.02  # offset of a lens' middle from an eye's middle: down, and towards the temple
# Distance of a lens before the eye: in a photo of a turned head lenses are shifted to the far side. It counts fully
# above the second of these sines of the yaw, and not below the first: nearer to the front, hair beside the far rim
# would be taken for the rim.
LENS_BEFORE, TURNED = 0.2, (0.3, 0.37)
NOSE = 0.03  # least distance of a rim from the middle of the face
# Half widths of a rim, in places on a ray, and their weights: thick lines may be brows.
THICKNESS = ((1, 1.0), (2, 1.0), (4, 0.7), (7, 0.6))
MAX_STEP = 3  # places that a rim moves from one ray to the next
STEP_COST = 0.004  # of each of these places, in brightness relative to the skin's
MAX_CONTRAST = 0.25  # to which the contrast of a line with the skin is clipped: more does not make it a better line
MAX_DIFFERENCE = 5  # places by which one eye's rim may differ from the rim that fits both best
HIDDEN_SHARE = 0.2  # of a rim, which hair, light or the brow may hide; the contrast of a line is this quantile
MAX_ROUGHNESS = 1.6  # mean places that a rim moves from ray to ray; creases of a screwed up face are rougher
# Least contrast, relative to the skin, of the rims and the bridge of glasses, and of tinted ones, beside which frames
# contrast less; faces without glasses stay below.
MIN_CONTRAST, MIN_CONTRAST_TINTED = 0.065, 0.05
# Below an eye there is no brow. The more the line there contrasts, between the first two, the less contrast of the
# whole is enough, down to the third; below the last, brows and wrinkles have been taken for a rim.
LOWER_RIM, MIN_CONTRAST_BOLD, MIN_LOWER_RIM = (0.1, 0.15), 0.045, 0.001
# That line is darker than its sides nearly everywhere, or lighter, unlike eye bags and wrinkles: the absolute value of
# its mean signed contrast, relative to its mean absolute one, is at least this.
MIN_SAME_SIGN = 0.3
# The bridge is such a line, too, across the nose at the height of the eyes; frowns stand upright, brows are higher.
BRIDGE = (0.11, 0.11)  # half width and half height of where it is sought
CROSSINGS, HEIGHTS = 23, 44  # places there

NOSE_ROOT = 168

# A rim inside of a brow, up to this beyond both of its lines of points of the mesh, is the brow's own line. Unless the
# path outside of the brows has less than the share ``AS_GOOD`` of the contrast, or its colours are further from those
# below the eyes by more than ``OTHER_COLOUR``: then the rims are in front of the brows.
INSIDE_BROW, AS_GOOD, OTHER_COLOUR = -0.008, 0.85, 0.1
BELOW_EYE = slice(ANGLES * 3 // 24, ANGLES * 9 // 24 + 1)  # rays
ABOVE_EYE = slice(ANGLES * 13 // 24, ANGLES * 23 // 24 + 1)


@dataclass(frozen=True)
class Rims:
    """Lines of a frame, in pixels of the surroundings.

    Attributes:
        left, right: (72, 2) the rims, the first point to the temple, then down.
        bridge: (23, 2) across the nose.
        are_below_brows: whether brows are in none of the rims.
    """

    left: torch.Tensor
    right: torch.Tensor
    bridge: torch.Tensor
    are_below_brows: bool


def find_rims(face: SearchedFace, smooth: torch.Tensor, is_tinted: bool) -> Rims | None:
    """The lines of a face's glasses, in brightness (1, 1, 640, 640) relative to the skin; None where there are none."""
    photo, least = face.photo, MIN_CONTRAST_TINTED if is_tinted else MIN_CONTRAST
    across, contrast = _nose(photo, smooth)
    bridge = _best_path(contrast)
    bridge_contrast = _path_contrast(contrast, bridge)
    if np.sqrt(MAX_CONTRAST * bridge_contrast) < min(least, MIN_CONTRAST_BOLD):
        return None
    rays = [_rays(photo, eye, side) for eye, side in zip(EYES, (-1, 1), strict=True)]
    signed = [_signed_line_contrast(sample(smooth, points[None])[0, 0]) * free for points, free in rays]
    contrasts = [np.abs(contrast) for contrast in signed]
    paths = _closed_paths(contrasts)
    below = _closed_paths([_outside_brow(photo, *of_eye) for of_eye in zip(contrasts, rays, BROWS, strict=True)])
    is_below = _fits_as_well(face, rays, contrasts, paths, below)
    paths = below if is_below else paths
    rim_contrast = np.mean([_path_contrast(contrast, path) for contrast, path in zip(contrasts, paths, strict=True)])
    lower = [_path_contrast(each[BELOW_EYE], path[BELOW_EYE]) for each, path in zip(contrasts, paths, strict=True)]
    least = min(least, MIN_CONTRAST - (MIN_CONTRAST - MIN_CONTRAST_BOLD) * smoothstep(np.min(lower), *LOWER_RIM))
    if np.sqrt(rim_contrast * bridge_contrast) < least or max(lower) < MIN_LOWER_RIM:
        return None
    below_eyes = [each[np.arange(ANGLES), path][BELOW_EYE] for each, path in zip(signed, paths, strict=True)]
    same_sign = abs(np.mean([each.sum() / max(np.abs(each).sum(), 1e-6) for each in below_eyes]))
    if np.abs(np.diff(paths)).mean() > MAX_ROUGHNESS or same_sign < MIN_SAME_SIGN:
        return None
    left, right = (points[np.arange(ANGLES), path] for (points, _), path in zip(rays, paths, strict=True))
    return Rims(left, right, across[np.arange(CROSSINGS), bridge], is_below)


def _path_contrast(contrast: np.ndarray, path: np.ndarray) -> float:
    """The contrast that a path (A,) through rows of contrasts (A, R) has but for the share that may be hidden."""
    return float(np.quantile(contrast[np.arange(len(path)), path], HIDDEN_SHARE))


def _rays(photo: FaceMotion, eye: Eye, side: int) -> tuple[torch.Tensor, np.ndarray]:
    """Points (72, 80, 2) on rays from the middle of an eye, in pixels, the first ray to the temple, then down.

    And which of them (72, 80) a rim may reach. ``side`` is −1 for the left eye, 1 for the right one.
    """
    device = photo.posed.device
    angle = torch.arange(ANGLES, device=device) * (2 * np.pi / ANGLES)
    ray = torch.stack([side * LENS[0] * angle.cos(), LENS[1] * angle.sin()], -1)
    away = ray[:, None] * torch.linspace(NEAREST, FARTHEST, RADII, device=device)[:, None]
    away = away + torch.tensor([side * LENS_BESIDE, LENS_BELOW], device=device)
    corners = photo.normalized[0, [eye.upper_lid[0], eye.upper_lid[-1]]].mean(0)
    across, before = photo.rotation[0, :2, 0], photo.rotation[0, :2, 2]
    distance = LENS_BEFORE * smoothstep(photo.rotation[0, 2, 0].abs(), *TURNED)
    seen = away - torch.stack([distance * (across @ before) / (across @ across), away.new_zeros(())])
    points = middle_of(photo, eye) + photo.scale * (seen @ photo.rotation[0, :2, :2].T)
    return points, (side * (corners[0] + away[..., 0]) > NOSE).cpu().numpy()


def _outside_brow(
    photo: FaceMotion, contrast: np.ndarray, rays: tuple[torch.Tensor, np.ndarray], brow: Brow
) -> np.ndarray:
    """The contrast (72, 80) on the rays of an eye, 0 inside of its brow."""
    inside = torch.from_numpy(brow_mask(photo, brow, INSIDE_BROW, INSIDE_BROW)).float()[None, None]
    return contrast * (sample(inside, rays[0][None])[0, 0] < 0.5).numpy()


def _line_contrast(brightness: torch.Tensor) -> np.ndarray:
    """(A, R) how much each place in the rows of a brightness (A, R) contrasts with both of its sides, 0…0.25."""
    return np.abs(_signed_line_contrast(brightness))


def _signed_line_contrast(brightness: torch.Tensor) -> np.ndarray:
    """The same, negative where a place is darker than its sides."""
    best, signed = torch.zeros_like(brightness), torch.zeros_like(brightness)
    for half, counts in THICKNESS:
        width = 2 * half + 1
        means = F.avg_pool1d(F.pad(brightness[:, None], (width + half,) * 2, mode="replicate"), width, 1)[:, 0]
        middle = means[:, width:-width]
        inner, outer = middle - means[:, : -2 * width], middle - means[:, 2 * width :]
        least = torch.minimum(inner.abs(), outer.abs()) * counts
        is_best = (inner * outer > 0) & (least > best)
        best = torch.where(is_best, least, best)
        signed = torch.where(is_best, least * inner.sign(), signed)
    return signed.clamp(-MAX_CONTRAST, MAX_CONTRAST).cpu().numpy()


def _spread(contrast: np.ndarray) -> np.ndarray:
    """The largest of each place and its two neighbours on both sides."""
    wide = np.pad(contrast, ((0, 0), (2, 2)))
    return np.max([wide[:, start : start + RADII] for start in range(5)], axis=0)


def _nose(photo: FaceMotion, grey: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """Points (23, 44, 2) across the nose between the eyes, in pixels, and how much each contrasts with those above and
    below it (23, 44).
    """
    device = photo.posed.device
    corners = [corner for eye in EYES for corner in (eye.upper_lid[0], eye.upper_lid[-1])]
    away = (photo.normalized[0, corners].mean(0) - photo.normalized[0, NOSE_ROOT])[:2] + torch.stack(
        torch.meshgrid(
            torch.linspace(-BRIDGE[0], BRIDGE[0], CROSSINGS, device=device),
            torch.linspace(-BRIDGE[1], BRIDGE[1], HEIGHTS, device=device),
            indexing="ij",
        ),
        -1,
    )
    points = photo.posed[0, NOSE_ROOT, :2] + photo.scale * (away @ photo.rotation[0, :2, :2].T)
    return points, _line_contrast(sample(grey, points[None])[0, 0])


def _fits_as_well(
    face: SearchedFace,
    rays: list[tuple[torch.Tensor, np.ndarray]],
    contrasts: list[np.ndarray],
    paths: list[np.ndarray],
    others: list[np.ndarray],
) -> bool:
    """Whether other places (A,) of both rims on their rays, where they differ, are as much of a frame's line."""
    smooth, measured = box_mean(face.picture, 1), []
    for places in (paths, others):
        contrast, differences = 0.0, [torch.zeros(0)]
        for (points, _), of_eye, place, path, other in zip(rays, contrasts, places, paths, others, strict=True):
            differs = path != other
            contrast += of_eye[np.arange(ANGLES), place][differs].sum()
            colours = sample(smooth, points[np.arange(ANGLES), place][None, None])[0, :, 0]
            usual = colours[:, BELOW_EYE].median(1, keepdim=True).values
            differences.append((colours - usual)[:, torch.from_numpy(differs)].norm(dim=0))
        measured.append((contrast, float(torch.cat(differences).mean().nan_to_num())))
    (contrast, unlike), (other_contrast, other_unlike) = measured
    return other_contrast >= AS_GOOD * contrast and other_unlike <= unlike + OTHER_COLOUR


def _closed_paths(contrasts: list[np.ndarray]) -> list[np.ndarray]:
    """(A,) for each eye the places of its rim on rays of these contrasts (A, R); both rims are alike."""
    both = _closed_path(np.mean([_spread(contrast) for contrast in contrasts], axis=0))
    away = np.abs(np.arange(RADII) - both[:, None]) > MAX_DIFFERENCE
    return [_closed_path(np.where(away, -1.0, contrast)) for contrast in contrasts]


def _closed_path(contrast: np.ndarray) -> np.ndarray:
    """(A,) the place on each ray at which the closed line of the most contrast (A, R) crosses it."""
    turns = _best_path(np.concatenate([contrast] * 2))  # twice around, so that it closes
    half = ANGLES // 2
    return np.concatenate([turns[ANGLES : ANGLES + half], turns[half:ANGLES]])


def _best_path(contrast: np.ndarray) -> np.ndarray:
    """(A,) the place in each row of contrasts (A, R) through which the line of the most contrast goes."""
    steps, places = np.arange(-MAX_STEP, MAX_STEP + 1), np.arange(contrast.shape[1])
    gained, came_from = contrast[0], np.zeros(contrast.shape, int)
    wide = np.full(len(places) + 2 * MAX_STEP, -np.inf)
    reachable, costs = np.lib.stride_tricks.sliding_window_view(wide, len(steps)), STEP_COST * np.abs(steps)
    for number in range(1, len(contrast)):
        wide[MAX_STEP:-MAX_STEP] = gained
        choices = reachable - costs
        best = choices.argmax(1)
        came_from[number] = places + steps[best]
        gained = contrast[number] + choices[places, best]
    line = np.empty(len(contrast), int)
    line[-1] = gained.argmax()
    for number in range(len(contrast) - 1, 0, -1):
        line[number - 1] = came_from[number, line[number]]
    return line
