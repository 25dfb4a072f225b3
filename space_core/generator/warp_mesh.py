"""The mesh that carries a portrait's pixels: the face mesh, lids and lips closed, and the head and body around it.

All coordinates are pixels of the portrait's surroundings unless they are called normalized.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay

from space_core.face.normalization import HeadPose, normalize, pose_landmarks
from space_core.face.portrait import MARGIN, SIZE, Portrait
from space_core.face.topology import (
    CHIN,
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_SURFACE_POINTS,
    OVAL,
    canonical_face,
)

SPACING = 26  # pixels between the vertices around the face; the motion there is smooth
CLEARANCE = 0.45  # the least distance of such a vertex from the face's outline, in spacings

# How far the head reaches, in normalized units (outer eye corners one apart, chin at about 1.3).
NECK_TOP, NECK_END = 0.9, 2.5  # down the neck, the head's motion fades out between these
HEAD_SIDE, HEAD_END = 1.9, 3.2  # and likewise to the sides, beyond any hair
EXPRESSION_REACH = 0.33  # how far the jaw's and the cheeks' own motion reaches beyond the outline
DEPTH_BEHIND_OUTLINE = 0.35  # hair and ears lie that much further back than the nearest outline, a hand's breadth away


@dataclass(frozen=True)
class WarpMesh:
    """A portrait's warp mesh; see ``move`` for its use.

    Attributes:
        source: (V, 2) the vertices in the photo; the first 468 are the face's.
        triangles: (N, 3) int64.
        landmarks: (478, 3) the portrait's own landmarks.
        pose: the photo's head pose.
        around: (V − 468, 3) the vertices around the face, normalized.
        head: (V − 468,) 1 where a vertex moves with the head … 0 where it stays.
        outline: (V − 468, 36) how much of each outline point's own motion a vertex takes.
    """

    source: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    pose: HeadPose
    around: np.ndarray
    head: np.ndarray
    outline: np.ndarray

    def move(self, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the vertices go when the face moves to the posed landmarks (B, 478, 3), in pixels of the crop.

        Returns their positions (B, V, 2) and depths (B, V).
        """
        landmarks = landmarks + [MARGIN, MARGIN, 0]
        _, pose = normalize(landmarks)
        frames = len(landmarks)
        oval = list(OVAL)

        rigid = pose_landmarks(np.broadcast_to(self.around, (frames, *self.around.shape)), pose)
        moved = rigid - pose_landmarks(self.around[None], self.pose)
        normalized_oval, _ = normalize(self.landmarks[None])
        rigid_oval = pose_landmarks(np.repeat(normalized_oval[:, oval], frames, 0), pose)
        expression = landmarks[:, oval, :2] - rigid_oval[..., :2]
        around = self.source[NUM_SURFACE_POINTS:] + self.head[:, None] * moved[..., :2]
        around = around + np.einsum("vo,boc->bvc", self.outline, expression)

        positions = np.concatenate([landmarks[:, :NUM_SURFACE_POINTS, :2], around], 1)
        depths = np.concatenate([landmarks[:, :NUM_SURFACE_POINTS, 2], rigid[..., 2]], 1)
        return positions, depths


