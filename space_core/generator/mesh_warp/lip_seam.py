"""Where a photo's closed lips meet: trackers put the line a little beside the dark seam that is seen, mostly below it.

Lips that part along their line would carry a strip of the other one.
"""

import numpy as np
import torch

from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.sampling import sample

CLOSED = 2 * MILLIMETRE  # greatest distance at which closed lips are tracked
STEP = 0.2 * MILLIMETRE  # of the profiles across the lips
# The seam is looked for within this share of a lip's height and this distance of the tracked line. Over the next
# ``REACH`` the profile shows the lip.
LIP_SHARE, REACH = 0.5, 1.8 * MILLIMETRE
SEAM_DARKNESS = 0.8  # greatest brightness of the seam, relative to both lips
BELOW_DARKEST = 0.3 * MILLIMETRE  # from the darkest place to where the shadow of the upper lip ends
MIN_SEEN = 0.5  # share of the places along the lips at which the seam has to be seen; else the tracked line is used

UPPER, LOWER = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])


def seam_shift(picture: torch.Tensor, photo: FaceMotion) -> np.ndarray:
    """(9, 3) float32 by how much closed lips meet beside their tracked inner edges, normalized; 0 of open ones.

    From the left to the right, without the corners. In a picture (1, 3, h, w), 0…1, on the host, of a photo with these
    landmarks in its pixels.
    """
    shift = np.zeros((len(UPPER), 3), np.float32)
    host, scale = photo.host, float(photo.scale)
    if (host.normalized[0, LOWER, 1] - host.normalized[0, UPPER, 1]).max() > CLOSED:
        return shift
    line = (host.posed[0, UPPER, :2] + host.posed[0, LOWER, :2]) / 2
    outer = (host.posed[0, list(lip[1:-1]), :2] for lip in (OUTER_UPPER_LIP, OUTER_LOWER_LIP))
    heights = [np.linalg.norm(edge - line, axis=-1, keepdims=True) / scale for edge in outer]
    across = host.posed[0, list(OUTER_LOWER_LIP[1:-1]), :2] - host.posed[0, list(OUTER_UPPER_LIP[1:-1]), :2]
    across = across / np.linalg.norm(across, axis=-1, keepdims=True).clip(1e-3)
    steps = np.arange(-2 * REACH, 2 * REACH + STEP, STEP, dtype=np.float32)
    places = line[:, None] + across[:, None] * (steps[:, None] * scale)
    brightness = sample(picture, torch.from_numpy(places.astype(np.float32))[None])[0].mean(0).numpy()
    limits = [np.minimum(LIP_SHARE * height, REACH) for height in heights]
    at, seen = _seam_in(brightness, steps, *limits)
    if seen.mean() < MIN_SEEN:
        return shift
    at = np.interp(np.arange(len(at)), np.flatnonzero(seen), at[seen])
    moved = np.concatenate([smooth_along_lip(at)[:, None] * across, np.zeros((len(at), 1))], 1) @ host.rotation[0]
    return moved.astype(np.float32)


def smooth_along_lip(distances: np.ndarray) -> np.ndarray:
    """Distances (…, 9) beside a lip's tracked edge, smooth from corner to corner, where lips meet as tracked."""
    ends = [(0, 0)] * (distances.ndim - 1) + [(1, 1)]
    for reduce in (np.median, np.mean):
        distances = reduce(np.lib.stride_tricks.sliding_window_view(np.pad(distances, ends), 3, -1), -1)
    return distances


def _seam_in(
    brightness: np.ndarray, steps: np.ndarray, above: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) where the seam ends in profiles (N, S) at ``steps`` (S,) down from the tracked line; (N,) where it is seen.

    It is looked for up to ``above`` and ``below`` (N, 1) that line.
    """
    lips = [
        np.where((side >= limit) & (side <= limit + REACH), brightness, np.nan)
        for side, limit in ((-steps, above), (steps, below))
    ]
    darker_lip = np.minimum(*(np.nanmean(lip, axis=1) for lip in lips))
    between = np.where((-steps <= above) & (steps <= below), brightness, np.inf)
    return steps[between.argmin(1)] + BELOW_DARKEST, between.min(1) < SEAM_DARKNESS * darker_lip
