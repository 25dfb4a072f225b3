"""Terms of the refinement's loss and figures: fine detail, and the weights of pixels."""

import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.refinement import EDGE, SIDE
from space_core.generator.mesh_warp.sampling import smoothstep

SKIN_WEIGHT = 0.15  # of skin, where lips and what is between them count 1


def lip_weight(conditioning: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) how much pixels count in the losses: lips and what is between them more than the skin around.

    ``conditioning`` (B, 11, H, W) has the map of the lips as its last channel.
    """
    lips = F.avg_pool2d(F.max_pool2d(conditioning[:, -1:], 9, 1, 4), 9, 1, 4)
    return SKIN_WEIGHT + (1 - SKIN_WEIGHT) * lips


def window_edge() -> torch.Tensor:
    """(128, 128) 1 inside the window, fading to 0 at its edge; see ``PreparedRefinement.edge``."""
    across = (torch.arange(SIDE) + 0.5) / SIDE
    edge = smoothstep(torch.minimum(across, 1 - across), 0.5 / SIDE, EDGE)
    return edge[:, None] * edge


def detail(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) mean absolute difference, within 5 × 5 pixels, of pictures (B, 3, H, W) from their 3 × 3 mean."""
    grey = pictures.mean(1, keepdim=True)
    return F.avg_pool2d((grey - F.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)).abs(), 5, 1, 2)
