"""The shape of a head behind its face mesh: skull, ears, neck and shoulders, and how deep each pixel of a photo lies.

The face mesh ends at the temples and cheeks. What lies beyond takes its depth from a generic head, fitted to the face
mesh, its skull widened to the photo's hair.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from safetensors.numpy import load_file
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from space_core.assets import weights_path
from space_core.face.topology import NUM_SURFACE_POINTS, canonical_face
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.hanging_hair import HairShares
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.sampling import EXTENT, blur, grid_of
from space_core.smoothstep import smoothstep

HEAD_SHAPE = weights_path("head_shape.safetensors")

CELL = 4  # pixels of the surroundings between the depths that are computed
# Normalized. Ears are nowhere exactly where the generic head has them, and the photo shows little of the steep sides of
# a face: what a turn reveals of them is spread over their neighbourhood.
SMOOTHING = 0.075
# Hair lies on the skull, in normalized units (outer eye corners one apart): fully above the first height, not at all
# below the second, and not in front of the first depth, fully behind the second.
HAIR_HEIGHT, HAIR_DEPTH = (-0.45, 0.25), (0.0, 0.6)
SKULL_MIDDLE = np.array([0.0, 0.0, 0.85])
TOP, SIDES = (
    0.35,
    (-0.55, 0.05),
)  # half the width of what is the head's top, and the heights between which are its sides
HAIRLINE = 0.40  # normalized, by which hair at the hairline lies before the skull
MOST_HAIR = 1.6  # of the skull's size from its middle
# The photo shows little of what lies further back than an ear's front, and a turn would stretch that little: depth is
# unchanged up to the first and flattened towards the second, normalized.
FLAT_FROM, DEEPEST = 0.55, 0.85
BESIDE = 0.1  # that far from the head's outline everything is as deep as that: hair hangs beside the jaw, not from it
# Ears hang lower in photos than on the generic head, as deep as that at their lobes, too: this far beside the face, and
# between these heights, normalized.
EAR, EAR_BESIDE, EAR_HEIGHTS = 0.8, (0.02, 0.12), (-0.3, -0.1, 0.6, 0.85)
HANGING, HANGING_WIDTH = 0.55, 0.25  # … but hair that is known to hang is beside the face; it gets there gradually


@dataclass(frozen=True)
class HeadShape:
    """A bald head in the coordinates of the canonical face.

    Attributes:
        vertices: (V, 3) float64, normalized.
        triangles: (N, 3) int64.
    """

    vertices: np.ndarray
    triangles: np.ndarray


@cache
def head_shape() -> HeadShape:
    """The shipped head, read once."""
    arrays = load_file(HEAD_SHAPE)
    return HeadShape(arrays["vertices"].astype(np.float64), arrays["triangles"].astype(np.int64))


@dataclass(frozen=True)
class HeadDepth:
    """How deep head and body lie behind a photo's surroundings.

    Attributes:
        cells: (160, 160) depth, in pixels, in the coordinates of the posed landmarks.
    """

    cells: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """(P,) the depth at pixels (P, 2) of the surroundings."""
        return _at(self.cells, points)


def head_depth(photo: FaceMotion, person: np.ndarray, hair: HairShares) -> HeadDepth:
    """The depth of the face mesh, around it of the generic head, and beside the head of hair that hangs from the ears.

    Args:
        photo: the photo's own landmarks in pixels of the surroundings, on the host.
        person: (640, 640) 0 background … 1 person.
        hair: which share of the person is hair.
    """
    host, shape = photo.host, head_shape()
    vertices = _with_hair(shape.vertices * _proportions(host.normalized[0]), photo, person, hair)
    flat = DEEPEST - FLAT_FROM
    vertices[:, 2] = np.minimum(vertices[:, 2], FLAT_FROM + flat * np.tanh((vertices[:, 2] - FLAT_FROM).clip(0) / flat))
    head, is_head = _drawn(host.place(vertices)[0], shape.triangles)
    face, is_face = _drawn(host.posed[0, :NUM_SURFACE_POINTS], canonical_face().triangles)
    distance, (rows, columns) = distance_transform_edt(~(is_head | is_face), return_indices=True)
    beside = smoothstep(distance * CELL / float(host.scale[0]), 0, BESIDE)
    depth = np.where(is_face, face, head)[rows, columns]
    plane = _plane(photo, DEEPEST)
    plane += blur(hair.hangs, HANGING_WIDTH * float(host.scale[0]) / CELL) * (_plane(photo, HANGING) - plane)
    depth += beside * (plane[rows, columns] - depth)
    ear = _ear(photo, is_face) * (1 - hair.hangs)
    depth += ear * (_plane(photo, EAR) - depth).clip(0)
    return HeadDepth(gaussian_filter(depth, SMOOTHING * float(host.scale[0]) / CELL, mode="nearest"))


def _at(cells: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) the values of cells (160, 160) at pixels (P, 2) of the surroundings."""
    return map_coordinates(cells, points.T[::-1] / CELL, order=1, mode="nearest")


