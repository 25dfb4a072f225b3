"""Continues the lines and edges of a picture into its unknown part: coherence transport (Bornemann and März, 2007).

The unknown part is filled from its border inwards, along lines sooner than across. Each pixel is a mean of those around
it that are known or filled already, in which those along the lines that run through it weigh most; the direction of
lines is continued likewise.
"""

import math

import cv2
import numpy as np
import scipy
import torch

from space_core.arrays import distance_to, smoothstep
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import blur, channels_last, sum_of_channels, to_three_channels

STEP = 2  # pixels of the picture per pixel that is filled; lengths up to SOFT are in the latter
RADIUS = 3  # of the pixels around one
# Of the structure tensor, standard deviations: of the picture's blur, and of the tensor's.
FINE, COARSE = 0.7, 5.0
# A line is as clear as e^(−CLEAR / d), d the difference of the tensor's eigenvalues, colours 0…1 squared, times this
# power of its coherence, their difference over their sum: edges of leaves and lamps, in all directions, are no lines.
CLEAR, COHERENT = 5e-5, 3
SHARPNESS = 25.0  # how sharply pixels along a clear line are told from others
FAINT = 1e-12  # weight of pixels across a line: they count where there are no others
DETOUR = 6.0  # by how much longer the way across a clear line is than that along it
WAYS = [(down, along) for down in range(-2, 3) for along in range(-2, 3) if math.gcd(down, along) == 1]
# The deeper, the less certain and the softer: standard deviation of the blur at each depth and beyond.
SOFT = ((10, 1.0), (30, 2.8))
# Where the picture gives evidence, both estimates' errors, averaged over the first width, are squared and averaged over
# the second (standard deviations, pixels of the picture); so large an error is expected of both. Last, the smooth
# estimate's share of both squares with which none … all of the lines are taken.
COARSE_ERROR, NEAR, USUAL_ERROR, BETTER = 3.0, 6.0, 0.03, (0.1, 0.25)
REACH, FADE = 92, 24  # pixels: no turn of a head uncovers what is further inside; over which lines end there


def continue_lines(
    smooth: torch.Tensor, picture: torch.Tensor, known: torch.Tensor, evidence: np.ndarray, wanted: np.ndarray
) -> torch.Tensor:
    """A picture whose lines and edges go on into its unknown part.

    Args:
        smooth: (1, 3, H, W) the picture filled smoothly, 0…1; H and W are even.
        picture: (1, 3, H, W) the picture, 0…1.
        known: (1, 1, H, W) 0 unknown … 1 known.
        evidence: (H, W) float32 how likely the unknown part is what the picture shows there, 0…1; it is not copied.
        wanted: (H, W) bool, which pixels of the unknown part are needed; the others may be as in ``smooth``.

    Returns:
        (1, 3, H, W), as ``smooth`` where the picture is known and deep inside the unknown part.
    """
    shares = known[0, 0].numpy()
    is_known = _halved(shares) > 0.99
    depth = distance_to(is_known)
    share_wanted = _halved(wanted.astype(np.float32))
    needed = (depth > 0) & (depth < REACH / STEP) & (share_wanted > 0)
    if not is_known.any() or not needed.any():
        return smooth
    base, seen = (channels_last(values[0]) for values in (smooth, picture))
    filled = _transported(np.where(is_known[..., None], _halved(seen), _halved(base)), depth, needed)
    full = cv2.resize(_softened(filled, depth), shares.shape[::-1], interpolation=cv2.INTER_LINEAR)
    continued = seen + to_three_channels(1 - shares) * (full - seen)
    weight = ((REACH - distance_to(shares > 0.99)) / FADE).clip(0, 1)
    weight *= cv2.resize(share_wanted, shares.shape[::-1], interpolation=cv2.INTER_LINEAR)
    weight *= _better(continued, base, seen, evidence * (shares <= 0.99))
    continued = base + to_three_channels(weight) * (continued - base)
    return torch.from_numpy(continued).permute(2, 0, 1)[None]


