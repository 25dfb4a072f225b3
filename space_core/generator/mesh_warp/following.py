"""How far the warp mesh's vertices around the face follow the head, the body and the face's expression.

Lengths are normalized: the outer eye corners are one unit apart, the chin is at about y = 1.3. How far head and body
reach, and what the body does, was measured by optical flow in 74 recordings of speakers, relative to their head poses.
"""

from dataclasses import dataclass

import numpy as np
import scipy
import torch

from space_core.arrays import smoothstep
from space_core.face.crop_size import MARGIN
from space_core.face.topology import CHIN, OVAL, canonical_face
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.hanging_hair import HangingHair
from space_core.generator.mesh_warp.head_shape import at_points, places_at
from space_core.generator.mesh_warp.held_things import held_things
from space_core.generator.mesh_warp.sampling import EXTENT

NECK_TOP, NECK_END = 0.85, 2.1  # y between which the head's turning fades out down the neck
HEAD_SIDE, HEAD_END = 1.9, 3.2  # |x| between which it fades out to the sides, beyond any hair
# Shoulders are further from the head than the neck at their height: beyond this |x|, a unit sideways counts as so many
# downwards.
NECK_SIDE, SHOULDERS = 0.35, 0.6
# Hair that hangs before or behind the shoulders follows the head further down: its |x| counts less by this share.
OVER_SHOULDERS = 0.5
BODY_SWAY = (0.9, 0.5)  # share of the neck's translation along x and y that the body follows
BODY_TURN = 0.08  # share of the head's rotation that the body follows
NEAREST_POINTS = 6  # of the face's outline, whose own motion a vertex follows
EXPRESSION_REACH = 0.33  # standard deviation of the Gaussian by which the expression's effect falls off
# The photo's edge cuts the person off where the mask, within the band (pixels), exceeds the first threshold, fully
# from the second on. The spread (pixels) is how far along the edge a cut is extended on either side.
CUT, CUT_BAND, CUT_SPREAD = (0.05, 0.3), 12, 24
# At the photo's left and right edge the mask has to reach the outermost pixels, too, with these thresholds: an outline
# that ends before them, such as that of an ear, is complete and moves freely.
CUT_AT_EDGE, OUTERMOST = (0.03, 0.1), 2


@dataclass(frozen=True)
class Vertices:
    """Vertices around the face.

    Attributes:
        pixels: (P, 2) where they are in the surroundings.
        normalized: (P, 3) where they are in the normalized face.
    """

    pixels: np.ndarray
    normalized: np.ndarray


@dataclass(frozen=True)
class Following:
    """How far vertices around the face follow it.

    Attributes:
        turns: (P,) 1 where a vertex turns with the head … 0 where it does not; not limited by the photo's edges.
        freedom: (P, 2) how freely it moves along x and y: 0 not at all … 1 freely.
        head, body, outline: see ``WarpMesh``.
    """

    turns: np.ndarray
    freedom: np.ndarray
    head: np.ndarray
    body: np.ndarray
    outline: np.ndarray


def find_following(
    photo: FaceMotion,
    person: np.ndarray,
    edges: np.ndarray,
    continued: tuple[bool, bool, bool],
    hair: HangingHair,
    vertices: Vertices,
) -> Following:
    """How far vertices follow the face; for the other arguments see ``build_warp_mesh``."""
    host, scale = photo.host, float(photo.host.scale[0])
    outline = host.posed[0, list(OVAL), :2].astype(np.float64)
    x, y, _ = vertices.normalized.T
    # By how much the face is longer than the average face.
    longer = host.normalized[0, CHIN, 1].astype(np.float64) - canonical_face().vertices[CHIN, 1]
    sideways_at, down_at = places_at(photo, 0)
    held = held_things(person, outline.mean(0), _on_body(sideways_at, down_at, longer), scale)
    on_body = np.maximum(
        _on_body(x * (1 - OVER_SHOULDERS * hair.at(vertices.pixels)), y, longer), at_points(held, vertices.pixels)
    )
    beside_head = smoothstep(torch.from_numpy(abs(x)), HEAD_SIDE, HEAD_END).numpy()
    freedom = _freedom(vertices.pixels, person, edges, (False, continued[1], False))
    # What is continued beyond the photo's left and right edges moves across them with the head; shoulders do not.
    head_freedom = freedom + (1 - on_body)[:, None] * (_freedom(vertices.pixels, person, edges, continued) - freedom)
    turns = (1 - on_body) * (1 - beside_head) + BODY_TURN * on_body
    sways = np.clip(np.array(BODY_SWAY) - BODY_TURN, 0, None) * on_body[:, None]
    distance = np.linalg.norm(vertices.pixels[:, None] - outline[None], axis=-1) / scale
    return Following(
        turns=turns,
        freedom=freedom,
        head=turns[:, None] * np.column_stack([head_freedom, head_freedom.min(1)]),
        body=sways * freedom,
        outline=_expression_weights(distance) * freedom.min(1)[:, None],
    )


