"""The background behind a person: where it is seen, and what it is like where the person hides it."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.arrays import distance_to, smoothstep
from space_core.face.portrait import Portrait
from space_core.generator.mesh_warp.background_colours import like_background, without_grain
from space_core.generator.mesh_warp.coherence_transport import continue_lines
from space_core.generator.mesh_warp.earrings import find_earrings
from space_core.generator.mesh_warp.hair_strands import find_hair_strands
from space_core.generator.mesh_warp.hair_tips import find_hair_tips
from space_core.generator.mesh_warp.inpainting import fill, flat_part, without_traces
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.parallel import thread_beside
from space_core.generator.mesh_warp.sampling import EXTENT, blur
from space_core.generator.mesh_warp.texture import busyness, texture_beyond
from space_core.generator.mesh_warp.uncertain_mask import without_uncertain_background

# The person's mask is made steeper: what is nearly certain is certain.
MASK_LOW, MASK_HIGH = 0.3, 0.95
DOUBT_LOW, DOUBT_HIGH = 0.08, 0.3
# What is less likely the person than that belongs to it only near to what is more likely: wholly … not at all, pixels.
# Further away it is something else that looks a little like a person, such as people and lamps behind; it stands still.
LIKELY, EDGE_REACH = 0.5, (24, 40)
FRAME = 8  # pixels along the photo's edges in which lines are no hair
BACKGROUND_CLEARANCE = 19  # width, in pixels, of the brush that keeps the background clear of the person's edge
CLOSE_CLEARANCE = 7  # … where it is coloured like the background further out
TIP_CLEARANCE = 5  # … and of tips and strands of hair beyond
KEPT = 0.01  # of ``kept``: more is not known
RIM = 9.5  # pixels over which these fade out; what is half known further inside has a share of the person
UNSURE = 11  # width, in pixels, of the person's soft edge, which is no evidence of the background


@dataclass(frozen=True)
class Background:
    """The background of a portrait, over its surroundings.

    Attributes:
        shows: (1, 1, 640, 640) where it is seen: 0 person … 1 background.
        known: (1, 1, 640, 640) where the photo itself shows what it is like, 0…1.
        unknown: (1, 3, 640, 640) its colours where the photo does not, 0…1, times 1 − ``known``.
    """

    shows: torch.Tensor
    known: torch.Tensor
    unknown: torch.Tensor


def estimate_background(
    portrait: Portrait, picture: torch.Tensor, hidden: np.ndarray, edges: np.ndarray, whole: np.ndarray
) -> Background:
    """The background of a portrait.

    Args:
        picture: (1, 3, 640, 640) its surroundings, 0…1, without glasses and bars.
        hidden: (640, 640) bool, where bars are in front of it.
        edges: (2, 2) the photo's left and top, right and bottom in pixels of the surroundings.
        whole: (640, 640) the person's mask, continued where the photo's edges cut the head off.
    """
    seen = without_grain(picture)
    own = without_uncertain_background(seen, _near_likely(whole))
    steep = np.clip((own - MASK_LOW) / (MASK_HIGH - MASK_LOW), 0, 1)
    # Beyond the photo's edges its outermost pixels go on, and where those show the person, so do they.
    first, last = np.ceil(edges[0]), np.floor(edges[1] - 1)
    columns, rows = (np.arange(EXTENT).clip(first[axis], last[axis]).astype(int).clip(0, EXTENT - 1) for axis in (0, 1))
    person = own[rows[:, None], columns]
    with thread_beside() as beside:
        strands = beside.submit(find_hair_strands, picture, person)
        others = find_hair_tips(picture, person), find_earrings(picture, person, portrait)
        in_photo = (rows == np.arange(EXTENT))[:, None] & (columns == np.arange(EXTENT)) & ~hidden
        # Lines along an edge are a frame's, no hair.
        clear_of_edges = cv2.erode(in_photo.astype(np.float32), square(2 * FRAME + 1))
        # Tips of hair of which the mask is hardly sure would stay behind when the head goes.
        doubtful = np.clip((person - DOUBT_LOW) / (DOUBT_HIGH - DOUBT_LOW), 0, 1)
        brush, close_brush, fine_brush = (
            square(width) for width in (BACKGROUND_CLEARANCE, CLOSE_CLEARANCE, TIP_CLEARANCE)
        )
        kept = blur(cv2.dilate(doubtful, brush), 3)
        # … but what is coloured like the background further out may stay, where it is not likely the person.
        likely = np.clip((person - MASK_LOW) / (LIKELY - MASK_LOW), 0, 1)
        close = blur(cv2.dilate(likely, close_brush), 1)
        kept = np.minimum(kept, np.maximum(close, 1 - like_background(seen, kept < KEPT)))
    for found in (*others, strands.result()):
        kept = np.maximum(kept, blur(cv2.dilate(found * clear_of_edges, fine_brush), 1))
    inside = distance_to(kept < KEPT) > RIM
    kept[inside & (kept > 0.5)] = 1
    shows, known = (torch.from_numpy(1 - mask)[None, None].float() for mask in (steep, kept))
    # What goes on beyond the edges is drawn, but nothing is filled from it: it would go on as stripes.
    # Nor from what is half known, such as a tuft that the mask misses: its colour would spread over all of it.
    filled_from = known * torch.from_numpy(in_photo & ~inside)[None, None]
    flat = flat_part(picture, filled_from)
    if flat is None:
        busy = busyness(picture, filled_from)
        filled_from = without_traces(picture, filled_from, busy, np.where(in_photo, steep, 0).astype(np.float32))
    else:
        busy, filled_from = np.zeros_like(kept), flat
    smooth = fill(picture, filled_from)
    wanted = kept > KEPT
    # What is seen beside the person tells which estimate is right, but not the person's own soft edge.
    evidence = cv2.erode(1 - steep, square(UNSURE)) * (in_photo & ~inside)
    with thread_beside() as beside:
        texture = beside.submit(texture_beyond, smooth, picture, filled_from, busy)
        # Beside what is plain there are no lines to go on.
        has_lines = busy[wanted].any()
        filled = continue_lines(smooth, picture, filled_from, evidence, wanted) if has_lines else smooth
        filled = filled + texture.result()
    return Background(shows, known, torch.where(filled_from == known, filled - picture * known, filled * (1 - known)))


def _near_likely(person: np.ndarray) -> np.ndarray:
    """A person's mask (640, 640) without what is unlikely the person and far from what is likely."""
    likely = person > LIKELY
    if not likely.any():
        return person
    return person * (1 - smoothstep(distance_to(likely), *EDGE_REACH)).astype(np.float32)
