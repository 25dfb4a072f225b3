"""Limits on expressions: lids and brows of faces whose eyes are half shut or whose brows are low."""

from functools import cache

import numpy as np

from space_core.face.topology import EYES, canonical_face
from space_core.motion.eyelids import lids, move_lids
from space_core.smoothstep import smoothstep

LEAST_EYE_OPENING = 0.65  # of the resting face's, that every expression leaves
# The brows come down freely by the first share of their distance from the upper lids, and never by the second.
BROWS_FREE, BROWS_LIMIT = 0.55, 0.7
BROWS = ((55, 65, 52), (285, 295, 282))  # the lower rims of both, from the inner end to the middle
BROWS_LOW, BROWS_HIGH = 0.0, -0.06  # y on the canonical face between which skin starts to move with the brows


def limit_expression(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Offsets (T, 478, 3) from a resting face (478, 3) that leave its eyes open and its brows above them."""
    return _limit_brows(_limit_lids(offsets, rest), rest)


def _limit_brows(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with less downward motion where it would push low brows onto the eyes."""
    pairs = [(list(eye.upper_lid[3:6]), list(brow)) for eye, brow in zip(EYES, BROWS, strict=True)]
    heights = np.array([rest[lid, 1].mean() - rest[brow, 1].mean() for lid, brow in pairs]).clip(1e-3)
    down = np.stack([offsets[:, brow, 1].mean(1) for _, brow in pairs], axis=1)
    nearer = (down - np.stack([offsets[:, lid, 1].mean(1) for lid, _ in pairs], axis=1)) / heights
    room = BROWS_LIMIT - BROWS_FREE
    excess = np.maximum(nearer - BROWS_FREE - room * np.tanh((nearer - BROWS_FREE) / room), 0) * heights
    excess = np.where(nearer > BROWS_FREE, excess, 0)
    share = np.clip(excess / np.maximum(down, 1e-9), 0, 1).max(1)  # of the downward motion to take back
    limited = offsets.copy()
    limited[..., 1] *= 1 - share[:, None] * _brow_weights()
    return limited


@cache
def _brow_weights() -> np.ndarray:
    """(478,) how far each point moves with the brows: 1 above the lids, 0 on and below them."""
    share = smoothstep((canonical_face().vertices[:, 1] - BROWS_LOW) / (BROWS_HIGH - BROWS_LOW))
    share[[point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]] = 0
    return share


def _limit_lids(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with the upper lids raised where they would shut eyes that are already half shut."""
    before, after = lids(rest[None]), lids(rest + offsets)
    missing = LEAST_EYE_OPENING * (before[:, :, 1] - before[:, :, 0]) - (after[:, :, 1] - after[:, :, 0])
    lift = np.zeros_like(after)
    lift[:, :, 0, :, 1] = -np.clip(missing[..., 1], 0, None)
    return move_lids(rest + offsets, lift) - rest
