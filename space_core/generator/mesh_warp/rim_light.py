"""Rim light outside a person's mask: a bright band along the outline of hair and head that are lit from behind."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, find_objects, label, zoom
from torch.nn import functional as F

from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.sampling import blur
from space_core.smoothstep import smoothstep

STEP = 2  # pixels of the surroundings per pixel that is looked at; all lengths below are in the latter
SURE = 0.9  # of the mask: a pixel that shows the person
WIDEST, FADE = 34, 8  # how far from the person it reaches, and over which distance that ends
TOUCHING = 6  # it begins so near to the person
BRIGHTER = (0.12, 0.28)  # than the background further out, in each of the colours 0…1: no rim light … rim light
# It is so much longer than wide along the outline, and so long; lamps and windows are not.
LONGER, SHORTEST = 3.0, 30
# Where so much of the background further out is brighter than its neighbourhood, too, it is texture.
TEXTURE, TEXTURE_REACH = (0.03, 0.1), 20


def find_rim_light(picture: torch.Tensor, person: np.ndarray) -> np.ndarray:
    """(640, 640) 1 where surroundings (1, 3, 640, 640), 0…1, show rim light outside the mask … 0.

    ``person`` (640, 640) is the mask, 0 background … 1 person.
    """
    seen = F.avg_pool2d(picture, STEP)[0].permute(1, 2, 0).numpy()
    sure = person[::STEP, ::STEP] > SURE
    if not sure.any() or sure.all():
        return np.zeros_like(person)
    distance, (rows, columns) = distance_transform_edt(~sure, return_indices=True)
    known = torch.from_numpy((distance > WIDEST).astype(np.float32))[None, None]
    background = fill(torch.from_numpy(seen).permute(2, 0, 1)[None], known)[0].permute(1, 2, 0).numpy()
    background = np.where(distance[..., None] > WIDEST, blur(seen, TEXTURE_REACH / 2), background)
    brighter = smoothstep((seen - background).min(-1), *BRIGHTER)

    ring = ((distance > WIDEST) & (distance < 2 * WIDEST)).astype(np.float32)
    texture = blur(brighter * ring, TEXTURE_REACH) / blur(ring, TEXTURE_REACH).clip(1e-3)
    near = (1 - smoothstep(distance, WIDEST - FADE, WIDEST)) * ~sure
    lit = brighter * near * (1 - smoothstep(texture, *TEXTURE))
    bands = _long_bands(lit > 0.5, distance, rows * sure.shape[1] + columns)
    return zoom(lit * bands, STEP, order=1, grid_mode=True, mode="nearest")


def _long_bands(lit: np.ndarray, distance: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The pieces of a mask (h, w) that begin at the person and are long along the outline, (h, w) bool each.

    ``distance`` (h, w) is that to the person, ``nearest`` (h, w) tells which of the person's pixels it is from.
    """
    pieces, count = label(lit, np.ones((3, 3)))
    kept = np.zeros(count + 1, bool)
    for number, box in enumerate(find_objects(pieces), 1):
        own = pieces[box] == number
        length = len(np.unique(nearest[box][own]))
        kept[number] = distance[box][own].min() < TOUCHING and length >= SHORTEST and length**2 > LONGER * own.sum()
    return kept[pieces]
