"""A rectangle of each of several frames, as a picture into which features are drawn."""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.face_motion import PixelTransform, upload
from space_core.generator.mesh_warp.opening_mask import rectangles_around
from space_core.generator.mesh_warp.sampling import pairs

NEGLIGIBLE = 1e-3  # of 255; smaller changes are not written


class FrameWindow:
    """A rectangle of each of B frames, copied into a picture to draw into, which ``write`` copies back.

    Attributes:
        picture: (B, 3, h, w), 0…1.
        transform: from pixels of the film to pixels of the picture.
    """

    def __init__(self, frames: torch.Tensor, points: np.ndarray, margin: int, step: int) -> None:
        """Copies the rectangles around points.

        Args:
            frames: (B, H, W, 3) uint8.
            points: (B, N, 2), in pixels of the frames.
            margin: pixels around the points.
            step: side of the square of a frame's pixels that become one pixel of the picture.
        """
        self._frames, self._step = frames, step
        self._corners, size = rectangles_around(points, margin, frames.shape[1:3])
        height, width = (max(side // step, 1) * step for side in size)  # whole pixels of the picture
        if frames.device.type == "cpu":
            self._parts = [
                frame[top : top + height, left : left + width]
                for frame, (left, top) in zip(frames, self._corners.tolist(), strict=True)
            ]
            self.picture = _reduced_in_opencv(self._parts, step)
        else:  # all frames at once: on a GPU, launching an operation for each would take longer than computing it
            self._pixels = _pixels_of_rectangles(self._corners, (height, width), frames.device)
            self.picture = _reduced_in_torch(frames[self._pixels], step)
        self._before = self.picture.clone() if step > 1 else None
        self.transform = to_reduced(self._corners, step)

    def film_pixels(self) -> torch.Tensor:
        """(B, h, w, 2) the centre of each pixel of the picture, in pixels of the film."""
        first = upload((self._corners + (self._step - 1) / 2).astype(np.float32), self.picture.device)
        height, width = self.picture.shape[2:]
        steps = torch.arange(max(height, width), dtype=torch.float32, device=first.device) * self._step
        x, y = (first[:, axis, None] + steps[:side] for axis, side in ((0, width), (1, height)))
        return pairs(x[:, None], y[..., None])

    def write(self) -> None:
        """Writes the picture back into the frames; with a ``step`` above 1 only its changes, interpolated."""
        (self._write_in_opencv if self._frames.device.type == "cpu" else self._write_in_torch)()

    def _write_in_torch(self) -> None:
        """See ``write``."""
        if self._before is None:
            drawn = self.picture * 255
        else:
            finer = F.interpolate(self.picture - self._before, scale_factor=self._step, mode="bilinear")
            drawn = self._frames[self._pixels].permute(0, 3, 1, 2) + finer * 255
        self._frames[self._pixels] = drawn.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)

    def _write_in_opencv(self) -> None:
        """Like ``_write_in_torch``, but faster on a CPU; the results differ by rounding only."""
        if self._before is None:
            drawn = (self.picture * 255).round_().clamp_(0, 255).byte()
            for part, planes in zip(self._parts, drawn, strict=True):
                part.numpy()[:] = cv2.merge(planes.numpy())
            return
        changes = (self.picture - self._before).permute(0, 2, 3, 1) * 255
        for part, change in zip(self._parts, changes, strict=True):
            _add_in_opencv(part, change, self._step)


def _pixels_of_rectangles(
    corners: np.ndarray, size: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frame, row and column of each pixel (B, h, w) of rectangles of a height and width; as an index of B frames."""
    (columns, rows), (height, width) = upload(corners, device).unbind(1), size
    steps = torch.arange(max(len(corners), *size), device=device)
    frame = steps[: len(corners), None, None]
    return frame, rows[:, None, None] + steps[:height, None], columns[:, None, None] + steps[:width]


def _reduced_in_torch(parts: torch.Tensor, step: int) -> torch.Tensor:
    """(B, 3, h, w) 0…1, the means of ``step`` × ``step`` pixels of parts (B, step · h, step · w, 3) uint8 of frames."""
    whole = parts.permute(0, 3, 1, 2).contiguous().float() / 255
    return F.avg_pool2d(whole, step) if step > 1 else whole


def _reduced_in_opencv(parts: list[torch.Tensor], step: int) -> torch.Tensor:
    """Like ``_reduced_in_torch``, for each frame's part, but faster on a CPU; rounded to eight bits."""
    if step == 1:
        return _reduced_in_torch(torch.stack(parts), step)
    size = parts[0].shape[1] // step, parts[0].shape[0] // step
    means = np.stack([cv2.resize(part.numpy(), size, interpolation=cv2.INTER_AREA) for part in parts])
    return torch.from_numpy(means).permute(0, 3, 1, 2).float().div_(255).contiguous()


def _add_in_opencv(part: torch.Tensor, change: torch.Tensor, step: int) -> None:
    """Adds a change (h, w, 3), enlarged by ``step``, to a part (step · h, step · w, 3) uint8 of a frame, in place."""
    coarse = change.contiguous().numpy()
    changed = (np.abs(coarse) > NEGLIGIBLE).reshape(len(coarse), -1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0)) // 3
    if not len(rows):
        return
    # One more pixel on each side, as enlarging interpolates between neighbours.
    top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    used = coarse[top : int(rows[-1]) + 2, left : int(columns[-1]) + 2]
    height, width = (side * step for side in used.shape[:2])
    own = part.numpy()[top * step : top * step + height, left * step : left * step + width]
    own[:] = cv2.add(own, cv2.resize(used, (width, height)), dtype=cv2.CV_8U)


def to_reduced(corner: np.ndarray, step: int) -> PixelTransform:
    """From pixels of the film to those of a picture that begins at a corner, each of ``step`` pixels a side."""
    return PixelTransform(1 / step, (0.5 - corner) / step - 0.5)
