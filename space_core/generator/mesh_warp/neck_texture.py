"""What the neck behind a jaw looks like: in the colours of the photo's neck, with the grain of its skin."""

import numpy as np

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.back_hair import EDGE, FARTHEST, HairSample, continued_detail
from space_core.generator.mesh_warp.neck_back import Neck, like_skin
from space_core.generator.mesh_warp.sampling import blur
from space_core.generator.mesh_warp.side_view import SideView

SHADED = (0.8, 1.2)  # normalized heights between which the shade of the jaw fades out
SKIN_TO = 1.3  # normalized height down to which skin is sampled: the cheek and the neck
# Detail is grain and pores, not moles and the edge of the jaw: finer than this Gaussian's standard deviation (pixels of
# the sample), and at most this multiple of its median.
FINE, MAX_DETAIL = 2.5, 2.0


def neck_texture(neck: Neck, view: SideView, width: int, step: float) -> np.ndarray:
    """(h, width, 3) colours, 0…1, of a neck in the rows of a view; ``step`` is between columns, normalized."""
    lit = smoothstep(view.rows, *SHADED)[:, None, None]
    colours = neck.shaded + lit * (neck.colour - neck.shaded)
    skin, inwards = view.skin.mean(0), np.arange(FARTHEST, EDGE, -step)
    shown = view.colours_at(inwards)
    is_skin = like_skin(blur(shown, 1), skin)
    is_skin &= (view.rows < SKIN_TO)[:, None]
    sample = HairSample(shown, is_skin.astype(np.float32), np.ones(len(inwards), np.float32))
    detail = continued_detail(sample, np.arange(len(view.rows)), width, FINE, MAX_DETAIL)
    return colours * (1 + detail / skin.clip(0.05))
