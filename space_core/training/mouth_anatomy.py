"""The anatomy of the mouth: teeth, gums, palate and tongue, made compact and shaded beforehand.

    python -m space_core.training.mouth_anatomy ANATOMY

``ANATOMY`` is a folder with ``teeth_base.obj`` and ``tongue01.obj`` of MakeHuman's asset repository (CC0).
Keeps the triangles that a viewer in front of the mouth can see, measures how open each vertex lies to light from the
front, and writes ``weights/mouth_anatomy.safetensors``. Half a minute on one CPU core; the same input gives the same
file.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from space_core.arrays import smoothstep
from space_core.face.topology import vertex_normals
from space_core.generator.mesh_warp.anatomy import ANATOMY, GUM, TONGUE, TOOTH
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.training.wavefront import read_obj, triangles_of

# The meshes are in decimetres of a body model whose teeth are small; its central incisors are made 8.4 mm wide.
MILLIMETRES = 128.0
INCISAL_EDGE = np.array([0.0, 6.211, 1.312])  # the middle of the upper incisors' edge, in the meshes' coordinates
OCCLUSION = ((0.93, 6.307), (1.30, 6.222))  # z and y of two points of the plane between upper and lower teeth
JAW_FADE = 0.02  # over that height the gums behind the last teeth pass from the upper jaw to the lower one
# The tongue's mesh is too large for the row of teeth and lies too high: it is scaled about its tip, which comes to lie
# behind the lower incisors.
TONGUE_SCALE = np.array([0.69, 0.56, 0.62])
TONGUE_TIP = np.array([0.0, 6.58, 1.385])
TONGUE_PLACE = np.array([0.0, 6.185, 1.225])
# The upper central incisors, which the mesh has side by side, are moved over one another by that much each, in
# millimetres, as all other neighbours are: the faces with which they touch lie in the dark, which showed as a gap.
INCISORS_OVERLAP = 0.35
# In the mesh crowns are short, with cut corners, and narrow at the gum. The upper gums are moved up by that much in
# front of the second of these depths, by nothing behind the first.
GUMS_UP, GUMS_FADE = 2.2, (24.0, 14.0)
# Of teeth up to that far from the middle, the sides come nearer to the biting edge by a share of their distance from it
# (between the first of these distances and, in full, the second); and necks, which begin and are whole at these, widen.
INCISORS, SIDES_DOWN, CORNERS = 12.0, 0.65, (5.0, 2.5)
NECKS_WIDER, NECK = 0.1, (3.0, 8.0)
# Millimetres behind the incisors; nothing further back is light enough to be distinguished from the dark.
DEEPEST = {TOOTH: 25.0, GUM: 13.0, TONGUE: 34.0}

DENSITY = 6.0  # pixels per millimetre of the pictures in which visibility is measured
EXTENT = 75.0  # width and height of those pictures, millimetres
VIEWS = [(yaw, pitch) for yaw in (-36, -24, -12, 0, 12, 24, 36) for pitch in (-15, 0, 15)]  # degrees
LIGHTS = 96  # directions of light from the front
MIN_LIGHT = 0.06  # of teeth: enamel scatters it to the sides with which they touch, whose vertices have none
LIFT = 0.35  # millimetres above the surface at which its light is measured
BIAS = 0.25  # millimetres; less than that in front of a vertex does not shade it


@dataclass(frozen=True)
class Mesh:
    """Both jaws and the tongue.

    In millimetres from the upper incisors' edge: x to the right, y down, z away from the viewer.

    Attributes:
        vertices: (V, 3).
        triangles: (N, 3) of vertices; seen from outside they run clockwise.
        part: (V,) TOOTH, GUM or TONGUE.
        jaw: (V,) 0 of the upper jaw … 1 of the lower one.
        crown: (V,) height on a tooth, see ``_crown``.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    jaw: np.ndarray
    crown: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path, metavar="ANATOMY", help="the folder with the meshes")
    mesh = _read_mesh(parser.parse_args().anatomy)
    # Outwards: the meshes' triangles run so that y and z, mirrored together, keep their sense.
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    light, kept = _light_and_visible(mesh, normals)
    used, triangles = np.unique(mesh.triangles[kept], return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    print(f"{len(used)} of {len(mesh.vertices)} vertices, {len(triangles)} of {len(kept)} triangles kept")
    save_file(
        {
            "vertices": mesh.vertices[used].astype(np.float16),
            "normals": np.round(normals[used] * 127).astype(np.int8),
            "light": np.round(light[used] * 255).astype(np.uint8),
            "jaw": np.round(mesh.jaw[used] * 255).astype(np.uint8),
            "part": mesh.part[used].astype(np.uint8),
            "crown": np.round(mesh.crown[used] * 255).astype(np.uint8),
            "triangles": triangles.astype(np.int16),
        },
        ANATOMY,
    )


def _read_mesh(folder: Path) -> Mesh:
    """The meshes of a folder in their places, the teeth reshaped."""
    teeth, quads = read_obj(folder / "teeth_base.obj")
    tongue, tongue_quads = read_obj(folder / "tongue01.obj")
    component = _components(len(teeth), quads)
    is_tooth = component != np.bincount(component).argmax()  # the gums are the largest component

    height = np.interp(teeth[:, 2], *np.transpose(OCCLUSION))
    jaw = np.clip((height - teeth[:, 1]) / JAW_FADE + 0.5, 0, 1)
    for tooth in np.unique(component[is_tooth]):  # a tooth belongs to one jaw
        jaw[component == tooth] = np.round(jaw[component == tooth].mean())

    tongue = (tongue - TONGUE_TIP) * TONGUE_SCALE + TONGUE_PLACE
    vertices = np.concatenate([teeth, tongue])
    vertices = (vertices - INCISAL_EDGE) * [MILLIMETRES, -MILLIMETRES, -MILLIMETRES]
    central = _central_incisors(vertices[: len(teeth)], component, is_tooth & (jaw < 0.5))
    vertices[central, 0] -= np.sign(vertices[central, 0]) * INCISORS_OVERLAP
    _reshape_front(vertices[: len(teeth)], component, is_tooth, jaw)
    return Mesh(
        vertices,
        triangles_of(np.concatenate([quads, tongue_quads + len(teeth)])),
        part=np.concatenate([np.where(is_tooth, TOOTH, GUM), np.full(len(tongue), TONGUE)]),
        jaw=np.concatenate([jaw, np.ones(len(tongue))]),
        crown=_crown(vertices, component, is_tooth, jaw),
    )


def _light_and_visible(mesh: Mesh, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V,) how much light from the front reaches each vertex, 0…1, and (N,) which triangles are ever seen."""
    vertices, triangles = mesh.vertices, mesh.triangles
    light, seen = np.zeros(len(vertices)), np.zeros(len(triangles), bool)
    lower = mesh.jaw[triangles].mean(1) > 0.5
    tongue = mesh.part[triangles[:, 0]] == TONGUE
    for belongs in (~lower, lower & ~tongue, tongue):  # each alone, as they move against each other
        own = np.flatnonzero(belongs)
        seen[own] = _ever_seen(vertices, triangles[own])
        used = np.unique(triangles[own])
        light[used] = _light_from_the_front(vertices, normals, triangles[own], used)
    teeth = mesh.part == TOOTH
    light[teeth] = light[teeth].clip(MIN_LIGHT)
    deepest = np.array([DEEPEST[kind] for kind in range(len(DEEPEST))])
    return light, seen & (vertices[triangles, 2].min(1) < deepest[mesh.part[triangles[:, 0]]])


def _components(count: int, quads: np.ndarray) -> np.ndarray:
    """(count,) the number of each vertex's connected component."""
    first, second = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    return connected_components(coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count)))[1]


