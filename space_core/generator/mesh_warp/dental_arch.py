"""Finds where on the dental arch a photo's rows of teeth have their ends and edges.

Lengths are normalized, see ``prepared_mouth``.
"""

import numpy as np
import torch

from space_core.face.topology import INNER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.face_motion import FaceMotion

TEETH_BEHIND_LIPS = 5 * MILLIMETRE
ARCH = 2.1  # curvature of the dental arch seen from above: depth = ARCH · x²


def row_ends(teeth: torch.Tensor, photo: FaceMotion, depth: float) -> np.ndarray:
    """(2,) normalized x of the ends of a row of teeth (1, 1, h, w), 0…1, whose middle is at that depth."""
    shown = teeth[0, 0] > 0.5
    columns = shown.any(0).nonzero()[[0, -1], 0]
    rows = [shown[:, column].nonzero().float().mean() for column in columns]
    ends = torch.stack([columns.float(), torch.stack(rows)], -1)[None, None]
    return on_arch(photo, ends, depth)[0, 0, :, 0].numpy()


def hanging_and_tilt(teeth: torch.Tensor, photo: FaceMotion, depth: float) -> tuple[float, float]:
    """How a row of teeth (1, 1, h, w), 0…1, whose middle is at that depth, hangs and slopes.

    Returns:
        How much lower, normalized, its edge is in its middle than at its ends; the slope of the edge, at least 0.
    """
    shown = teeth[0, 0] > 0.5
    columns = shown.any(0).nonzero()[:, 0]
    rows = torch.arange(len(shown), device=teeth.device)[:, None]
    bottom = (rows * shown).amax(0)[columns]
    ends = on_arch(photo, torch.stack([columns, bottom], -1)[None, None].float(), depth)[0, 0].cpu().numpy()
    _, slope, curvature = np.polynomial.Polynomial.fit(np.arange(len(ends)), ends[:, 1], 2).coef
    return -float(curvature), abs(2 * float(slope)) / max(float(np.ptp(ends[:, 0])), MILLIMETRE)


def lower_edge(teeth: torch.Tensor, photo: FaceMotion, depth: float) -> float:
    """Normalized y of the edge of the photo's upper incisors."""
    rows = (teeth[0, 0] > 0.5 * teeth.max()).nonzero()[:, 0].float()
    bottom = torch.quantile(rows, 0.9)
    middle = photo.posed[:, INNER_UPPER_LIP[5], 0]
    return float(photo.unproject(torch.stack([middle, bottom[None]], -1)[:, None, None], depth)[..., 1])


def on_arch(motion: FaceMotion, pixels: torch.Tensor, depth: float) -> torch.Tensor:
    """(B, h, w, 3) normalized points of the dental arch that are seen at pixels (B, h, w, 2).

    The middle of the arch is at the given depth.
    """
    lines = motion.lines_of_sight(pixels)
    at: torch.Tensor | float = depth
    for _ in range(2):  # a fixed point: where a line of sight meets the arch depends on the depth there
        at = depth + _behind_middle(lines.x_at(at))
    seen = lines.at(at)
    return torch.cat([seen, (depth + _behind_middle(seen[..., 0]))[..., None]], -1)


def _behind_middle(x: torch.Tensor) -> torch.Tensor:
    """How far the dental arch goes back at normalized x (B, h, w)."""
    return ARCH * x.clamp(-0.35, 0.35) ** 2
