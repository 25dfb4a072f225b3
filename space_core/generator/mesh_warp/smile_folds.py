"""The folds that a photo's smile makes in the cheeks, which go as the smile is taken back.

A warp brings the corners of the mouth back but carries the folds beside them along, with their light and shade.
Around each fold the skin's brightness is compared with its average: what differs from that at the scale of a fold is
what a relaxed cheek does not have, nor does it have lines that are finer than a fold and deeper than its pores.
Lengths are normalized: outer eye corners are one unit apart.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.smile import FAINT_COUNTS, smile_of
from space_core.face.topology import CHEEKS, NUM_SURFACE_POINTS, OUTER_LOWER_LIP, OUTER_UPPER_LIP, canonical_face
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, upload
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.sampling import blur, double, sample

# From the nose to below the corner of the mouth, on the left half of the canonical face.
FOLD = np.array(
    [(-0.235, 0.42), (-0.295, 0.50), (-0.36, 0.575), (-0.41, 0.655), (-0.43, 0.78), (-0.42, 0.87)], np.float32
)
FOLDED_SMILE = 0.5  # strength of a smile, 0…1, from which on a fold is taken away as a whole
# A fold is taken away as the corner of the mouth (mean of these points) moves in this direction, between these
# distances for a full smile.
CORNER, DOWN_AND_IN, GOING = (61, 76), np.array([0.74, 0.67], np.float32), (0.03, 0.12)
AROUND_LIPS = 0.03  # standard deviation by which the border of the lips is blurred
NEAR = (0.06, 0.16)  # distances from the fold: the change is whole up to the first and zero from the second on
BESIDE_NOSE = (0.18, 0.23)  # |x| over which the change sets in beside the nose
FINE, AVERAGED = 0.008, 0.14  # standard deviations of the blurs that remove the skin's pores, and its folds
COARSE = 6.0  # pixels: wide averages are computed at a resolution at which their standard deviation is this
SOFTENED = 0.9  # share of a fold's difference that is taken away
PORES = 2.5  # details that are deeper than this multiple of the median detail of the skin beside the fold are lines
BESIDE = (0.2, 0.35)  # distances of that skin from the fold
LINES = 0.12  # share of the skin around a fold that lines cover at most; more is a beard
DARKEST = 0.05  # added to colours, 0…1, before the logarithm is taken
# Bounds, by tanh, of the differences of logarithms: of the dark of a fold, which may be deep, and of the light beside
# it, which in harsh light is not part of it.
DARKER, BRIGHTER = 2.0, 0.5
MIN_SKIN = 0.05  # least share of skin that an average is divided by
# Distance of a colour from that of the cheeks, relative to their brightness: below the first it is skin, perhaps in the
# shade of a fold; above the second it is hair. The picture is averaged before over squares of this half side.
SHADED_SKIN, BLURRED = (0.45, 0.65), 0.022
DEEP = 0.03  # half the width up to which a dark gap in the skin counts as the depth of a fold
# Share of skin around a fold: below the first nothing is taken away, above the second all of it. Among hard shadows or
# in a beard the rest would be spots.
SKIN_SHARE = (0.75, 0.9)
DEEP_AT_CORNERS = 0.07  # the same as ``DEEP`` where the fold passes the corner of the mouth


@dataclass(frozen=True)
class PreparedSmileFold:
    """What every frame needs of one fold.

    Attributes:
        change: (1, 3, 2h − 1, 2w − 1) what is to be added to a part of the photo, at twice its resolution, so that the
            cheek has no fold.
        first: (2,) x and y in the photo of its first pixel.
        points: of the mesh, around the fold.
        corner: points of the mesh at the corner of the mouth, whose mean motion takes the fold away.
        direction: (2,) along which that motion counts, of unit length.
        going: motion along it at which the fold begins to go, and at which it is gone.
        photo: (478, 3) the photo's own landmarks, normalized.
    """

    change: torch.Tensor
    first: torch.Tensor
    points: tuple[int, ...]
    corner: tuple[int, ...]
    direction: np.ndarray
    going: tuple[float, float]
    photo: np.ndarray


def prepare_smile_folds(picture: torch.Tensor, photo: FaceMotion, depiction: Depiction) -> list[PreparedSmileFold]:
    """The folds of a photo that smiles; none of another one, nor of one that is something else than a photograph.

    Args:
        picture: (1, 3, h, w) the cheeks and what is around them, 0…1, on the host.
        photo: the photo's own landmarks in pixels of the picture.
    """
    normalized = photo.host.normalized[0]
    smile = smile_of(normalized, FAINT_COUNTS)
    share = min(smile / FOLDED_SMILE, 1) * (1 - depiction.stone) * (1 - depiction.varnish) * (1 - depiction.cartoon)
    if share <= 0:
        return []
    reach = max(smile, FOLDED_SMILE)  # a hint of a smile must not come and go with every rounded vowel
    shown, scale = picture[0].permute(1, 2, 0).numpy(), float(photo.host.scale[0])
    places, on_face = _places(picture, photo)
    lips = photo.host.posed[0, [*OUTER_UPPER_LIP, *OUTER_LOWER_LIP[::-1]], :2]
    skin = _skin(shown, photo.host.posed[0, CHEEKS, :2], scale) * on_face
    mirror = canonical_face().mirror
    folds = []
    for side in (1, -1):
        to_left = np.array([side, 1], np.float32)
        distance = _distance(places * to_left)
        change = share * (_unfolded(shown, places, distance, skin, lips, scale) - shown)
        rows, columns = _extent((distance < NEAR[1]) & (on_face > 0))
        own, new = (double(part) for part in (shown[rows, columns], (shown + change)[rows, columns]))
        near = _distance(canonical_face().vertices[:NUM_SURFACE_POINTS, :2].astype(np.float32) * to_left) < NEAR[1]
        folds.append(
            PreparedSmileFold(
                change=torch.from_numpy(new - own).permute(2, 0, 1)[None].contiguous(),
                first=torch.tensor([columns.start, rows.start], dtype=torch.float32),
                points=tuple(np.flatnonzero(near).tolist()),
                corner=CORNER if side == 1 else tuple(mirror[list(CORNER)].tolist()),
                direction=DOWN_AND_IN * to_left,
                going=(reach * GOING[0], reach * GOING[1]),
                photo=normalized,
            )
        )
    return folds


def fold_gone(prepared: PreparedSmileFold, host: HostMotion) -> np.ndarray:
    """(B,) float32 how far a fold is gone, 0 as in the photo … 1."""
    corner = list(prepared.corner)
    moved = (host.normalized[:, corner, :2] - prepared.photo[corner, :2]).mean(1) @ prepared.direction
    return smoothstep(moved, *prepared.going).astype(np.float32)


def draw_smile_fold(frames: torch.Tensor, where: torch.Tensor, prepared: PreparedSmileFold, gone: np.ndarray) -> None:
    """Takes a fold, as far as it is ``gone`` (B,), out of frames (B, 3, h, w) around it, in place.

    ``where`` (B, h, w, 2) is the place in the photo that each pixel of the frames shows.
    """
    change = sample(prepared.change, where - prepared.first, density=2, padding_mode="zeros")
    frames.add_(change * upload(gone, frames.device)[:, None, None, None]).clamp_(0, 1)


def _unfolded(
    picture: np.ndarray, places: np.ndarray, distance: np.ndarray, skin: np.ndarray, lips: np.ndarray, scale: float
) -> np.ndarray:
    """(h, w, 3) a picture (h, w, 3) of a face without its fold on one side.

    Args:
        places: (h, w, 2) places of the canonical face that it shows.
        distance: (h, w) of these from the fold.
        skin: (h, w) how far there is skin, 0…1.
        lips: (N, 2) their outline in pixels of the picture.
        scale: pixels per unit.
    """
    mouth = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(mouth, [lips.round().astype(np.int32)], 1.0)
    off_lips = (1 - 2 * blur(mouth, AROUND_LIPS * scale)).clip(0)
    bare = skin * off_lips
    light = np.log(picture + DARKEST)
    smooth = blur(light, FINE * scale)
    different = smooth - _average(light, bare, AVERAGED * scale)
    most = np.where(different < 0, np.float32(DARKER), np.float32(BRIGHTER))
    different = most * np.tanh(different / most)
    near = (1 - smoothstep(distance, *NEAR)) * smoothstep(abs(places[..., 0]), *BESIDE_NOSE)
    skin_share = (near * bare).sum() / max((near * off_lips).sum(), 1e-6)
    softened = float(smoothstep(skin_share, *SKIN_SHARE))
    beside = (distance > BESIDE[0]) & (distance < BESIDE[1]) & (bare > 0.9)
    lines = _lines(light - smooth, beside, (near > 0.5) & (bare > 0.9))
    shaded = _without_gaps(np.maximum(skin, mouth), DEEP_AT_CORNERS * scale) * off_lips
    return np.exp(light - (softened * near * shaded)[..., None] * (SOFTENED * different + lines)) - DARKEST


def _lines(detail: np.ndarray, beside: np.ndarray, at_fold: np.ndarray) -> np.ndarray:
    """(h, w, 3) by how much details (h, w, 3) of logarithms of light are deeper than the skin's pores.

    ``beside`` and ``at_fold`` (h, w) bool are the bare skin beside a fold and in it.
    """
    pores = PORES * np.median(np.abs(detail[beside])) if beside.any() else np.inf
    if at_fold.any():
        pores = max(pores, np.quantile(np.abs(detail[at_fold]), 1 - LINES))
    return detail - detail.clip(-pores, pores)


def _average(light: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """(h, w, 3) the average of ``light`` (h, w, 3) with weights (h, w), around each pixel."""
    height, width = weights.shape
    small = tuple(max(round(side * min(COARSE / sigma, 1)), 1) for side in (width, height))
    light, weights = (
        blur(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), sigma * small[0] / width)
        for plane in (light * weights[..., None], weights)
    )
    return cv2.resize(light / weights[..., None].clip(MIN_SKIN), (width, height), interpolation=cv2.INTER_LINEAR)


def _places(picture: torch.Tensor, photo: FaceMotion) -> tuple[np.ndarray, np.ndarray]:
    """(h, w, 2) the places of the canonical face that a picture shows, and (h, w) 1 where it does."""
    face = canonical_face()
    attributes = np.ones((1, NUM_SURFACE_POINTS, 3), np.float32)
    attributes[0, :, :2] = face.vertices[:NUM_SURFACE_POINTS, :2]
    points = photo.posed[:, :NUM_SURFACE_POINTS]
    size = (picture.shape[2], picture.shape[3])
    shown = rasterize(
        points[..., :2], points[..., 2], torch.tensor(face.triangles), torch.from_numpy(attributes), size
    )[0].numpy()
    return shown[..., :2], shown[..., 2]


def _skin(picture: np.ndarray, cheeks: np.ndarray, scale: float) -> np.ndarray:
    """(h, w) how far a picture (h, w, 3) shows skin, 0…1; ``cheeks`` (N, 2) are places on them."""
    side = 2 * int(BLURRED * scale) + 1
    blurred = cv2.blur(picture, (side, side))
    columns, rows = (cheeks[:, axis].round().astype(int).clip(0, picture.shape[1 - axis] - 1) for axis in (0, 1))
    colour = np.median(blurred[rows, columns], axis=0)
    different = np.linalg.norm(blurred - colour, axis=-1) / max(float(np.linalg.norm(colour)), 1e-6)
    skin = (1 - smoothstep(different, *SHADED_SKIN)).astype(np.float32)
    return _without_gaps(skin, DEEP * scale)


def _without_gaps(mask: np.ndarray, reach: float) -> np.ndarray:
    """A mask (h, w), 0…1, without its gaps that are no wider than twice ``reach``, in pixels."""
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, square(2 * int(reach) + 1))


def _extent(chosen: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns, at least two of each, with what is chosen in (h, w) bool."""
    found = (np.flatnonzero(chosen.any(axis)) for axis in (1, 0))
    rows, columns = (slice(int(own[0]), int(own[-1]) + 2) if len(own) else slice(0, 2) for own in found)
    return rows, columns


def _distance(places: np.ndarray) -> np.ndarray:
    """(…) how far places (…, 2) of the canonical face are from the fold on its left half."""
    x, y = places[..., 0], places[..., 1]
    squared = []
    for (x0, y0), (dx, dy) in zip(FOLD[:-1], np.diff(FOLD, axis=0), strict=True):
        share = (((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2)).clip(0, 1)
        squared.append((x - x0 - share * dx) ** 2 + (y - y0 - share * dy) ** 2)
    return np.sqrt(np.min(squared, axis=0))
