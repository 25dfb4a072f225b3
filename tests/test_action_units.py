"""What stage 1 promises about action units: what moves, in which direction, how far."""

import dataclasses

import numpy as np
import pytest
from conftest import EXAMPLES
from faces import closed_face, lid_opening, lip_opening

from space_core.errors import SpaceError
from space_core.face.topology import BROWS, RIGID_POINTS, canonical_face
from space_core.motion.action_unit_labels import SIDED_UNITS, UNIT_COLUMNS, UNITS, parse_action_units
from space_core.motion.action_units import (
    CALIBRATION,
    MILLIMETRES,
    apply_action_units,
    column_shapes,
    unit_shapes,
    unit_strengths,
)
from space_core.options import AnimationOptions

# FACS: the way of the skin, in words that a sign can be checked against.
UP = ("1", "2", "5", "6", "7", "9", "10", "11", "12", "17")
DOWN = ("4", "15", "16", "25", "26", "27")


def moved(text: str, closure: float = 0.0) -> np.ndarray:
    """The offset (478, 3) in millimetres that action units add to a face with a shut mouth."""
    face = closed_face()
    after = apply_action_units(face[None], unit_strengths(text, 1), np.array([closure]), face)[0]
    return (after - face) * MILLIMETRES


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_moves_its_points_as_far_and_in_the_direction_that_is_documented(unit):
    calibration = CALIBRATION[unit]
    shift = unit_shapes()[unit][list(calibration.points)].mean(0) * MILLIMETRES
    side = -1 if canonical_face().vertices[calibration.points[0], 0] < 0 else 1
    direction = np.array([side * calibration.out, -calibration.up, -calibration.forward])
    assert abs(np.linalg.norm(direction) - 1) < 0.02
    np.testing.assert_allclose(shift @ direction, calibration.millimetres, rtol=0.02)
    assert shift @ direction > 0.7 * np.linalg.norm(shift)
    if unit in UP:
        assert shift[1] < 0
    if unit in DOWN:
        assert shift[1] > 0
    assert np.linalg.norm(unit_shapes()[unit], axis=1).max() * MILLIMETRES < 3 * calibration.millimetres


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_symmetric_and_leaves_bones_and_irises(unit):
    shape = unit_shapes()[unit]
    np.testing.assert_allclose(shape, shape[canonical_face().mirror] * [-1, 1, 1], atol=2e-4)
    assert np.abs(shape[[*RIGID_POINTS, *range(468, 478)]]).max() < 1e-6


def test_left_and_right_are_the_persons_own_and_add_up():
    columns = dict(zip(UNIT_COLUMNS, column_shapes(), strict=True))
    for unit in SIDED_UNITS:
        np.testing.assert_allclose(columns[f"{unit}L"] + columns[f"{unit}R"], unit_shapes()[unit], atol=1e-12)
    x = canonical_face().vertices[:, 0]
    smile = np.linalg.norm(moved("12L:1"), axis=1)
    assert smile[x > 0.2].max() > 6 and smile[x < -0.1].max() < 0.1  # the person's left is the image's right


@pytest.mark.parametrize("unit", ["1", "2", "4"])
def test_brows_move_without_growing_thicker(unit):
    for rims in BROWS:
        lower, upper = unit_shapes()[unit][np.array(rims)] * MILLIMETRES
        assert np.abs(lower - upper).max() < 0.05 < np.abs(lower).max()


def test_the_upper_lid_rises_and_the_lower_one_tightens():
    face = closed_face()
    for unit, wider in (("5", True), ("7", False)):
        after = apply_action_units(face[None], unit_strengths(f"{unit}:1", 1), np.zeros(1), face)
        assert ((lid_opening(after) > lid_opening(face[None])) == wider).all()


def test_units_grow_with_their_strength_and_add_up():
    lengths = [np.linalg.norm(moved(f"1:{strength}, 12:{strength}")) for strength in (0, 0.25, 0.5, 1, 1.5)]
    assert lengths[0] == 0 and (np.diff(lengths) > 0).all()
    np.testing.assert_allclose(moved("1:0.5, 12:0.5"), moved("1:0.5") + moved("12:0.5"), atol=1e-6)


@pytest.mark.parametrize("units", ["25:1", "26:1", "27:1", "10:1", "16:1", "12:1, 25:1"])
def test_speech_shuts_lips_that_units_part(units):
    face = closed_face()
    opened, shut = (lip_opening(face + moved(units, closure) / MILLIMETRES) for closure in (0.0, 1.0))
    assert opened > 0.01 and shut < 0.003


def test_lips_never_cross_and_half_shut_eyes_stay_open():
    face = closed_face()
    for text in ("24:1.5, 23:1.5, 17:1.5", "4:1.5, 7:1.5, 6:1.5, 9:1.5"):
        after = apply_action_units(face[None], unit_strengths(text, 1), np.zeros(1), face)
        assert lip_opening(after).min() > -1e-6
        assert (lid_opening(after) > 0.6 * lid_opening(face[None])).all()


def test_units_in_words():
    assert parse_action_units("") == {}
    assert parse_action_units(" 1:0.5, au12l : 0.8 ") == {"1L": 0.5, "1R": 0.5, "12L": 0.8}
    assert parse_action_units("26:1,4:0") == {"26": 1.0}
    assert AnimationOptions(action_units="12:0.8").action_units == "12:0.8"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("3:1", "'3'"),
        ("26L:1", "'26L'"),
        ("12", "12"),
        ("12:2", "1.5"),
        ("12:-1", "12"),
        ("12:nan", "12"),
        ("12:1, 12L:1", "twice"),
        ("12:1,", "missing"),
        ("1" * 2000, "1000"),
    ],
)
def test_mistakes_are_refused_with_a_sentence_that_names_them(wrong, named):
    with pytest.raises(SpaceError, match=r"\.$") as refusal:
        AnimationOptions(action_units=wrong)
    assert named in str(refusal.value) and len(str(refusal.value)) < 250


def test_a_film_shows_the_units_and_its_motion_file_can_be_edited(pipeline, short_speech):
    photo, still = EXAMPLES / "astronaut.jpg", {"head_motion": 0, "expressiveness": 0}
    plain = pipeline.motion(photo, short_speech, AnimationOptions(**still))
    raised = pipeline.motion(photo, short_speech, AnimationOptions(action_units="1:1, 2:1", **still))
    np.testing.assert_array_equal(plain.normalized, raised.normalized)
    brows = (plain.edited - raised.edited)[:, [107, 336, 70, 300], 1] * MILLIMETRES
    assert (brows > 4).all()
    edited = dataclasses.replace(raised, action_units=plain.action_units)
    np.testing.assert_array_equal(edited.edited, plain.edited)
