"""The far side of a turned face, which its photo hides: what the near side shows, mirrored, and lit as the far side."""

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from torch.nn import functional as F

from space_core.arrays import distance_to, smoothstep
from space_core.face.topology import NUM_SURFACE_POINTS, OVAL, canonical_face, face_normals
from space_core.generator.mesh_warp.face_motion import FaceMotion, index_on, upload
from space_core.generator.mesh_warp.far_cheek import far_cheek
from space_core.generator.mesh_warp.head_shape import CELL, HEAD_MIDDLE, PERSON
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.sampling import EXTENT, blur

# Cosines: by how much more than the far side the near side must face the camera, and how little the far side does, for
# it not to be mirrored … to be mirrored wholly.
BETTER, FACING = (0.3, 0.5), (0.75, 0.5)
WITH_HEAD = (0.5, 0.95)  # of what turns with the head; necks and shoulders stay as they are
# Scarfs, collars and shoulders are not alike on both sides. They are what lies so far from the head's middle,
# heights counting less, and so far below the eyes; normalized.
BESIDE, UPWARDS, BELOW = (1.05, 1.35), 0.75, (0.35, 0.65)
BEYOND = (1.4, 1.8)  # so far from the middle nothing is hidden
TURN = (0.03, 0.08)  # turns towards the far side (differences of sines): nothing is mirrored … all that there is
# What a photo shows behind the near ear is taken to be less deep than it is, and so to reach further to the side:
# beyond these widths at these heights, normalized, it is mirrored only after turns, as above, that are so great.
HEIGHTS, WIDTHS, BEYOND_WIDTH, WIDE_TURN = (-0.15, 0.3), (0.9, 0.8), (-0.1, 0.1), (0.15, 0.3)
CHEEK_TURN = (0.08, 0.2)  # likewise: the photo's far cheek is seen beside the mirrored one … no longer
# The light of both sides is compared in colours that are averaged over so many normalized units, and varies smoothly
# over a wider distance. Its ratios are logarithms, at most so far from their median, and from none.
COLOUR_WIDTH, LIGHT_WIDTH = 0.06, 0.15
MIN_COLOUR, MAX_DEVIATION, MAX_RATIO = 0.04, 0.3, 0.4
# So far from the median both sides are alike … are not: hair on one forehead, for example, and skin on the other.
UNLIKE, LIKENESS_WIDTH = (0.35, 0.7), 0.08
# The same beside the face: steeper, as a half transparent ear before the background would be noticed; at yaws at which
# nothing reaches the second, from about 12° down, nothing is mirrored there.
HIDDEN = (0.3, 0.6)
# The photo shows the far ear, or what covers it, so far beyond the outline between these heights, in so large a share.
BEYOND_EAR, EAR_HEIGHTS, EAR_SHOWN = 0.08, (-0.15, 0.35), 0.8
# The outline that the photo shows is in part background, and a turn stretches it: what lies so near to what is mirrored
# around the face is mirrored wholly … not at all, normalized.
JOINED = (0.2, 0.5)
SAME_HEIGHT, HIDING = 0.06, 0.05  # what is that little higher or lower, and that much further out, hides the outline
# Where so much of it is sure, long hair is mirrored down to its tips, unless the photo shows it on the far side, too:
# so far beyond the outline, between these heights, normalized.
HAIR, BEYOND_OUTLINE, SIDE_HEIGHTS, FAR_HAIR_SHOWN = 0.5, 0.12, (0.0, 0.8), 0.5
# Where it reaches the shoulders, the neck between it and the face, at that height or so, and below the last, is
# mirrored with it: that beside shorter hair would end in the air.
BESIDE_HAIR, NECK = 0.08, 0.25
# What else hangs beside the jaw, a hood, would be cut off there by a mirror image: points beside it, at the outline of
# something of that radius at that height, normalized, and the share of them that shows the person in that case.
BESIDE_JAW, HANGING = tuple((radius, y) for radius in (0.9, 1.05) for y in (0.65, 0.8)), 0.85
# Long hair that would be seen in the photo itself, mirrored, where that shows the background, is not there, and nothing
# that it covers is mirrored: mean distance from the person, and down to which height, above the shoulders, normalized.
CONTRADICTED, ABOVE_SHOULDERS = (0.13, 0.155), 1.1
SHOWN = (0.5, 0.7)  # of what a colour is averaged over, the share that shows the person: it counts not at all … fully
MIN_SEEN = 0.1  # product of both cosines for a pair to count in the median
MIN_WEIGHT = 0.2  # of the greatest; a cell with less of it is filled from its neighbours


