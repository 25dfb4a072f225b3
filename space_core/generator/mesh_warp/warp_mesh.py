"""The mesh that carries a portrait's pixels: the face mesh, lids and lips closed, and the head and body around it.

It is built in pixels of the portrait's surroundings and then carried over to those of the film.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial import Delaunay, cKDTree
from torch.nn import functional as F

from space_core.face.crop_size import MARGIN
from space_core.face.topology import (
    CHIN,
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_SURFACE_POINTS,
    OVAL,
    canonical_face,
)
from space_core.generator.mesh_warp.brow_edges import brow_edges
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, PixelTransform, index_on
from space_core.generator.mesh_warp.far_side import FarSide, find_far_side
from space_core.generator.mesh_warp.fringe import fringe, fringe_averages
from space_core.generator.mesh_warp.hanging_hair import HangingHair, find_hanging_hair, hair_swing
from space_core.generator.mesh_warp.head_back import HeadBack, find_head_back
from space_core.generator.mesh_warp.head_shape import HeadDepth, at_points, head_depth, places_at
from space_core.generator.mesh_warp.held_things import held_things
from space_core.generator.mesh_warp.sampling import EXTENT
from space_core.smoothstep import smoothstep

# Pixels between the vertices on a head around its face: between ones further apart, strands of hair show kinks.
# So far from the face (normalized), and from the person (pixels), motion is smooth, and one vertex stands for four.
SPACING, DENSE, DENSE_PIXELS = 18, 0.8, 24
CLEARANCE = 0.45  # the least distance of such a vertex from the face's outline, in spacings

# How far the head reaches, in normalized units (outer eye corners one apart, chin at about 1.3). These, and what the
# body does, were measured by optical flow in 74 recordings of speakers, relative to their head poses.
NECK_TOP, NECK_END = 0.85, 2.1  # down the neck, the head's turning fades out between these
HEAD_SIDE, HEAD_END = 1.9, 3.2  # and likewise to the sides, beyond any hair
NECK_SIDE, SHOULDERS = 0.35, 0.6  # shoulders are no neck: beside it, each unit counts for that much further down
# Hair that hangs before or behind shoulders goes with the head further down, as if so much less far out.
OVER_SHOULDERS = 0.5
NECK = (0.0, 0.78, 1.25)  # about this point heads turn; where it goes, the body goes with it, …
BODY_SWAY = (0.9, 0.5)  # … sideways and up and down by this much, …
BODY_TURN = 0.08  # … and it turns with the head this little
FARTHEST_SWAY = 0.25  # normalized units: where the body's sway ends
NEAREST_POINTS = 6  # of the outline, whose motion a vertex around it follows
EXPRESSION_REACH = 0.33  # how far the jaw's and the cheeks' own motion reaches beyond the outline
# Of the person's mask at the photo's edge, where it is unsure, or so many pixels inside: none … a person who is cut off
# there; and how far to either side, pixels.
CUT, CUT_BAND, CUT_WIDTH = (0.05, 0.3), 12, 24
# Likewise at a photo's very side edge, over so many pixels: an outline that ends before it, such as that of an ear, is
# whole, and free.
CUT_AT_EDGE, OUTERMOST = (0.03, 0.1), 2
# The sides of the face, that far from its middle and that near to its outline, take the smooth depth of the head, too,
# by this share: with all of it near cheeks look best, but a face tracker measures turns 8 % smaller.
SIDES, RIM, SMOOTHED = (0.35, 0.65), (0.0, 0.25), 0.7


@dataclass(frozen=True)
class WarpMesh:
    """A portrait's warp mesh, on the generator's device; see ``move`` for its use.

    Attributes:
        source: (V, 2) the vertices in the photo, pixels; the first 468 are the face's, the last those of ``back``.
        triangles: (N, 3) int64.
        photo: the photo's own landmarks.
        relief: (468, 1) how much further back the face's vertices are taken to lie when the head turns, normalized.
        brows: (468, 3) how far from the landmarks of the face its vertices are, normalized; see ``brow_edges``.
        covered: (468, 1) 0 where a vertex of the face moves with the skin … 1 where it is hair that does not.
        fringe_averages: (468, 468) of whose motion that of this hair is the mean.
        around: (V − 468, 3) the vertices around the face, normalized.
        neck: (1, 3) the point about which the head turns, normalized.
        head: (V − 468, 3) 1 where a vertex goes and turns with the head … 0 where it does not, along x, y and z.
        body: (V − 468, 2) likewise, how much it goes where the neck goes.
        hair: (V − 468, 4) how much of the swing of each of the ``LOCKS`` a vertex takes along x.
        outline: (V − 468, 36) how much of each outline point's own motion a vertex takes.
        far: what the near side shows better; None if the photo shows both sides.
        back: what the photo hides behind the head's outline.
    """

    source: torch.Tensor
    triangles: torch.Tensor
    photo: FaceMotion
    relief: torch.Tensor
    brows: torch.Tensor
    covered: torch.Tensor
    fringe_averages: torch.Tensor
    around: torch.Tensor
    neck: torch.Tensor
    head: torch.Tensor
    body: torch.Tensor
    hair: torch.Tensor
    outline: torch.Tensor
    far: FarSide | None
    back: HeadBack

    def move(self, motion: FaceMotion) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the vertices go with the face: their positions (B, V, 2) and depths (B, V), in pixels of the film."""
        oval = index_on(OVAL, self.source.device)
        at_rest = self.photo.place(self.around)
        with_head = self.head * (motion.place(self.around) - at_rest)
        sway = (motion.place(self.neck) - self.photo.place(self.neck))[..., :2]
        farthest = FARTHEST_SWAY * self.photo.scale
        with_body = self.body * sway / (1 + (sway.norm(dim=-1, keepdim=True) / farthest) ** 2).sqrt()
        expression = (
            motion.posed.index_select(1, oval) - motion.place(self.photo.normalized[0].index_select(0, oval))
        )[..., :2]
        around = self.source[NUM_SURFACE_POINTS:] + with_head[..., :2] + with_body + self.outline @ expression
        around = around + F.pad((motion.hair @ self.hair.T)[..., None], (0, 1))
        steps = [face.scale[:, None] * face.rotation[..., 2] for face in (motion, self.photo)]  # per unit of depth
        turned = self.relief * (steps[0] - steps[1])[:, None]
        # Brows that rise take a fringe along as a whole; where they come down it stays.
        change = (motion.normalized - self.photo.normalized)[:, :NUM_SURFACE_POINTS, :2]
        of_hair = F.linear(change.mT, self.fringe_averages).mT  # one product for all frames
        of_hair[..., 1].clamp_(max=0)
        held = (self.covered * (change - of_hair)) @ motion.rotation[..., :2].mT * motion.scale[:, None, None]
        beside = self.brows @ motion.rotation.mT * motion.scale[:, None, None]
        face = motion.posed[:, :NUM_SURFACE_POINTS] + beside - held + turned
        depth = at_rest[..., 2] + with_head[..., 2]
        return torch.cat([face[..., :2], around], 1), torch.cat([face[..., 2], depth], 1)

    def transformed(self, transform: PixelTransform) -> "WarpMesh":
        """The same mesh in the pixels of another picture."""
        source = transform(self.source.cpu().numpy()).astype(np.float32)
        return replace(
            self,
            source=torch.from_numpy(source).to(self.source.device),
            photo=self.photo.transformed(transform),
        )


