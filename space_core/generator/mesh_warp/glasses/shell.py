"""The shell on which the frame of glasses lies: curved from side to side, resting on the face."""

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.face_motion import FaceMotion

# All but the share ``HARDLY_SEEN`` of the frame in a photo has to face the viewer by ``FACING``, see ``on_shell``.
# Where it does not, as on the far side of a turned face, the shell is too curved: its curvature is multiplied by
# ``FLATTER`` in up to ``MAX_STEPS`` steps.
HARDLY_SEEN, FACING, FLATTER, MAX_STEPS = 0.01, 0.33, 0.9, 20
# The far lens is no wider than the near one: a far lens that a photo shows wide is flat. Sines of the yaw between which
# that determines the curvature; the least curvature (negative: bent forwards); quantile of x that is a lens' end.
SEEN_TURNED, MIN_BEND, OUTERMOST = (0.15, 0.25), -0.15, 0.99
MIN_FACING = 0.1  # divisor in ``on_shell`` at least: where the shell is seen edge-on, its depth is undetermined
# Points of the mesh to which the shell is fitted; those of the temples would bend it too far.
SHELL = (6, 168, 70, 300, 105, 334, 66, 296, 117, 346, 50, 280)


def fit_shell(photo: FaceMotion, frame: torch.Tensor, lenses: torch.Tensor | None) -> torch.Tensor:
    """(4,) the shell, see ``Glasses``, of a frame that a photo shows where ``frame`` (640, 640) is true.

    ``lenses`` (640, 640) is true where it shows what is inside of the rims; None where that is not known.
    """
    x, y, z = photo.normalized[0, list(SHELL)].cpu().double().T.numpy()
    shell = np.linalg.lstsq(np.stack([np.ones_like(x), y, x**2], 1), z, rcond=None)[0]
    shell = _flattened(torch.tensor([*shell, shell[2]], dtype=torch.float32, device=frame.device), photo, frame)
    return shell if lenses is None else _as_wide(shell, photo, lenses)


def on_shell(shell: torch.Tensor, motion: FaceMotion, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, h, w) the normalized depth at which a shell (4,), see ``Glasses``, is seen at pixels (B, h, w, 2).

    And (B, h, w) half the cosine of its slope to the line of sight, about; 0 where it is not seen.
    """
    x, y = motion.unproject(pixels, 0.0).unbind(-1)
    # Along a line of sight x and y are affine in the depth, so the shell is met where a quadratic is zero:
    # bend · depth² − 2 · half · depth + constant.
    step_x, step_y = motion.unproject(motion.translation[:, None, None, :2], 1.0).unbind(-1)
    a, b, bend_left, bend_right = shell.unbind()
    c = torch.where(x + a * step_x < 0, bend_left, bend_right)
    bend, half, constant = c * step_x**2, (1 - b * step_y - 2 * c * x * step_x) / 2, a + b * y + c * x**2
    discriminant = half**2 - bend * constant
    root = discriminant.clamp(min=0).sqrt()
    # The first of both places; written so that it also holds for a shell without curvature.
    depth = constant / (half + root).clamp(min=MIN_FACING)
    return depth, torch.where(half > 0, torch.where(discriminant > 0, root, 0), 0)


def _flattened(shell: torch.Tensor, photo: FaceMotion, frame: torch.Tensor) -> torch.Tensor:
    """A shell (4,), as flat on the far side as it takes for a frame (640, 640) bool to face the viewer."""
    pixels = frame.nonzero().flip(-1).float()[None, None]
    if not pixels.numel():
        return shell
    flatter = torch.ones(4)
    flatter[2 + int(photo.host.rotation[0, 2, 0] > 0)] = FLATTER
    for _ in range(MAX_STEPS):
        if on_shell(shell, photo, pixels)[1].quantile(HARDLY_SEEN) > FACING:
            break
        shell = shell * flatter
    return shell


def _as_wide(shell: torch.Tensor, photo: FaceMotion, lenses: torch.Tensor) -> torch.Tensor:
    """A shell (4,), as flat on the far side as it takes for that side's lens to be no wider than the other.

    ``lenses`` (640, 640) is true inside of the rims.
    """
    sine = photo.host.rotation[0, 2, 0]
    sure = float(smoothstep(abs(sine), *SEEN_TURNED))
    far = 1 if sine > 0 else -1
    pixels = lenses.nonzero().flip(-1).float()[None, None]
    if not sure or not pixels.numel():
        return shell
    depth, _ = on_shell(shell, photo, pixels)
    outwards = far * photo.unproject(pixels, depth)[0, 0, :, 0]
    widest = (-outwards).quantile(OUTERMOST)
    end = pixels[:, :, (outwards - outwards.quantile(OUTERMOST)).abs().argmin()][:, :, None]
    # Along the line of sight through its end: the depth at which that is as far out as the other's.
    first, second = (photo.unproject(end, at)[0, 0, 0] for at in (0.0, 1.0))
    step = second - first
    depth = (far * widest - first[0]) / step[0]
    bend = (depth - shell[0] - shell[1] * (first[1] + depth * step[1])) / widest**2
    side = 2 + int(far > 0)
    shell = shell.clone()
    shell[side] += sure * (bend.clamp(min=MIN_BEND).minimum(shell[side]) - shell[side])
    return shell
