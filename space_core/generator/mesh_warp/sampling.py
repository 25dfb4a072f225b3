"""Sampling of pictures at real-valued pixel coordinates. Pixel centres are at whole numbers."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.face.crop_size import MARGIN, SIZE

EXTENT = SIZE + 2 * MARGIN  # side of a portrait's surroundings, pixels
ENOUGH = 6.0  # pixels: a blur by that standard deviation has no need of a higher resolution
REACH_OF_DOUBLE = 4  # pixels around one between two that count for it, in ``double``


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture (H, W) or (H, W, C), float32, blurred by a Gaussian of standard deviation ``sigma`` in pixels."""
    return cv2.GaussianBlur(np.ascontiguousarray(picture, np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def blur_widely(picture: np.ndarray, sigma: float) -> np.ndarray:
    """The same with even sides and for several pixels, for which half the resolution is enough."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(blur(small, sigma / 2), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)


def blur_along(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture (H, W, C), float32, blurred along its columns alone, at the resolution that is enough for that."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width, max(round(height * min(ENOUGH / sigma, 1)), 1)), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 1e-3, sigmaY=sigma * len(small) / height)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)


def reach_of_blur(sigma: float) -> int:
    """How many pixels around it a Gaussian of standard deviation ``sigma`` in pixels spreads a pixel."""
    return math.ceil(3 * sigma)


def blur_batch(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """Pictures (B, C, h, w) blurred by a Gaussian of standard deviation ``sigma`` in pixels; their edges go on.

    They are returned as they are where ``sigma`` is 0.
    """
    if not sigma:
        return pictures
    return (blur_in_opencv if pictures.device.type == "cpu" else blur_in_torch)(pictures, sigma)


def blur_in_torch(pictures: torch.Tensor, sigma: float, sigma_y: float | None = None) -> torch.Tensor:
    """See ``blur_batch``; with ``sigma_y`` by another standard deviation along y than along x."""
    for axis, width in ((3, sigma), (2, sigma if sigma_y is None else sigma_y)):
        if not width:
            continue
        reach, channels = reach_of_blur(width), pictures.shape[1]
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pictures.device) / width) ** 2)
        kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
        padding = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
        wide = F.pad(pictures, padding, mode="replicate")
        pictures = F.conv2d(wide, kernel if axis == 3 else kernel.mT, groups=channels)
    return pictures


def blur_in_opencv(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """The same on the CPU, in a quarter of the time."""
    side, around = 2 * reach_of_blur(sigma) + 1, cv2.BORDER_REPLICATE
    frames = pictures.permute(0, 2, 3, 1).contiguous().numpy()
    blurred = np.stack([cv2.GaussianBlur(frame, (side, side), sigma, borderType=around) for frame in frames])
    return torch.from_numpy(blurred.reshape(frames.shape)).permute(0, 3, 1, 2)


def box_mean(pictures: torch.Tensor, reach: int) -> torch.Tensor:
    """Pictures (B, C, h, w), on the host, whose pixels are the mean over those up to ``reach`` away along x and y.

    As ``avg_pool2d`` has it, but the time it takes does not grow with the reach.
    """
    side, around = (2 * reach + 1, 2 * reach + 1), cv2.BORDER_CONSTANT
    planes = pictures.flatten(0, 1).numpy()
    # Beyond the edges there is nothing that counts.
    count = cv2.boxFilter(np.ones_like(planes[0]), -1, side, normalize=False, borderType=around)
    means = [cv2.boxFilter(plane, -1, side, normalize=False, borderType=around) / count for plane in planes]
    return torch.from_numpy(np.stack(means)).view(pictures.shape)


def downsampled(planes: torch.Tensor, times: int) -> torch.Tensor:
    """Planes (C, H, W), on the host, averaged over squares of so many pixels; a fifth of the time of ``avg_pool2d``."""
    size = planes.shape[2] // times, planes.shape[1] // times
    return torch.from_numpy(
        np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes.numpy()])
    )


def channels_last(picture: torch.Tensor) -> np.ndarray:
    """(H, W, C) a picture (C, H, W) on the host."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def sum_of_channels(picture: np.ndarray) -> np.ndarray:
    """(H, W) the sum of the channels of a picture (H, W, C), float32; several times as fast as NumPy's."""
    return cv2.transform(picture, np.ones((1, picture.shape[2])))


def to_three_channels(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) values (H, W), for each channel; several times as fast as broadcasting them."""
    return cv2.cvtColor(values, cv2.COLOR_GRAY2RGB)


def sample(texture: torch.Tensor, where: torch.Tensor, density: int = 1, padding_mode: str = "border") -> torch.Tensor:
    """(B, C, H, W) a texture (1, C, h, w) at pixels (B, H, W, 2), bilinearly; beyond its edges the edges go on.

    With the padding mode "zeros" there is nothing beyond its edges.

    A texture of ``density`` 2 has a pixel between every two of those that the coordinates count.
    """
    height, width = texture.shape[-2:]
    x = where[..., 0] * (2 * density / (width - 1)) - 1
    y = where[..., 1] * (2 * density / (height - 1)) - 1
    texture = texture.expand(len(where), -1, -1, -1)
    return F.grid_sample(texture, pairs(x, y), padding_mode=padding_mode, align_corners=True)


def double(picture: np.ndarray) -> np.ndarray:
    """(2h − 1, 2w − 1, C) a picture (h, w, C), 0…1, with a pixel between every two: a windowed sinc of eight taps."""
    taps = np.arange(2 * REACH_OF_DOUBLE) - REACH_OF_DOUBLE + 0.5
    kernel = np.sinc(taps) * np.sinc(taps / 4)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    height, width, channels = picture.shape
    wide = np.empty((height, 2 * width - 1, channels), np.float32)
    wide[:, ::2] = picture
    around = cv2.BORDER_REPLICATE
    wide[:, 1::2] = cv2.filter2D(picture, -1, kernel[None], anchor=(3, 0), borderType=around)[:, :-1]
    doubled = np.empty((2 * height - 1, *wide.shape[1:]), np.float32)
    doubled[::2] = wide
    doubled[1::2] = cv2.filter2D(wide, -1, kernel[:, None], anchor=(0, 3), borderType=around)[:-1]
    return np.clip(doubled, 0, 1, out=doubled)


def pairs(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(…, 2) x and y, (…) float32 each, of pixels; seven times as fast as ``torch.stack`` on a CPU."""
    return torch.view_as_real(torch.complex(x, y))


def grid_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(1, H, W, 2) x and y where columns (W,) and rows (H,) cross."""
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def affine_grid(
    first: torch.Tensor, along: torch.Tensor, down: torch.Tensor, size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y, (B, H, W) each, of a grid of ``size`` points.

    ``first`` (B, 2) is the point at the first row's begin, ``along`` and ``down`` (B, 2) are the steps from column to
    column and from row to row. Several times as fast as a product of matrices.
    """
    columns, rows = (torch.arange(side, dtype=first.dtype, device=first.device) for side in size[::-1])
    begins = first[..., None] + rows * down[..., None]  # (B, 2, H)
    x, y = (begins[..., None] + (columns * along[..., None])[:, :, None]).unbind(1)
    return x, y


def pixels_of(picture: torch.Tensor) -> torch.Tensor:
    """(1, h, w, 2) x and y of the pixels of a picture (1, C, h, w)."""
    height, width = picture.shape[-2:]
    return grid_of(*(torch.arange(side, dtype=torch.float32, device=picture.device) for side in (width, height)))
