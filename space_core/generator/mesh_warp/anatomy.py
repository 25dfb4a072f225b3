"""Teeth, gums, palate and tongue as one triangle mesh; see ``weights/mouth_anatomy.md``."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from space_core.assets import weights_path

ANATOMY = weights_path("mouth_anatomy.safetensors")
TOOTH, GUM, TONGUE = range(3)  # parts
MILLIMETRE = 1 / 90  # in normalized units: outer eye corners, about 90 mm apart on an adult, are one unit


@dataclass(frozen=True)
class Anatomy:
    """The inside of an adult's mouth with its teeth together: x right, y down, z away from the viewer, millimetres.

    The origin is the middle of the upper incisors' edge.

    Attributes:
        vertices: (V, 3) float32.
        normals: (V, 3) float32, unit length, outwards.
        light: (V,) float32, how much of the light that falls in from the front reaches the vertex, 0…1.
        jaw: (V,) float32, 0 a part of the skull … 1 of the lower jaw.
        part: (V,) uint8, ``TOOTH``, ``GUM`` or ``TONGUE``.
        crown: (V,) float32, on teeth: 0 in the gum … 1 at the biting edge; elsewhere 0.
        triangles: (N, 3) int64.
    """

    vertices: np.ndarray
    normals: np.ndarray
    light: np.ndarray
    jaw: np.ndarray
    part: np.ndarray
    crown: np.ndarray
    triangles: np.ndarray


@cache
def load_anatomy() -> Anatomy:
    """The shipped anatomy, read once."""
    arrays = load_file(ANATOMY)
    normals = arrays["normals"].astype(np.float32)
    return Anatomy(
        vertices=arrays["vertices"].astype(np.float32),
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
        light=arrays["light"].astype(np.float32) / 255,
        jaw=arrays["jaw"].astype(np.float32) / 255,
        part=arrays["part"],
        crown=arrays["crown"].astype(np.float32) / 255,
        triangles=arrays["triangles"].astype(np.int64),
    )
