"""Expressions on faces of other proportions: lids of narrow eyes, brows that are low, the wings of the nose."""

from functools import cache

import numpy as np

from space_core.arrays import smoothstep
from space_core.face.topology import EYES, canonical_face
from space_core.motion.eyelids import lids, move_lids, openness

MIN_EYE_OPENING = 0.65  # of the resting face's, that every expression leaves
# Emotions that widen the eyes open narrow eyes further, as these would otherwise just look like ordinary eyes: by the
# share WIDENED of their difference to the canonical face's where the emotion raises the upper lids by FULL_RAISE
# (surprise at intensity 1), in proportion below.
WIDENED, FULL_RAISE = 0.7, 0.033
# The brows come down freely by the first share of their distance from the upper lids, and never by the second.
BROWS_FREE, BROWS_LIMIT = 0.55, 0.7
# They rise freely by the first share of that distance, and never by the second: beyond, the stretched skin is blurred.
RISE_FREE, RISE_LIMIT = 0.65, 0.85
BROWS = ((55, 65, 52), (285, 295, 282))  # the lower rims of both, from the inner end to the middle
BROWS_LOW, BROWS_HIGH = 0.0, -0.06  # y on the canonical face between which skin starts to move with the brows
# The wings of the nose rise freely by the first, and never by the second (4.5 mm): its tip stays, and would hang
# between them. It fades out between these y on the canonical face, and these distances from its middle.
NOSE_FREE, NOSE_LIMIT = 0.035, 0.05
NOSE_ABOVE, NOSE_BELOW, NOSE_BESIDE = (0.1, 0.3), (0.54, 0.61), (0.25, 0.33)


def limit_expression(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Offsets (T, 478, 3) from a resting face (478, 3) that leave its eyes open and its brows and nose in shape."""
    return _limit_nose(_limit_brows(_limit_lids(offsets, rest), rest))


def widen_narrow_eyes(offsets: np.ndarray, raised: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Offsets (T, 478, 3) from a resting face (478, 3), changed so that narrow eyes open further; shut ones do not.

    ``raised`` (T, 2, 9) is how far emotions that widen the eyes move their upper lids in the offsets, along y.
    """
    missing = np.clip(_eye_heights(canonical_face().vertices) - _eye_heights(rest), 0, None)
    share = WIDENED * missing / FULL_RAISE * openness(rest[None])[0]
    shift = np.zeros((len(offsets), *lids(rest[None]).shape[1:]))
    shift[:, :, 0, :, 1] = share[:, None] * raised
    return move_lids(offsets, shift)


def _eye_heights(face: np.ndarray) -> np.ndarray:
    """(2,) how far the eyes of a face (478, 3) are open in their middles."""
    upper, lower = lids(face[None])[0, :, :, 3:6, 1].mean(-1).T
    return lower - upper


def _limit_brows(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with less motion where it would push low brows onto the eyes or tear them off."""
    pairs = [(list(eye.upper_lid[3:6]), list(brow)) for eye, brow in zip(EYES, BROWS, strict=True)]
    heights = np.array([rest[lid, 1].mean() - rest[brow, 1].mean() for lid, brow in pairs]).clip(1e-3)
    down = np.stack([offsets[:, brow, 1].mean(1) for _, brow in pairs], axis=1)
    lid = np.stack([offsets[:, lid, 1].mean(1) for lid, _ in pairs], axis=1)
    rise = np.minimum(lid, 0) - down  # above lids that come down the skin unfolds
    excess = _beyond((down - lid) / heights, BROWS_FREE, BROWS_LIMIT) - _beyond(rise / heights, RISE_FREE, RISE_LIMIT)
    # The share of the brows' motion to take back; what lids alone do is none of it.
    share = np.clip(excess * heights / np.where(down == 0, np.inf, down), 0, 1).max(1)
    limited = offsets.copy()
    limited[..., 1] *= 1 - share[:, None] * _brow_weights()
    return limited


def _limit_nose(offsets: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with less of what lifts the wings of the nose too far."""
    limited = offsets.copy()
    limited[..., 1] += _nose_weights() * _beyond(-offsets[..., 1], NOSE_FREE, NOSE_LIMIT)
    return limited


def _beyond(values: np.ndarray, free: float, limit: float) -> np.ndarray:
    """By how much values exceed a curve that leaves them unchanged up to ``free`` and approaches ``limit`` smoothly."""
    room = limit - free
    return np.maximum(values - free - room * np.tanh(np.maximum(values - free, 0) / room), 0)


@cache
def _nose_weights() -> np.ndarray:
    """(478,) how far the limit of the nose holds for each point: 1 at the nose, 0 at lids, lips and cheeks."""
    x, y, _ = canonical_face().vertices.T
    return smoothstep(y, *NOSE_ABOVE) * smoothstep(y, *NOSE_BELOW[::-1]) * smoothstep(np.abs(x), *NOSE_BESIDE[::-1])


@cache
def _brow_weights() -> np.ndarray:
    """(478,) how far each point moves with the brows: 1 above the lids, 0 on and below them."""
    share = smoothstep((canonical_face().vertices[:, 1] - BROWS_LOW) / (BROWS_HIGH - BROWS_LOW))
    share[[point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]] = 0
    return share


def _limit_lids(offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The offsets (T, 478, 3) with the upper lids raised where they would shut eyes that are already half shut."""
    before, after = lids(rest[None]), lids(rest + offsets)
    missing = MIN_EYE_OPENING * (before[:, :, 1] - before[:, :, 0]) - (after[:, :, 1] - after[:, :, 0])
    lift = np.zeros_like(after)
    lift[:, :, 0, :, 1] = -np.clip(missing[..., 1], 0, None)
    return move_lids(rest + offsets, lift) - rest
