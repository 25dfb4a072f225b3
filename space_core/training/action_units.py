"""Action units of FACS (Ekman & Friesen, 1978) as offsets of the mesh, and limits on such offsets."""

from dataclasses import dataclass

import numpy as np

from space_core.face.topology import EYES, NUM_SURFACE_POINTS, RIGID_POINTS, canonical_face
from space_core.motion.eyelids import move_lids
from space_core.motion.speech2landmarks import LOWER, OUTER_LOWER, OUTER_UPPER, UPPER, lip_gaps

MASK_REACH = 0.08  # from points over bone to points that move freely, in outer-eye-corner distances
EYE_OPENING = (0.7, 1.6)  # limits of the lids' distance relative to the canonical face's


@dataclass(frozen=True)
class Bump:
    """Motion of the skin around points of the left half of the face and their counterparts; a Gaussian of distance.

    Attributes:
        points: of the face mesh.
        out: to the side, in outer-eye-corner distances, as are the others.
        up: upwards.
        reach: standard deviation of the Gaussian.
    """

    points: tuple[int, ...]
    out: float
    up: float
    reach: float


# At a strong, natural intensity; the outer eye corners are 9 cm apart.
ACTION_UNITS = {
    1: (Bump((107, 55), 0, 0.06, 0.10),),  # inner brows raised
    2: (Bump((70, 63), 0, 0.06, 0.13),),  # outer brows raised
    4: (Bump((107, 55), -0.02, -0.05, 0.10), Bump((66,), -0.005, -0.02, 0.10)),  # brows lowered
    6: (Bump((117, 50), 0.01, 0.035, 0.13),),  # cheeks raised
    9: (Bump((48, 64, 203), 0.008, 0.035, 0.07), Bump((107, 55), -0.01, -0.025, 0.08)),  # nose wrinkled
    10: (Bump((37, 39), 0, 0.035, 0.08),),  # upper lip raised
    11: (Bump((203, 206, 36, 142), 0.008, 0.03, 0.14),),  # furrows from the nose to the mouth deepened
    12: (Bump((61,), 0.05, 0.05, 0.12),),  # mouth corners pulled
    15: (Bump((61,), 0.005, -0.05, 0.10),),  # mouth corners depressed
    16: (Bump((84, 91), 0, -0.04, 0.08),),  # lower lip depressed
    17: (Bump((199, 17), 0, 0.03, 0.12),),  # chin raised
    18: (Bump((61,), -0.05, 0, 0.12),),  # lips puckered
    20: (Bump((61,), 0.05, -0.01, 0.12),),  # lips stretched
    24: (Bump((61,), -0.02, 0, 0.10), Bump((37, 39), 0, -0.015, 0.06), Bump((84, 91), 0, 0.02, 0.06)),  # pressed
}
LIDS_UP = {5: (0.022, -0.004), 6: (0, 0.012), 7: (-0.008, 0.014)}  # the middle of the upper and of the lower lid
JAW_DROP = 0.024  # AU 27, added where speech opens the lips; little, as it increases the amplitude of the lips


def action_unit(unit: int) -> np.ndarray:
    """The offset (478, 3) of the canonical face for an action unit, symmetric; without AU 27, see ``jaw_drop``."""
    vertices = canonical_face().vertices
    offset = np.zeros_like(vertices)
    for bump in ACTION_UNITS.get(unit, ()):
        distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, list(bump.points), :2], axis=-1).min(1)
        near = np.exp(-0.5 * (distance / bump.reach) ** 2) * (vertices[:, 0] < 0.02)
        near[[point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]] = 0
        offset += near[:, None] * [-bump.out, -bump.up, 0]
    on_both_sides = (np.abs(vertices[:, 0]) < 0.02)[:, None]
    offset = np.where(on_both_sides, mirrored(offset), 2 * mirrored(offset)) * movable()[:, None]
    upper, lower = LIDS_UP.get(unit, (0, 0))
    lift = np.zeros((1, 2, 2, 9, 3))
    lift[0, ..., 1] = -np.array([upper, lower])[:, None] * np.sin(np.linspace(0, np.pi, 9))
    return offset + move_lids(vertices[None], lift)[0] - vertices


def jaw_drop() -> np.ndarray:
    """The offset (478, 3) of a dropped jaw, AU 27; the mouth corners follow by a third."""
    vertices = canonical_face().vertices
    share = np.clip((vertices[:, 1] - vertices[LOWER[4], 1] + 0.02) / 0.10, 0, 1)
    share *= np.clip(1 - (vertices[:, 0] / 0.75) ** 2, 0, 1)
    share[[*UPPER, *OUTER_UPPER]] = 0
    share[[61, 78, 291, 308]] = 0.35
    share[LOWER] = share[OUTER_LOWER] = 0.35 + 0.65 * np.sin(np.linspace(0, np.pi, len(LOWER) + 2)[1:-1]) ** 0.7
    return mirrored(JAW_DROP * (share * movable())[:, None] * [0, 1, 0])


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


def keep_lip_gap(offset: np.ndarray) -> np.ndarray:
    """Offsets (…, 478, 3) that move both lips equally up and down, so that their gap stays that of speech."""
    offset = offset.copy()
    excess = lip_gaps(offset) / 2
    for points, sign in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 1), (OUTER_LOWER, -1)):
        offset[..., points, 1] += sign * excess
    return offset


def keep_eyes_open(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) whose lids, on the canonical face, stay within EYE_OPENING."""
    offset = offset.copy()
    vertices = canonical_face().vertices
    for eye in EYES:
        upper, lower = list(eye.upper_lid[1:-1]), list(eye.lower_lid[1:-1])
        gap = vertices[lower, 1] - vertices[upper, 1]
        wanted = np.clip(gap + offset[lower, 1] - offset[upper, 1], gap * EYE_OPENING[0], gap * EYE_OPENING[1])
        excess = (gap + offset[lower, 1] - offset[upper, 1] - wanted) / 2
        offset[upper, 1] += excess
        offset[lower, 1] -= excess
    return offset
