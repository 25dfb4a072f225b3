"""The recipe of the action units' shapes: hand-modelled movements of a head, carried over to the face mesh.

    python -m space_core.training.action_units ANATOMY

writes ``weights/action_units.safetensors``. ANATOMY is a folder with the head and the movements of MakeHuman (CC0;
``weights/action_units.md``): ``head.obj`` and ``expression_units.npz``. The head is rendered from the front with
painted brows, the face mesh is detected in the picture, and each of its points takes the displacement of the surface
it lies on. Movements that are modelled too narrowly for the mesh (brows, cheeks, lids, jaw) are Gaussians of distance
instead. Every shape is symmetric and scaled to ``motion.action_units.CALIBRATION``. Takes seconds.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.numpy import save_file

from space_core.face.detector import build_detector
from space_core.face.topology import (
    EYES,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    NUM_POINTS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    canonical_face,
    vertex_normals,
)
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.measures.mesh_offsets import keep_brows, keep_lashes, mirrored, movable
from space_core.motion.action_unit_labels import UNITS
from space_core.motion.action_units import CALIBRATION, MILLIMETRES, WEIGHTS
from space_core.motion.eyelids import move_lids
from space_core.training.wavefront import read_obj, triangles_of

SIDE = 512  # of the rendered head, pixels
DECIMETRES = 3.4  # that it shows
CENTRE = np.array([0.0, 7.1])  # of the picture, in the head's coordinates: x left, y up, z forward, decimetres
LIGHT = np.array([0.33, 0.54, 0.77])
SKIN, BROW, BACKGROUND = (225, 180, 155), (60, 40, 30), (90, 110, 130)
BROW_LINE = ((0.13, 7.455), (0.30, 7.51), (0.50, 7.52))  # of one brow on the head, which has none
BROW_WIDTH = 0.028
LIP_INSET = 0.4  # from the inner lip to the outer: where the closed lips of the head are read


@dataclass(frozen=True)
class Bump:
    """Motion of the skin around points of the left half of the face and their counterparts; a Gaussian of distance.

    Attributes:
        points: of the face mesh.
        out: to the side, in outer-eye-corner distances, as are the others.
        up: upwards.
        reach: standard deviation of the Gaussian.
    """

    points: tuple[int, ...]
    out: float
    up: float
    reach: float


# By unit, the modelled movements ("left" means both sides) with their shares.
MODELLED = {
    "1": {"eyebrows-left-inner-up": 0.2},
    "2": {"eyebrows-left-extern-up": 0.2},
    "4": {"eyebrows-left-down": 0.3},
    "9": {"nose-left-elevation": 1.0},
    "10": {"mouth-elevation": 1.0},
    "12": {"mouth-corner-puller": 1.0},
    "14": {"mouth-retraction": 1.0},
    "15": {"mouth-depression": 1.0},
    "16": {"mouth-depression-retraction": 1.0},
    "18": {"mouth-pursing": 1.0},
    "20": {"neck-platysma": 0.5, "mouth-retraction": 0.4},
    "22": {"mouth-eversion": 1.0, "mouth-pursing": 0.2},
    "25": {"mouth-parling": 1.0},
}
BUMPS = {
    "1": (Bump((107, 55, 66, 65), 0, 0.06, 0.085),),
    "2": (Bump((70, 46, 63, 53, 105), 0, 0.06, 0.09),),
    "4": (Bump((107, 55), -0.03, -0.05, 0.10), Bump((66,), -0.01, -0.02, 0.10)),
    "6": (Bump((117, 50), 0.01, 0.035, 0.13),),
    "9": (Bump((107, 55), -0.01, -0.02, 0.08),),
    "11": (Bump((203, 206, 36, 142), 0.008, 0.03, 0.14),),
    "17": (Bump((199, 17), 0, 0.03, 0.12),),
    "20": (Bump((61,), 0.05, -0.005, 0.12),),
    "23": (Bump((61,), -0.012, 0, 0.10), Bump((37, 39, 0), 0, -0.015, 0.05), Bump((84, 91, 17), 0, 0.015, 0.05)),
    "24": (Bump((61,), -0.015, 0, 0.10), Bump((37, 39, 0), 0, -0.012, 0.06), Bump((84, 91, 17), 0, 0.022, 0.06)),
}
LIDS_UP = {"5": (0.022, -0.004), "6": (0, 0.012), "7": (-0.008, 0.014)}  # middles of the upper and the lower lid
LOWER_LIP_UNITS = ("16",)  # of which the movement above the lower lip is left out
JAW_UNITS = {"26": 0.0, "27": -0.25}  # dropped jaws, and how far the mouth corners move inwards relative to the chin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path, metavar="ANATOMY", help="folder with head.obj and expression_units.npz")
    modelled = movements_on_mesh(parser.parse_args().anatomy)
    shapes = {unit: calibrated(unit, shape_of(unit, modelled)) for unit in UNITS}
    for unit, shape in shapes.items():
        length = MILLIMETRES * np.linalg.norm(shape, axis=-1).max()
        print(f"AU {unit:3s} {UNITS[unit]:22s} {CALIBRATION[unit].millimetres:4.1f} mm, largest {length:4.1f} mm")
    save_file({"shapes": np.stack(list(shapes.values())).astype(np.float16)}, WEIGHTS)


def movements_on_mesh(anatomy: Path) -> dict[str, np.ndarray]:
    """The modelled movements as symmetric offsets (478, 3) of the face mesh; both sides under the name of the left."""
    vertices, quads = read_obj(anatomy / "head.obj")
    triangles = triangles_of(quads)
    with np.load(anatomy / "expression_units.npz") as file:
        movements = {name: file[name].astype(np.float64) for name in file.files}
    movements = {
        name: movement + (movements[name.replace("left", "right")] if "left" in name else 0)
        for name, movement in movements.items()
        if "right" not in name
    }
    scale = SIDE / DECIMETRES
    pixels = (vertices[:, :2] - CENTRE) * [scale, -scale] + SIDE / 2
    face = detect_mesh(vertices, triangles, pixels)
    unit = np.linalg.norm(face[EYES[1].upper_lid[-1], :2] - face[EYES[0].upper_lid[0], :2]) / scale
    stacked = np.concatenate([*movements.values(), np.ones((len(vertices), 1))], axis=1)
    picture = rasterized(vertices, triangles, pixels, stacked)

    places = face[:, :2].astype(np.float32)
    for inner, outer in ((INNER_UPPER_LIP, OUTER_UPPER_LIP), (INNER_LOWER_LIP, OUTER_LOWER_LIP)):
        places[list(inner[1:-1])] += LIP_INSET * (places[list(outer[1:-1])] - places[list(inner[1:-1])])
    x, y = places.T[:, None]
    read = np.stack([cv2.remap(channel, x, y, cv2.INTER_LINEAR)[0] for channel in np.moveaxis(picture, -1, 0)], axis=1)
    read = read[:, :-1] / np.maximum(read[:, -1:], 0.1)  # beside the outline, of the head alone
    offsets = read.reshape(NUM_POINTS, -1, 3).transpose(1, 0, 2) * [1, -1, -1] / unit
    return {name: mirrored(offset) for name, offset in zip(movements, offsets, strict=True)}


def detect_mesh(vertices: np.ndarray, triangles: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The symmetric face mesh (478, 3) in a rendering of the head, in its pixels."""
    normals = vertex_normals(vertices, triangles)
    drawn = rasterized(vertices, triangles, pixels, np.concatenate([normals, vertices], axis=1))
    place = drawn[..., 3:]
    shade = 0.35 + 0.65 * np.clip(drawn[..., :3] @ LIGHT, 0, 1)
    picture = np.where(np.abs(drawn).sum(-1, keepdims=True) > 0, shade[..., None] * SKIN, BACKGROUND)
    brow = np.exp(-0.5 * (_distance_to_brow(place) / BROW_WIDTH) ** 2) * (place[..., 2] > 0.5)
    picture += 0.8 * brow[..., None] * (BROW - picture)
    (face,) = build_detector("mediapipe").detect(np.clip(picture, 0, 255).astype(np.uint8))
    other = face[canonical_face().mirror] * [-1, 1, 1] + [SIDE, 0, 0]
    return (face + other) / 2


