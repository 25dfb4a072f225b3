"""MediaPipe's face detectors, BlazeFace (Bazarevsky et al., 2019): short range for selfies, full range for rooms."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from space_core.assets import weights_path
from space_core.face.blaze_block import blaze_blocks, halving_convolution
from space_core.face.network_weights import load_network
from space_core.face.regions import image_tensor, project, sample_upright, upright_region

WEIGHTS = weights_path("face_detection.safetensors")

MIN_OVERLAP = 0.3  # intersection over union from which two boxes are of one face
VALUES = 16  # of an anchor: x, y of its box' centre, width, height, x and y of six points


@dataclass(frozen=True)
class Detection:
    """What a detector takes for a face.

    Attributes:
        box: (2, 2) x and y of its box' upper left and lower right corner, in pixel indices of the image.
        eyes: (2, 2) x and y of the eyes, first that at the image's left.
        score: from the detector's least one to 1.
    """

    box: np.ndarray
    eyes: np.ndarray
    score: float


class ShortRangeNetwork(nn.Module):
    """Faces within two metres of the camera; two anchors at each of 16 × 16 places and six at each of 8 × 8."""

    input_size = 128
    min_score = 0.5
    anchors = ((16, 2), (8, 6))

    def __init__(self) -> None:
        super().__init__()
        self.stem = halving_convolution(3, 24, 5)
        self.backbone_16 = blaze_blocks(24, 24, 28, (32, 2), 36, 42, (48, 2), 56, 64, 72, 80, 88)
        self.backbone_8 = blaze_blocks(88, (96, 2), 96, 96, 96, 96)
        self.scores_16, self.scores_8 = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.boxes_16, self.boxes_8 = nn.Conv2d(88, 2 * VALUES, 1), nn.Conv2d(96, 6 * VALUES, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, 896, 16) in pixels around their anchors and logits (N, 896) of images (N, 3, 128, 128), -1 … 1."""
        fine = self.backbone_16(F.relu(self.stem(images)))
        coarse = self.backbone_8(fine)
        boxes = [_per_anchor(self.boxes_16(fine), VALUES), _per_anchor(self.boxes_8(coarse), VALUES)]
        scores = [_per_anchor(self.scores_16(fine), 1), _per_anchor(self.scores_8(coarse), 1)]
        return torch.cat(boxes, 1), torch.cat(scores, 1)[..., 0]


