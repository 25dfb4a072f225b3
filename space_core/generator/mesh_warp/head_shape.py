"""The shape of a head behind its face mesh: skull, ears, neck and shoulders, and how deep each pixel of a photo lies.

The face mesh ends at the temples and cheeks. What lies beyond takes its depth from a generic head, fitted to the face
mesh; skull and hair above it are rounded towards their outline in the photo.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
import torch
from safetensors.numpy import load_file

from space_core.arrays import smoothstep
from space_core.assets import weights_path
from space_core.face.topology import NUM_SURFACE_POINTS, canonical_face
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.hanging_hair import HangingHair
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.sampling import EXTENT, blur, grid_of

HEAD_SHAPE = weights_path("head_shape.safetensors")

CELL = 4  # pixels of the surroundings between computed depths
# Normalized standard deviation by which the depth is blurred. Ears are nowhere exactly where the generic head has them,
# and the photo shows little of the steep sides of a face: what a turn reveals of them is spread over their
# surroundings.
SMOOTHING = 0.075
# The photo shows little of what is further back than the front of an ear, and a turn would stretch that little: depth
# is unchanged up to ``FLAT_FROM`` and compressed towards ``DEEPEST``, normalized. The latter is the depth of ears and
# of the sides of a head that faces the camera. It is somewhat deeper than the head's axis, since what is seen there
# also stands for what is behind it.
FLAT_FROM, DEEPEST = 0.55, 1.0
# Above the face and beside its temples, head and hair are round: at a share s of the way from the face to the outline,
# depth is that of the outline and (1 − s^a)^b times the difference to that of the face. These are (a, b) at the top of
# a head, of which a photo shows too little for a circle (2, 0.5), and at its sides, which are steeper. This holds fully
# above the first of ``ROUND_HEIGHTS``, normalized, and not at all below the second.
ROUNDNESS, ROUND_HEIGHTS = ((2, 0.7), (3, 0.5)), (-0.25, 0.05)
# Along its outline the depth of a head is constant over this distance, normalized, and at most over this share of the
# way from the face: if it were steep there, too, a turn would stretch the soft edge of hair.
RIM, RIM_SHARE = 0.08, 0.12
SIDES = -0.4  # normalized height above which the sides of a head become its top
HEAD_MIDDLE = np.array([0.0, 0.0, 0.85])  # normalized, about which head and hair are taken to be round
# The photo of a turned head shows its near side further back. This is taken into account fully above the second, and
# not below the first, of these sines of the yaw and of these normalized distances from the middle. Compressed depth
# then ends deeper by ``DEEPER`` times the sine. Hair and ears beside the face are round, and reach the depth ``AXIS``
# of the head's axis at the outline, or at the distance ``FARTHEST`` from the face; normalized.
TURNED, NEAR = (0.1, 0.2), (0.0, 0.5)
DEEPER, AXIS, FARTHEST = 1.0, 0.95, 0.6
PERSON = 0.5  # of the mask: a pixel or cell that shows the person
# Normalized distance from the generic head at which depth becomes that of a plane: hair hangs beside the jaw.
BESIDE = 0.1
# Where an ear may be: distances from the face over which its depth sets in, and heights at which it sets in and ends,
# normalized. In photos ears reach lower than on the generic head.
EAR_BESIDE, EAR_HEIGHTS = (0.02, 0.12), (-0.3, -0.1, 0.6, 0.85)
# Hanging hair begins at this depth beside the face, and is round. Around it the depth changes gradually, by a Gaussian
# of this standard deviation; normalized.
HANGING, HANGING_WIDTH = 0.55, 0.25


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
    """The depth of head and body at each pixel of a photo's surroundings.

    Attributes:
        cells: (160, 160) depth, in pixels, in the coordinates of the posed landmarks.
    """

    cells: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """(P,) the depth at pixels (P, 2) of the surroundings."""
        return at_points(self.cells, points)


def head_depth(photo: FaceMotion, person: np.ndarray, hair: HangingHair) -> HeadDepth:
    """The depth of the face mesh, around it of the generic head, and beside the head of hair that hangs from the ears.

    Args:
        photo: the photo's own landmarks in pixels of the surroundings, on the host.
        person: (640, 640) 0 background … 1 person.
        hair: long hair.
    """
    host = photo.host
    (x, y), scale = places_at(photo, DEEPEST), float(host.scale[0]) / CELL  # the latter in cells
    face, is_face = _drawn(host.posed[0, :NUM_SURFACE_POINTS], canonical_face().triangles)
    head, is_head = _drawn(_head_vertices(photo), head_shape().triangles)
    inside = (person[::CELL, ::CELL] > PERSON) | is_face
    inside[[0, -1]] = inside[:, [0, -1]] = False
    from_face, nearest_face = scipy.ndimage.distance_transform_edt(~is_face, return_indices=True)
    to_outline, nearest_outline = scipy.ndimage.distance_transform_edt(inside, return_indices=True)
    across = (from_face + to_outline).clip(1e-6)
    beside_face = (from_face / np.minimum(across, FARTHEST * scale)).clip(max=1)

    # The outline of something round lies as deep as its middle.
    axis = np.stack([np.zeros_like(y), y, np.full_like(y, AXIS)], -1) @ host.rotation[0, 2]
    axis = axis * host.scale[0] + host.translation[0, 2]
    deepest, hanging = _plane(photo, DEEPEST), _rounded(_plane(photo, HANGING), axis, beside_face)
    plane = deepest + blur(hair.share, HANGING_WIDTH * scale) * (hanging - deepest)
    distance, nearest = scipy.ndimage.distance_transform_edt(~(is_head | is_face), return_indices=True)
    depth = np.where(is_face, face, head)[tuple(nearest)]
    depth += smoothstep(distance / scale, 0, BESIDE) * (plane[tuple(nearest)] - depth)
    depth += np.where(is_face, 0, hair.share) * (hanging - depth)

    beginning = depth[tuple(nearest_face)]
    # What would be deeper than the middle, on a turned far side, is as deep as that.
    outline = np.minimum(depth[tuple(nearest_outline)], float(host.place(HEAD_MIDDLE[None])[0, 0, 2]))
    side = _side(photo, x, y)
    outline += side * (plane - outline)
    share = from_face / (across - np.minimum(RIM * scale, RIM_SHARE * across))
    deeper = _rounded(beginning, outline, share.clip(max=1), side) - depth
    upper = 1 - smoothstep(y, *ROUND_HEIGHTS)
    depth += upper * (deeper - (1 - side) * deeper.clip(0))
    depth += _near_side(photo, x) * (_rounded(beginning, axis, beside_face) - depth).clip(0)

    ear = _ear(y, from_face / scale) * (1 - hair.share)
    depth += ear * (deepest - depth).clip(0)
    return HeadDepth(scipy.ndimage.gaussian_filter(depth, SMOOTHING * scale, mode="nearest"))


def _head_vertices(photo: FaceMotion) -> np.ndarray:
    """(V, 3) where the vertices of the generic head are, in pixels: fitted to the face, and flattened at its back."""
    vertices = head_shape().vertices * _proportions(photo.host.normalized[0])
    near = _near_side(photo, vertices[:, 0])
    flat = DEEPEST - FLAT_FROM + DEEPER * abs(photo.host.rotation[0, 2, 0]) * near
    vertices[:, 2] = np.minimum(vertices[:, 2], FLAT_FROM + flat * np.tanh((vertices[:, 2] - FLAT_FROM).clip(0) / flat))
    return photo.host.place(vertices)[0]


def _near_side(photo: FaceMotion, x: np.ndarray) -> np.ndarray:
    """How much deeper than a frontal photo the photo of a turned head shows the head at normalized x (…), 0…1."""
    sine = photo.host.rotation[0, 2, 0]
    return smoothstep(abs(sine), *TURNED) * smoothstep(-np.sign(sine) * x, *NEAR)


def _side(photo: FaceMotion, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(160, 160) 1 at the sides of a head that faces the camera … 0 at its top, and where it is turned away."""
    facing = 1 - smoothstep(abs(photo.host.rotation[0, 2, 0]), *TURNED)
    above = (SIDES - y).clip(0)
    return facing * (x**2 / (x**2 + above**2).clip(1e-6)) ** 2


