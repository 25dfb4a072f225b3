"""Fills the unknown part of a picture from the known part: smoothly, and with the known part's detail.

That is right for plain backgrounds; ``coherence_transport`` continues the lines of others.
"""

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur

DETAIL = 3.0  # pixels, standard deviation: what is finer than that is detail
BORDER = 6  # pixels
TRACES = 12  # pixels from the unknown part in which there may be traces of what hides it
NEAR_TRACES = 20  # pixels from what is clear of traces, within which a difference from it is enough for a trace
TRACE_SHARE = (0.15, 0.3)  # farther away, the share of the hiding thing's colour in the pixel's: no trace … a trace
TRACE = (0.04, 0.1)  # difference of colours, 0…1: none … a trace
PIECE = 32  # side of a piece of detail, pixels
# It is one of so many whose middles are so far apart, at random, or the same one would be seen side by side.
CHOICES, APART = 32, 8
# Detail is limited to so many times its median over that many cells of so many pixels: grain and leaves are
# everywhere, but a single edge, repeated, would be seen.
MAX_DETAIL, AROUND, CELL = 3.0, 13, 4
CODED = 510.0  # for its median, detail is coded in eight bits as its square root times this
# A surrounding is flat, as paper is, if so large a share of it differs by no more than that from one colour, 0…1, and
# so much around the commonest colour, in each channel, is that colour. Up to the last difference it is no line on it.
FLAT_SHARE, FLAT, COMMON, NO_LINE = 0.85, 3.5 / 255, 4, 8.5 / 255
EVERY = 2  # pixels, of which the colour is found


