"""The mesh that carries a portrait's pixels: the face mesh, lids and lips closed, and the head and body around it.

It is built in pixels of the portrait's surroundings and then converted to pixels of the film.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.face.topology import NUM_SURFACE_POINTS, OVAL, canonical_face
from space_core.generator.mesh_warp.brow_edges import brow_edges
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, PixelTransform, index_on, upload
from space_core.generator.mesh_warp.far_side import FarAppearance, FarSide, find_far_side
from space_core.generator.mesh_warp.following import Vertices, find_following
from space_core.generator.mesh_warp.fringe import fringe, fringe_averages
from space_core.generator.mesh_warp.hanging_hair import find_hanging_hair, hair_swing
from space_core.generator.mesh_warp.head_back import HeadBack, find_head_back
from space_core.generator.mesh_warp.head_shape import HeadDepth, at_points, head_depth
from space_core.generator.mesh_warp.mesh_topology import triangulate, vertices_around

NECK = (0.0, 0.78, 1.25)  # normalized place of the point about which heads turn
MAX_SWAY = 0.25  # normalized: the body's sway approaches this and never exceeds it
# The sides of the face, beyond this |x| and nearer than this to the face's outline (normalized), take the depth of the
# generic head by this share: with all of it near cheeks look best, but a face tracker measures turns 8 % smaller.
SIDES, RIM, HEAD_SHARE = (0.35, 0.65), (0.0, 0.25), 0.7


@dataclass(frozen=True)
class MovedVertices:
    """The vertices of a warp mesh in a few frames.

    Attributes:
        positions: (B, V, 2) in pixels of the film.
        depths: (B, V) likewise.
        far_in_view: (B,) how far ``WarpMesh.far`` is turned into view, 0…1, on the host; see ``FarSide.in_view``.
    """

    positions: torch.Tensor
    depths: torch.Tensor
    far_in_view: np.ndarray


@dataclass(frozen=True)
class WarpMesh:
    """A portrait's warp mesh, on the generator's device; see ``move`` for its use.

    Attributes:
        source: (V, 2) the vertices in the photo, pixels; the first 468 are the face's, the last those of ``back``.
        triangles: (N, 3) int64.
        photo: the photo's own landmarks.
        relief: (468, 1) how much further back the face's vertices are taken to lie when the head turns, normalized.
        far_relief: (468, 1) what is added to it where the far side is seen mirrored.
        brows: (468, 3) how far from the landmarks of the face its vertices are, normalized; see ``brow_edges``.
        covered: (468, 1) 0 where a vertex of the face moves with the skin … 1 where it is hair that does not.
        fringe_averages: (468, 468) weights of the mean motion with which this hair moves.
        around: (V − 468, 3) the vertices around the face, normalized.
        neck: (1, 3) the point about which the head turns, normalized.
        head: (V − 468, 3) 1 where a vertex moves and turns with the head … 0 where it does not, along x, y and z.
        body: (V − 468, 2) the share of the neck's translation that a vertex takes, along x and y.
        hair: (V − 468, 4) how much of the swing of each of the ``LOCKS`` a vertex takes along x.
        outline: (V − 468, 36) how much of each outline point's own motion a vertex takes.
        far: what the near side shows better; None if the photo shows both sides.
        back: what the photo hides behind the head's outline.
    """

    source: torch.Tensor
    triangles: torch.Tensor
    photo: FaceMotion
    relief: torch.Tensor
    far_relief: torch.Tensor
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

    def move(self, motion: FaceMotion) -> MovedVertices:
        """The vertices, moved with the face."""
        oval = index_on(OVAL, self.source.device)
        at_rest = self.photo.place(self.around)
        with_head = self.head * (motion.place(self.around) - at_rest)
        sway = (motion.place(self.neck) - self.photo.place(self.neck))[..., :2]
        farthest = MAX_SWAY * self.photo.scale
        with_body = self.body * sway / (1 + (sway.norm(dim=-1, keepdim=True) / farthest) ** 2).sqrt()
        expression = (
            motion.posed.index_select(1, oval) - motion.place(self.photo.normalized[0].index_select(0, oval))
        )[..., :2]
        around = self.source[NUM_SURFACE_POINTS:] + with_head[..., :2] + with_body + self.outline @ expression
        around = around + F.pad((motion.hair @ self.hair.T)[..., None], (0, 1))
        steps = [face.scale[:, None] * face.rotation[..., 2] for face in (motion, self.photo)]  # per unit of depth
        relief, far_in_view = self.relief, np.zeros(len(motion.posed))
        if self.far is not None:
            far_in_view = self.far.in_view(motion)
            view = upload(far_in_view.astype(np.float32), relief.device)
            relief = relief + view[:, None, None] * self.far_relief
        turned = relief * (steps[0] - steps[1])[:, None]
        # Brows that rise lift a fringe as a whole; where they come down it stays.
        change = (motion.normalized - self.photo.normalized)[:, :NUM_SURFACE_POINTS, :2]
        of_hair = F.linear(change.mT, self.fringe_averages).mT  # one product for all frames
        of_hair[..., 1].clamp_(max=0)
        held = (self.covered * (change - of_hair)) @ motion.rotation[..., :2].mT * motion.scale[:, None, None]
        beside = self.brows @ motion.rotation.mT * motion.scale[:, None, None]
        face = motion.posed[:, :NUM_SURFACE_POINTS] + beside - held + turned
        depth = at_rest[..., 2] + with_head[..., 2]
        positions, depths = torch.cat([face[..., :2], around], 1), torch.cat([face[..., 2], depth], 1)
        return MovedVertices(positions, depths, far_in_view)

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
    appearance: FarAppearance | None,
    rigid: float,
) -> WarpMesh:
    """The warp mesh of a photo.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        picture: (1, 3, 640, 640) the surroundings, 0…1.
        person: (640, 640) 0 background … 1 person.
        edges: (2, 2) the photo's left and top, right and bottom in pixels of the surroundings.
        continued: whether there is more of the head to draw beyond the photo's left, upper and right edges.
        appearance: of the far side in the photo.
        rigid: 0 hair swings … 1 it is of stone.
    """
    host = photo.host
    face = host.posed[0, :, :2].astype(np.float64)
    around = vertices_around(face[list(OVAL)], float(host.scale[0]), person)
    triangles = triangulate(np.concatenate([face[:NUM_SURFACE_POINTS], around]))
    hair = find_hanging_hair(photo, picture, person)
    depth = head_depth(photo, person, hair)
    normalized = _normalized_at(around, depth, host)
    back = find_head_back(photo, picture, person, hair)
    pixels = np.concatenate([around, host.place(back.vertices)[0, :, :2]])
    vertices = Vertices(pixels, np.concatenate([normalized, back.vertices]))
    follows = find_following(photo, person, edges, continued, hair, vertices)
    # Hair on parts that follow the head only partly swings less: it can't lag further than these parts have moved.
    swing = hair_swing(photo, hair, pixels) * ((1 - rigid) * follows.turns * follows.freedom[:, 0])[:, None]
    covered = fringe(photo, picture)
    brows = brow_edges(photo, picture)
    relief = _relief(host, depth)
    far = find_far_side(photo, person, normalized, follows.turns[: len(around)], hair.at(around), triangles)
    return WarpMesh(
        source=_float32(np.concatenate([_moved_to_brow_edges(host, brows), pixels])),
        triangles=torch.from_numpy(triangles),
        photo=photo,
        relief=_float32(relief[:, None]),
        far_relief=_float32(_far_relief(host, relief, far, appearance)[:, None]),
        brows=_float32(brows),
        covered=_float32(covered[:, None]),
        fringe_averages=_float32(fringe_averages(covered)),
        around=_float32(vertices.normalized),
        neck=torch.tensor([NECK]),
        head=_float32(follows.head),
        body=_float32(follows.body),
        hair=_float32(swing),
        outline=_float32(follows.outline),
        far=far,
        back=back,
    )


def _moved_to_brow_edges(host: HostMotion, brows: np.ndarray) -> np.ndarray:
    """(468, 2) the vertices of the face in pixels, at offsets (468, 3), normalized, from its landmarks."""
    face = host.posed[0, :NUM_SURFACE_POINTS].astype(np.float64)
    return (face + brows @ host.rotation[0].T * float(host.scale[0]))[:, :2]


def _float32(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _normalized_at(points: np.ndarray, depth: HeadDepth, host: HostMotion) -> np.ndarray:
    """(P, 3) the places in the normalized face that points (P, 2) of the surroundings show, their depth being known."""
    posed = np.concatenate([points, depth.at(points)[:, None]], 1)
    return (posed - host.translation) @ host.rotation[0] / float(host.scale[0])


def _relief(host: HostMotion, depth: HeadDepth) -> np.ndarray:
    """(468,) by how much deeper than the face mesh its sides are drawn, normalized: most of the way to the head's."""
    surface = host.posed[0, :NUM_SURFACE_POINTS].astype(np.float64)
    outline = surface[list(OVAL), :2]
    scale = float(host.scale[0])
    inwards = np.linalg.norm(surface[:, None, :2] - outline[None], axis=-1).min(1) / scale
    x = host.normalized[0, :NUM_SURFACE_POINTS, 0].astype(np.float64)
    side = smoothstep(abs(x), *SIDES) * (1 - smoothstep(inwards, *RIM))
    return HEAD_SHARE * side * (depth.at(surface[:, :2]) - surface[:, 2]) / scale


def _far_relief(
    host: HostMotion, relief: np.ndarray, far: FarSide | None, appearance: FarAppearance | None
) -> np.ndarray:
    """(468,) ``WarpMesh.far_relief``: where more is mirrored around a face, its far outline is as deep as the near one.

    A photo shows the cheek before the far outline, which has its depth from there: turned to the front, the mirrored
    face would end far inwards of what is mirrored around it.
    """
    if far is None or appearance is None:
        return np.zeros_like(relief)
    mirror = canonical_face().mirror[:NUM_SURFACE_POINTS]
    # What is unlike the near side is not mirrored, and would be stretched.
    mirrored = far.joined[mirror] * at_points(appearance.alike, host.posed[0, mirror, :2])
    return mirrored * (relief[mirror] - relief)
