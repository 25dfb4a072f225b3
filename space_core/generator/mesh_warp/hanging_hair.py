"""Long hair that hangs beside the face: where a photo shows it, and how far it swings there.

It is found by colour: coloured like what grows above the eyes rather than like the skin, part of the person, and
hanging from there. So neither bald heads nor short hair, hats and beards have any.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.face.hair_locks import LOCKS
from space_core.face.topology import OVAL
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import EXTENT, blur, downsampled, grid_of

CELL = 4  # pixels of the surroundings whose mean colour is looked at
SURE = 0.9  # of the mask: a cell that shows the person
DEPTH = 0.6  # normalized, at which hair hangs
# Normalized places (x to either side, y). Hair that grows on the head is sought above the first height, hair that hangs
# below the second and beyond the third, where there is no neck and no beard, up to the last.
GROWS, HANGS, BESIDE, FARTHEST = -0.1, 0.25, 0.5, 1.9
# Hair over an ear, below this height, is what hangs straight down from there for that much more than ears reach down.
EARS, BELOW_EARS = -0.3, 0.1
SKIN = (50, 101, 205, 280, 330, 425, 36, 266, 187, 411, 4, 195)  # points on cheeks and nose, which no fringe covers
COLOUR = 0.08  # a difference in colour (of 0…1 values); in these:
UNLIKE_SKIN, LIKE_HAIR = 1.3, 1.3
NEIGHBOURS = 5  # colours of hair whose mean distance counts
MIN_HAIR = 0.1  # normalized area; what hangs in less of it is short
MIN_GROWN = 0.35  # of what is above the eyes: where less is unlike the skin, the head is bald, or a statue's
SPREAD_ROWS = 2  # of cells, in which hair spreads by one to either side; clothes on shoulders spread faster
REACH = 3  # cells, standard deviation over which the share of hair is averaged
# From the height from which it hangs it swings further and further over this length.
LENGTH = 1.0
MIDDLE = 0.3  # of the face: so far to either side of it a lock of that side reaches


@dataclass(frozen=True)
class HangingHair:
    """Where a photo shows long hair.

    Attributes:
        share: (160, 160) which share of the person around each cell of the surroundings is hair that hangs, 0…1.
    """

    share: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """(P,) the share at points (P, 2) in pixels of the surroundings."""
        columns, rows = (points / CELL).astype(int).clip(0, len(self.share) - 1).T
        return self.share[rows, columns]


def hair_swing(photo: FaceMotion, hair: HangingHair, points: np.ndarray) -> np.ndarray:
    """(P, 4) how far points swing with each of the ``LOCKS``, 0 not … 1 as far, where hair hangs freely.

    Args:
        photo: the photo's own landmarks in pixels of the surroundings, on the host.
        hair: long hair.
        points: (P, 2) in pixels of the surroundings.
    """
    x, y = _normalized(photo, torch.tensor(points[None, None], dtype=torch.float32))[:, 0]
    right, low = smoothstep(x, -MIDDLE, MIDDLE), smoothstep(y, *LOCKS[:2, 1])
    locks = np.stack([(1 - right) * (1 - low), (1 - right) * low, right * (1 - low), right * low], -1)
    return locks * (hair.at(points) * ((y - HANGS) / LENGTH).clip(0, 1))[:, None]


def find_hanging_hair(photo: FaceMotion, picture: torch.Tensor, person: np.ndarray) -> HangingHair:
    """The long hair of a photo.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        picture: (1, 3, 640, 640) the surroundings, 0…1.
        person: (640, 640) 0 background … 1 person.
    """
    sure = cv2.resize(person, (EXTENT // CELL, EXTENT // CELL), interpolation=cv2.INTER_AREA) > SURE
    outline, face = photo.host.posed[0, list(OVAL), :2] / CELL, np.zeros(sure.shape, np.uint8)
    cv2.fillPoly(face, [outline.round().astype(np.int32)], 1)
    around = sure & ~cv2.dilate(face, square(5)).astype(bool)
    hangs = blur(_hanging(photo, picture, around).astype(np.float32), REACH)
    return HangingHair(hangs / blur(around.astype(np.float32), REACH).clip(0.05))


def _hanging(photo: FaceMotion, picture: torch.Tensor, around: np.ndarray) -> np.ndarray:
    """(160, 160) bool, which cells show hair that hangs below the eyes and over the ears.

    ``around`` (160, 160) are those that show the person, but not the face.
    """
    middles = torch.arange(0, EXTENT, CELL, dtype=torch.float32) + (CELL - 1) / 2
    x, y = _normalized(photo, grid_of(middles, middles))
    colours = downsampled(picture[0], CELL).permute(1, 2, 0).numpy() / COLOUR
    columns, rows = (photo.host.posed[0, list(SKIN), :2] / CELL).round().astype(int).clip(0, len(around) - 1).T
    skin = scipy.spatial.cKDTree(blur(colours, 1)[rows, columns])
    head = around & (y < GROWS) & (abs(x) < FARTHEST)
    grows = np.zeros_like(head)
    grows[head] = skin.query(colours[head])[0] > UNLIKE_SKIN
    if grows.sum() < max(MIN_GROWN * head.sum(), NEIGHBOURS):
        return np.zeros_like(grows)
    below = around & (y >= GROWS) & (abs(x) > BESIDE) & (abs(x) < FARTHEST)
    to_hair, to_skin = (
        tree.query(colours[below], count)[0].reshape(below.sum(), count).mean(1)
        for tree, count in ((scipy.spatial.cKDTree(colours[grows]), NEIGHBOURS), (skin, 1))
    )
    alike = grows.copy()
    alike[below] = (to_hair < LIKE_HAIR) & (to_hair < to_skin)
    reached = _reached_from_above(alike, grows)
    hangs = reached & (y > HANGS)
    long = hangs.sum() * (CELL / float(photo.host.scale[0])) ** 2 > MIN_HAIR
    return hangs | _over_ears(reached, hangs, y) if long else np.zeros_like(hangs)


def _reached_from_above(alike: np.ndarray, grows: np.ndarray) -> np.ndarray:
    """(160, 160) bool, the cells ``alike`` in which something hangs from ``grows``, and not what lies on shoulders."""
    reached = grows.copy()
    for row in range(1, len(alike)):
        spread = 3 if row % SPREAD_ROWS == 0 else 1
        above = cv2.dilate(reached[row - 1 : row].astype(np.uint8), np.ones((1, spread), np.uint8))[0] > 0
        reached[row] |= alike[row] & above
    return reached


def _over_ears(reached: np.ndarray, hangs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(160, 160) bool, the cells ``reached`` in which hair covers ears: straight above that which ``hangs``.

    ``y`` (160, 160) is their height, normalized.
    """
    straight = np.where(y > HANGS, hangs | (y > HANGS + BELOW_EARS), reached)
    return np.logical_and.accumulate(straight[::-1])[::-1] & reached & (y > EARS)


def _normalized(photo: FaceMotion, pixels: torch.Tensor) -> np.ndarray:
    """(2, h, w) normalized x and y at pixels (1, h, w, 2), at the depth at which hair hangs."""
    return photo.unproject(pixels, DEPTH)[0].numpy().transpose(2, 0, 1)
