"""The lower edges of brows where a photo shows them, which is often below where they are tracked.

The skin between a brow and the lid is stretched as the brow rises, and hairs below the tracked edge would be, too.
"""

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import LOWER_BROW_RIMS, NUM_SURFACE_POINTS
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.sampling import box_mean, sample

COLUMNS = 13  # places along the tracked lower edge of a brow that are looked at
# The rings of skin between those and the upper lids: the lids' creases, and the skin above these.
CREASES = ((247, 30, 29, 27, 28, 56, 190), (414, 286, 258, 257, 259, 260, 467))
ABOVE_CREASES = ((113, 225, 224, 223, 222, 221, 189), (413, 441, 442, 443, 444, 445, 342))
# Brightness is sampled at ``STEPS`` places from ``ABOVE`` (normalized) above the tracked edge down to the lid's crease;
# the brow's darkest place is in the first share ``CORE`` of what is below the edge.
ABOVE, STEPS, CORE = 0.04, 40, 0.4
AVERAGED = 1  # pixels around each place that are averaged
CONTRAST = (0.1, 0.25)  # of the brow to the skin below it, relative to the skin, between which its edge gets trusted
# Points of the edge move by at most the share ``ROOM`` of the way to the ring of points below; that ring moves with
# them by the share ``BELOW``, and by at most the share ``ROOM_BELOW`` of the way to the next ring.
ROOM, ROOM_BELOW, BELOW = 0.7, 0.45, 0.5


def brow_edges(photo: FaceMotion, picture: torch.Tensor) -> np.ndarray:
    """How far below the tracked lower edges of brows a photo shows them.

    Args:
        photo: the photo's own landmarks in pixels of the picture, on the host.
        picture: (1, 3, h, w) what it shows around the face, or around the eyes and brows, 0…1.

    Returns:
        (468, 3) normalized, along y: for the points of those edges, and less for the ring of points below them.
    """
    brightness = box_mean(picture.mean(1, keepdim=True), AVERAGED)
    normalized = photo.host.normalized[0]
    shift = np.zeros((NUM_SURFACE_POINTS, 3))
    for edge, *rings in zip(LOWER_BROW_RIMS, CREASES, ABOVE_CREASES, strict=True):
        crease, below = (sorted(ring, key=lambda point: float(normalized[point, 0])) for ring in rings)
        lower = _lower_edge(photo, brightness, normalized[list(edge)], normalized[crease])
        heights = [np.interp(normalized[list(edge), 0], *normalized[ring, :2].T) for ring in (below, crease)]
        room = (heights[0] - normalized[list(edge), 1]).clip(0)
        shift[list(edge), 1] = np.minimum(np.interp(normalized[list(edge), 0], *lower), ROOM * room)
        wanted = BELOW * np.interp(normalized[below, 0], normalized[list(edge), 0], shift[list(edge), 1])
        room = np.interp(normalized[below, 0], *normalized[crease, :2].T) - normalized[below, 1]
        shift[below, 1] = np.minimum(wanted, ROOM_BELOW * room.clip(0))
    return shift


def _lower_edge(
    photo: FaceMotion, brightness: torch.Tensor, edge: np.ndarray, crease: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(COLUMNS,) x of places along a tracked edge (5, 3), and how far below it the brow ends there, normalized.

    ``crease`` (N, 3) is where the skin above the eye ends; both go from the left to the right.
    """
    along = np.linspace(0, len(edge) - 1, COLUMNS)
    start = np.stack([np.interp(along, np.arange(len(edge)), values) for values in edge.T], 1)
    depth = (np.interp(start[:, 0], *crease[:, :2].T) - start[:, 1]).clip(1e-3)
    down = -ABOVE + (depth[:, None] + ABOVE) * np.linspace(0, 1, STEPS)  # (columns, steps)
    places = start[:, None] + down[..., None] * [0.0, 1.0, 0.0]
    posed = photo.host.place(places.reshape(-1, 3).astype(np.float32))[0, :, :2].reshape(*down.shape, 2)
    seen = sample(brightness, torch.from_numpy(posed)[None])[0, 0].numpy()
    core = np.where(down < CORE * depth[:, None], seen, np.inf).argmin(1)[:, None]
    dark = np.take_along_axis(seen, core, 1)
    after = np.arange(STEPS) > core
    light = np.where(after, seen, 0).max(1, keepdims=True)
    ends = after & (seen > (dark + light) / 2)
    lower = np.take_along_axis(down, ends.argmax(1)[:, None], 1)[:, 0] * ends.any(1)
    lower = lower.clip(0) * smoothstep(1 - (dark / light.clip(0.02))[:, 0], *CONTRAST)
    padded = np.pad(lower, 1, mode="edge")
    return start[:, 0], np.median([padded[:-2], lower, padded[2:]], axis=0)
