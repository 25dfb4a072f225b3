"""Emotions at rest: action units in the combinations of EMFACS, and a share of what actors were measured to do."""

from dataclasses import dataclass

import numpy as np

from space_core.measures.mesh_offsets import keep_eyes_open, keep_lip_gap, mirrored, movable, without_lift
from space_core.motion.action_unit_labels import parse_action_units
from space_core.motion.action_units import OPENING_UNITS, unit_offsets, unit_strengths
from space_core.motion.speech2landmarks import lip_gaps


@dataclass(frozen=True)
class Recipe:
    """An emotion at intensity 1: the share of the actors' mean displacement, and action units with strengths."""

    measured: float
    units: str


# The units are those of EMFACS. Their strengths follow from a non-negative fit of the units to the actors' mean
# displacement where the tracker sees them, and from renderings beside the actors' frames where it does not (4, 6, 9).
RECIPES = {
    "angry": Recipe(0.8, "4:1.0, 5:0.4, 7:1.0, 9:0.3, 17:0.3, 23:0.7, 24:0.5"),
    "contempt": Recipe(0.7, "12L:0.7, 14L:0.7, 10L:0.2, 2R:0.3, 7:0.3"),
    "disgusted": Recipe(0.4, "4:0.6, 6:0.3, 7:0.7, 9:1.0, 10:0.7, 11:0.3, 15:0.2, 16:0.2, 17:0.6, 20:0.3, 25:0.2"),
    "fear": Recipe(0.5, "1:1.5, 2:0.3, 4:0.9, 5:1.3, 16:0.4, 20:1.1, 25:0.3, 26:0.2"),
    "happy": Recipe(0.6, "6:1.0, 7:0.2, 10:0.3, 12:1.1, 25:0.6"),
    "sad": Recipe(0.3, "1:1.4, 4:0.6, 7:0.4, 11:0.2, 15:0.7, 17:0.5"),
    "surprised": Recipe(0.5, "1:1.1, 2:1.1, 5:1.3, 18:0.3, 25:0.3, 26:0.45"),
}


def expression_of(emotion: str, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (478, 3) at rest, and those that part the lips, of an emotion and the actors' displacement (478, 3)."""
    recipe = RECIPES[emotion]
    measured = without_lift(measured) * movable()[:, None]
    measured = measured if emotion == "contempt" else mirrored(measured)
    units = parse_action_units(recipe.units)
    opening = ", ".join(f"{unit}:{units.pop(unit)}" for unit in OPENING_UNITS if unit in units)
    others = ", ".join(f"{unit}:{strength}" for unit, strength in units.items())
    offset = recipe.measured * keep_lip_gap(measured) + unit_offsets(unit_strengths(others, 1))[0]
    parted = np.where(lip_gaps(offset).mean() > 0, offset, keep_lip_gap(offset)) - keep_lip_gap(offset)
    return keep_eyes_open(keep_lip_gap(offset)), parted + unit_offsets(unit_strengths(opening, 1))[0]
