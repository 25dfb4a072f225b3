"""Relights a turned head: its light stays where it is in the photo.

A warp moves the photo's shading along with the skin. The light is estimated from the face in the photo: how the
logarithm of its brightness varies with the normals of its surface, as spherical harmonics of first and second order. In
a turned face each normal faces another part of that light, and the picture is multiplied by the ratio of both
brightnesses. The ratio is 1 in the photo's pose, everywhere around the face, and at the face's border. It is applied to
the finished frame, so that eyes and lips are lit like the skin around them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.luminance import LUMINANCE
from space_core.face.topology import (
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_SURFACE_POINTS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    OVAL,
    canonical_face,
    face_normals,
)
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform, upload
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.sampling import EXTENT, blur, pairs

NOT_SKIN = [point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]
NOT_SKIN += [*OUTER_UPPER_LIP, *OUTER_LOWER_LIP, *INNER_UPPER_LIP, *INNER_LOWER_LIP]
# Normalized standard deviation by which brightness is blurred, and what is added to it, 0…1, before the logarithm is
# taken.
AVERAGED, DARKEST = 0.1, 0.05
# Robust fit, because of brows, beards, hair and glasses: points that differ from it by ``OUTLIER`` (natural logarithm
# of brightness) have half the weight, those that differ from the median by more than ``FURTHEST`` none. ``RIDGE``
# regularizes coefficients that the photo does not determine.
OUTLIER, FURTHEST, RIDGE = 0.3, 1.0, 0.02
MOST = 0.2  # bound, by tanh, of the logarithm of the ratio
FADING = (0.0, 0.25)  # normalized distances from the face's border between which the ratio fades in
SMOOTHING = 0.06  # normalized standard deviation by which normals are smoothed
CELL = 4  # side of the maps' cells in pixels of the surroundings
CELLS = 3  # side, in cells of the canvas' grid, of the blocks for which a ratio is computed
UNITY = 200  # the 8-bit value of the ratio 1
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # of a normal's components


@dataclass(frozen=True)
class PreparedLight:
    """The light on a face, on the generator's device.

    Attributes:
        linear: (3,) change of the logarithm of brightness along x, y and z of normals in the picture's axes; on the
            host.
        quadratic: (3, 3) the same for products of two components, symmetric; on the host.
        rotation: (3, 3) the head's in the photo; on the host.
        maps: (1, 9, h, w) components of the normals in the head's axes and the products ``PAIRS`` of them, fading to
            zero at the face's border, in a window of the surroundings.
        corner: (2,) left and top of the window, in cells of the surroundings.
    """

    linear: np.ndarray
    quadratic: np.ndarray
    rotation: np.ndarray
    maps: torch.Tensor
    corner: tuple[int, int]


def prepare_light(picture: torch.Tensor, photo: FaceMotion, depiction: Depiction) -> PreparedLight | None:
    """The light on the face of a picture (1, 3, 640, 640), 0…1, with these landmarks in its pixels, on the host.

    None in pictures of statues, of cartoons and under varnish, which have no such light.
    """
    strength = (1 - depiction.stone) * (1 - depiction.varnish) * (1 - depiction.cartoon)
    if strength <= 0:
        return None
    host, scale = photo.host, float(photo.host.scale[0])
    normals = face_normals(host.normalized[0, :NUM_SURFACE_POINTS].astype(np.float64))
    linear, quadratic = _fit(picture, photo, normals @ host.rotation[0].T)
    maps, corner = _maps(photo, normals, scale)
    linear, quadratic = ((strength * values).astype(np.float32) for values in (linear, quadratic))
    return PreparedLight(linear, quadratic, host.rotation[0], maps, corner)


def relight(
    frames: torch.Tensor,
    prepared: PreparedLight,
    canvas: PreparedCanvas,
    places: torch.Tensor,
    motion: FaceMotion,
    to_surroundings: PixelTransform,
) -> None:
    """Lights the face in frames (B, H, W, 3) uint8, in place.

    Args:
        places: those of ``compose``.
        motion: of the frames, in pixels of the film.
        to_surroundings: from pixels of the film to those of the surroundings.
    """
    weights = _weights(prepared, motion.host.rotation)
    if not weights.any():
        return
    # The face's part of the grid, in blocks of cells; ``places`` have one more cell around.
    grid = canvas.grid
    size, block = np.array([grid.columns, grid.rows]), CELLS * grid.cell
    origin = np.array([grid.left, grid.top]) - grid.cell
    oval = (motion.host.posed[:, list(OVAL), :2] - origin) / block
    most = (size + 2 + CELLS // 2) // CELLS  # blocks whose middle cells there are
    low = (np.floor(oval.min((0, 1))).astype(int) - 1).clip(0, most)
    high = (np.ceil(oval.max((0, 1))).astype(int) + 1).clip(0, most)
    if (high <= low).any():
        return
    ratio = _ratio(prepared, upload(weights, places.device), places, low, high, to_surroundings)
    corner = origin + low * block
    first = np.maximum(corner, [grid.left, grid.top])
    last = np.minimum(origin + high * block, [grid.left + grid.width, grid.top + grid.height])
    area, own = (
        np.s_[start[1] : end[1], start[0] : end[0]] for start, end in ((first, last), (first - corner, last - corner))
    )
    multiply = multiply_in_opencv if frames.device.type == "cpu" else multiply_in_torch
    multiply(frames[:, *area], ratio, block, own)


def multiply_in_torch(frames: torch.Tensor, ratio: torch.Tensor, block: int, own: tuple[slice, slice]) -> None:
    """Multiplies frames (B, h, w, 3) uint8, in place, by ratios of blocks of pixels, without leaving the device.

    Args:
        ratio: (B, 1, r, c).
        block: pixels that are a block's side.
        own: the part of all blocks' pixels that the frames are.
    """
    factor = F.interpolate(ratio, scale_factor=block, mode="bilinear")[:, 0, *own, None]
    frames.copy_((frames.float() * factor).round_().clamp_(0, 255))


def multiply_in_opencv(frames: torch.Tensor, ratio: torch.Tensor, block: int, own: tuple[slice, slice]) -> None:
    """Like ``multiply_in_torch``, but faster on a CPU; the results differ by rounding only."""
    eight_bits = (ratio[:, 0].numpy() * UNITY).round().astype(np.uint8)
    for frame, coarse in zip(frames.numpy(), eight_bits, strict=True):
        factor = cv2.resize(coarse, (coarse.shape[1] * block, coarse.shape[0] * block))[own]
        frame[:] = cv2.multiply(frame, cv2.cvtColor(factor, cv2.COLOR_GRAY2RGB), scale=1 / UNITY)


def _weights(prepared: PreparedLight, rotation: np.ndarray) -> np.ndarray:
    """(B, 9) float32 weights of ``maps``, whose sum changes the logarithm of brightness, for rotations (B, 3, 3)."""

    def in_head(rotation: np.ndarray) -> np.ndarray:
        linear = prepared.linear @ rotation
        quadratic = rotation.swapaxes(-1, -2) @ prepared.quadratic @ rotation
        products = [quadratic[..., a, b] * (1 if a == b else 2) for a, b in PAIRS]
        return np.concatenate([linear, np.stack(products, -1)], -1)

    return in_head(rotation) - in_head(prepared.rotation[None])


def _ratio(
    prepared: PreparedLight,
    weights: torch.Tensor,
    places: torch.Tensor,
    low: np.ndarray,
    high: np.ndarray,
    to_surroundings: PixelTransform,
) -> torch.Tensor:
    """(B, 1, r, c) the ratio to the photo's brightness of the blocks of cells from ``low`` to ``high`` (x, y)."""
    changes = torch.einsum("bk,khw->bhw", weights, prepared.maps[0])[:, None]
    rows, columns = (slice(low[axis] * CELLS + CELLS // 2, high[axis] * CELLS, CELLS) for axis in (1, 0))
    seen = places[:, rows, columns]
    x, y = (
        (seen[..., axis] * to_surroundings.scale + (float(to_surroundings.offset[axis]) - (CELL - 1) / 2)) / CELL
        - prepared.corner[axis]
        for axis in (0, 1)
    )
    height, width = changes.shape[2:]
    where = pairs(x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1)
    change = F.grid_sample(changes, where, padding_mode="zeros", align_corners=True)
    return torch.exp(MOST * torch.tanh(change / MOST))


def _fit(picture: torch.Tensor, photo: FaceMotion, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``linear`` and ``quadratic`` of the light, from unit normals (468, 3) in the picture's axes."""
    smooth = blur(picture[0].permute(1, 2, 0).numpy() @ LUMINANCE, AVERAGED * float(photo.host.scale[0]))
    columns, rows = photo.host.posed[0, :NUM_SURFACE_POINTS, :2].round().astype(int).clip(0, EXTENT - 1).T
    brightness = np.log(smooth[rows, columns].astype(np.float64) + DARKEST)
    seen = (-normals[:, 2]).clip(0)
    seen[NOT_SKIN] = 0
    brightness -= np.median(brightness[seen > 0])
    seen *= abs(brightness) < FURTHEST
    x, y, z = normals.T
    terms = np.stack([np.ones_like(x), x, y, z, x * x - y * y, z * z - 1 / 3, x * y, x * z, y * z], 1)
    ridge = np.diag([1e-6, *[RIDGE] * 8]) * max(seen.sum(), 1)
    weights = seen
    for _ in range(4):
        fit = np.linalg.solve((terms * weights[:, None]).T @ terms + ridge, (terms * weights[:, None]).T @ brightness)
        weights = seen / (1 + ((brightness - terms @ fit) / OUTLIER) ** 2)
    across, along, xy, xz, yz = fit[4:]
    return fit[1:4], np.array([[across, xy / 2, xz / 2], [xy / 2, -across, yz / 2], [xz / 2, yz / 2, along]])


def _maps(photo: FaceMotion, normals: np.ndarray, scale: float) -> tuple[torch.Tensor, tuple[int, int]]:
    """``maps`` and ``corner`` of normals (468, 3) in the head's axes."""
    points = photo.host.normalized[0, :NUM_SURFACE_POINTS]
    border = np.linalg.norm(points[:, None] - points[list(OVAL)], axis=-1).min(1)
    share = smoothstep(border, *FADING)
    attributes = torch.from_numpy(np.column_stack([normals, share, np.ones(len(share))]).astype(np.float32))
    posed, side = photo.posed[:, :NUM_SURFACE_POINTS], EXTENT // CELL
    cells = (posed[..., :2] - (CELL - 1) / 2) / CELL
    triangles = torch.tensor(canonical_face().triangles)
    face = rasterize(cells, posed[..., 2] / CELL, triangles, attributes[None], (side, side))[0].numpy()
    smooth = blur(face, SMOOTHING * scale / CELL)
    normal = smooth[..., :3] / np.linalg.norm(smooth[..., :3], axis=-1, keepdims=True).clip(1e-6)
    products = [normal[..., a] * normal[..., b] for a, b in PAIRS]
    maps = np.dstack([normal, *products]) * (smooth[..., 3] * face[..., 4])[..., None]
    low = (np.floor(cells[0].numpy().min(0)).astype(int) - 1).clip(0, side - 2)
    high = (np.ceil(cells[0].numpy().max(0)).astype(int) + 2).clip(2, side)
    window = np.ascontiguousarray(maps[low[1] : high[1], low[0] : high[0]].transpose(2, 0, 1)[None], np.float32)
    return torch.from_numpy(window), (int(low[0]), int(low[1]))