def rasterized(vertices: np.ndarray, triangles: np.ndarray, pixels: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, C) float32, attributes (V, C) of the head's surface as seen from the front."""
    values = [torch.from_numpy(each).float()[None] for each in (pixels, -vertices[:, 2], attributes)]
    corners = torch.from_numpy(np.ascontiguousarray(triangles))
    return rasterize(values[0], values[1], corners, values[2], (SIDE, SIDE))[0].numpy()


def _distance_to_brow(place: np.ndarray) -> np.ndarray:
    """(…) how far places (…, 3) of the head are from the line of the nearer brow."""
    point = np.stack([np.abs(place[..., 0]), place[..., 1]], axis=-1)
    distances = []
    for start, end in zip(np.array(BROW_LINE[:-1]), np.array(BROW_LINE[1:]), strict=True):
        step = end - start
        share = np.clip((point - start) @ step / (step @ step), 0, 1)
        distances.append(np.linalg.norm(point - start - share[..., None] * step, axis=-1))
    return np.min(distances, axis=0)


def shape_of(unit: str, modelled: dict[str, np.ndarray]) -> np.ndarray:
    """The symmetric offset (478, 3) of a unit of FACS, of any length."""
    vertices = canonical_face().vertices
    if unit in JAW_UNITS:
        return jaw_drop(JAW_UNITS[unit])
    offset = np.zeros_like(vertices)
    for name, share in MODELLED.get(unit, {}).items():
        offset += share * modelled[name]
    lid_points = [point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]
    offset[lid_points] = 0
    if unit in LOWER_LIP_UNITS:
        offset *= np.clip((vertices[:, 1] - vertices[INNER_UPPER_LIP[5], 1]) / 0.02, 0, 1)[:, None]
        offset[[*INNER_UPPER_LIP, *OUTER_UPPER_LIP]] = 0
    bumps = np.zeros_like(vertices)
    for bump in BUMPS.get(unit, ()):
        distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, list(bump.points), :2], axis=-1).min(1)
        near = np.exp(-0.5 * (distance / bump.reach) ** 2) * (vertices[:, 0] < 0.02)
        near[lid_points] = 0
        bumps += near[:, None] * [-bump.out, -bump.up, 0]
    in_middle = (np.abs(vertices[:, 0]) < 0.02)[:, None]
    offset += np.where(in_middle, mirrored(bumps), 2 * mirrored(bumps))
    offset *= movable()[:, None]
    upper, lower = LIDS_UP.get(unit, (0, 0))
    lift = np.zeros((1, 2, 2, 9, 3))
    lift[0, ..., 1] = -np.array([upper, lower])[:, None] * np.sin(np.linspace(0, np.pi, 9))
    return keep_lashes(keep_brows(offset) + move_lids(vertices[None], lift)[0] - vertices)


