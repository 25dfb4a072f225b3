"""The vertices of the warp mesh around the face, and the triangles between all of its vertices."""

import cv2
import numpy as np
import scipy

from space_core.face.topology import (
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_SURFACE_POINTS,
    OVAL,
    canonical_face,
)
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import EXTENT

SPACING = 18  # pixels between vertices: with wider spacing, strands of hair show kinks
# Farther than this from the face (normalized units) or from the person (pixels), motion is smooth: one vertex in four
# is enough.
DENSE_REACH, DENSE_PIXELS = 0.8, 24
CLEARANCE = 0.45  # the least distance of a vertex from the face's outline, in spacings
MIN_PERSON = 0.05  # value of the person's mask from which on a pixel may show the person


def vertices_around(outline: np.ndarray, scale: float, person: np.ndarray) -> np.ndarray:
    """(P, 2) a hexagonal grid over the surroundings outside the face's outline (36, 2), and the frame's edge.

    ``scale`` is in pixels per normalized unit, ``person`` (640, 640) is the mask, 0 background … 1 person.
    """
    extent = EXTENT - 1.0
    rows = np.linspace(0, extent, round(extent / (SPACING * 0.87)) + 1)
    columns = np.linspace(0, extent, round(extent / SPACING) + 1)
    shift = np.where(np.arange(len(rows)) % 2, 0.5 * (columns[1] - columns[0]), 0)
    x = np.clip(columns[None] + shift[:, None], 0, extent)
    x[:, 0] = 0
    grid = np.stack([x, np.broadcast_to(rows[:, None], x.shape)], -1)
    # The outline made dense, so that the distance to it is that to its nearest point.
    dense = np.concatenate([outline + t * (np.roll(outline, -1, 0) - outline) for t in np.linspace(0, 1, 8)[:-1]])
    distance = scipy.spatial.cKDTree(dense).query(grid)[0]
    size = 2 * DENSE_PIXELS + 1
    near = cv2.dilate((person > MIN_PERSON).astype(np.uint8), square(size)) > 0
    kept = near[grid[..., 1].round().astype(int), x.round().astype(int)] & (distance < DENSE_REACH * scale)
    kept[::2, ::2] = kept[[0, -1]] = kept[:, [0, -1]] = True
    kept &= distance > CLEARANCE * SPACING
    points = grid[kept]
    return points[~_is_inside(points, outline)]


def triangulate(source: np.ndarray) -> np.ndarray:
    """(N, 3) the face mesh, its mouth and eyes spanned by strips, and the photo around it, triangulated once."""
    strips = [_strip(INNER_UPPER_LIP, INNER_LOWER_LIP)] + [_strip(eye.upper_lid, eye.lower_lid) for eye in EYES]
    indices = np.concatenate([OVAL, np.arange(NUM_SURFACE_POINTS, len(source))])
    around = indices[scipy.spatial.Delaunay(source[indices]).simplices]
    around = around[~_is_inside(source[around].mean(1), source[list(OVAL)])]
    return np.concatenate([canonical_face().triangles, *strips, around])


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> np.ndarray:
    """Triangles between two chains of points that share their ends."""
    triangles = []
    for i in range(len(upper) - 1):
        triangles += [(upper[i], upper[i + 1], lower[i]), (lower[i], upper[i + 1], lower[i + 1])]
    return np.array([triangle for triangle in triangles if len(set(triangle)) == 3])


def _is_inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(P,) bool: which points lie inside a polygon, by the number of its edges to their right."""
    start, end = polygon[None], np.roll(polygon, -1, 0)[None]
    x, y = points[:, :1], points[:, 1:]
    crosses = (start[..., 1] > y) != (end[..., 1] > y)
    rise = np.where(end[..., 1] == start[..., 1], 1, end[..., 1] - start[..., 1])
    at = start[..., 0] + (y - start[..., 1]) / rise * (end[..., 0] - start[..., 0])
    return (np.sum(crosses & (x < at), 1) % 2).astype(bool)
