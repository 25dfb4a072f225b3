"""Where the warp mesh shows a turned face's far cheek a second time.

The mesh around the face begins at the face's outline. Where the cheek of a turned face hides the outline behind it, the
mesh around it lies over the cheek and carries its pixels and, beyond it, the lashes: when the head turns to the front
they would be seen beside the face.
"""

import cv2
import numpy as np

from space_core.arrays import distance_to, smoothstep
from space_core.face.topology import NUM_SURFACE_POINTS, OVAL, canonical_face
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.head_shape import CELL, PERSON, places_at
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import EXTENT, blur

# Lengths are normalized. A cheek further than ``HIDING`` beyond the outline, as from about 20° of yaw on, is not the
# edge of the mirrored one. ``LASHES`` is how far its lashes reach.
HIDING, LASHES = 0.1, 0.2
# What is further than ``BEYOND_FACE`` from the face and wider than ``WIDE``, as lashes never are, is hair or cloth. It
# stays, and so does all within the first distance of it, and nothing beyond the second.
BEYOND_FACE, WIDE, BESIDE_HAIR = 0.06, 0.07, (0.15, 0.3)
BLUR = 0.03  # standard deviation by which the result is blurred
ABOVE_EARRING = (0.35, 0.55)  # heights below the eyes, normalized: earrings of the far ear stay
SUBPIXEL_BITS = 4  # of coordinates in OpenCV's drawing


def far_cheek(photo: FaceMotion, person: np.ndarray) -> np.ndarray | None:
    """(160, 160) 1 where the mesh around the face carries the far cheek or its lashes … 0 where it does not.

    One value for every ``CELL`` pixels of the surroundings. None where the cheek does not hide the outline.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        person: (640, 640) 0 background … 1 person.
    """
    posed, scale = photo.host.posed[0, :NUM_SURFACE_POINTS, :2], float(photo.host.scale[0])
    face, inside = face_mask(photo), np.zeros((EXTENT, EXTENT), np.uint8)
    cv2.fillPoly(inside, [_subpixel(posed[list(OVAL)])], 1, shift=SUBPIXEL_BITS)
    hiding = face * (distance_to(inside) > HIDING * scale)
    if not hiding.any():
        return None
    beyond = (person > PERSON) & (distance_to(face) > BEYOND_FACE * scale)
    side = max(round(WIDE * scale), 1)
    hair = cv2.morphologyEx(beyond.astype(np.uint8), cv2.MORPH_OPEN, square(side))
    cheek = (distance_to(hiding) < LASHES * scale) & (inside == 0)
    cheek = blur(cheek * smoothstep(distance_to(hair) / scale, *BESIDE_HAIR), BLUR * scale)[::CELL, ::CELL]
    return cheek * (1 - smoothstep(places_at(photo, 0.0)[1], *ABOVE_EARRING))


def face_mask(photo: FaceMotion) -> np.ndarray:
    """(640, 640) uint8, 1 where a photo's own landmarks, in pixels of the surroundings, show the face."""
    face = np.zeros((EXTENT, EXTENT), np.uint8)
    for triangle in _subpixel(photo.host.posed[0, :NUM_SURFACE_POINTS, :2][canonical_face().triangles]):
        cv2.fillConvexPoly(face, triangle, 1, shift=SUBPIXEL_BITS)
    return face


def _subpixel(points: np.ndarray) -> np.ndarray:
    """Points (…, 2) in pixels as OpenCV draws them."""
    return (points * 2**SUBPIXEL_BITS).round().astype(np.int32)