class FullRangeNetwork(nn.Module):
    """Faces within five metres of the camera, by a feature pyramid; one anchor at each of 48 × 48 places."""

    input_size = 192
    min_score = 0.6
    anchors = ((48, 1),)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.stage_96 = nn.Sequential(BottleneckBlock(32, 8), BottleneckBlock(32, 8))
        self.stage_48 = _stage(32, 16, 64, 2)
        self.lateral_48 = nn.Conv2d(64, 48, 1)
        self.stage_24 = _stage(64, 32, 128, 2)
        self.lateral_24 = nn.Conv2d(128, 64, 1)
        self.stage_12 = _stage(128, 48, 192, 2)
        self.lateral_12 = nn.Conv2d(192, 96, 1)
        self.stage_6 = _stage(192, 96, 384, 3)
        self.reduction_6 = nn.Conv2d(384, 96, 1)
        self.up_12 = nn.Sequential(BottleneckBlock(96, 48), BottleneckBlock(96, 48))
        self.reduction_12 = nn.Conv2d(96, 64, 1)
        self.up_24 = nn.Sequential(BottleneckBlock(64, 32), BottleneckBlock(64, 32))
        self.reduction_24 = nn.Conv2d(64, 48, 1)
        self.up_48 = BottleneckBlock(48, 24)
        self.scores = _quartered(48, 4)
        self.boxes = _quartered(48, 4 * VALUES)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, 3, 192, 192), -1 … 1, to boxes (N, 2304, 16) in pixels from their anchors and logits (N, 2304)."""
        x48 = self.stage_48(self.stage_96(F.relu(self.stem(images))))
        x24 = self.stage_24(x48)
        x12 = self.stage_12(x24)
        x = F.relu(self.reduction_6(self.stage_6(x12)))
        x = self.up_12(F.relu(self.lateral_12(x12)) + _doubled(x))
        x = self.up_24(F.relu(self.lateral_24(x24)) + _doubled(F.relu(self.reduction_12(x))))
        x = self.up_48(F.relu(self.lateral_48(x48)) + _doubled(F.relu(self.reduction_24(x))))
        boxes, scores = (F.pixel_shuffle(head(x), 2) for head in (self.boxes, self.scores))
        return _per_anchor(boxes, VALUES), _per_anchor(scores, 1)[..., 0]


class BottleneckBlock(nn.Module):
    """Two depthwise separable convolutions with a bottleneck; residual with stride 1 and as many channels."""

    def __init__(self, channels: int, bottleneck: int, channels_out: int | None = None, stride: int = 1) -> None:
        super().__init__()
        self.residual = channels_out is None
        self.depthwise_1 = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels)
        self.pointwise_1 = nn.Conv2d(channels, bottleneck, 1)
        self.depthwise_2 = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.pointwise_2 = nn.Conv2d(bottleneck, channels_out or channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.pointwise_1(self.depthwise_1(x)))
        y = self.pointwise_2(self.depthwise_2(y))
        return F.relu(x + y if self.residual else y)


def _stage(channels_in: int, bottleneck: int, channels_out: int, num_residual: int) -> nn.Sequential:
    """Halves the resolution."""
    residual = [BottleneckBlock(channels_out, bottleneck) for _ in range(num_residual)]
    return nn.Sequential(BottleneckBlock(channels_in, bottleneck, channels_out, stride=2), *residual)


def _quartered(channels_in: int, channels_out: int) -> nn.Sequential:
    """A head that gives four places' values in the channels of one."""
    depthwise = nn.Conv2d(channels_out, channels_out, 3, stride=2, padding=1, groups=channels_out)
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1), depthwise)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _per_anchor(values: torch.Tensor, number: int) -> torch.Tensor:
    """(N, anchors · number, H, W) as (N, H · W · anchors, number)."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1, number)


class FaceDetection:
    """One of the two networks with its weights: ``short_range`` or ``full_range``."""

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        build: type[ShortRangeNetwork | FullRangeNetwork]
        build = ShortRangeNetwork if name == "short_range" else FullRangeNetwork
        self._network = load_network(build, WEIGHTS, device, prefix=f"{name}.")
        self._input_size, self._min_score = build.input_size, build.min_score
        centres = [
            np.repeat((np.stack(np.meshgrid(*[np.arange(side)] * 2), -1).reshape(-1, 2) + 0.5) / side, number, axis=0)
            for side, number in build.anchors
        ]
        # Of the 16 values of an anchor all but width and height, in the third and fourth place, are relative to it.
        anchors = np.tile(np.concatenate(centres), 8)
        anchors[:, 2:4] = 0
        self._anchors = torch.from_numpy(anchors).to(device, torch.float32)

    def __call__(self, images: list[np.ndarray]) -> list[list[Detection]]:
        """The faces in each image (H, W, 3) uint8 RGB, all images at once; the surest first."""
        if not images:
            return []
        regions = [_letterbox(*image.shape[:2]) for image in images]
        return [
            _detections(found[found[:, -1] >= self._min_score], region)
            for found, region in zip(self._outputs(images, regions), regions, strict=True)
        ]

    def best_scores(self, images: list[np.ndarray]) -> np.ndarray:
        """(N,) the score of the surest face in each of N images, 0 … 1, however low."""
        regions = [_letterbox(*image.shape[:2]) for image in images]
        return self._outputs(images, regions)[..., -1].max(1)

    @torch.inference_mode()
    def _outputs(self, images: list[np.ndarray], regions: list[np.ndarray]) -> np.ndarray:
        """(N, A, 17) values and score of each anchor, in sides of a region, for N images."""
        size = self._input_size
        tensors = [image_tensor(image, self._anchors.device) for image in images]
        inputs = torch.cat([sample_upright(*pair, size) for pair in zip(tensors, regions, strict=True)])
        boxes, logits = self._network(inputs / 127.5 - 1)
        boxes = boxes / size + self._anchors
        return torch.cat([boxes, logits.sigmoid()[..., None]], -1).cpu().numpy()  # one copy to the host


def _letterbox(height: int, width: int) -> np.ndarray:
    """The smallest upright square around a whole image."""
    return upright_region(np.array([width, height]) / 2, np.array([max(height, width)] * 2))


def _detections(anchors: np.ndarray, region: np.ndarray) -> list[Detection]:
    """Weighted non-maximum suppression of (A, 17) values and scores, in sides of a region; the surest first."""
    anchors = anchors[(anchors[:, 2:4] >= 0).all(1)].astype(np.float64)
    anchors = anchors[np.argsort(-anchors[:, -1], kind="stable")]
    detections = []
    while len(anchors):
        low, high = anchors[:, :2] - anchors[:, 2:4] / 2, anchors[:, :2] + anchors[:, 2:4] / 2
        same = _overlap(low, high) > MIN_OVERLAP
        if not same.any():  # a box without area does not even overlap itself
            break
        weights = anchors[same, -1] / anchors[same, -1].sum()
        points = np.stack([low, high, anchors[:, 4:6], anchors[:, 6:8]], 1)[same]  # (S, 4, 2)
        points = project(np.einsum("s,sij->ij", weights, points), region)
        detections.append(Detection(points[:2], points[2:], float(anchors[0, -1])))
        anchors = anchors[~same]
    return detections


def _overlap(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Intersection over union of each of the boxes (B, 2) … (B, 2) with the first one."""
    intersection = np.clip(np.minimum(high, high[0]) - np.maximum(low, low[0]), 0, None).prod(1)
    area = (high - low).prod(1)
    return intersection / np.maximum(area + area[0] - intersection, np.finfo(float).tiny)
