"""The mask of one person: MediaPipe's selfie segmentation of two views; colours decide where it is uncertain."""

from functools import cache

import cv2
import numpy as np
import scipy

from space_core.arrays import distance_to, smoothstep
from space_core.face.person_segmentation import PersonSegmentation
from space_core.progress import start

CERTAIN = 0.1  # the network's probability is certain if it is no further than this from 0 or 1
STEP = 4  # pixels between those whose colours are compared where the network is uncertain
# In steps: uncertain regions that are narrower than DOUBT are soft edges of hair, and stay; wider ones are enlarged by
# RIM, as the network is certain too early at their borders.
DOUBT, RIM = 3, 3
COLOUR, DISTANCE = 0.08, 0.12  # differences in colour (0…1) and place (of the picture's width) that weigh the same
NEIGHBOURS = 5  # nearest certain pixels of either kind, whose mean distance counts
SUREST = 0.03  # distance from 0 and 1 at which the network's probability is clipped where colours decide
DECISION = 1.5  # weight of colours relative to the network: exponent of the ratio of squared distances
SOFT_EDGE = 16  # pixels around another piece that belong to it
FARTHER = 0.7  # scale of a second view, in which hats and heads that fill the picture are recognized better
REDUCTION = 0.4  # of the picture for that view, which is to be about as large as the network's input
HAT_RISE = 0.3  # heights of the face above its middle from which on that view counts fully
HAT_REACH = 0.6, 1.0  # distances to either side of the middle, likewise: up to where it counts fully, and at all
LARGEST_HOLE = 0.01  # of the picture: smaller gaps within a person are filled
INSIDE_FACE = 0.04  # of a face's height: error of its landmarks; further inside than this there is no background