def _rounded(beginning: np.ndarray, outline: np.ndarray, share: np.ndarray, side: np.ndarray | float = 0) -> np.ndarray:
    """(160, 160) depth that is round between ``beginning``, at the face, and ``outline``, at the head's outline.

    ``share`` (160, 160) of the way to the outline, 0…1; ``side`` (160, 160) is that of ``_side``.
    """
    power, root = (top + side * (beside - top) for top, beside in zip(*ROUNDNESS, strict=True))
    return outline + (beginning - outline) * (1 - share**power) ** root


def at_points(cells: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) the values of cells (160, 160) at pixels (P, 2) of the surroundings."""
    return scipy.ndimage.map_coordinates(cells, points.T[::-1] / CELL, order=1, mode="nearest")


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
    x, y = places_at(photo, depth)
    host = photo.host
    return (np.stack([x, y, np.full_like(x, depth)], -1) @ host.rotation[0, 2]) * host.scale[0] + host.translation[0, 2]


def places_at(photo: FaceMotion, depth: float) -> np.ndarray:
    """(2, 160, 160) normalized x and y, downwards, at each cell, at a normalized depth."""
    middles = torch.arange(0, EXTENT, CELL, dtype=torch.float32)
    return photo.unproject(grid_of(middles, middles), depth)[0].numpy().transpose(2, 0, 1)


def _ear(y: np.ndarray, from_face: np.ndarray) -> np.ndarray:
    """(160, 160) 1 where an ear may be … 0 where there is none, by height and distance from the face, normalized."""
    top, upper, lower, bottom = EAR_HEIGHTS
    return smoothstep(from_face, *EAR_BESIDE) * smoothstep(y, top, upper) * (1 - smoothstep(y, lower, bottom))
