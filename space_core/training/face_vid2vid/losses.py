"""The losses of face-vid2vid (Wang et al., 2021, appendix A) but the adversarial ones."""

import torch
from torch.nn import functional as F

from space_core.generator.liveportrait.motion_extractor import Latents

MIN_SQUARED_DISTANCE, MEAN_DEPTH = 0.1, 0.33  # of the keypoints
LEVELS = 4  # resolutions at which pixels and gradients are compared
AFFINE_NOISE, BEND_NOISE = 0.05, 0.005  # deviations of a random warp's parameters
CONTROL_POINTS = 5  # of a warp, along each side


def pyramid_distance(pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(B,) mean absolute differences of pixels and of gradients of pictures (B, 3, H, W), over several resolutions."""
    total = pictures.new_zeros(len(pictures))
    for level in range(LEVELS):
        if level:
            pictures, others = F.avg_pool2d(pictures, 2), F.avg_pool2d(others, 2)
        difference = pictures - others
        # Gradients are linear: those of the difference are the difference of the gradients.
        for part in (difference, difference.diff(dim=-1), difference.diff(dim=-2)):
            total = total + part.abs().mean((1, 2, 3)) / LEVELS
    return total


def keypoint_prior(keypoints: torch.Tensor) -> torch.Tensor:
    """Keeps keypoints (B, K, 3) apart, and their mean depth where it is."""
    squared = (keypoints[:, :, None] - keypoints[:, None]).square().sum(-1)  # (B, K, K)
    near = F.relu(MIN_SQUARED_DISTANCE - squared).sum((1, 2)) - MIN_SQUARED_DISTANCE * keypoints.shape[1]
    return near.mean() + (keypoints[..., 2].mean(1) - MEAN_DEPTH).abs().mean()


def head_pose_loss(latents: Latents, angles: torch.Tensor) -> torch.Tensor:
    """Mean absolute error, in radians, of the angles against the true ones (B, 3): pitch, yaw, roll in degrees."""
    predicted = torch.stack([latents.pitch, latents.yaw, latents.roll], 1)
    return torch.deg2rad(predicted - angles).abs().mean()


def deformation_prior(expression: torch.Tensor) -> torch.Tensor:
    """Keeps the displacements (B, K, 3) by the expression small."""
    return expression.abs().mean()


class RandomWarp:
    """A smooth random map of the plane for each picture: affine, and bent by a thin-plate spline."""

    def __init__(self, count: int, random: torch.Generator) -> None:
        """``random`` is of the CPU."""
        self.affine = torch.eye(2, 3) + AFFINE_NOISE * torch.randn(count, 2, 3, generator=random)
        self.bends = BEND_NOISE * torch.randn(count, CONTROL_POINTS**2, generator=random)
        axis = torch.linspace(-1, 1, CONTROL_POINTS)
        self.control_points = torch.cartesian_prod(axis, axis)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Where points (B, N, 2), in -1…1, are mapped to."""
        affine, bends, control = (tensor.to(points.device) for tensor in (self.affine, self.bends, self.control_points))
        moved = points @ affine[..., :2].mT + affine[:, None, :, 2]
        squared = (points[:, :, None] - control).square().sum(-1)  # (B, N, 25)
        spline = (squared * (squared + 1e-6).log() * bends[:, None]).sum(-1, keepdim=True)
        return moved + spline

    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W), each pixel of which shows what the given ones have where it is mapped to."""
        batch, _, height, width = pictures.shape
        axes = [(2 * torch.arange(side, device=pictures.device) + 1) / side - 1 for side in (height, width)]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).flatten(0, 1).expand(batch, -1, -1)
        places = self(grid).unflatten(1, (height, width))
        return F.grid_sample(pictures, places, padding_mode="reflection", align_corners=False)


def equivariance(keypoints: torch.Tensor, warped: torch.Tensor, warp: RandomWarp) -> torch.Tensor:
    """How far keypoints (B, K, 3) are, in x and y, from those of the warped pictures, mapped back."""
    return (keypoints[..., :2] - warp(warped[..., :2])).abs().mean()