def build_warp_mesh(
    photo: FaceMotion,
    picture: torch.Tensor,
    person: np.ndarray,
    edges: np.ndarray,
    continued: tuple[bool, bool, bool],
    rigid: float,
) -> WarpMesh:
    """The warp mesh of a photo.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        picture: (1, 3, 640, 640) the surroundings, 0…1.
        person: (640, 640) 0 background … 1 person.
        edges: (2, 2) the photo's left and top, right and bottom in pixels of the surroundings.
        continued: whether there is more of the head to draw beyond the photo's left, upper and right edges.
        rigid: 0 hair swings … 1 it is of stone.
    """
    host = photo.host
    landmarks = host.posed[0].astype(np.float64)
    outline = landmarks[list(OVAL), :2]
    around = _points_around(outline, float(host.scale[0]), person)
    triangles = _triangles(np.concatenate([landmarks[:NUM_SURFACE_POINTS, :2], around]))
    hair = find_hanging_hair(photo, picture, person)
    depth = head_depth(photo, person, hair)
    normalized = _normalized_at(around, depth, host)
    back = find_head_back(photo, picture, person, hair)
    points = np.concatenate([around, host.place(back.vertices)[0, :, :2]])
    points_normalized = np.concatenate([normalized, back.vertices])
    follows = _following(photo, person, edges, continued, hair, points, points_normalized)
    # What follows the head only in part lags no further behind than it has gone.
    swing = hair_swing(photo, hair, points) * ((1 - rigid) * follows.turns * follows.inside[:, 0])[:, None]
    covered = fringe(photo, picture)
    brows = brow_edges(photo, picture)
    face = landmarks[:NUM_SURFACE_POINTS] + brows @ host.rotation[0].T * float(host.scale[0])

    def place(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=photo.posed.device)

    return WarpMesh(
        source=place(np.concatenate([face[:, :2], points])),
        triangles=torch.tensor(triangles, device=photo.posed.device),
        photo=photo,
        relief=place(_relief(host, depth, outline)[:, None]),
        brows=place(brows),
        covered=place(covered[:, None]),
        fringe_averages=place(fringe_averages(covered)),
        around=place(points_normalized),
        neck=place(np.array([NECK])),
        head=place(follows.head),
        body=place(follows.body),
        hair=place(swing),
        outline=place(follows.outline),
        far=find_far_side(photo, person, normalized, follows.turns[: len(around)], hair.at(around), triangles),
        back=back,
    )