def _better(lines: np.ndarray, smooth: np.ndarray, picture: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(H, W) 1 where a picture (H, W, 3) is more like the estimate with lines than the smooth one, both likewise … 0.

    ``evidence`` (H, W) is how likely the picture shows what is estimated.
    """
    # For what is averaged over such widths, half the resolution is enough.
    own, near = _halved(picture), _halved(evidence)
    weight, errors = blur(near, NEAR / STEP), []
    coarse = to_three_channels(blur(near, COARSE_ERROR / STEP).clip(1e-3))
    for estimate in (lines, smooth):
        error = blur((_halved(estimate) - own) * to_three_channels(near), COARSE_ERROR / STEP) / coarse
        squared = sum_of_channels(error * error) / 3
        errors.append(blur(squared * near, NEAR / STEP) / weight.clip(1e-3) + USUAL_ERROR**2)
    better = smoothstep(errors[1] / (errors[0] + errors[1]), *BETTER)
    better, certain = (torch.from_numpy(array)[None, None] for array in (better, (10 * weight).clip(0, 1)))
    filled = fill(better, certain)[0, 0].numpy()
    return cv2.resize(filled, evidence.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _halved(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, None, fx=1 / STEP, fy=1 / STEP, interpolation=cv2.INTER_AREA)


def _structure_tensor(picture: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """(h, w, 3) elements xx, xy and yy of the structure tensor of what is known of a picture (h, w, 3)."""
    weight = is_known.astype(np.float32)
    fine = blur(picture * to_three_channels(weight), FINE) / to_three_channels(blur(weight, FINE).clip(1e-3))
    along, down = (cv2.Scharr(fine, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1)))
    inner = cv2.erode(weight, square(3))
    tensor = cv2.merge([sum_of_channels(product) for product in (along * along, along * down, down * down)])
    return blur(tensor * to_three_channels(inner), COARSE) / to_three_channels(blur(inner, COARSE).clip(1e-3))


def _transported(picture: np.ndarray, depth: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) with what is ``needed`` (h, w) bool filled from what is known.

    ``depth`` (h, w) is the distance from the known part.
    """
    is_known = depth == 0
    tensors = _structure_tensor(picture, is_known)
    fields = np.concatenate([picture, tensors, np.ones_like(picture[..., :1])], 2)
    fields *= is_known[..., None]
    wide = np.pad(fields, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)))
    pixels, width = wide.reshape(-1, wide.shape[2]), wide.shape[1]
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1].reshape(2, -1)
    distance = np.hypot(x, y)
    near = (distance > 0) & (distance <= RADIUS)
    steps, x, y = (y * width + x)[near], (x[near] / RADIUS).astype(np.float32), (y[near] / RADIUS).astype(np.float32)
    nearness = (1 / distance[near]).astype(np.float32)
    for rows, columns in _rings(depth, needed, tensors):
        here = (rows + RADIUS) * width + columns + RADIUS
        around = pixels[here[:, None] + steps]  # (n, k, 7), the last of which is 0 where nothing is known yet
        weight = around[..., 6] * nearness
        tensor = np.matmul(weight[:, None], around[..., 3:6])[:, 0] / weight.sum(1, keepdims=True).clip(1e-30)
        weight *= _along_lines(tensor, x, y) + FAINT
        pixels[here] = np.matmul(weight[:, None], around)[:, 0] / weight.sum(1, keepdims=True).clip(1e-30)
    inside = wide[RADIUS:-RADIUS, RADIUS:-RADIUS]
    return np.where(inside[..., 6:] > 0, inside[..., :3], picture)


def _rings(depth: np.ndarray, needed: np.ndarray, tensors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the pixels that are filled together, in the order in which they are.

    Lines that meet the border come first: the way across lines is longer than that along them (März, 2011).
    """
    is_known = depth == 0
    border = is_known & (cv2.dilate(needed.astype(np.uint8), square(3)) > 0)
    rows, columns = np.nonzero(needed | border)
    share = torch.from_numpy(is_known.astype(np.float32))[None, None]
    extended = fill(torch.from_numpy(tensors).permute(2, 0, 1)[None], share)[0].numpy()
    graph = _graph(rows, columns, needed.shape, *_lines(extended[:, rows, columns].T))
    way = scipy.sparse.csgraph.dijkstra(graph, indices=np.flatnonzero(border[rows, columns]), min_only=True)
    filled = needed[rows, columns] & np.isfinite(way)
    ring = np.ceil(way[filled])
    order = np.argsort(ring, kind="stable")
    ends = np.flatnonzero(np.diff(ring[order])) + 1
    parts = (np.split(places[filled][order], ends) for places in (rows, columns))
    return list(zip(*parts, strict=True))


def _graph(
    rows: np.ndarray, columns: np.ndarray, size: tuple[int, ...], angle: np.ndarray, clarity: np.ndarray
) -> "scipy.sparse.csr_array":  # quoted, as it would import scipy.sparse in processes that draw, too: 12 MB
    """Lengths of the ways between pixels (n,) of a picture of that size; see ``_lines`` for the others."""
    reach = max(max(way) for way in WAYS)
    numbers = np.full(np.add(size, 2 * reach), -1)
    numbers[rows + reach, columns + reach] = np.arange(len(rows))
    across_x, across_y = DETOUR * clarity * np.cos(angle), DETOUR * clarity * np.sin(angle)
    begins, ends, lengths = [], [], []
    for down, along in WAYS:
        begin = numbers[rows + reach - down, columns + reach - along]
        end = np.flatnonzero(begin >= 0)
        begins.append(begin[end])
        ends.append(end)
        lengths.append(math.hypot(along, down) + abs(across_x[end] * along + across_y[end] * down))
    places = np.concatenate(begins), np.concatenate(ends)
    return scipy.sparse.csr_array((np.concatenate(lengths), places), shape=(len(rows), len(rows)))


def _lines(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of structure tensors (n, 3): the angle (n,) across the line there, and how clear it is (n,), 0…1."""
    difference, mixed = tensors[:, 0] - tensors[:, 2], 2 * tensors[:, 1]
    clear = np.hypot(difference, mixed)
    coherence = clear / (tensors[:, 0] + tensors[:, 2]).clip(1e-12)
    return 0.5 * np.arctan2(mixed, difference), np.exp(-CLEAR / clear.clip(1e-9)) * coherence**COHERENT


def _along_lines(tensor: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, k) 1 for steps along the lines at pixels with structure tensors (n, 3) … 0 across.

    ``x`` and ``y`` (k,) are the steps as shares of ``RADIUS``.
    """
    angle, clarity = _lines(tensor)
    sharpness = 1 + SHARPNESS * clarity
    across = np.outer(sharpness * np.cos(angle), x) + np.outer(sharpness * np.sin(angle), y)
    return np.exp(-0.5 * across * across)


def _softened(picture: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3), the softer the further it is from the known part, ``depth`` (h, w)."""
    soft, before = picture, 0
    for end, sigma in SOFT:
        share = to_three_channels(((depth - before) / (end - before)).clip(0, 1).astype(np.float32))
        soft, before = soft + share * (blur(picture, sigma) - soft), end
    return soft
