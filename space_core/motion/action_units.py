"""Action units of FACS as calibrated displacements of the face mesh: what moves, in which direction, how far.

The shapes are in ``weights/action_units.safetensors`` (recipe: ``space_core/training/action_units.py``).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.arrays import smoothstep
from space_core.assets import weights_path
from space_core.face.topology import NUM_POINTS, canonical_face
from space_core.motion.action_unit_labels import SIDED_UNITS, UNIT_COLUMNS, UNITS, parse_action_units
from space_core.motion.expression_limits import limit_expression
from space_core.motion.lips import DOWN, keep_lips_apart, lip_gaps, move_lips

WEIGHTS = weights_path("action_units.safetensors")

MILLIMETRES = 90.0  # in the distance between the outer eye corners, the unit of normalized landmarks
MIDDLE = 0.05  # x on the canonical face up to which the unit of one side fades out on the other
# Units that open the mouth; they yield where speech shuts the lips.
OPENING_UNITS = ("25", "26", "27")
_OPENING_COLUMNS = [UNIT_COLUMNS.index(unit) for unit in OPENING_UNITS]


@dataclass(frozen=True)
class Calibration:
    """The motion of an action unit at strength 1.

    Attributes:
        points: of the face mesh, on the image's left half or in its middle; their mean motion is what is given.
        out, up, forward: its direction, of length 1: away from the middle of the face, upwards, towards the viewer.
        millimetres: its length, on a face whose outer eye corners are 90 mm apart.
    """

    points: tuple[int, ...]
    out: float
    up: float
    forward: float
    millimetres: float


# How far each unit goes in a strong, natural expression: maxima of the actors of MEAD at level 3 where they can be
# tracked, else published excursions: lip corners 7–14 mm (Paletz et al., 1994), brows 5–9 mm, upper lids 2 mm.
CALIBRATION = {
    "1": Calibration((107, 55, 66), 0.0, 1.0, 0.0, 6.0),
    "2": Calibration((70, 63, 105), 0.0, 1.0, 0.0, 6.0),
    "4": Calibration((107, 55), -0.45, -0.89, 0.0, 5.0),
    "5": Calibration((159, 158, 160), 0.0, 1.0, 0.0, 2.0),
    "6": Calibration((117, 118, 50), 0.24, 0.97, 0.0, 3.5),
    "7": Calibration((145, 144, 153), 0.0, 1.0, 0.0, 1.3),
    "9": Calibration((48, 64, 102), 0.24, 0.97, 0.0, 4.0),
    "10": Calibration((37, 39, 40), 0.0, 1.0, 0.0, 4.5),
    "11": Calibration((203, 206, 36), 0.25, 0.97, 0.0, 2.5),
    "12": Calibration((61, 76), 0.60, 0.75, -0.28, 9.0),
    "14": Calibration((61, 76), 0.60, 0.10, -0.79, 4.0),
    "15": Calibration((61, 76), 0.10, -0.95, -0.30, 5.0),
    "16": Calibration((84, 91, 181), 0.0, -1.0, 0.0, 3.5),
    "20": Calibration((61, 76), 0.96, -0.22, -0.18, 6.0),
    "17": Calibration((199, 17, 18), 0.0, 1.0, 0.0, 3.5),
    "18": Calibration((61, 76), -0.80, 0.0, 0.60, 7.0),
    "22": Calibration((0, 17), 0.0, 0.0, 1.0, 3.0),
    "23": Calibration((37, 0), 0.0, -1.0, 0.0, 1.5),
    "24": Calibration((17, 84), 0.0, 1.0, 0.0, 2.0),
    "25": Calibration((14, 87), 0.0, -1.0, 0.0, 3.0),
    "26": Calibration((152, 175), 0.0, -0.94, -0.34, 10.0),
    "27": Calibration((152, 175), 0.0, -0.94, -0.34, 25.0),
}


def unit_strengths(text: str, num_frames: int) -> np.ndarray:
    """Action units in words, see ``parse_action_units``, as strengths (num_frames, columns) float32."""
    strengths = parse_action_units(text)
    row = np.array([strengths.get(column, 0.0) for column in UNIT_COLUMNS], np.float32)
    return np.tile(row, (num_frames, 1))


@cache
def unit_shapes() -> dict[str, np.ndarray]:
    """The displacements (478, 3) float64 of all units at strength 1, symmetric, in outer-eye-corner distances."""
    shapes = load_file(WEIGHTS)["shapes"].astype(np.float64)
    return dict(zip(UNITS, shapes, strict=True))


@cache
def column_shapes() -> np.ndarray:
    """The displacements (columns, 478, 3) float64 of ``UNIT_COLUMNS`` at strength 1; L and R add up to the unit."""
    x = canonical_face().vertices[:, 0]
    left = smoothstep((x + MIDDLE) / (2 * MIDDLE))[:, None]  # the person's left half is the image's right
    shapes = unit_shapes()
    halves = [shapes[unit] * share for unit in SIDED_UNITS for share in (left, 1 - left)]
    return np.stack([*halves, *(shapes[unit] for unit in UNITS if unit not in SIDED_UNITS)])


def unit_offsets(strengths: np.ndarray) -> np.ndarray:
    """Offsets (T, 478, 3) of the mesh for strengths (T, columns); negative strengths move the other way."""
    strengths = np.asarray(strengths, np.float64)
    return (strengths @ column_shapes().reshape(len(UNIT_COLUMNS), -1)).reshape(-1, NUM_POINTS, 3)


def apply_action_units(
    landmarks: np.ndarray, strengths: np.ndarray, closure: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """Normalized landmarks with action units added.

    Args:
        landmarks: (T, 478, 3) normalized landmarks before gaze and blinks.
        strengths: (T, columns) in the order of ``UNIT_COLUMNS``: 0 none, 1 full; negative ones move the other way.
        closure: (T,) how far speech holds the lips together, 0 … 1 shut; where it does, units open them less.
        rest: (478, 3) the resting face. Its eyes stay open and its lips never intersect.
    """
    if not strengths.any():
        return landmarks
    free = 1 - np.asarray(closure, np.float64)[:, None]
    strengths = np.array(strengths, np.float64)
    strengths[:, _OPENING_COLUMNS] *= free
    offsets = unit_offsets(strengths)
    # The others part the lips by less, and speech brings together what they part.
    opened = np.maximum(lip_gaps(offsets), 0) * (1 - free)
    offsets = move_lips(offsets, opened[..., None] / 2 * DOWN)
    moved = rest + limit_expression(landmarks - rest + offsets, rest)
    return keep_lips_apart(moved, rest).astype(landmarks.dtype)
