"""The parts of an image that a network gets as its input: where they lie, and their pixels.

A region is a (2, 3) float64 array that maps the unit square onto an image: ``(x, y) = region @ (u, v, 1)``, u and x to
the right, v and y down, x and y in pixel indices (the middle of the image's first pixel is 0). As in MediaPipe's
graphs, pixel k of an input that is n pixels wide is sampled at u = k / n, and a network's output k is at u = k / n.
"""

import numpy as np
import torch
import torch.nn.functional as F

PLACES_PER_PIXEL = 32  # to which OpenCV rounds where it samples


def upright_region(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The region (2, 3) around a centre (x, y) with a size (width, height), in pixels."""
    return np.column_stack([np.diag(size), np.subtract(centre, np.divide(size, 2))])


def turned_square(centre: np.ndarray, side: float, angle: float) -> np.ndarray:
    """The region (2, 3) around a centre (x, y), ``side`` pixels wide, turned clockwise by an angle in radians."""
    axes = side * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([axes, centre - axes.sum(1) / 2])


def scaled(region: np.ndarray, scale: float) -> np.ndarray:
    """A region (2, 3) made larger by a factor around its centre."""
    axes = scale * region[:, :2]
    return np.column_stack([axes, project(np.array([0.5, 0.5]), region) - axes.sum(1) / 2])


def project(points: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Points (..., 2) of the unit square in pixels of the image."""
    return points @ region[:, :2].T + region[:, 2]


def image_tensor(image: np.ndarray, device: torch.device) -> torch.Tensor:
    """An image (H, W, 3) uint8 on a device; on the CPU it shares the array's memory where that may be written to."""
    return torch.from_numpy(image if image.flags.writeable and min(image.strides) > 0 else image.copy()).to(device)


def sample_upright(image: torch.Tensor, region: np.ndarray, size: int) -> torch.Tensor:
    """The pixels of an upright region of an image (H, W, 3) uint8 as (1, 3, size, size) float32, 0 … 255.

    Bilinear, without smoothing where the image is larger than the input; black beyond the edges of the image.
    """
    (width, _, left), (_, height, top) = region
    columns, weights_x = _taps(left, width, size, image.shape[1], image.device)
    rows, weights_y = _taps(top, height, size, image.shape[0], image.device)
    pixels = image.index_select(0, rows.flatten()).index_select(1, columns.flatten())
    pixels = (pixels.view(2, size, 2 * size, 3) * weights_y[..., None, None]).sum(0)
    pixels = (pixels.view(size, 2, size, 3) * weights_x[..., None]).sum(1)
    return _rounded(pixels).permute(2, 0, 1)[None]


def _taps(
    start: float, extent: float, size: int, length: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels on either side of ``size`` places along an axis, (2, size) int64, and their weights, float32."""
    places = _quantized(start + extent / size * torch.arange(size, device=device, dtype=torch.float64))
    low = places.floor()
    taps = torch.stack([low, low + 1])
    weights = torch.stack([low + 1 - places, places - low])
    inside = taps.clamp(0, length - 1)
    return inside.long(), (weights * (taps == inside)).float()


# MediaPipe samples with OpenCV, in fixed point. The networks' scores, and so which boxes count, depend on such details.


def _quantized(places: torch.Tensor) -> torch.Tensor:
    """The nearest of the places at which OpenCV samples."""
    return places.mul(PLACES_PER_PIXEL).round_().div_(PLACES_PER_PIXEL)


def _rounded(pixels: torch.Tensor) -> torch.Tensor:
    """Integers, as of uint8, halves rounded up; in place."""
    return pixels.add_(0.5).floor_()


def sample_turned(image: torch.Tensor, region: np.ndarray, size: int) -> torch.Tensor:
    """The pixels of any region of an image (H, W, 3) uint8 as (1, 3, size, size) float32, 0 … 255.

    Bilinear, without smoothing where the image is larger than the input; outside, the image's border pixels continue.
    """
    # Only the box around the region is made floating point.
    corners = project(np.array([[0, 0], [1, 0], [0, 1], [1, 1]]), region)
    edges = np.array(image.shape[1::-1])
    low = np.clip(np.floor(corners.min(0)), 0, edges - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 1, edges).astype(int)
    box = image[low[1] : high[1], low[0] : high[0]].permute(2, 0, 1)[None].float()
    in_box = region - np.pad(low[:, None], ((0, 0), (2, 0)))
    along_u, along_v, origin = torch.from_numpy(in_box).to(image.device).unbind(1)
    steps = (torch.arange(size, device=image.device, dtype=torch.float64) / size)[:, None]
    places = _quantized(steps * along_u + (steps * along_v + origin)[:, None])  # (size, size, 2), in pixels of the box
    # ``grid_sample`` counts from -1 to 1, with ``align_corners`` from the first pixel to the last one.
    last = torch.from_numpy(np.maximum(high - low - 1, 1)).to(image.device)
    grid = (places * (2 / last) - 1).float()
    return _rounded(F.grid_sample(box, grid[None], padding_mode="border", align_corners=True))
