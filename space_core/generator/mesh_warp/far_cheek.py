"""Where the warp mesh shows a turned face's far cheek a second time.

The mesh around the face begins at the face's outline. Where the cheek of a turned face hides the outline behind it, the
mesh around it lies over the cheek and carries its pixels and, beyond it, the lashes: when the head turns to the front
they would be seen beside the face.
"""

import cv2
import numpy as np
import torch

from space_core.face.topology import NUM_SURFACE_POINTS, OVAL, canonical_face
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.sampling import EXTENT, blur, grid_of
from space_core.smoothstep import smoothstep

CELL = 4  # pixels of the surroundings for which one value is kept
PERSON = 0.5  # of the mask: a pixel that shows the person
# Normalized. A cheek that lies so far beyond the outline, from about 20° of yaw on, is not the mirrored one's edge. Its
# lashes reach so far.
HIDING, LASHES = 0.1, 0.2
# What is so far beyond the face, and as wide as no lashes are, is hair or cloth: so far around it all … nothing stays.
BEYOND_FACE, WIDE, BESIDE_HAIR = 0.06, 0.07, (0.15, 0.3)
BLUR = 0.03  # normalized; how far the result is blurred
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
    face, inside = np.zeros((2, EXTENT, EXTENT), np.uint8)
    for triangle in _subpixel(posed[canonical_face().triangles]):
        cv2.fillConvexPoly(face, triangle, 1, shift=SUBPIXEL_BITS)
    cv2.fillPoly(inside, [_subpixel(posed[list(OVAL)])], 1, shift=SUBPIXEL_BITS)
    hiding = face * (_distance_to(inside) > HIDING * scale)
    if not hiding.any():
        return None
    beyond = (person > PERSON) & (_distance_to(face) > BEYOND_FACE * scale)
    side = max(round(WIDE * scale), 1)
    hair = cv2.morphologyEx(beyond.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    cheek = (_distance_to(hiding) < LASHES * scale) & (inside == 0)
    cheek = blur(cheek * smoothstep(_distance_to(hair) / scale, *BESIDE_HAIR), BLUR * scale)[::CELL, ::CELL]
    middles = torch.arange(0, EXTENT, CELL, dtype=torch.float32)
    y = photo.unproject(grid_of(middles, middles), 0.0)[0, ..., 1].numpy()
    return cheek * (1 - smoothstep(y, *ABOVE_EARRING))


def _subpixel(points: np.ndarray) -> np.ndarray:
    """Points (…, 2) in pixels as OpenCV draws them."""
    return (points * 2**SUBPIXEL_BITS).round().astype(np.int32)


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """(640, 640) float32, how far each pixel is from those that are 1 in a mask of 0 and 1; far where none is."""
    return cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
