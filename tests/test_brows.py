"""What brows promise in pictures: their hairs move as a whole, also those below where the brow is tracked."""

import numpy as np
import torch
from rendering import feeling, on_surroundings, posed

from space_core.face.portrait import Portrait
from space_core.generator.mesh_warp.warp_mesh import WarpMesh, build_warp_mesh

# The tracked lower rims of both brows but for their ends, and the rings of skin below these.
RIMS, BELOW = (53, 52, 65, 283, 282, 295), (225, 224, 222, 445, 444, 442)
SKIN, HAIR = 0.7, 0.2  # brightness


def mesh_of(portrait: Portrait, reach: float) -> WarpMesh:
    """The warp mesh of a photo of plain skin, with brows down to ``reach`` of the way to the ring of skin below."""
    photo = on_surroundings(posed(portrait))
    points = photo.host.posed[0, :, :2]
    ends = points[list(RIMS)] + reach * (points[list(BELOW)] - points[list(RIMS)])
    picture = torch.full((1, 3, *portrait.surroundings.shape[:2]), SKIN)
    for side in (ends[:3], ends[3:]):
        side = side[side[:, 0].argsort()]
        left, right = int(side[0, 0]) - 12, int(side[-1, 0]) + 12
        for x in range(left, right):
            end = round(float(np.interp(x, *side.T)))
            picture[:, :, end - 14 : end + 1, x] = HAIR
    edges = np.array([[0.0, 0.0], [picture.shape[3], picture.shape[2]]])
    return build_warp_mesh(photo, picture, portrait.person, edges, (False, False, False), None, rigid=0.0)


def test_the_mesh_has_the_lower_edge_of_a_brow_where_the_photo_shows_it(portrait):
    tracked = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    room = (tracked[list(BELOW)] - tracked[list(RIMS)])[:, 1]
    for reach in (0.3, 0.5):
        moved = mesh_of(portrait, reach).source[list(RIMS), 1].numpy() - tracked[list(RIMS), 1]
        np.testing.assert_allclose(moved, reach * room, atol=1.5)  # pixels
    moved = mesh_of(portrait, -0.1).source[list(RIMS), 1].numpy() - tracked[list(RIMS), 1]
    assert np.abs(moved).max() < 1


def test_hairs_below_the_tracked_brow_rise_as_far_as_the_brow(portrait):
    mesh = mesh_of(portrait, 0.5)
    photo, surprised = (
        on_surroundings(posed(portrait, *face)) for face in ((), (feeling(portrait, "surprised", 1.0),))
    )
    still, moved = (mesh.move(motion).positions[0] for motion in (photo, surprised))
    np.testing.assert_allclose(still[:468], mesh.source[:468], atol=1e-3)
    of_brow = (surprised.posed - photo.posed)[0, list(RIMS), :2]
    np.testing.assert_allclose((moved - still)[list(RIMS)], of_brow, atol=0.01)