def _expression_weights(distance: np.ndarray) -> np.ndarray:
    """(P, 36) the weight of each outline point's motion in that of each vertex.

    ``distance`` (P, 36) is how far the vertices are from the outline's points, normalized.
    """
    # Only the nearest points count: a jaw must not move the hair on the other side by a hundredth of a pixel.
    reach = np.partition(distance, NEAREST_POINTS, axis=1)[:, NEAREST_POINTS, None]
    nearness = np.clip(reach / (distance + 1e-3) - 1, 0, None) ** 2
    nearness /= nearness.sum(1, keepdims=True)
    return nearness * np.exp(-((distance.min(1) / EXPRESSION_REACH) ** 2))[:, None]


def _on_body(x: np.ndarray, y: np.ndarray, longer: float) -> np.ndarray:
    """(…) 0 on the head … 1 on the lower neck and the shoulders, at normalized x and y (…).

    The face is ``longer`` than the average face, normalized.
    """
    beside = SHOULDERS * np.clip(abs(x) - NECK_SIDE, 0, None) * np.clip(2 * y, 0, 1)
    return smoothstep(y + beside, NECK_TOP + longer, NECK_END + longer)


def _freedom(
    points: np.ndarray, person: np.ndarray, edges: np.ndarray, continued: tuple[bool, bool, bool]
) -> np.ndarray:
    """(P, 2) how freely points (P, 2) move along x and y: 0 not at all … 1 freely; see ``build_warp_mesh``.

    At edges that cut the person off the person moves along them, but not across: nothing is known of what is beyond.
    Where the photo goes on beyond the surroundings, what is there stands still. Elsewhere the background stands still,
    and the person moves freely.
    """
    room = np.full(points.shape, float(MARGIN))
    free_ends = {end for end, free in zip(((0, -1), (1, -1), (0, 1)), continued, strict=True) if free}
    for axis in (0, 1):
        for end, outwards in ((edges[0, axis], -1), (edges[1, axis] - 1, 1)):
            if (axis, outwards) in free_ends:
                continue
            seen = np.clip(end, 0, EXTENT - 1)
            outermost = int(np.floor(seen) if outwards > 0 else np.ceil(seen))
            band = (outermost - outwards * np.arange(CUT_BAND)).clip(0, EXTENT - 1)
            beside = person.take(band, axis=1 - axis)
            cut = smoothstep(beside.max(1 - axis), *CUT)
            if axis == 0 and seen == end:
                at_edge = beside.take(range(OUTERMOST), axis=1 - axis).max(1 - axis)
                cut = cut * smoothstep(scipy.ndimage.maximum_filter1d(at_edge, 2 * CUT_SPREAD), *CUT_AT_EDGE)
            cut = scipy.ndimage.gaussian_filter1d(scipy.ndimage.maximum_filter1d(cut, 2 * CUT_SPREAD), CUT_SPREAD / 2)
            free = MARGIN * (1 - np.interp(points[:, 1 - axis], np.arange(EXTENT), cut))
            axes = [axis] if seen == end else [0, 1]
            room[:, axes] = np.minimum(room[:, axes], (outwards * (seen - points[:, axis]) + free)[:, None])
    # The mesh's own border does not move across either: beyond it the photo would be seen as it is at rest.
    room[(points <= 0) | (points >= EXTENT - 1)] = 0
    return np.clip(room / MARGIN, 0, 1)
