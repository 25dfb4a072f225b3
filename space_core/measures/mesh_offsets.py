"""Symmetry and limits of offsets of the face mesh, for the recipes of expressions."""

import numpy as np

from space_core.face.topology import BROWS, EYES, NUM_SURFACE_POINTS, RIGID_POINTS, canonical_face
from space_core.motion.eyelids import skin_of_lids
from space_core.motion.lips import LOWER, OUTER_LOWER, OUTER_UPPER, UPPER

MASK_REACH = 0.08  # from points over bone to points that move freely, in outer-eye-corner distances
EYE_OPENING = (0.7, 1.6)  # limits of the lids' distance relative to the canonical face's
NOSE_BASE = 2
# Lashes and the skin that they grow from move with the upper lid: the motion of the rings of skin above the lid,
# relative to it, is reduced to these shares. The skin further up, towards the brow, stretches instead.
BESIDE_LASHES = (0.4, 0.9)


def mirrored(offset: np.ndarray) -> np.ndarray:
    """The mean of offsets (…, 478, 3) and their mirror images."""
    return (offset + offset[..., canonical_face().mirror, :] * [-1, 1, 1]) / 2


def movable() -> np.ndarray:
    """(478,) how far each point may move: 0 over bone and in the eyes, 1 elsewhere, a ramp between."""
    vertices = canonical_face().vertices
    distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, list(RIGID_POINTS), :2], axis=-1).min(1)
    mask = np.clip(distance / MASK_REACH, 0, 1)
    mask[NUM_SURFACE_POINTS:] = 0
    return mask


def keep_lip_gap(offset: np.ndarray, axis: int = 1) -> np.ndarray:
    """Offsets (…, 478, 3) that move both lips equally up and down, so that their gap stays that of speech.

    With ``axis`` 2 they move equally forwards and back.
    """
    offset = offset.copy()
    excess = (offset[..., LOWER, axis] - offset[..., UPPER, axis]) / 2
    for points, sign in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 1), (OUTER_LOWER, -1)):
        offset[..., points, axis] += sign * excess
    return offset


def keep_eyes_open(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) whose lids, on the canonical face, stay within EYE_OPENING.

    Of lids too far apart the lower one rises first, up to where it rests: in surprise and fear people raise the upper
    lid and show white above the iris.
    """
    offset = offset.copy()
    vertices = canonical_face().vertices
    for eye in EYES:
        upper, lower = list(eye.upper_lid[1:-1]), list(eye.lower_lid[1:-1])
        rest = vertices[lower, 1] - vertices[upper, 1]
        gap = rest + offset[lower, 1] - offset[upper, 1]
        wide = np.maximum(gap - rest * EYE_OPENING[1], 0)
        offset[lower, 1] -= np.minimum(wide, np.maximum(offset[lower, 1], 0))
        gap = rest + offset[lower, 1] - offset[upper, 1]
        excess = (gap - np.clip(gap, rest * EYE_OPENING[0], rest * EYE_OPENING[1])) / 2
        offset[upper, 1] += excess
        offset[lower, 1] -= excess
    return offset


def keep_lashes(offset: np.ndarray) -> np.ndarray:
    """Offsets (…, 478, 3) in which the skin next to the upper lids keeps its distance from them, lashes and all."""
    offset = offset.copy()
    skin, _ = skin_of_lids()
    for eye, (above, _) in zip(EYES, skin, strict=True):
        lid = offset[..., list(eye.upper_lid[1:-1]), :]
        for ring, share in zip(above, BESIDE_LASHES, strict=True):
            offset[..., ring, :] = lid + share * (offset[..., ring, :] - lid)
    return offset


def keep_brows(offset: np.ndarray) -> np.ndarray:
    """Offsets (…, 478, 3) in which both rims of a brow move alike, so that its hairs are as thick as before."""
    offset = offset.copy()
    for rims in BROWS:
        offset[..., rims, :] = offset[..., rims, :].mean(-3, keepdims=True)
    return offset


def lower_face() -> np.ndarray:
    """(478,) 1 from the upper lip downwards, 0 from the nose upwards, a rise between."""
    height = canonical_face().vertices[:, 1]
    return np.clip((height - height[NOSE_BASE]) / (height[UPPER[4]] - height[NOSE_BASE]), 0, 1)


def without_lift(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) that leaves the middle of the mouth at its height, which removing its opening has changed.

    The whole lower face is moved back, less and less towards the nose.
    """
    lift = offset[[UPPER[4], LOWER[4]], 1].mean()
    offset = offset.copy()
    offset[:, 1] -= lift * lower_face()
    return offset
