"""Fills the unknown part of a picture from the known part."""

import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch.nn import functional as F

from space_core.generator.sampling import pixels_of, sample, smoothstep

MIRROR_SMOOTHNESS = 5  # pixels; a mirror as rough as the edge would tear the picture to pieces
MIRROR_FADES = (40.0, 90.0)  # pixels beyond the edge; between these the smooth filling takes over


def mirror(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Fills a picture of the surroundings beyond the edge of what is known with its mirror image, further on smoothly.

    What meets the edge goes on behind it, as sharp and as grainy as it was. Takes and returns what ``fill`` does.
    """
    smooth = fill(picture, known)
    if bool((known > 0.5).all()) or not bool((known > 0.5).any()):
        return smooth
    distance = gaussian_filter(distance_transform_edt(known[0, 0].cpu().numpy() < 0.5), MIRROR_SMOOTHNESS)
    beyond = torch.tensor(distance, dtype=torch.float32, device=picture.device)
    away = torch.stack(torch.gradient(beyond)[::-1], -1)
    away = away / away.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    places = pixels_of(picture) - 2 * beyond[..., None] * away
    mirrored = sample(torch.cat([picture, known], 1), places)
    trust = mirrored[:, 3:] * smoothstep(beyond, *MIRROR_FADES[::-1])
    return torch.lerp(smooth, mirrored[:, :3], trust * (1 - known))


def fill(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Push-pull: averages the known pixels down a pyramid and fills each level's gaps from the coarser one.

    Args:
        picture: (1, C, H, W) float.
        known: (1, 1, H, W) 0 unknown … 1 known.

    Returns:
        (1, C, H, W), equal to ``picture`` where ``known`` is 1.
    """
    height, width = picture.shape[-2:]
    if min(height, width) <= 2 or bool((known > 0.99).all()):
        return picture
    even = F.pad(picture * known, (0, width % 2, 0, height % 2))
    weight = F.avg_pool2d(F.pad(known, (0, width % 2, 0, height % 2)), 2)
    coarse = F.avg_pool2d(even, 2) / weight.clamp(min=1e-6)
    coarse = fill(coarse, (weight * 4).clamp(max=1))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return picture * known + smooth * (1 - known)