def _central_incisors(teeth: np.ndarray, component: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Numbers of the vertices of two teeth: of those that are candidates, the ones nearest to the middle."""
    numbers = np.unique(component[candidates])
    away = [abs(teeth[component == number, 0].mean()) for number in numbers]
    return np.flatnonzero(np.isin(component, numbers[np.argsort(away)[:2]]))


def _reshape_front(teeth: np.ndarray, component: np.ndarray, is_tooth: np.ndarray, jaw: np.ndarray) -> None:
    """Makes the upper crowns longer and all incisors square, in place."""
    gums = ~is_tooth & (jaw < 0.5)
    teeth[gums, 1] -= GUMS_UP * smoothstep(teeth[gums, 2], *GUMS_FADE)
    for number in np.unique(component[is_tooth]):
        own = np.flatnonzero(component == number)
        x, y = teeth[own, 0], teeth[own, 1]
        if abs(x.mean()) > INCISORS:
            continue
        down = 1.0 if jaw[own[0]] < 0.5 else -1.0  # towards the biting edge
        edge = (down * y).max()
        height = edge - down * y
        middle, half = (x.min() + x.max()) / 2, np.ptp(x) / 2
        lower = SIDES_DOWN * ((x - middle) / half) ** 4 * smoothstep(height, *CORNERS)
        wider = 1 + NECKS_WIDER * smoothstep(height, *NECK)
        teeth[own, 0] = middle + wider * (x - middle)
        teeth[own, 1] = down * (edge - height * (1 - lower))


def _crown(vertices: np.ndarray, component: np.ndarray, is_tooth: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """(V,) height on a tooth: 0 at the end in the gum … 1 at the biting edge; 0 elsewhere."""
    crown = np.zeros(len(vertices))
    for tooth in np.unique(component[is_tooth]):
        own = np.flatnonzero(component == tooth)
        y = vertices[own, 1]
        height = (y - y.min()) / np.ptp(y)
        crown[own] = 1 - height if jaw[own[0]] > 0.5 else height
    return crown


def _seen_from(vertices: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (V, 2) and distances (V,), in pixels, as seen by a viewer in that direction (3,), without perspective."""
    right = np.cross([0.0, 1.0, 0.0], -direction)
    right /= np.linalg.norm(right)
    down = np.cross(-direction, right)
    middle = np.array([0.0, 0.0, 25.0])  # of the row of teeth
    pixels = (vertices - middle) @ np.stack([right, down], 1) * DENSITY + DENSITY * EXTENT / 2
    return pixels, (middle - vertices) @ direction * DENSITY + 1e3


def _picture(vertices: np.ndarray, triangles: np.ndarray, direction: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(H, W, C) values (N, 3, C) of the triangles' corners as seen from a direction; 0 where there is nothing."""
    pixels, distances = _seen_from(vertices, direction)
    side = int(DENSITY * EXTENT)
    count = 3 * len(triangles)
    corners = triangles.ravel()
    tensors = (pixels[corners][None], distances[corners][None], values.reshape(1, count, -1))
    xy, depth, attributes = (torch.tensor(array, dtype=torch.float32) for array in tensors)
    return rasterize(xy, depth, torch.arange(count).view(-1, 3), attributes, (side, side))[0].numpy()


def _ever_seen(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) whether each triangle faces and is not hidden from at least one of the views."""
    numbers = np.repeat(np.arange(1, len(triangles) + 1, dtype=np.float64), 3)
    seen = np.zeros(len(triangles) + 1, bool)
    for yaw, pitch in np.radians(VIEWS):
        direction = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
        shown = np.round(_picture(vertices, triangles, direction, numbers)).astype(int)
        seen[np.unique(shown)] = True
    return seen[1:]


def _light_from_the_front(
    vertices: np.ndarray, normals: np.ndarray, triangles: np.ndarray, used: np.ndarray
) -> np.ndarray:
    """(len(used),) how much of the light that falls in from the front reaches vertices, 0…1."""
    number = np.arange(LIGHTS) + 0.5
    height, angle = number / LIGHTS, np.pi * (1 + 5**0.5) * number  # a Fibonacci lattice on the front hemisphere
    radius = np.sqrt(1 - height**2)
    arrived, possible = np.zeros(len(used)), np.full(len(used), 1e-9)
    lifted = vertices[used] + LIFT * normals[used]
    for direction in np.stack([radius * np.cos(angle), radius * np.sin(angle), -height], 1):
        _, distances = _seen_from(vertices, direction)
        nearest = _picture(vertices, triangles, direction, distances[triangles.ravel()])[..., 0]
        pixels, distances = _seen_from(lifted, direction)
        x, y = np.round(pixels).astype(int).clip(0, nearest.shape[0] - 1).T
        shaded = (nearest[y, x] > 0) & (nearest[y, x] < distances - BIAS * DENSITY)
        weight = (normals[used] @ direction).clip(0) * -direction[2]
        arrived += weight * ~shaded
        possible += weight
    return arrived / possible


if __name__ == "__main__":
    main()