def _drawn(posed: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(160, 160) the depth of a mesh (V, 3), in pixels, and whether it is there."""
    vertices = torch.from_numpy(posed.astype(np.float32))[None]
    attributes = torch.cat([vertices[..., 2:], torch.ones_like(vertices[..., 2:])], -1)
    size = (EXTENT // CELL, EXTENT // CELL)
    cells, depths = vertices[..., :2] / CELL, vertices[..., 2] / CELL
    depth, drawn = rasterize(cells, depths, torch.from_numpy(triangles), attributes, size)[0].numpy().transpose(2, 0, 1)
    return depth, drawn > 0.5


def _proportions(normalized: np.ndarray) -> np.ndarray:
    """(3,) width, height and depth of a face (478, 3) relative to the canonical face."""
    own, average = normalized[:NUM_SURFACE_POINTS], canonical_face().vertices[:NUM_SURFACE_POINTS]
    own, average = own - own.mean(0), average - average.mean(0)
    return (own * average).sum(0) / (average**2).sum(0)


def _plane(photo: FaceMotion, depth: float) -> np.ndarray:
    """(R, C) the depth, in pixels, of a plane at a normalized depth, seen at each cell."""
    middles = torch.arange(0, EXTENT, CELL, dtype=torch.float32)
    x, y = photo.unproject(grid_of(middles, middles), depth)[0].numpy().transpose(2, 0, 1)
    host = photo.host
    return (np.stack([x, y, np.full_like(x, depth)], -1) @ host.rotation[0, 2]) * host.scale[0] + host.translation[0, 2]


def _ear(photo: FaceMotion, is_face: np.ndarray) -> np.ndarray:
    """(160, 160) 1 where an ear may be, if the face is where (160, 160) bool says … 0 where there is none."""
    middles = torch.arange(0, EXTENT, CELL, dtype=torch.float32)
    _, y = photo.unproject(grid_of(middles, middles), EAR)[0].numpy().transpose(2, 0, 1)
    top, upper, lower, bottom = EAR_HEIGHTS
    beside = smoothstep(distance_transform_edt(~is_face) * CELL / float(photo.host.scale[0]), *EAR_BESIDE)
    return beside * smoothstep(y, top, upper) * (1 - smoothstep(y, lower, bottom))


def _with_hair(vertices: np.ndarray, photo: FaceMotion, person: np.ndarray, shares: HairShares) -> np.ndarray:
    """A head's vertices (V, 3), normalized, the skull as high and wide as it is with its hair in the photo."""
    step = slice(None, None, CELL)
    rows = torch.arange(0, EXTENT, CELL, dtype=torch.float32)
    seen = photo.unproject(grid_of(rows, rows), float(SKULL_MIDDLE[2]))[0].numpy()[person[step, step] > 0.5]
    own = vertices[vertices[:, 1] < SIDES[1]] - SKULL_MIDDLE
    growth = np.ones(3)
    top, sides = (seen[part] for part in (abs(seen[:, 0]) < TOP, (seen[:, 1] > SIDES[0]) & (seen[:, 1] < SIDES[1])))
    if len(top) and len(sides):
        growth[1] = (top[:, 1].min() - SKULL_MIDDLE[1]) / own[:, 1].min()
        growth[0] = min(sides[:, 0].max() / own[:, 0].max(), sides[:, 0].min() / own[:, 0].min())
        growth[2] = growth[:2].mean()
    growth = np.clip(growth, 1, MOST_HAIR)
    hair = 1 - smoothstep(vertices[:, 1], *HAIR_HEIGHT)
    behind = smoothstep(vertices[:, 2], *HAIR_DEPTH)
    haired = vertices + (hair * behind)[:, None] * (growth - 1) * (vertices - SKULL_MIDDLE)
    shown = _at(shares.grows, photo.host.place(vertices)[0, :, :2])
    haired[:, 2] -= HAIRLINE * shown * (1 - behind)
    return haired