def build_warp_mesh(portrait: Portrait) -> WarpMesh:
    """The warp mesh of a portrait."""
    landmarks = portrait.landmarks + [MARGIN, MARGIN, 0]
    normalized, pose = normalize(landmarks[None])
    outline = landmarks[list(OVAL), :2]
    around = _points_around(outline)
    source = np.concatenate([landmarks[:NUM_SURFACE_POINTS, :2], around])

    # Distance of each vertex around the face to the outline, in normalized units.
    distance = np.linalg.norm(around[:, None] - outline[None], axis=-1) / pose.scale[0]
    nearness = 1 / (distance**2 + 1e-4)
    nearness /= nearness.sum(1, keepdims=True)
    nearest = distance.min(1)
    # With the depth known, the place in the normalized face follows from the place in the picture.
    depth = nearness @ landmarks[list(OVAL), 2] + pose.scale[0] * DEPTH_BEHIND_OUTLINE * (1 - np.exp(-nearest / 0.4))
    posed = np.concatenate([around, depth[:, None]], 1)
    around_normalized = (posed - pose.translation) @ pose.matrices[0] / pose.scale[0]

    x, y, _ = around_normalized.T
    chin = normalized[0, CHIN, 1] - canonical_face().vertices[CHIN, 1]  # long and short faces
    head = (1 - _smoothstep(y, NECK_TOP + chin, NECK_END + chin)) * (1 - _smoothstep(np.abs(x), HEAD_SIDE, HEAD_END))
    return WarpMesh(
        source=source,
        triangles=np.concatenate([_face_triangles(), _triangles_around(source, landmarks)]),
        landmarks=landmarks,
        pose=pose,
        around=around_normalized,
        head=head,
        outline=nearness * np.exp(-((nearest / EXPRESSION_REACH) ** 2))[:, None],
    )


def _points_around(outline: np.ndarray) -> np.ndarray:
    """(P, 2) a hexagonal grid over the surroundings outside the face's outline (36, 2), and the frame's edge."""
    extent = SIZE + 2 * MARGIN - 1.0
    rows = np.linspace(0, extent, round(extent / (SPACING * 0.87)) + 1)
    columns = np.linspace(0, extent, round(extent / SPACING) + 1)
    shift = np.where(np.arange(len(rows)) % 2, 0.5 * (columns[1] - columns[0]), 0)
    x = np.clip(columns[None] + shift[:, None], 0, extent)
    x[:, 0] = 0
    points = np.stack([x, np.broadcast_to(rows[:, None], x.shape)], -1).reshape(-1, 2)
    # The outline made dense, so that the distance to it is that to its nearest point.
    dense = np.concatenate([outline + t * (np.roll(outline, -1, 0) - outline) for t in np.linspace(0, 1, 8)[:-1]])
    distance = np.linalg.norm(points[:, None] - dense[None], axis=-1).min(1)
    return points[~_inside(points, outline) & (distance > CLEARANCE * SPACING)]


def _triangles_around(source: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(N, 3) triangles of the photo between the face's outline and the frame, made once per portrait."""
    indices = np.concatenate([OVAL, np.arange(NUM_SURFACE_POINTS, len(source))])
    triangles = indices[Delaunay(source[indices]).simplices]
    centres = source[triangles].mean(1)
    return triangles[~_inside(centres, landmarks[list(OVAL), :2])]


def _face_triangles() -> np.ndarray:
    """(898, 3) the face mesh, its mouth and eyes spanned by strips so that no pixel of the face is left out."""
    strips = [_strip(INNER_UPPER_LIP, INNER_LOWER_LIP)] + [_strip(eye.upper_lid, eye.lower_lid) for eye in EYES]
    return np.concatenate([canonical_face().triangles, *strips])


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> np.ndarray:
    """Triangles between two chains of points that share their ends."""
    triangles = []
    for i in range(len(upper) - 1):
        triangles += [(upper[i], upper[i + 1], lower[i]), (lower[i], upper[i + 1], lower[i + 1])]
    return np.array([triangle for triangle in triangles if len(set(triangle)) == 3])


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(P,) bool: which points lie inside a polygon, by the number of its edges to their right."""
    start, end = polygon[None], np.roll(polygon, -1, 0)[None]
    x, y = points[:, :1], points[:, 1:]
    crosses = (start[..., 1] > y) != (end[..., 1] > y)
    rise = np.where(end[..., 1] == start[..., 1], 1, end[..., 1] - start[..., 1])
    at = start[..., 0] + (y - start[..., 1]) / rise * (end[..., 0] - start[..., 0])
    return (np.sum(crosses & (x < at), 1) % 2).astype(bool)


def _smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