@dataclass(frozen=True)
class FarSide:
    """The near side's part of a warp mesh, to be mirrored.

    Attributes:
        triangles: (N, 3) int64, of the warp mesh.
        around: (V − 468, 3) the mirror images of the vertices around the face, normalized.
        hidden: (V, 1) 1 where a vertex is seen far better than its mirror image … 0 where it is not.
        wide: (V, 1) 1 where a vertex is mirrored only after a greater turn … 0 where it always is.
        kind: (V, 2) 1 where both sides are taken to look alike … 0 where they are not; 1 in the face, 0 around it.
        face: (M, 3) int64, the triangles of the whole face.
        joined: (468,) 1 where a vertex of the face lies near to what is mirrored around it … 0 where it does not.
        sine: of the photo's yaw.
    """

    triangles: torch.Tensor
    around: torch.Tensor
    hidden: torch.Tensor
    wide: torch.Tensor
    kind: torch.Tensor
    face: torch.Tensor
    joined: np.ndarray
    sine: float

    def in_view(self, motion: FaceMotion) -> np.ndarray:
        """(B,) 0 where a head is turned as in the photo or further away … 1 where the far side is turned into view."""
        return smoothstep(self._turned(motion), *TURN)

    def hidden_in(self, motion: FaceMotion, view: torch.Tensor) -> torch.Tensor:
        """(B, V, 1) ``hidden`` times how much of it is in ``view`` (B, V, 1), 0…1."""
        greater = upload(smoothstep(self._turned(motion), *WIDE_TURN).astype(np.float32), view.device)[:, None, None]
        return self.hidden * view * (1 - self.wide * (1 - greater))

    def without_cheek(self, motion: FaceMotion) -> np.ndarray:
        """(B,) 0 where the photo's far cheek may be seen beside the mirrored one … 1 where it would be a second one."""
        return smoothstep(self._turned(motion), *CHEEK_TURN)

    def _turned(self, motion: FaceMotion) -> np.ndarray:
        """(B,) how far a head is turned towards its far side from the photo's pose, difference of the sines."""
        return np.sign(self.sine) * (self.sine - motion.host.rotation[:, 2, 0])

    def move(
        self, motion: FaceMotion, positions: torch.Tensor, depths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and depths of the vertices' mirror images, given those of the vertices, see ``WarpMesh.move``."""
        mirror = index_on(tuple(canonical_face().mirror[:NUM_SURFACE_POINTS].tolist()), positions.device)
        around = motion.place(self.around)
        return (
            torch.cat([positions.index_select(1, mirror), around[..., :2]], 1),
            torch.cat([depths.index_select(1, mirror), around[..., 2]], 1),
        )


@dataclass(frozen=True)
class FarAppearance:
    """How a photo shows the far side of a turned face, in cells of ``CELL`` pixels of the surroundings.

    Attributes:
        light: (160, 160, 3) the logarithms of its red, green and blue over the near side's, where that is.
        alike: (160, 160) likewise, 1 where both sides are alike but for that … 0 where they are not.
        cheek: (160, 160) or None, see ``far_cheek``.
    """

    light: np.ndarray
    alike: np.ndarray
    cheek: np.ndarray | None


def find_far_side(
    photo: FaceMotion,
    person: np.ndarray,
    around: np.ndarray,
    with_head: np.ndarray,
    hair: np.ndarray,
    triangles: np.ndarray,
) -> FarSide | None:
    """The far side of a photo's warp mesh; None where it shows both sides of the face.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        person: (640, 640) 0 background … 1 person.
        around: (P, 3) the mesh's vertices around the face, normalized.
        with_head: (P,) 1 where they turn with the head … 0 where they do not.
        hair: (P,) 1 where they show long hair that hangs … 0 where they do not.
        triangles: (N, 3) of the mesh.
    """
    in_face = _hidden(photo, _face_normals())
    if not in_face.any():
        return None
    beyond_face = _seen_better(photo, _head_normals(around))
    shows_ear = _shows_beyond(photo, person, BEYOND_EAR, EAR_HEIGHTS, EAR_SHOWN, visible=True)
    if shows_ear and max(in_face.max(), beyond_face.max()) < 1:  # then it shows the cheek before it, too
        return None
    mirrored_hair = np.maximum(hair, _before_hair(around * [-np.sign(photo.host.rotation[0, 2, 0]), 1, 1], hair))
    if shows_ear or _keeps_beside_face(photo, person, hair):
        beyond_face = np.zeros_like(beyond_face)
    else:
        beyond_face = _hidden_around(
            photo, around, beyond_face, np.maximum(smoothstep(with_head, *WITH_HEAD), mirrored_hair)
        )
        beyond_face *= 1 - _contradicted(photo, person, around, hair * beyond_face)
    hidden = np.concatenate([in_face, beyond_face])
    joined = _joined(photo, around, beyond_face > 0.5)
    hidden = np.maximum(hidden, joined)
    seen_better = triangles[(hidden[triangles] > 0).any(1)]
    kind = np.ones((len(hidden), 2))
    alike = (1 - smoothstep(_from_middle(around), *BESIDE)) * (1 - smoothstep(around[:, 1], *BELOW))
    kind[NUM_SURFACE_POINTS:, 0] = np.maximum(alike, mirrored_hair)
    kind[NUM_SURFACE_POINTS:, 1] = 0
    return FarSide(
        triangles=torch.tensor(seen_better, device=photo.posed.device),
        around=photo.posed.new_tensor(around * [-1, 1, 1]),
        hidden=photo.posed.new_tensor(hidden[:, None]),
        wide=photo.posed.new_tensor(_wide(photo, around, mirrored_hair)[:, None]),
        kind=photo.posed.new_tensor(kind),
        face=torch.tensor(triangles[(triangles < NUM_SURFACE_POINTS).all(1)], device=photo.posed.device),
        joined=joined[:NUM_SURFACE_POINTS],
        sine=float(photo.host.rotation[0, 2, 0]),
    )


def _hidden_around(photo: FaceMotion, around: np.ndarray, seen_better: np.ndarray, can_hide: np.ndarray) -> np.ndarray:
    """(P,) 1 where points around the face hide what is mirrored at them, or are hidden by it … 0 where they do not.

    Args:
        around: (P, 3) the points, normalized.
        seen_better: (P,) of the surface there, see ``_seen_better``.
        can_hide: (P,) 1 where they turn with the head … 0 where they do not.
    """
    if smoothstep(2 * abs(photo.host.rotation[0, 2, 0]), *BETTER) < HIDDEN[1]:
        return np.zeros_like(seen_better)  # not even what faces the side would be mirrored wholly
    hidden = smoothstep(seen_better, *HIDDEN) * can_hide * (1 - smoothstep(_from_middle(around), *BEYOND))
    # Beyond the surroundings there is nothing to mirror.
    pixels = photo.host.place(around)[0, :, :2]
    return hidden * ((pixels > 1) & (pixels < EXTENT - 2)).all(1)


def _wide(photo: FaceMotion, around: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """(V,) ``FarSide.wide`` of vertices ``around`` (P, 3) the face, ``hair`` (P,) of which hangs, 0…1."""
    near, (x, y, _) = -np.sign(photo.host.rotation[0, 2, 0]), around.T
    wide = smoothstep(near * x - np.interp(y, HEIGHTS, WIDTHS), *BEYOND_WIDTH) * (1 - hair)
    return np.concatenate([np.zeros(NUM_SURFACE_POINTS), wide])


def _from_middle(around: np.ndarray) -> np.ndarray:
    """(P,) how far points (P, 3) lie from the head's middle, normalized; heights above it count less."""
    return np.hypot(around[:, 0], UPWARDS * np.minimum(around[:, 1], 0))


def _keeps_beside_face(photo: FaceMotion, person: np.ndarray, hair: np.ndarray) -> bool:
    """Whether what a photo shows beyond the far cheek stays: there is something, and it is not long hair to mirror."""
    if hair.max() > HAIR and not _shows_beyond(
        photo, person, BEYOND_OUTLINE, SIDE_HEIGHTS, FAR_HAIR_SHOWN, visible=False
    ):
        return False
    return _has_something_beside_jaw(photo, person)


def _before_hair(around: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """(P,) the greatest share of ``hair`` (P,) further out at the same height, for points (P, 3) of the neck.

    They are normalized, positive x to the near side. 0 elsewhere, and where no hair reaches the shoulders.
    """
    between = np.zeros(len(around))
    x, y, _ = around.T
    if not (hair[(x > 0) & (y > ABOVE_SHOULDERS)] > HAIR).any():
        return between
    (neck,), (hanging,) = ((x > 0) & (y > NECK)).nonzero(), ((x > 0) & (hair > 0)).nonzero()
    beside = (abs(y[hanging] - y[neck, None]) < BESIDE_HAIR) & (x[hanging] > x[neck, None])
    between[neck] = (beside * hair[hanging]).max(1, initial=0)
    return between


def far_appearance(photo: FaceMotion, picture: torch.Tensor, person: np.ndarray) -> FarAppearance | None:
    """How a photo shows the far side of a turned face; None where it shows both sides.

    ``photo`` is in pixels of the picture (1, 3, 640, 640), 0…1, on the host; ``person`` (640, 640) is 0 background …
    1 person.
    """
    normals = _face_normals()
    if not _hidden(photo, normals).any():
        return None
    host, counterpart = photo.host, canonical_face().mirror[:NUM_SURFACE_POINTS]
    scale, posed = float(host.scale[0]), host.posed[0, :NUM_SURFACE_POINTS, :2]
    to_camera = -host.rotation[0, 2]
    facing = (normals @ to_camera).clip(0)
    seen = facing * facing[counterpart]
    weights = seen * (normals[:, 0] * to_camera[0] <= 0)  # of pairs of which the first is on the far side
    # Of the person alone: at the far cheek's outline the background would be taken for something that is not alike.
    shown = (person > PERSON).astype(np.float32)
    own = picture[0] * torch.from_numpy(shown)
    small = F.avg_pool2d(torch.cat([own, torch.from_numpy(shown)[None]]), CELL).permute(1, 2, 0).numpy()
    smooth = blur(np.ascontiguousarray(small), COLOUR_WIDTH * scale / CELL)
    columns, rows = (posed / CELL).astype(int).clip(0, EXTENT // CELL - 1).T
    share = smooth[rows, columns, 3:].clip(1e-3)
    weights *= smoothstep(share[:, 0], *SHOWN)
    colours = smooth[rows, columns, :3] / share + MIN_COLOUR
    ratios = np.log(colours / colours[counterpart])
    middle = np.median(ratios[weights > MIN_SEEN], axis=0)
    alike = 1 - smoothstep(abs(ratios - middle).max(1), *UNLIKE)
    ratios = (middle + (ratios - middle).clip(-MAX_DEVIATION, MAX_DEVIATION)).clip(-MAX_RATIO, MAX_RATIO)
    cells = rows[counterpart], columns[counterpart]
    width = scale / CELL
    return FarAppearance(
        light=_spread(ratios, weights, cells, LIGHT_WIDTH * width),
        alike=_spread(alike[:, None], weights, cells, LIKENESS_WIDTH * width)[..., 0],
        cheek=far_cheek(photo, person),
    )


def _spread(values: np.ndarray, weights: np.ndarray, cells: tuple[np.ndarray, np.ndarray], width: float) -> np.ndarray:
    """(160, 160, C) a smooth map of values (N, C) of weights (N,) at cells, rows and columns (N,)."""
    total = np.zeros((EXTENT // CELL, EXTENT // CELL, values.shape[1] + 1), np.float32)
    np.add.at(total, cells, np.column_stack([values, np.ones(len(values))]) * weights[:, None])
    total = blur(total, width)
    weight = torch.from_numpy(total[..., -1])[None, None]
    known = (weight / (MIN_WEIGHT * weight.max()).clamp(min=1e-6)).clamp(max=1)
    mean = torch.from_numpy(total[..., :-1]).permute(2, 0, 1)[None] / weight.clamp(min=1e-6)
    return fill(mean, known)[0].permute(1, 2, 0).numpy()


def _shows_beyond(
    photo: FaceMotion, person: np.ndarray, distance: float, heights: tuple[float, float], share: float, *, visible: bool
) -> bool:
    """Whether a photo shows something of the person so far beyond the face's outline on the far side, normalized.

    With ``visible`` beyond the cheek, where that hides the outline.
    """
    host = photo.host
    far, points, scale = np.sign(host.rotation[0, 2, 0]), host.normalized[0, list(OVAL)], host.scale[0]
    side = (points[:, 0] * far > 0) & (points[:, 1] > heights[0]) & (points[:, 1] < heights[1])
    outline = host.posed[0, list(OVAL), :2][side]
    if visible:
        face = host.posed[0, :NUM_SURFACE_POINTS, :2]
        beside = abs(face[:, 1] - outline[:, 1:]) < SAME_HEIGHT * scale
        farthest = far * np.where(beside, far * face[:, 0], -np.inf).max(1)
        is_hidden = abs(farthest - outline[:, 0]) > HIDING * scale
        outline[:, 0] = np.where(is_hidden, farthest, outline[:, 0])
    columns, rows = (outline + [far * distance * scale, 0]).round().astype(int).clip(0, EXTENT - 1).T
    return bool(person[rows, columns].mean() > share)


def _contradicted(photo: FaceMotion, person: np.ndarray, around: np.ndarray, hair: np.ndarray) -> float:
    """0 where a photo may have the long hair that is mirrored … 1 where it shows the background in its place.

    ``hair`` (P,) is the share of such hair at each of the points ``around``; for the others see ``find_far_side``.
    """
    columns, rows = photo.host.place(around * [-1, 1, 1])[0, :, :2].round().astype(int).clip(0, EXTENT - 1).T
    distance = distance_to(person > PERSON)[rows, columns] / photo.host.scale[0]
    weights = hair * (around[:, 1] < ABOVE_SHOULDERS)
    return float(smoothstep((weights * distance).sum() / max(weights.sum(), 1e-6), *CONTRADICTED))


def _has_something_beside_jaw(photo: FaceMotion, person: np.ndarray) -> bool:
    """Whether something hangs beside the jaw on the near side; see ``find_far_side``."""
    sine, (radius, y) = photo.host.rotation[0, 2, 0], np.transpose(BESIDE_JAW)
    outline = np.column_stack([-np.sign(sine) * np.sqrt(1 - sine**2) * radius, y, HEAD_MIDDLE[2] + abs(sine) * radius])
    columns, rows = photo.host.place(outline)[0, :, :2].round().astype(int).clip(0, EXTENT - 1).T
    return bool(person[rows, columns].mean() > HANGING)


def _joined(photo: FaceMotion, around: np.ndarray, is_hidden: np.ndarray) -> np.ndarray:
    """(V,) 1 where vertices lie near to those around the face that are hidden … 0 where they do not.

    ``around`` (P, 3) are the vertices around the face, normalized, and ``is_hidden`` (P,) says which of them are.
    """
    pixels = photo.host.place(around)[0, :, :2]
    vertices = np.concatenate([photo.host.posed[0, :NUM_SURFACE_POINTS, :2], pixels])
    if not is_hidden.any():
        return np.zeros(len(vertices))
    distance, _ = scipy.spatial.cKDTree(pixels[is_hidden]).query(vertices)
    return 1 - smoothstep(distance / float(photo.host.scale[0]), *JOINED)


def _hidden(photo: FaceMotion, normals: np.ndarray) -> np.ndarray:
    """(V,) 1 where a photo hides the mirror image of a surface with such normals (V, 3) that it shows … 0."""
    facing = (normals * [-1, 1, 1]) @ -photo.host.rotation[0, 2]
    return _seen_better(photo, normals) * (1 - smoothstep(facing, *FACING[::-1]))


def _seen_better(photo: FaceMotion, normals: np.ndarray) -> np.ndarray:
    """(V,) 1 where a photo shows a surface with such normals (V, 3) far better than its mirror image … 0."""
    return smoothstep(-2 * normals[:, 0] * photo.host.rotation[0, 2, 0], *BETTER)


def _face_normals() -> np.ndarray:
    """(468, 3) outward unit normals of the average face."""
    return face_normals(canonical_face().vertices[:NUM_SURFACE_POINTS])


def _head_normals(around: np.ndarray) -> np.ndarray:
    """(P, 3) the same of an upright round head at normalized points (P, 3) around the face.

    Upright up to its top, so that what is mirrored there joins what the photo shows. What lies behind its middle, such
    as an ear, is seen at its outline, and faces the side.
    """
    outwards = (around - HEAD_MIDDLE) * [1, 0, 1]
    outwards[:, 2] = outwards[:, 2].clip(max=0)
    return outwards / np.linalg.norm(outwards, axis=1, keepdims=True).clip(1e-6)
