"""The mesh-warp generator: the photo's pixels, carried by its face mesh, with eyes and mouth drawn into it."""

from space_core.generator.mesh_warp.generator import MeshWarpGenerator

__all__ = ["MeshWarpGenerator"]
