"""What the neck behind a jaw looks like: in the colours of the photo's neck, with the grain of its skin."""

import numpy as np

from space_core.generator.mesh_warp.back_hair import EDGE, FARTHEST, HairSample, continued_detail
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.neck_back import Neck, like_skin, seen_beside_axis
from space_core.generator.mesh_warp.sampling import blur
from space_core.smoothstep import smoothstep

SHADED = (0.8, 1.2)  # heights between which the neck is shaded by the jaw … no longer
SKIN_TO = 1.3  # height down to which skin is sampled: the cheek and the neck
# Grain and pores, not moles and the edge of the jaw: so many times the median of what is finer than the sample's means.
FINE, MAX_DETAIL = 2.5, 2.0


def neck_texture(
    neck: Neck,
    photo: FaceMotion,
    seen: np.ndarray,
    rows: np.ndarray,
    width: int,
    outline: np.ndarray,
    skin: np.ndarray,
    step: float,
    side: int,
) -> np.ndarray:
    """(h, width, 3) colours, 0…1, of a neck at normalized heights ``rows`` (h,).

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        seen: (640, 640, 3) the surroundings, 0…1.
        outline: (h,) how far the person reaches beside the head's axis, normalized.
        skin: (N, 3) colours of the face on that side, see ``skin_colours``.
        step: between columns, normalized.
        side: −1 left or 1 right.
    """
    lit = smoothstep(rows, *SHADED)[:, None, None]
    colours = neck.shaded + lit * (neck.colour - neck.shaded)
    inwards = np.arange(FARTHEST, EDGE, -step)
    shown = seen_beside_axis(seen, photo, side * (outline[:, None] - inwards), rows[:, None])
    is_skin = like_skin(blur(shown, 1), skin.mean(0))
    is_skin &= (rows < SKIN_TO)[:, None]
    sample = HairSample(shown, is_skin.astype(np.float32), np.ones(len(inwards), np.float32))
    detail = continued_detail(sample, np.arange(len(rows)), width, FINE, MAX_DETAIL)
    return colours * (1 + detail / skin.mean(0).clip(0.05))
