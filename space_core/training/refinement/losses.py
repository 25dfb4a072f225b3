"""Terms of the refinement's loss and figures: fine detail, luminance between the lips, weights of pixels."""

import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.refinement import EDGE, INSIDE, SIDE

MIN_INSIDE = 60  # pixels between the lips; fewer show too little to be compared
RANKS = 24  # quantiles of the luminance that are compared
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


def interior_luminance_distance(
    pictures: torch.Tensor, recorded: torch.Tensor, conditioning: torch.Tensor
) -> torch.Tensor:
    """How far the luminances between the lips of pictures are from those of recorded ones, whatever their places.

    The mean absolute difference of their quantiles, weighted by the lips' opening: contrast and bright teeth count even
    where teeth are not at the same pixels. Pictures (B, 3, H, W), 0…1, with that conditioning (B, 11, H, W).
    """
    inside = (conditioning[:, INSIDE] > 0.9).flatten(1)
    count = inside.sum(1, keepdim=True)
    place = (torch.arange(RANKS, device=inside.device) + 0.5) / RANKS * (count - 1).clamp(min=0)
    quantiles = []
    for luminance in (pictures.mean(1).flatten(1), recorded.mean(1).flatten(1)):
        ordered = torch.where(inside, luminance, 2.0).sort(1).values
        low, high = (ordered.gather(1, index.long()) for index in (place.floor(), place.ceil()))
        quantiles.append(low + (place - place.floor()) * (high - low))
    distance = (quantiles[0] - quantiles[1]).abs().mean(1)
    return torch.where(count[:, 0] >= MIN_INSIDE, distance, 0).mean()