def fill(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Push-pull: averages the known pixels down a pyramid and fills each level's gaps from the coarser one.

    Args:
        picture: (1, C, H, W) float32, on the host.
        known: (1, 1, H, W) 0 unknown … 1 known.

    Returns:
        (1, C, H, W), equal to ``picture`` where ``known`` is 1.
    """
    return torch.from_numpy(_filled(picture[0].numpy(), known[0, 0].numpy()))[None]


def _filled(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """``fill`` of a picture (C, H, W), plane by plane in OpenCV: a quarter of the time that it takes in torch."""
    height, width = known.shape
    if height == width == 1 or known.min() > 0.99:
        return picture
    own, weight = np.multiply(picture, known, order="C"), _halved(known)
    least = np.maximum(weight, np.float32(1e-6))
    coarse = _filled(np.stack([_halved(plane) / least for plane in own]), np.minimum(weight * 4, np.float32(1)))
    unknown = 1 - known
    for plane, coarse_plane in zip(own, coarse, strict=True):
        plane += cv2.resize(coarse_plane, (width, height), interpolation=cv2.INTER_LINEAR) * unknown
    return own


def _halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of a plane (H, W); where it ends at an odd row or column, zeros follow."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    return cv2.resize(plane, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)


def without_traces(picture: torch.Tensor, known: torch.Tensor, busy: np.ndarray, hiding: np.ndarray) -> torch.Tensor:
    """What is known, less what differs, at the border of the unknown part, from a plain surrounding beyond that border.

    These are traces of what hides the unknown part, such as shades of hair, and would colour all of it.

    Args:
        picture: (1, C, H, W) float, 0…1.
        known: (1, 1, H, W) 0 unknown … 1 known.
        busy: (H, W) 0 where the surrounding is plain … 1.
        hiding: (H, W) 1 where the picture shows what hides the unknown part … 0.
    """
    is_known = (known[0, 0].numpy() > 0.99).astype(np.uint8)
    around = square(2 * TRACES + 1)
    clear = torch.from_numpy(cv2.erode(is_known, around))[None, None].float()
    if not clear.any():
        return known
    beyond = fill(picture, clear)
    differs = np.sum(list(map(cv2.absdiff, picture[0].numpy(), beyond[0].numpy())), axis=0)
    differs = blur(differs / len(picture[0]), 1)
    # A strip of background along the photo's edge has nothing clear beside it, and may be lit otherwise.
    near_clear = cv2.dilate(clear[0, 0].numpy(), square(2 * NEAR_TRACES + 1))
    trace = smoothstep(differs, *TRACE) * (1 - busy)
    if ((trace > near_clear) & (known[0, 0] > 0).numpy()).any():
        trace *= np.maximum(near_clear, _share_of(picture[0].numpy(), hiding, beyond[0].numpy()))
    return known * torch.maximum(clear, torch.from_numpy(1 - trace))


def _share_of(picture: np.ndarray, hiding: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """(H, W) how far a picture's colours are mixtures of ``beyond`` and of what hides the unknown part: 0 not … 1.

    Computed at half the resolution, as both fields are smooth.

    Args:
        picture: (C, H, W), 0…1.
        hiding: (H, W) 1 where it shows what hides the unknown part … 0.
        beyond: (C, H, W) its colours without that.
    """
    picture, beyond = (np.stack([_halved(plane) for plane in planes]) for planes in (picture, beyond))
    way = _filled(picture, _halved(hiding)) - beyond
    share = ((picture - beyond) * way).sum(0) / np.maximum((way * way).sum(0), 1e-3)
    return cv2.resize(smoothstep(share, *TRACE_SHARE), hiding.shape[::-1], interpolation=cv2.INTER_LINEAR)


def flat_part(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor | None:
    """The part of what is known that is of one colour, where nearly all of it is; None in other pictures.

    Lines of a drawing and letters end where the unknown part begins: it is filled from the paper alone.

    Args:
        picture: (1, 3, H, W) float, 0…1.
        known: (1, 1, H, W) 0 unknown … 1 known.
    """
    is_known = known[0, 0, ::EVERY, ::EVERY].numpy() > 0.99
    colours = picture[0, :, ::EVERY, ::EVERY].numpy()[:, is_known]
    if not colours.size:
        return None
    coarse = (colours * (255 / COMMON)).astype(np.int64)
    codes = np.ravel_multi_index(tuple(coarse), 3 * (256 // COMMON,))
    common = codes == np.bincount(codes).argmax()
    colour = np.median(colours[:, common], 1)[:, None]
    if (abs(colours - colour).max(0) < FLAT).mean() < FLAT_SHARE:
        return None
    differs = (picture - torch.from_numpy(colour)[..., None]).abs().amax(1, keepdim=True)
    return known * (differs < NO_LINE)


def detail_beyond(smooth: torch.Tensor, picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(1, C, H, W) pieces of the known part's detail in the unknown part, so that grain and texture go on there.

    ``smooth`` is what ``fill`` returns for the other arguments.
    """
    is_known = known[0, 0].numpy() > 0.99
    if is_known.all() or not is_known.any():
        return torch.zeros_like(smooth)
    coarse = blur(smooth[0].permute(1, 2, 0).numpy(), DETAIL).transpose(2, 0, 1)
    fine = np.ascontiguousarray(picture[0].numpy() - coarse)
    level = np.abs(fine[:, ::CELL, ::CELL] * is_known[::CELL, ::CELL]).mean(0)
    coded = (np.sqrt(level) * CODED).round().clip(0, 255).astype(np.uint8)
    level = MAX_DETAIL * (cv2.medianBlur(coded, AROUND) / np.float32(CODED)) ** 2
    level = cv2.resize(level, is_known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    fine = fine.clip(-level, level)
    # Not from its very border, where the person's edge still shows.
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    is_known = cv2.erode(is_known.astype(np.uint8), cross, iterations=BORDER) > 0
    detail = torch.from_numpy(_pieced_together(fine, is_known))[None]
    return detail * (1 - known)


def _pieced_together(detail: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """(3, H, W) detail for what is not known: overlapping pieces of what is, each from as far behind the border.

    ``detail`` is (3, H, W), ``is_known`` (H, W) bool. Single pixels, mirrored at a ragged border, would give stripes.
    """
    reach, (height, width) = PIECE // 2, is_known.shape
    window = np.hanning(PIECE + 2)[1:-1].astype(np.float32)
    window = np.outer(window, window)
    total = np.zeros((4, height + 2 * PIECE, width + 2 * PIECE), np.float32)  # with weights and a margin of one piece
    weighted = np.concatenate([detail, np.ones_like(detail[:1])])
    whole = cv2.erode(is_known.astype(np.uint8), square(PIECE + 1), borderValue=0)
    middles = np.argwhere(whole[::APART, ::APART]) * APART
    if not len(middles):
        return np.zeros_like(detail)
    border = scipy.ndimage.distance_transform_edt(~is_known, return_distances=False, return_indices=True)
    needed = cv2.dilate((~is_known).astype(np.uint8), square(PIECE))[::reach, ::reach]
    centres, size = np.argwhere(needed) * reach, np.array([height, width])
    behind = np.abs((2 * border[:, *centres.T].T - centres + size - 1) % (2 * size - 2) - size + 1)  # or at the edges
    choices = scipy.spatial.cKDTree(middles).query(behind, min(CHOICES, len(middles)))[1].reshape(len(centres), -1)
    chosen = np.random.default_rng(0).integers(choices.shape[1], size=len(centres))
    for centre, (row, column) in zip(centres, middles[choices[np.arange(len(centres)), chosen]], strict=True):
        here = np.s_[:, centre[0] + reach : centre[0] + 3 * reach, centre[1] + reach : centre[1] + 3 * reach]
        total[here] += weighted[:, row - reach : row + reach, column - reach : column + reach] * window
    return (total[:3] / total[3].clip(1e-3))[:, PIECE:-PIECE, PIECE:-PIECE]