def _normalized_at(points: np.ndarray, depth: HeadDepth, host: HostMotion) -> np.ndarray:
    """(P, 3) the places in the normalized face that points (P, 2) of the surroundings show, their depth being known."""
    posed = np.concatenate([points, depth.at(points)[:, None]], 1)
    return (posed - host.translation) @ host.rotation[0] / float(host.scale[0])


@dataclass(frozen=True)
class _Following:
    """How far the vertices around the face follow it.

    Attributes:
        turns: (P,) 1 where a vertex turns with the head … 0, wherever the photo's edges let it go.
        inside: (P, 2) how freely it moves along x and y, see ``_inside``.
        head, body, outline: see ``WarpMesh``.
    """

    turns: np.ndarray
    inside: np.ndarray
    head: np.ndarray
    body: np.ndarray
    outline: np.ndarray


def _following(
    photo: FaceMotion,
    person: np.ndarray,
    edges: np.ndarray,
    continued: tuple[bool, bool, bool],
    hair: HangingHair,
    points: np.ndarray,
    normalized: np.ndarray,
) -> _Following:
    """How far points (P, 2) of the surroundings, at normalized places (P, 3), follow the face.

    For the other arguments see ``build_warp_mesh``.
    """
    host, scale = photo.host, float(photo.host.scale[0])
    outline = host.posed[0, list(OVAL), :2].astype(np.float64)
    x, y, _ = normalized.T
    # By how much the face is longer than the average face.
    longer = host.normalized[0, CHIN, 1].astype(np.float64) - canonical_face().vertices[CHIN, 1]
    sideways_at, down_at = places_at(photo, 0)
    held = held_things(person, outline.mean(0), _down(sideways_at, down_at, longer), scale)
    down = np.maximum(_down(x * (1 - OVER_SHOULDERS * hair.at(points)), y, longer), at_points(held, points))
    sideways = smoothstep(torch.from_numpy(abs(x)), HEAD_SIDE, HEAD_END).numpy()
    inside = _inside(points, person, edges, (False, continued[1], False))
    # What goes on beyond the photo's sides moves across them with the head; shoulders stay there.
    head_inside = inside + (1 - down)[:, None] * (_inside(points, person, edges, continued) - inside)
    turns = (1 - down) * (1 - sideways) + BODY_TURN * down
    sways = np.clip(np.array(BODY_SWAY) - BODY_TURN, 0, None) * down[:, None]
    distance = np.linalg.norm(points[:, None] - outline[None], axis=-1) / scale
    return _Following(
        turns=turns,
        inside=inside,
        head=turns[:, None] * np.column_stack([head_inside, head_inside.min(1)]),
        body=sways * inside,
        outline=_expression_weights(distance) * inside.min(1)[:, None],
    )


def _relief(host: HostMotion, depth: HeadDepth, outline: np.ndarray) -> np.ndarray:
    """(468,) by how much deeper than the face mesh its sides are drawn, normalized: most of the way to the head's."""
    surface = host.posed[0, :NUM_SURFACE_POINTS].astype(np.float64)
    scale = float(host.scale[0])
    inwards = np.linalg.norm(surface[:, None, :2] - outline[None], axis=-1).min(1) / scale
    x = host.normalized[0, :NUM_SURFACE_POINTS, 0].astype(np.float64)
    side = smoothstep(abs(x), *SIDES) * (1 - smoothstep(inwards, *RIM))
    return SMOOTHED * side * (depth.at(surface[:, :2]) - surface[:, 2]) / scale


