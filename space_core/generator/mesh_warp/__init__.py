"""The mesh-warp generator: the photo's pixels, carried by its face mesh, with eyes and mouth drawn into it."""

import torch

from space_core.generator.mesh_warp.generator import MeshWarpGenerator
from space_core.progress import Progress

__all__ = ["MeshWarpGenerator", "build"]


def build(device: torch.device, progress: Progress) -> MeshWarpGenerator:
    """See ``space_core.generators``."""
    return MeshWarpGenerator(device)