def jaw_drop(narrowing: float) -> np.ndarray:
    """The offset (478, 3) of a dropped jaw; the mouth corners follow by a third and move outwards by ``narrowing``."""
    vertices = canonical_face().vertices
    share = np.clip((vertices[:, 1] - vertices[INNER_LOWER_LIP[5], 1] + 0.02) / 0.10, 0, 1)
    share *= np.clip(1 - (vertices[:, 0] / 0.75) ** 2, 0, 1)
    share[[*INNER_UPPER_LIP, *OUTER_UPPER_LIP]] = 0
    corners = [OUTER_UPPER_LIP[0], INNER_UPPER_LIP[0], OUTER_UPPER_LIP[-1], INNER_UPPER_LIP[-1]]
    share[corners] = 0.35
    lower = 0.35 + 0.65 * np.sin(np.linspace(0, np.pi, len(INNER_LOWER_LIP))[1:-1]) ** 0.7
    share[list(INNER_LOWER_LIP[1:-1])] = share[list(OUTER_LOWER_LIP[1:-1])] = lower
    offset = share[:, None] * [0, 0.94, 0.34]
    offset[:, 0] = narrowing * share * np.clip(vertices[:, 0] / 0.25, -1, 1)
    return mirrored(offset * movable()[:, None])


def calibrated(unit: str, shape: np.ndarray) -> np.ndarray:
    """A shape (478, 3) scaled so that the unit's points move as far in its direction as its calibration says."""
    target = CALIBRATION[unit]
    side = -np.sign(canonical_face().vertices[target.points[0], 0])
    direction = np.array([-side * target.out, -target.up, -target.forward])
    moved = shape[list(target.points)].mean(0) @ direction * MILLIMETRES
    return shape * (target.millimetres / moved)


if __name__ == "__main__":
    main()
