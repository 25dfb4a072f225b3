"""Meshes in Wavefront OBJ files."""

from pathlib import Path

import numpy as np


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and quadrilaterals (N, 4) of a Wavefront OBJ file."""
    rows = [line.split() for line in path.read_text().splitlines()]
    vertices = [[float(value) for value in row[1:4]] for row in rows if row[:1] == ["v"]]
    quads = [[int(corner.split("/")[0]) - 1 for corner in row[1:]] for row in rows if row[:1] == ["f"]]
    return np.array(vertices), np.array(quads)


def triangles_of(quads: np.ndarray) -> np.ndarray:
    """(2 N, 3) quadrilaterals (N, 4), each cut into two triangles."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
