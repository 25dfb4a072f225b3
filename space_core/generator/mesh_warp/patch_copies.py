"""Copies what a reduced picture was completed from, patch by patch, at full resolution."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from space_core.generator.mesh_warp.parallel import map_parts
from space_core.generator.mesh_warp.patch_completion import RADIUS, Field, steps_from_middle
from space_core.generator.mesh_warp.sampling import blur, channels_last, to_three_channels

OFF_MIDDLE = 0.15  # by this share a patch's distance counts more for the pixel at its corner


def copy_patches(
    picture: torch.Tensor, field: Field, size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture (3, H, W) with what a field of a reduced picture of that size copies, and where, (H, W) bool.

    Also, for each reduced pixel, 1 where the same is copied to one beside it, too, which would be a pattern … 0.

    Each reduced pixel is a cell that the best patch over it is copied to. Cells overlap by half and are blended.
    """
    height, width = size
    around = np.full((height + 2 * RADIUS, width + 2 * RADIUS), np.inf, np.float32)
    apart = np.zeros((*around.shape, 2), np.float32)
    whole = apart.view(np.complex64)[..., 0]  # both at once
    targets = tuple(field.targets.T.numpy() + RADIUS)
    around[targets], apart[targets] = field.distances.numpy(), (field.sources - field.targets).numpy()
    best, pairs = np.full(size, np.inf, np.float32), np.zeros(size, np.complex64)
    for row, column in steps_from_middle():
        here = np.s_[RADIUS - row : RADIUS - row + height, RADIUS - column : RADIUS - column + width]
        distances = around[here] * np.float32(1 + OFF_MIDDLE * (row**2 + column**2) / (2 * RADIUS**2))
        better = distances < best
        np.copyto(best, distances, where=better)
        np.copyto(pairs, whole[here], where=better)
    cell, is_copied, offsets = picture.shape[1] // height, np.isfinite(best), pairs[..., None].view(np.float32)
    repeated = _repeated(offsets, is_copied)

    own = channels_last(picture)
    total, weights = np.zeros_like(own), np.zeros(own.shape[:2], np.float32)
    # The cells that are copied, and one more around.
    ends = [np.flatnonzero(is_copied.any(1 - axis))[[0, -1]] + (-1, 2) for axis in (0, 1)]
    used = tuple(slice(*(cell * end.clip(0, count)).tolist()) for end, count in zip(ends, size, strict=True))
    pixels = [np.arange(part.start, part.stop, dtype=np.float32) for part in used]

    def weighted_copy(shift: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        places = [(values + 0.5) / cell - 0.5 for values in pixels]
        middles = [np.floor(values) + more for values, more in zip(places, shift, strict=True)]
        near = [1 - abs(values - middle) for values, middle in zip(places, middles, strict=True)]
        rows, columns = (m.clip(0, count - 1).astype(int) for m, count in zip(middles, size, strict=True))
        weight = near[0][:, None] * near[1] * is_copied[rows][:, columns]
        y, x = (cell * offsets[rows, :, axis][:, columns] for axis in (0, 1))
        copy = cv2.remap(own, pixels[1] + x, pixels[0][:, None] + y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return to_three_channels(weight) * copy, weight

    for copy, weight in map_parts(weighted_copy, ((0, 0), (0, 1), (1, 0), (1, 1))):
        total[used] += copy
        weights[used] += weight
    copied = torch.from_numpy(total / to_three_channels(weights.clip(1e-6))).permute(2, 0, 1)
    return copied, torch.from_numpy(weights > 0.5), torch.from_numpy(repeated)


def _repeated(offsets: np.ndarray, is_copied: np.ndarray) -> np.ndarray:
    """(h, w) float32 1 where a cell that is copied with offsets (h, w, 2) is copied to one beside it, too … 0."""
    height, width = is_copied.shape
    places = np.arange(height * width).reshape(height, width)
    source = np.where(is_copied, places + (offsets @ np.array([width, 1], np.float32)).astype(int), -1 - places)
    found = np.zeros((height, width), np.float32)
    for row, column in ((0, 1), (1, -1), (1, 0), (1, 1)):
        left, right = max(-column, 0), width - max(column, 0)
        here, beside = np.s_[: height - row, left:right], np.s_[row:, left + column : right + column]
        same = source[here] == source[beside]
        found[here] += same
        found[beside] += same
    return blur(np.minimum(found, 1), 1)
