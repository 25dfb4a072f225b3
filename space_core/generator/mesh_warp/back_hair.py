"""The hair at the back of a head: the colours of what a photo shows above the ear, and its locks and strands.

Strands are put together anew, of pieces: mirrored at the outline, a narrow strip of hair would be seen as a pattern.
Locks, which are larger than these pieces, are drawn in the contrast that the photo shows.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.hanging_hair import COLOUR, MIN_GROWN, UNLIKE_SKIN
from space_core.generator.mesh_warp.sampling import blur
from space_core.generator.mesh_warp.side_view import SideView

# Normalized distances inwards from the outline between which hair is sampled; nearer is the outline's soft edge.
EDGE, FARTHEST = 0.05, 0.6
# Within this distance of the outline there is hair both above and below this height, normalized, unless the head is
# bald or shaved there.
NEAR_OUTLINE, TEMPLE = 0.35, -0.5
CLOSE = 0.2  # within this distance, normalized, hair is most like that at the back, which may be of another colour
ALIKE = 0.2  # distance of colours, 0…1, from the usual one, over which their weight falls off: ornaments, ears
COLOUR_REACH = 0.15  # normalized distance from the outline over which the weight of colours falls off
USUAL = 0.5  # weight of the usual colour in a row, as a multiple of the mean weight of the hair that rows show
GRAIN = 5  # pixels, standard deviation of a Gaussian: a difference that it removes is grain, not thinner hair
# Standard deviations of Gaussians: rows of the sample, and its pixels. What is finer than the second is detail.
SMOOTH_ROWS, SMOOTH = 16, 10
PIECES = (40, 28, 18)  # sides of square pieces, pixels; the first is taken that fits in
OVERLAP = 0.35  # of neighbouring pieces, as a share of their side
# Pixels between the places that are tried for pieces; the share of a piece that has to be hair; how many places are
# enough.
PLACES_APART, HAIR, MIN_PLACES = 4, 0.8, 4
NEAREST = 40  # places of the most similar height, of which one is taken at random
# The share of the detail that is drawn: with few places, which would be seen as a pattern, and with many.
FEW, MANY, DETAIL = MIN_PLACES, 60, (0.35, 0.8)
# Locks and the strands in them: standard deviations of Gaussians across them, pixels of the texture, and their shares.
# How much longer than wide they are, by which share of a row they shift sideways in each, how far they wave, in widths.
LOCKS = ((6.0, 1.0), (2.5, 0.7), (1.0, 0.4))
LOCK_LENGTH, FALL, WAVE = 14, 0.15, 2.0
LOCK_ROWS = 384  # of a texture at most
# Their contrast is the standard deviation of the sample's brightness without what is finer than ``STRANDS`` pixels,
# where it is hair by more than ``SURE``, and limited. Where less of the sample is hair than between these shares, it is
# cropped, or little of it is seen: then no locks are drawn.
STRANDS, SURE, MOST_CONTRAST, CROPPED = 2, 0.5, 0.25, (0.1, 0.18)


@dataclass(frozen=True)
class HairSample:
    """What a photo shows of one side of a head, up to its outline at the last column.

    Attributes:
        colours: (h, w, 3) 0…1.
        hair: (h, w) 1 where that is hair, or the skin of a bald head … 0 where it is something else.
        nearness: (w,) to the outline, 0…1.
        grown: whether there is hair; False for a bald head.
    """

    colours: np.ndarray
    hair: np.ndarray
    nearness: np.ndarray
    grown: bool = True


def sample_hair(view: SideView, has_hair: np.ndarray, step: float) -> HairSample:
    """The hair on one side of a photo's head.

    Args:
        view: that side.
        has_hair: (h,) bool, in which rows there is hair beside the face, unless the head is bald.
        step: between columns, normalized.
    """
    inwards = np.arange(FARTHEST, EDGE, -step)
    colours, usable = view.colours_at(inwards), has_hair[:, None] & (view.outline[:, None] > inwards)
    softened = blur(colours, 1)
    to_skin = np.min([abs(softened - colour).max(-1) for colour in view.skin], axis=0)
    hair, near = usable & (to_skin > UNLIKE_SKIN * COLOUR), usable & (inwards < NEAR_OUTLINE)
    above, below = (near & part[:, None] for part in (view.rows < TEMPLE, view.rows >= TEMPLE))
    grown = any(hair[part].sum() > MIN_GROWN * part.sum() for part in (above, below))
    if not grown:
        hair = near
    close = hair & (inwards < CLOSE)
    close = close if close.any() else hair & near
    if close.any():
        # Skin is seen through thin hair, and hair at the back is thicker: the half that is less like skin counts.
        thickness = blur(to_skin, GRAIN)
        usual = np.median(softened[close & (thickness >= np.median(thickness[close]))], axis=0)
        hair = hair * np.exp(-((abs(softened - usual).max(-1) / ALIKE) ** 2))
    return HairSample(colours, hair.astype(np.float32), np.exp(-inwards / COLOUR_REACH), grown)


def continued_hair(sample: HairSample, rows: np.ndarray, width: int) -> np.ndarray:
    """(h, width, 3) hair, 0…1, as it is at ``rows`` (h,) of a sample."""
    weights = (sample.hair * sample.nearness)[..., None]
    total = np.concatenate([(sample.colours * weights).sum(1), weights.sum(1)], 1)
    total = (total + USUAL * total.mean(0)).astype(np.float32)
    total = cv2.GaussianBlur(total, (1, 0), 1e-3, sigmaY=SMOOTH_ROWS, borderType=cv2.BORDER_REPLICATE)
    rows = rows.round().astype(int)
    colours = (total[:, :3] / total[:, 3:].clip(1e-6))[rows, None]
    if sample.grown:
        colours = colours * (1 + _contrast(sample) * _locks(width)[: len(rows), :, None])
    return colours + continued_detail(sample, rows, width)


def _contrast(sample: HairSample) -> float:
    """By which share of their brightness locks differ from each other, as in the photo; 0 where hair is cropped."""
    is_hair = sample.hair > SURE
    brightness = blur(sample.colours.mean(-1), STRANDS)[is_hair]
    if not len(brightness):
        return 0
    return min(brightness.std() / brightness.mean().clip(1e-3), MOST_CONTRAST) * smoothstep(is_hair.mean(), *CROPPED)


@lru_cache(maxsize=1)
def _locks(width: int) -> np.ndarray:
    """(``LOCK_ROWS``, width) locks that fall from the crown, and strands in them: random values, −2…2."""
    random, total = np.random.default_rng(0), np.zeros((LOCK_ROWS, width), np.float32)
    y, x = np.mgrid[:LOCK_ROWS, :width].astype(np.float32)
    for lock, share in LOCKS:
        noise: np.ndarray = random.standard_normal((round(LOCK_ROWS / lock) + 1, 2 * width)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), lock, sigmaY=LOCK_LENGTH, borderType=cv2.BORDER_REFLECT)
        wave = WAVE * lock * np.sin(y / (LOCK_LENGTH * lock) + x / (2 * LOCK_LENGTH))
        noise = cv2.remap(noise, x + FALL * (LOCK_ROWS - y) + wave, y / lock, cv2.INTER_LINEAR)
        total += share * noise / noise.std()
    return 2 * np.tanh(total / (2 * total.std()))


def continued_detail(
    sample: HairSample, rows: np.ndarray, width: int, smooth: float = SMOOTH, most: float = np.inf
) -> np.ndarray:
    """(h, width, 3) the detail of a sample about its ``rows`` (h,), zero where there is too little hair.

    It is what is finer than ``smooth`` pixels of the sample, and limited to ``most`` times its median.
    """
    hair = sample.hair[..., None]
    coarse = blur(np.dstack([sample.colours * hair, hair]), smooth)
    detail = (sample.colours - coarse[..., :3] / coarse[..., 3:].clip(1e-3)) * hair
    if most < np.inf and sample.hair.any():
        limit = most * np.median(abs(detail[sample.hair > HAIR]))
        detail = detail.clip(-limit, limit)
    for side in PIECES:
        shown = cv2.blur(sample.hair, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        height, last = (max(count - side + 1, 0) for count in shown.shape)
        corners = np.argwhere(shown[:height:PLACES_APART, :last:PLACES_APART] > HAIR) * PLACES_APART
        if len(corners) >= MIN_PLACES:
            share = np.interp(len(corners), (FEW, MANY), DETAIL)
            return share * _pieced_together(detail, corners, side, rows, width)
    return np.zeros((len(rows), width, 3))


def _pieced_together(detail: np.ndarray, corners: np.ndarray, side: int, rows: np.ndarray, width: int) -> np.ndarray:
    """(h, width, 3) overlapping pieces of detail from about ``rows``; ``corners`` (N, 2) are those of squares."""
    random, step = np.random.default_rng(0), side - round(OVERLAP * side)
    from_edge = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)
    ramp = np.sin(np.pi / 2 * (from_edge / (side - step)).clip(max=1)).astype(np.float32)
    window = np.outer(ramp, ramp)[..., None]
    # With the sum of the squared weights: the mean of pieces would have less contrast where they overlap.
    total = np.zeros((len(rows) + side, width + side, 4), np.float32)
    for top in range(0, len(rows), step):
        wanted = rows[min(top + side // 2, len(rows) - 1)] - side // 2
        near = corners[np.argsort(abs(corners[:, 0] - wanted), kind="stable")[:NEAREST]]
        for left in range(0, width, step):
            row, column = near[random.integers(len(near))]
            piece = detail[row : row + side, column : column + side]
            total[top : top + side, left : left + side] += np.dstack([piece * window, window**2])
    total = total[: len(rows), :width]
    return total[..., :3] / np.sqrt(total[..., 3:].clip(1e-3))