def _expression_weights(distance: np.ndarray) -> np.ndarray:
    """(P, 36) with which weight points around the face go with each point of its outline.

    ``distance`` (P, 36) is how far they are from it, normalized.
    """
    # Only the nearest points count: a jaw must not move the hair on the other side by a hundredth of a pixel.
    reach = np.partition(distance, NEAREST_POINTS, axis=1)[:, NEAREST_POINTS, None]
    nearness = np.clip(reach / (distance + 1e-3) - 1, 0, None) ** 2
    nearness /= nearness.sum(1, keepdims=True)
    return nearness * np.exp(-((distance.min(1) / EXPRESSION_REACH) ** 2))[:, None]


def _down(x: np.ndarray, y: np.ndarray, longer: float) -> np.ndarray:
    """(…) 0 at normalized x and y (…) that turn with the head … 1 down the neck and on the shoulders, where none does.

    The face is ``longer`` than the average face, normalized.
    """
    beside = SHOULDERS * np.clip(abs(x) - NECK_SIDE, 0, None) * np.clip(2 * y, 0, 1)
    return smoothstep(y + beside, NECK_TOP + longer, NECK_END + longer)


def _inside(
    points: np.ndarray, person: np.ndarray, edges: np.ndarray, continued: tuple[bool, bool, bool]
) -> np.ndarray:
    """(P, 2) how freely points (P, 2) move along x and y: 0 not at all … 1 freely; see ``build_warp_mesh``.

    At edges that cut the person off the person moves along them, but not across: there is nothing that could be drawn
    in. Where the photo goes on beyond the surroundings, what lies there stands still. Elsewhere the background stands
    still, and the person moves freely.
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
                cut = cut * smoothstep(maximum_filter1d(at_edge, 2 * CUT_WIDTH), *CUT_AT_EDGE)
            cut = gaussian_filter1d(maximum_filter1d(cut, 2 * CUT_WIDTH), CUT_WIDTH / 2)
            free = MARGIN * (1 - np.interp(points[:, 1 - axis], np.arange(EXTENT), cut))
            axes = [axis] if seen == end else [0, 1]
            room[:, axes] = np.minimum(room[:, axes], (outwards * (seen - points[:, axis]) + free)[:, None])
    # Nor does the mesh's own border move across: beyond it the photo would be seen as it is at rest.
    room[(points <= 0) | (points >= EXTENT - 1)] = 0
    return np.clip(room / MARGIN, 0, 1)


def _points_around(outline: np.ndarray, scale: float, person: np.ndarray) -> np.ndarray:
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
    distance = cKDTree(dense).query(grid)[0]
    size = 2 * DENSE_PIXELS + 1
    near = cv2.dilate((person > CUT[0]).astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    kept = near[grid[..., 1].round().astype(int), x.round().astype(int)] & (distance < DENSE * scale)
    kept[::2, ::2] = kept[[0, -1]] = kept[:, [0, -1]] = True
    kept &= distance > CLEARANCE * SPACING
    points = grid[kept]
    return points[~_enclosed(points, outline)]


def _triangles(source: np.ndarray) -> np.ndarray:
    """(N, 3) the face mesh, its mouth and eyes spanned by strips, and the photo around it, triangulated once."""
    strips = [_strip(INNER_UPPER_LIP, INNER_LOWER_LIP)] + [_strip(eye.upper_lid, eye.lower_lid) for eye in EYES]
    indices = np.concatenate([OVAL, np.arange(NUM_SURFACE_POINTS, len(source))])
    around = indices[Delaunay(source[indices]).simplices]
    around = around[~_enclosed(source[around].mean(1), source[list(OVAL)])]
    return np.concatenate([canonical_face().triangles, *strips, around])


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> np.ndarray:
    """Triangles between two chains of points that share their ends."""
    triangles = []
    for i in range(len(upper) - 1):
        triangles += [(upper[i], upper[i + 1], lower[i]), (lower[i], upper[i + 1], lower[i + 1])]
    return np.array([triangle for triangle in triangles if len(set(triangle)) == 3])


def _enclosed(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(P,) bool: which points lie inside a polygon, by the number of its edges to their right."""
    start, end = polygon[None], np.roll(polygon, -1, 0)[None]
    x, y = points[:, :1], points[:, 1:]
    crosses = (start[..., 1] > y) != (end[..., 1] > y)
    rise = np.where(end[..., 1] == start[..., 1], 1, end[..., 1] - start[..., 1])
    at = start[..., 0] + (y - start[..., 1]) / rise * (end[..., 0] - start[..., 0])
    return (np.sum(crosses & (x < at), 1) % 2).astype(bool)
