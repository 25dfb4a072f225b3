"""The mesh-warp generator: the photo's pixels, carried by its face mesh, with eyes and mouth drawn into it.

``generator.py`` is the way in: ``prepare`` once for a portrait, ``draw`` for each batch of frames.

``prepare``, in this order:

- the picture, without what is in front of it and continued where the photo cuts the head off: ``bars``, ``head_top``,
  ``head_sides``; where its lips meet: ``lip_edges`` (``lip_seam``, ``lip_strips``); ``glasses/``
- the background: the person's outline in ``background`` (``hair_strands``, ``hair_tips``, ``earrings``,
  ``background_colours``), and what the person hides in ``inpainting``, ``coherence_transport`` and ``texture``;
  both as layers in ``compositing/prepared_canvas``
- the mesh that carries the pixels: ``warp_mesh`` (``mesh_topology``, ``following``, ``brow_edges``); its depth in
  ``head_shape``, hair in ``hanging_hair`` and ``fringe``, what is held up in ``held_things``, what a turn of the head
  brings into view in ``far_side`` (``far_cheek``) and ``head_back`` (``side_view``, ``neck_back``, ``neck_texture``,
  ``back_hair``)
- the face: ``depiction`` (photograph, statue, drawing, painting), ``prepared_mouth`` (``mouth_light``, ``upper_row``,
  ``continued_teeth``, ``lower_row``, ``dental_arch``, ``anatomy``), ``prepared_eyes`` (``eye_in_photo``,
  ``drawn_eyes``, ``large_eyes``, ``smooth_lids``, ``lid_shade``, ``eyeball``, ``hidden_eyeball``), ``wrinkles``,
  ``smile_folds``, ``relighting``

``draw``, in this order:

- ``face_motion``: landmarks and head poses in pixels of the film; ``warp_mesh`` moves with them, ``warping`` finds the
  place of the photo that each cell shows (``rasterizer``), ``compositing/compositor`` draws it (the person's layer,
  what a turn uncovers in ``compositing/far_view`` and ``back_view``, edges in the other modules of ``compositing``)
- ``features``, each in a ``frame_window``: ``smile_folds``, ``eyes``, ``mouth`` (``mouth_mesh``, ``opening_mask``),
  ``refinement``
- ``glasses/worn_glasses``, ``relighting``, ``bars``

All of them use ``sampling``, ``morphology``, ``parallel``, ``placement`` and ``frame_memory``. ``drawing_process``
draws batches in further processes, which run ``drawing_worker``.
"""

import torch

from space_core.generator.mesh_warp.generator import MeshWarpGenerator
from space_core.progress import Progress

__all__ = ["MeshWarpGenerator", "build"]


def build(device: torch.device, progress: Progress) -> MeshWarpGenerator:
    """See ``space_core.generators``."""
    return MeshWarpGenerator(device)