def person_mask(image: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(H, W) float32, 0 background … 1 a person, of an (H, W, 3) uint8 RGB image.

    ``face`` (N, 2) are points of that person's face in pixels, up to its outline, at least three. What lies between
    them is the person's, even where the network takes it for background, as it does in close-ups that show neither
    hair nor neck.
    """
    inside = _inside(face, image.shape[:2])
    mask = _decided(image, np.maximum(_probability(image, face), inside))
    mask = np.maximum(mask, inside)
    return in_one_piece(_without_holes(mask), (face.min(0) + face.max(0)) / 2)


def _inside(face: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32, 1 between the points (N, 2) of a face … 0 at their outline and beyond."""
    hull = cv2.convexHull(face.astype(np.float32)).round().astype(np.int32)
    inside = cv2.fillConvexPoly(np.zeros(size, np.uint8), hull, 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    within = INSIDE_FACE * float(np.ptp(face[:, 1]))
    return smoothstep(distance, 0.5 * within, within).astype(np.float32)


def _probability(image: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(H, W) float32, the probability, 0 … 1, that the pixels of an (H, W, 3) uint8 RGB image show a person.

    The network may be certain that the crown of a hat, or a forehead at the picture's edge, is background. In a smaller
    picture it recognizes them better. This second view raises the probability above a face (N, 2), to an uncertain
    value where only it finds a person; it lowers none, as the first view has finer detail.
    """
    network = _segmentation()
    far = start(lambda: _probability_from_farther(image, network))  # computed beside the first view
    near = network(image)
    return np.maximum(near, (near + far.result() * _above(face, near.shape)) / 2)


def _probability_from_farther(image: np.ndarray, network: PersonSegmentation) -> np.ndarray:
    """The probability in the second view alone, in which the image is surrounded by its repeated edge pixels."""
    height, width, _ = image.shape
    reduced = cv2.resize(image, None, fx=REDUCTION, fy=REDUCTION, interpolation=cv2.INTER_AREA)
    rows, columns = (round(side * (1 / FARTHER - 1) / 2) for side in reduced.shape[:2])
    surrounded = cv2.copyMakeBorder(reduced, rows, rows, columns, columns, cv2.BORDER_REPLICATE)
    far = network(surrounded)[rows : rows + reduced.shape[0], columns : columns + reduced.shape[1]]
    return cv2.resize(far, (width, height), interpolation=cv2.INTER_LINEAR)


def _above(face: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32, 1 where a hat may be, or the top of the head, of a face (N, 2) … 0 beside and below."""
    middle, face_height = (face.min(0) + face.max(0)) / 2, np.ptp(face[:, 1])
    rows, columns = (np.arange(length, dtype=np.float32) for length in size)
    above = smoothstep((middle[1] - rows) / face_height, 0, HAT_RISE)
    beside = smoothstep(abs(columns - middle[0]) / face_height, *HAT_REACH)
    return (above[:, None] * (1 - beside)).astype(np.float32)


@cache
def _segmentation() -> PersonSegmentation:
    return PersonSegmentation()


def _decided(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask, wide regions of doubt decided by whether their colours are the person's or the background's nearby."""
    low = mask[STEP // 2 :: STEP, STEP // 2 :: STEP]
    doubtful = scipy.ndimage.binary_opening((low > CERTAIN) & (low < 1 - CERTAIN), np.ones((DOUBT, DOUBT)))
    doubtful = scipy.ndimage.binary_dilation(doubtful, iterations=RIM)
    person, background = ((kind & ~doubtful) for kind in (low >= 1 - CERTAIN, low <= CERTAIN))
    if not doubtful.any() or min(person.sum(), background.sum()) < NEIGHBOURS:
        return mask
    colours = cv2.GaussianBlur(image.astype(np.float32) / 255, (9, 9), 1, borderType=cv2.BORDER_REFLECT)
    colours = colours[STEP // 2 :: STEP, STEP // 2 :: STEP]
    places = np.moveaxis(np.indices(low.shape), 0, -1) / max(low.shape)
    features = np.concatenate([colours / COLOUR, places / DISTANCE], -1)

    def distance(kind: np.ndarray) -> np.ndarray:
        # For so few queries, trees of this kind take four fifths of the default's time.
        tree = scipy.spatial.cKDTree(features[kind], leafsize=32, balanced_tree=False)
        return tree.query(features[doubtful], NEIGHBOURS)[0].mean(1)

    beside = start(lambda: distance(person))
    to_background, to_person = distance(background), beside.result()
    prior = np.clip(low[doubtful], SUREST, 1 - SUREST)
    odds = prior / (1 - prior) * ((to_background + 0.1) / (to_person + 0.1)) ** (2 * DECISION)
    decided, share = low.copy(), scipy.ndimage.gaussian_filter(doubtful.astype(np.float32), 0.7)
    decided[doubtful] = odds / (1 + odds)
    decided = scipy.ndimage.gaussian_filter(decided, 0.7)
    decided, share = (
        cv2.resize(array.astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        for array in (decided, share)
    )
    return np.clip(mask + share * (decided - mask), 0, 1)


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with its small gaps closed."""
    gaps, count = scipy.ndimage.label(mask < 0.5)
    sizes = np.bincount(gaps.ravel(), minlength=count + 1)
    small = sizes < LARGEST_HOLE * mask.size
    border = np.unique(np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]]))
    small[border] = small[0] = False
    closed = scipy.ndimage.binary_dilation(small[gaps], iterations=4)
    return np.where(closed, 1, mask).astype(np.float32) if closed.any() else mask


def in_one_piece(mask: np.ndarray, face: np.ndarray) -> np.ndarray:
    """A mask (H, W) without what is not connected with the points of a face (N, 2) in its pixels."""
    pieces, _ = scipy.ndimage.label(mask > 0.5)
    x, y = np.clip(np.round(face).astype(int), 0, np.array(mask.shape[::-1]) - 1)
    if not pieces[y, x]:
        return mask
    others = (pieces != pieces[y, x]) & (pieces > 0)
    if not others.any():
        return mask
    # The soft edge of another piece belongs to that piece, except for pixels that are nearer to this one.
    to_own, to_others = (distance_to(kind) for kind in (pieces == pieces[y, x], others))
    return np.where(others | (to_others < np.minimum(to_own, SOFT_EDGE)), 0, mask)
