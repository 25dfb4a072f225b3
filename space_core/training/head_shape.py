"""The generic head behind the face mesh, in the coordinates of the canonical face.

    python -m space_core.training.head_shape ANATOMY

``ANATOMY`` is a folder with ``head.obj``, the head of MakeHuman's base mesh (CC0). The head is fitted to the canonical
face by iterated closest points, with a scale for each axis, and written to ``weights/head_shape.safetensors``. A few
seconds; the same input gives the same file.
"""

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

from space_core.face.topology import NUM_SURFACE_POINTS, canonical_face
from space_core.generator.mesh_warp.head_shape import HEAD_SHAPE
from space_core.training.wavefront import read_obj, triangles_of

# Where the fit begins: the point between the outer eye corners and their distance, in the mesh's coordinates.
MIDDLE, WIDTH = np.array([0.0, 7.29, 1.33]), 0.93
ROUNDS = 60
TRIMMED = 0.9  # of the points of the face, the nearest, count: lips and lids are not the same shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path, metavar="ANATOMY", help="the folder with the mesh")
    vertices, quads = read_obj(parser.parse_args().anatomy / "head.obj")
    head = (vertices - MIDDLE) / WIDTH * [1, -1, -1]
    face = canonical_face().vertices[:NUM_SURFACE_POINTS]
    for _ in range(ROUNDS):
        distance, nearest = cKDTree(head).query(face)
        counted = distance <= np.quantile(distance, TRIMMED)
        own, wanted = head[nearest[counted]], face[counted]
        # Both are symmetric and upright: what is left is a scale and a shift along each axis.
        scale = ((own - own.mean(0)) * (wanted - wanted.mean(0))).sum(0) / ((own - own.mean(0)) ** 2).sum(0)
        shift = wanted.mean(0) - scale * own.mean(0)
        shift[0] = 0
        head = head * scale + shift
    print(
        f"mean distance of the face's points {distance.mean():.3f}, of the nearest {TRIMMED:.0%} "
        f"{distance[counted].mean():.3f} outer-eye-corner distances"
    )
    save_file({"vertices": head.astype(np.float16), "triangles": triangles_of(quads).astype(np.uint16)}, HEAD_SHAPE)


if __name__ == "__main__":
    main()
