"""Emotions at rest: action units in the combinations of EMFACS, added to what actors were measured to do."""

import numpy as np

from space_core.measures.mesh_offsets import (
    keep_brows,
    keep_eyes_open,
    keep_lashes,
    keep_lip_gap,
    mirrored,
    movable,
    without_lift,
)
from space_core.motion.action_unit_labels import parse_action_units
from space_core.motion.action_units import OPENING_UNITS, unit_offsets, unit_strengths
from space_core.motion.lips import lip_gaps

# Action units with strengths, added at intensity 1 to what the actors were measured to do. The units are those of
# EMFACS, their strengths follow from renderings beside the actors' frames: the tracker shows a third to a half of how
# far brows move, a quarter of frowns, lids and wrinkled noses, and nothing of raised cheeks.
RECIPES = {
    "angry": "4:1.2, 5:0.6, 7:1.0, 9:0.2, 10:0.1, 11:0.2, 14:0.3, 15:0.5, 17:0.3, 20:0.3, 23:0.7, 24:0.7",
    "contempt": "12L:0.25, 14L:1.0, 10L:0.5, 15R:0.2, 2L:0.8, 4L:0.2, 4R:0.7, 7:0.7, 17:0.4, 24:0.5",
    "disgusted": "1:0.2, 6:0.5, 7:0.8, 9:0.7, 10:1.1, 15:0.3, 17:0.4, 25:0.3",
    "fear": "1:1.4, 2:0.1, 4:1.3, 5:0.8, 15:0.75, 16:0.7, 20:1.0, 25:0.6, 26:0.2",
    "happy": "6:1.0, 7:0.3, 10:0.2, 12:0.6, 25:0.8",
    "sad": "1:1.2, 4:0.6, 7:0.5, 11:0.2, 15:0.7, 17:0.4",
    "surprised": "1:0.9, 2:1.0, 5:1.2, 18:0.5, 26:0.9",
}

# A full smile, which leaves the gap between the lips, and how far it raises the upper lip from an open mouth's teeth;
# and the emotions that leave a photo's own smile in place; the others take it back. Joy widened the actors' mouths
# twice as far as unit 12 does.
SMILE, BARED = "6:0.8, 12:1.1, 20:0.9", "10:0.5"
KEEPING_SMILES = ("happy",)
# What joy adds to the mouth of a face that does not smile in the photo, the second the other way: without it full lips
# part but keep their shape, as in speech. A smile's corners are well above the middle of the lips.
CURVE, FLATTENED = "12:0.5", "10:0.35"


def smile() -> np.ndarray:
    """Offsets (478, 3) of a full smile, which raise the upper lip."""
    return keep_lip_gap(unit_offsets(unit_strengths(SMILE, 1))[0]) + unit_offsets(unit_strengths(BARED, 1))[0]


def curve() -> np.ndarray:
    """Offsets (478, 3) that raise the corners of the mouth above its middle, which leave the gap between the lips."""
    up, back = (unit_offsets(unit_strengths(units, 1))[0] for units in (CURVE, FLATTENED))
    return keep_lip_gap(up - back)


def expression_of(emotion: str, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (478, 3) at rest, and those that part the lips, of an emotion, from the actors' displacement (478, 3)."""
    measured = keep_lashes(keep_brows(without_lift(measured) * movable()[:, None]))
    measured = measured if emotion == "contempt" else mirrored(measured)
    units = parse_action_units(RECIPES[emotion])
    opening = ", ".join(f"{unit}:{units.pop(unit)}" for unit in OPENING_UNITS if unit in units)
    others = ", ".join(f"{unit}:{strength}" for unit, strength in units.items())
    offset = keep_lip_gap(keep_lip_gap(measured), axis=2) + unit_offsets(unit_strengths(others, 1))[0]
    parted = np.where(lip_gaps(offset).mean() > 0, offset, keep_lip_gap(offset)) - keep_lip_gap(offset)
    return keep_eyes_open(keep_lip_gap(offset)), parted + unit_offsets(unit_strengths(opening, 1))[0]
