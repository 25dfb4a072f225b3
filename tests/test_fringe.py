"""What hair over the forehead promises: brows that come down leave it where it is, others raise it as a whole."""

import numpy as np
import pytest
import torch
from rendering import feeling, on_surroundings, posed

from space_core.face.portrait import Portrait
from space_core.generator.mesh_warp.warp_mesh import build_warp_mesh

INNER_BROWS = (107, 66, 336, 296)
ACROSS = (70, 105, 107, 9, 336, 334, 300)  # the forehead, along the upper rims of the brows
HAIR = 0.03  # brightness


def risen(portrait: Portrait, picture: torch.Tensor, emotion: str, points: tuple[int, ...] = INNER_BROWS) -> np.ndarray:
    """(N,) pixels by which points of a picture of a portrait rise in an emotion."""
    photo = on_surroundings(posed(portrait))
    edges = np.array([[0.0, 0.0], [picture.shape[3], picture.shape[2]]])
    mesh = build_warp_mesh(photo, picture, portrait.person, edges, (False, False, False), None, rigid=0.0)
    positions = mesh.move(on_surroundings(posed(portrait, feeling(portrait, emotion, 1.0)))).positions
    return (mesh.source - positions[0])[list(points), 1].numpy()


@pytest.fixture(scope="module")
def bare(portrait) -> torch.Tensor:
    return torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def fringed(portrait, bare) -> torch.Tensor:
    """The same picture with hair down to the eyes."""
    end = int(on_surroundings(posed(portrait)).host.posed[0, [52, 55, 282, 285], 1].max()) + 3
    picture = bare.clone()
    picture[:, :, :end] = HAIR
    return picture


def test_brows_that_come_down_leave_a_fringe_where_it_is(portrait, bare, fringed):
    assert (risen(portrait, bare, "angry") < -3).all()
    assert np.abs(risen(portrait, fringed, "angry")).max() < 0.3


def test_brows_that_rise_take_a_fringe_along_evenly(portrait, bare, fringed):
    heights = [risen(portrait, picture, "surprised", ACROSS) for picture in (bare, fringed)]
    assert (heights[1] > 2).all()
    assert np.ptp(heights[1]) < 0.1 * np.ptp(heights[0])


def test_a_band_over_the_forehead_alone_does_not_hold_the_brows(portrait, bare):
    """Hair that ends above the brows, and brows as dark as hair."""
    end = int(on_surroundings(posed(portrait)).host.posed[0, [104, 108, 337, 333], 1].max())
    picture = bare.clone()
    picture[:, :, :end] = HAIR
    np.testing.assert_allclose(risen(portrait, picture, "angry"), risen(portrait, bare, "angry"), atol=0.1)
