"""Creases of the skin that come and go with the motion of the face.

A warp carries the photo's skin along, but where real skin is pushed together it folds: between brows that are drawn
together, across the forehead under raised ones, on a wrinkled nose, beside it, at the outer corners of the eyes. Each
of these creases is a soft line on the canonical face, carried by the mesh like the skin itself. How deep it is follows
from how far the points that push it have moved from where they are in the photo; without motion there is none.
Lengths are normalized: outer eye corners are one unit apart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.topology import CHEEKS, NUM_SURFACE_POINTS, canonical_face
from space_core.generator.mesh_warp.compositing.grid import Grid
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform, index_on, upload
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.sampling import EXTENT, blur_batch, box_mean, downsampled, pairs, sample

STEPS = EXTENT // 2  # side of the maps of creases, pixels: half the surroundings' resolution, as creases are soft
LINE_WIDTH, FOLD_WIDTH = 0.010, 0.035  # standard deviations across a crease: of its line, and of its soft shadow
FOLD_REACH = 4 * FOLD_WIDTH  # distance from a line beyond which a crease is not computed
ENDS = 0.08  # length over which the ends of a line fade out; half of the line's length where that is shorter
# Shadows on skin are reddish: a channel is darkened less, the more it exceeds the skin's mean, by ``REDNESS`` times the
# relative excess, and by up to ``PALE_REDNESS`` from an excess of about ``PALE`` on: on pale skin a grey line would
# look like dirt.
REDNESS, PALE_REDNESS, PALE = 0.6, 0.1, 0.08
NEAR = 0.15  # distance from a crease within which the mesh's points carry it
# Distance of a colour, 0…1, from that of the cheeks: below the first it is skin, above the second hair or glasses.
SKIN = (0.16, 0.34)
NEGLIGIBLE = 0.01  # shallower creases are not drawn
# Skin that is smooth in the photo, as children's or in a drawing, folds more softly: up to the roughness ``SMOOTH``
# lines and their soft shadows have these shares of their depth, from ``ROUGH`` on all of it. Roughness is the relative
# standard deviation of brightness in a patch of skin.
SMOOTH_LINE, SMOOTH_FOLD, SMOOTH, ROUGH = 0.2, 0.5, 0.004, 0.010
OVEREXPOSED = (0.86, 0.97)  # brightness, 0…1, between which creases vanish: overexposed skin, the white of drawings
DETAIL, PATCH = 0.03, 0.09  # half the side of the square that details are compared with, and of a patch of skin
PATCHES = (151, 9, 108, 337, 50, 280)  # points of the mesh on forehead and cheeks
SECOND = 2  # rank, from the smoothest, of the patch that counts: hair over some of them is rough


@dataclass(frozen=True)
class Crease:
    """One kind of crease on the left half of the face; the right half has its mirror image.

    Attributes:
        lines: each a chain of places (x, y) on the canonical face. Those that end in its middle go on on the right.
        pushed_by: points of the mesh on the left half whose mean motion pushes the skin, …
        towards: … and the direction (x, y) in which it does, of length 1.
        begins, full: how far they move until the crease begins, and until it is deepest.
        line, fold: by which share the line and its soft shadow darken the skin where the crease is deepest.
    """

    lines: tuple[tuple[tuple[float, float], ...], ...]
    pushed_by: tuple[int, ...]
    towards: tuple[float, float]
    begins: float
    full: float
    line: float
    fold: float


UP, DOWN, INWARDS = (0.0, -1.0), (0.0, 1.0), (1.0, 0.0)
INNER_BROW, OUTER_BROW, NOSTRIL, BESIDE_NOSE, CHEEK = (55, 107), (105, 63, 70), (48, 64), (203, 36, 206), (117, 50)
FOREHEAD = ((-0.30, 0.15), (-0.37, 0.12), (-0.44, 0.1))  # heights of its lines in the middle, and how they are bent
CREASES = (
    # An upright line beside the middle of the brows; one across the root of the nose.
    Crease((((-0.055, -0.06), (-0.06, -0.16), (-0.08, -0.27)),), INNER_BROW, INWARDS, 0.006, 0.04, 0.16, 0.09),
    Crease((((-0.12, -0.02), (0.0, -0.03)),), INNER_BROW, DOWN, 0.03, 0.10, 0.16, 0.06),
    # Across the forehead, over the inner and over the outer brows.
    Crease(
        tuple(tuple((x, y + bend * x * x) for x in (-0.30, -0.15, 0.0)) for y, bend in FOREHEAD),
        *(INNER_BROW, UP, 0.025, 0.13, 0.11, 0.07),
    ),
    Crease(
        tuple(tuple((x, y + bend * x * x) for x in (-0.56, -0.42, -0.3, -0.16)) for y, bend in FOREHEAD),
        *(OUTER_BROW, UP, 0.025, 0.13, 0.11, 0.07),
    ),
    # On the side of the nose.
    Crease(
        (((-0.03, 0.06), (-0.10, 0.13), (-0.14, 0.23)), ((-0.03, 0.13), (-0.08, 0.19), (-0.12, 0.29))),
        *(NOSTRIL, UP, 0.02, 0.055, 0.07, 0.04),
    ),
    # From the nose to beyond the corner of the mouth.
    Crease(
        (((-0.225, 0.43), (-0.27, 0.51), (-0.335, 0.60), (-0.385, 0.69), (-0.40, 0.78)),),
        *(BESIDE_NOSE, UP, 0.02, 0.075, 0.09, 0.11),
    ),
    # Crow's feet, and a line under the eye.
    Crease(
        (((-0.56, 0.00), (-0.68, -0.04)), ((-0.57, 0.03), (-0.69, 0.04)), ((-0.55, 0.06), (-0.66, 0.11))),
        *(CHEEK, UP, 0.02, 0.06, 0.14, 0.08),
    ),
    Crease((((-0.18, 0.10), (-0.32, 0.14), (-0.47, 0.11)),), CHEEK, UP, 0.02, 0.06, 0.14, 0.10),
)


@dataclass(frozen=True)
class PreparedWrinkles:
    """What every frame of a portrait needs of its creases, on the generator's device. Those of the right half follow.

    Attributes:
        photo: (1, 478, 3) the photo's own landmarks, normalized, on the host.
        push: (956, 2K) from how far each point has moved along x and y to how far each crease is pushed; on the host.
        reach: (2, 2K) how far until it begins, and until it is deepest; on the host.
        near: (2K, 468) bool, the points of the mesh near each; on the host.
        shades: (2K, 3, h, w) by which share each darkens the skin's red, green and blue at its deepest, in a window
            of a picture (320, 320) of the surroundings.
        corner: left and top of the window in that picture.
    """

    photo: np.ndarray
    push: np.ndarray
    reach: np.ndarray
    near: np.ndarray
    shades: torch.Tensor
    corner: tuple[int, int]


def prepare_wrinkles(
    picture: torch.Tensor, photo: FaceMotion, depiction: Depiction, softening: float = 0.0
) -> PreparedWrinkles:
    """Prepares the creases of a photo with these landmarks and these surroundings (1, 3, 640, 640), 0…1.

    On the host. Drawn characters have no creases, whose soft shadows would be dirt on them. ``softening`` is
    the standard deviation, in pixels of the surroundings, of the Gaussian that makes a line as blurred as the photo.
    """
    points = photo.posed[:, :NUM_SURFACE_POINTS] * ((STEPS - 1) / (EXTENT - 1))
    left, top = points[0, :, :2].amin(0).floor().int().clamp(0, STEPS - 2).tolist()
    right, bottom = points[0, :, :2].amax(0).ceil().int().clamp(2, STEPS).tolist()
    window = np.s_[top:bottom, left:right]
    face, half = _places_on_face(points)[window], downsampled(picture[0], 2)[None]
    blurred = box_mean(half, 2)
    cheeks = sample(blurred, points[:, None, list(CHEEKS), :2])[0, :, 0].median(1).values
    skin = _skin(blurred[0][:, *window], cheeks, face[..., 2])
    rough = smoothstep(_roughness(half, points[:, list(PATCHES), :2], float(photo.scale[0]) / 2), SMOOTH, ROUGH)
    line, fold = (
        float((smooth + (1 - smooth) * rough) * (1 - depiction.cartoon)) for smooth in (SMOOTH_LINE, SMOOTH_FOLD)
    )

    canonical, tint = torch.tensor(canonical_face().vertices, dtype=torch.float32), shadow_tint(cheeks)[:, None, None]
    push = torch.zeros(len(canonical), 2, 2 * len(CREASES))
    shades, near = [], []
    for number, (crease, side) in enumerate((crease, side) for side in (1, -1) for crease in CREASES):
        pushed_by = torch.tensor(crease.pushed_by)
        pushed_by = pushed_by if side == 1 else torch.as_tensor(canonical_face().mirror)[pushed_by]
        push[pushed_by, :, number] = torch.tensor(crease.towards) / len(pushed_by)
        push[:, 0, number] *= side
        mirror = torch.tensor([side, 1.0])
        places = face[..., :2] * mirror
        shade = blur_batch(_shade(places, crease, skin, line, fold)[None, None], softening / 2)[0, 0]
        shades.append(tint * shade)
        near.append(_distance(canonical[:NUM_SURFACE_POINTS, :2] * mirror, crease) < NEAR)
    reach = np.array([[crease.begins, crease.full] for crease in CREASES * 2], np.float32).T
    return PreparedWrinkles(
        photo=photo.host.normalized,
        push=push.flatten(0, 1).numpy(),
        reach=reach,
        near=torch.stack(near).numpy(),
        shades=torch.stack(shades),
        corner=(left, top),
    )


def crease_shade(
    prepared: PreparedWrinkles, motion: FaceMotion, places: torch.Tensor, grid: Grid, to_surroundings: PixelTransform
) -> torch.Tensor | None:
    """By which factor the skin's red, green and blue are darkened or brightened in each cell of a film.

    Args:
        motion: of the frames, in pixels of the film.
        places: (B, rows, columns, 2) the places of the photo that are seen in the cells, in pixels of the film.
        grid: the cells.
        to_surroundings: from pixels of the film to those of the surroundings.

    Returns:
        (B, 3, rows, columns), 1 where there is no crease; None where there is none at all.
    """
    depths = crease_depths(prepared, motion)
    some = depths.max(0) > NEGLIGIBLE
    if not some.any():
        return None
    around = motion.host.posed[:, :NUM_SURFACE_POINTS, :2][:, prepared.near[some].any(0)]
    cells = (around - grid.first_centre) / grid.cell
    most = np.array([grid.columns, grid.rows]) - 1
    first, last = np.floor(cells.min((0, 1))).astype(int), np.ceil(cells.max((0, 1))).astype(int)
    rows, columns = (slice(*np.clip([first[axis], last[axis] + 1], 0, most[axis] + 1).tolist()) for axis in (1, 0))
    factor = torch.ones(len(depths), 3, grid.rows, grid.columns, device=places.device)
    chosen = index_on(tuple(np.flatnonzero(some).tolist()), places.device)
    weights = upload(depths[:, some], places.device)
    shades = torch.einsum("bk,kchw->bchw", weights, prepared.shades.index_select(0, chosen))
    part = places[:, rows, columns]
    if not part.numel():
        return None
    # Each cell is the mean of four places: a line must not come and go as it moves across the cells.
    part = F.interpolate(part.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)
    height, width = shades.shape[-2:]
    scale = (STEPS - 1) / (EXTENT - 1)
    x, y = (
        (part[..., axis] * to_surroundings.scale + float(to_surroundings.offset[axis])) * scale - prepared.corner[axis]
        for axis in (0, 1)
    )
    where = pairs(x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1)
    darker = F.avg_pool2d(F.grid_sample(shades, where, padding_mode="zeros", align_corners=True), 2)
    factor[..., rows, columns] = 1 - darker
    return factor


def shadow_tint(skin: torch.Tensor) -> torch.Tensor:
    """(3,) how much of a shadow each colour of skin (3,) takes; on grey skin all the same."""
    colour = skin / skin.mean().clamp(min=NEGLIGIBLE) - 1
    return 1 - (REDNESS * colour + PALE_REDNESS * torch.tanh(colour / PALE))


def crease_depths(prepared: PreparedWrinkles, motion: FaceMotion) -> np.ndarray:
    """(B, 2K) float32 how deep all creases are, 0…1."""
    change = (motion.host.normalized - prepared.photo)[..., :2]
    begins, full = prepared.reach
    return smoothstep((change.reshape(len(change), -1) @ prepared.push - begins) / (full - begins), 0, 1)


def _places_on_face(points: torch.Tensor) -> torch.Tensor:
    """(320, 320, 3) x and y on the canonical face where a face with these points (1, 468, 3) is seen, and 1; else 0."""
    canonical = torch.tensor(canonical_face().vertices[:NUM_SURFACE_POINTS, :2], dtype=torch.float32)
    on_face = torch.cat([canonical, canonical.new_ones(NUM_SURFACE_POINTS, 1)], 1)[None]
    triangles = torch.tensor(canonical_face().triangles)
    return rasterize(points[..., :2], points[..., 2], triangles, on_face, (STEPS, STEPS))[0]


def _skin(picture: torch.Tensor, cheeks: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    """(h, w) how far a picture (3, h, w) shows skin on which shadows are seen, 0…1, by the colour of cheeks (3,).

    ``face`` (h, w) is 1 where there is a face, and 0 elsewhere.
    """
    different = (picture - cheeks[:, None, None]).square().sum(0).sqrt()
    return (1 - smoothstep(different, *SKIN)) * face * (1 - smoothstep(picture.mean(0), *OVEREXPOSED))


def _roughness(picture: torch.Tensor, patches: torch.Tensor, scale: float) -> torch.Tensor:
    """() how rough skin is in patches (1, N, 2) of a picture (1, 3, h, w), where a unit is ``scale`` pixels long."""
    brightness = picture.mean(1, keepdim=True)
    near, around = box_mean(brightness, 1), box_mean(brightness, 1 + int(DETAIL * scale)).clamp(min=NEGLIGIBLE)
    deviation = box_mean((near / around - 1).square(), int(PATCH * scale)).sqrt()
    return sample(deviation, patches[:, None])[0, 0, 0].sort().values[SECOND - 1]


def _shade(places: torch.Tensor, crease: Crease, skin: torch.Tensor, line: float, fold: float) -> torch.Tensor:
    """(h, w) by which share a crease at its deepest darkens places (h, w, 2) of the canonical face.

    ``skin`` (h, w) is how far there is skin there, 0…1; ``line`` and ``fold`` are shares of the crease's own.
    """
    shades = torch.zeros_like(skin)
    bare = (skin > 0) & (places[..., 0] <= 0)
    for chain in crease.lines:
        corners = places.new_tensor(chain)
        low, high = corners.amin(0) - FOLD_REACH, corners.amax(0) + FOLD_REACH
        near = bare & ((places > low) & (places < high)).all(-1)
        distance, from_start, to_end = _along(places[near], chain)
        fading = torch.minimum((from_start + to_end) / 2, torch.tensor(ENDS))
        ends = smoothstep(from_start / fading, 0, 1)
        if chain[-1][0] < 0:
            ends = ends * smoothstep(to_end / fading, 0, 1)
        across = line * crease.line * torch.exp(-0.5 * (distance / LINE_WIDTH) ** 2)
        across = across + fold * crease.fold * torch.exp(-0.5 * (distance / FOLD_WIDTH) ** 2)
        shades[near] = torch.maximum(shades[near], across * ends)
    return shades * skin


def _distance(places: torch.Tensor, crease: Crease) -> torch.Tensor:
    """(…) how far places (…, 2) of the canonical face are from a crease."""
    return torch.stack([_along(places, line)[0] for line in crease.lines]).amin(0)


def _along(places: torch.Tensor, line: tuple[tuple[float, float], ...]) -> tuple[torch.Tensor, ...]:
    """How far places (…, 2) are from a line, and where along it: how far from its start and to its end, each (…)."""
    ends = torch.tensor(line, device=places.device)
    steps = ends[1:] - ends[:-1]
    away = places[..., None, :] - ends[:-1]
    share = ((away * steps).sum(-1) / (steps**2).sum(-1)).clamp(0, 1)  # of each piece
    distance, nearest = (away - share[..., None] * steps).norm(dim=-1).min(-1)
    lengths = steps.norm(dim=-1)
    start = (lengths.cumsum(0) - lengths)[nearest] + (share * lengths).gather(-1, nearest[..., None])[..., 0]
    return distance, start, lengths.sum() - start
