"""The warp of a few frames: a portrait's mesh, moved with the face, rasterized into the cells of the film's grid."""

import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.compositing.back_view import DrawnBack
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas
from space_core.generator.mesh_warp.compositing.warp import Warp
from space_core.generator.mesh_warp.face_motion import FaceMotion, upload
from space_core.generator.mesh_warp.far_side import FarSide
from space_core.generator.mesh_warp.head_back import HeadBack
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.warp_mesh import WarpMesh

Placed = tuple[torch.Tensor, torch.Tensor]  # vertices: positions (B, V, 2) and depths (B, V), in pixels of the film


def warp_frames(canvas: PreparedCanvas, mesh: WarpMesh, motion: FaceMotion, still: float) -> Warp:
    """The warp of the frames of a motion; offsets of less than ``still`` pixels of the film are set to 0."""
    moved = mesh.move(motion)
    num_shown = len(mesh.source) - len(mesh.back.vertices)  # in the photo
    source = mesh.source[:num_shown]
    (positions, behind), (depths, depths_behind) = (
        values.tensor_split([num_shown], 1) for values in (moved.positions, moved.depths)
    )
    placed = positions, depths
    offsets = _offsets(canvas, source, placed, mesh.triangles)
    far = None if mesh.far is None else _far(canvas, source, mesh.far, motion, placed, moved.far_in_view)
    return Warp(F.hardshrink(offsets, still), far, _back(canvas, mesh.back, motion, (behind, depths_behind)))


def _far(
    canvas: PreparedCanvas,
    source: torch.Tensor,
    far: FarSide,
    motion: FaceMotion,
    placed: Placed,
    in_view: np.ndarray,
) -> torch.Tensor | None:
    """``Warp.far``; None if the far side is in view in no frame.

    ``source`` (V, 2) are the vertices in the photo, ``placed`` the same in the frames; ``in_view`` (B,), 0…1, is how
    far the far side is in view.
    """
    if not in_view.any():
        return None
    view = upload(in_view.astype(np.float32), source.device)[:, None, None].expand(-1, len(source), -1)
    hidden, kind = far.hidden_in(motion, view), far.kind.expand(len(view), -1, -1)
    cells = _offsets(canvas, source, far.move(motion, *placed), far.triangles, hidden, view, kind)
    turned = far.without_cheek(motion)
    if canvas.far is None or canvas.far.cheek is None or not turned.any():
        return cells
    in_face = _offsets(canvas, source, placed, far.face, torch.ones_like(hidden))[..., 2:]
    beside = upload(turned.astype(np.float32), source.device)[:, None, None, None] * (1 - in_face)
    return torch.cat([cells, beside], -1)


def _back(canvas: PreparedCanvas, back: HeadBack, motion: FaceMotion, placed: Placed) -> DrawnBack | None:
    """The back of the head; None if it is in view in no frame. ``placed`` are its vertices."""
    if not (in_view := back.in_view(motion)).any():
        return None
    num_vertices, device = placed[0].shape[1], placed[0].device
    view = upload(in_view.astype(np.float32), device).repeat_interleave(num_vertices // 2, 1)[..., None]
    own = torch.cat([back.places, back.over_edge], -1).expand(len(view), -1, -1)
    attributes = torch.cat([own, view, torch.ones_like(view)], -1)
    shown = upload(in_view > 0, device).repeat_interleave(len(back.triangles) // 2, 1)
    return DrawnBack(back.texture, _in_cells(canvas, back.grown(motion, *placed), back.triangles, attributes, shown))


def _offsets(
    canvas: PreparedCanvas, source: torch.Tensor, placed: Placed, triangles: torch.Tensor, *more: torch.Tensor
) -> torch.Tensor:
    """(B, rows, columns, 2 + C) the offset from each cell to the place of the photo that it shows; more attributes.

    ``more`` are attributes (B, V, C) of the vertices.
    """
    return _in_cells(canvas, placed, triangles, torch.cat([source - placed[0], *more], -1))


def _in_cells(
    canvas: PreparedCanvas,
    placed: Placed,
    triangles: torch.Tensor,
    attributes: torch.Tensor,
    shown: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attributes (B, V, C) of vertices, rasterized into the cells of a canvas's grid; see ``rasterize``."""
    grid, (positions, depths) = canvas.grid, placed
    corners = (positions - canvas.centres[0, 1, 1]) / grid.cell
    return rasterize(corners, depths / grid.cell, triangles, attributes, (grid.rows, grid.columns), shown)
