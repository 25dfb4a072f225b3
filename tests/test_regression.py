"""Faces stay as they are when the code behind them changes; see ``regression_set``."""

import numpy as np
import pytest
from regression_set import CASES, Case, box_of, render, stored
from skimage.metrics import structural_similarity

from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP

MOUTH = (*INNER_LOWER_LIP, *INNER_UPPER_LIP, *OUTER_LOWER_LIP, *OUTER_UPPER_LIP)
LIDS = tuple(point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid))
REGIONS = {"face": tuple(range(478)), "mouth": MOUTH, "eyes": LIDS}
# Pixels of the crop: detectors and networks differ in the last digits from machine to machine.
MEAN_SHIFT, LARGEST_SHIFT = 0.15, 1.5
LARGEST_DISTANCE = 0.04


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """How different two pictures look: 1 less their structural similarity (Wang et al., 2004), in colour."""
    return 1 - structural_similarity(one, other, channel_axis=2, gaussian_weights=True, sigma=1.5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.portrait)
def test_faces_are_as_they_were(case: Case, pipeline, tmp_path):
    landmarks, pictures = render(case, pipeline, tmp_path)
    expected_landmarks, expected_pictures = stored(case)
    shift = np.linalg.norm((landmarks - expected_landmarks)[..., :2], axis=-1)
    assert shift.mean() < MEAN_SHIFT
    assert shift.max() < LARGEST_SHIFT
    for name, points in REGIONS.items():
        box = box_of(expected_landmarks[:, list(points)])
        for picture, expected in zip(pictures, expected_pictures, strict=True):
            found = distance(picture[box], expected[box])
            assert found < LARGEST_DISTANCE, f"the {name} differs by {found:.3f}"
