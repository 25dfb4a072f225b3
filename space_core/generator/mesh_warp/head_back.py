"""The back of a head, which its photo hides: what is seen at the head's outline, hair or skin, goes on round the head.

It comes into view beyond the near side of a head that turns: behind the ear, and below it down the neck.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.generator.mesh_warp.back_hair import continued_hair, sample_hair
from space_core.generator.mesh_warp.face_motion import FaceMotion, upload
from space_core.generator.mesh_warp.hanging_hair import HangingHair
from space_core.generator.mesh_warp.head_shape import HEAD_MIDDLE, PERSON
from space_core.generator.mesh_warp.neck_back import Neck, find_necks
from space_core.generator.mesh_warp.neck_texture import neck_texture
from space_core.generator.mesh_warp.sampling import EXTENT, channels_last
from space_core.generator.mesh_warp.side_view import SideView, beside_axis, skin_colours

# Horizontal sections of a head are ellipses about an upright axis. Their half widths and depths behind the axis are
# those of the generic head without its ears, at these normalized heights; below the last it is not drawn.
HEIGHTS = (-0.15, 0.15, 0.3, 0.45, 0.6, 0.75)
WIDTHS, DEPTHS = (0.85, 0.80, 0.72, 0.62, 0.52, 0.45), (0.95, 0.87, 0.73, 0.53, 0.35, 0.2)
AXIS, TOP, BOTTOM = float(HEAD_MIDDLE[2]), -1.6, 1.6
# Over the height ``CROWN`` below the head's top depth is reduced by up to the share ``FLATTER``: photos show the crown
# itself.
FLATTER, CROWN = 0.6, 0.6
# Behind the depth ``SLOPES_FROM`` it descends by ``SLOPE`` per unit of depth, fully above the first height of
# ``SLOPING``, not at all below the second.
SLOPES_FROM, SLOPE, SLOPING = 0.4, 0.1, (-1.2, -0.2)
# Angles about the axis, from the outline of a head that faces the camera. Negative ones are drawn behind what the photo
# shows, so that there is no gap; ``FRONT`` is the ellipses' half axis there, normalized.
ANGLES, FRONT = np.radians([-35, 70]), 0.6
MESH, TEXTURE = (24, 8), (384, 160)  # rows and columns of one side
# Distances from the axis at which the outline is sought. Outside of ``OUTLINE`` there is no head, or there are arms,
# hands or other people beside it.
SEARCHED, OUTLINE = np.arange(0.3, 1.5, 0.01), (0.31, 1.4)
# Normalized standard deviations by which outline and depth are smoothed over the height: ears and tufts beside a head
# are not behind it.
SMOOTH, SMOOTH_DEPTH = 0.034, 0.12
# Height at which ears begin, and its uncertainty. What is behind an ear is taken from the height ``ABOVE`` above it.
EAR_TOP, EAR_FADE, ABOVE = -0.1, 0.1, 0.3
HAIR_FADE = (0.3, 0.8)  # heights between which hair gets as short as skin
BEGINS = (0.05, 0.25)  # distances below the top of the head over which it fades in: further up it would be a spike
ENDS, HANGING_ENDS = (0.25, 0.55), (0.8, 1.05)  # heights between which the back of the head ends, and hair that hangs
# Where hair stands further off the skull than this, the back is not drawn: a smooth one would be seen beyond its curls.
WIDE = 0.53
HANGING_HEIGHTS = (0.3, 0.7)  # heights between which hanging hair is looked for
# The latter end lower, at most by ``LONGER``, where this share of what a photo shows between these distances to either
# side of the axis is hair that hangs: it is as long at the back.
LONGER, IS_HAIR, BESIDE = 0.45, 0.5, np.arange(0.5, 1.2, 0.05)
EDGE = 0.05  # normalized; width of the outline's soft edge
# The back is drawn over the person's soft edge above the first of these heights, where that is the edge of hair or of
# an ear, but not below the second, where it may be that of the cheek, which a turn stretches. A neck is drawn over it
# everywhere.
CHEEK = (0.05, 0.25)
# A neck's depth behind the axis, as a multiple of its width; it falls to zero between the heights ``NECK_BASE``, as
# shoulders do not turn, and fades out between ``NECK_ENDS``. Hair that hangs, 0…1, by ``HANGS`` or more hides it.
NECK_DEPTH, NECK_BASE, NECK_ENDS, HANGS = 1.05, (0.8, 1.35), (1.4, 1.6), 0.4
# Factor of the negative angles of a neck, fully below the second height: behind the jaw of a leaning neck there would
# be a gap.
BEHIND_JAW, JAW = 2.2, (0.4, 0.7)
# Height of the hairline at the ear and at the nape, and where, relative to it, hair turns into skin; normalized.
HAIRLINE, HAIRLINE_WIDTH = (0.35, 0.7), (-0.1, 0.1)
NECK_FROM = 0.1  # height from which on the texture of the neck is computed; the hairline is lower everywhere
BEYOND = 8  # rows of the texture beyond those that are seen, which interpolation may read
# Light from the front falls on the back at an angle: between these angles it gets darker, by this share.
DARK_ANGLES, DARKER = np.radians([-20, 60]), 0.35
# Sine of the photo's yaw above which its far side hides what is beside the face. The far back is not drawn then, not
# even faded: it would be seen as a second outline.
FAR = 0.2
# Sines of the turn away from the photo's pose between which the back fades in. Head motion in speech mostly stays
# below, and takes no time here; at 10° about four pixels would be seen. The turn from the camera needs to be greater
# than that, less ``FACING``.
TURN, FACING = (0.15, 0.22), 0.05
# Between these sines its depth grows from at most ``HIDDEN`` (normalized), where the outline hides all of it, to its
# own. If it faded in at its own depth, turning heads would get wider at once.
GROWS, HIDDEN = (0.15, 0.28), 0.5


@dataclass(frozen=True)
class HeadBack:
    """The back of a head, as the last vertices of a warp mesh.

    Attributes:
        vertices: (P, 3) normalized, on the host; those of the left side come first.
        triangles: (N, 3) int64, of these vertices.
        places: (P, 2) x and y of the texture, in its pixels.
        over_edge: (P, 1) how much it is drawn over the person's soft edge, 0…1.
        reach: (P, 3) how far it reaches back to where it is seen, normalized.
        texture: (h, w, 4) uint8, red, green, blue and how opaque it is.
        sine: of the photo's yaw.
    """

    vertices: np.ndarray
    triangles: torch.Tensor
    places: torch.Tensor
    over_edge: torch.Tensor
    reach: torch.Tensor
    texture: torch.Tensor
    sine: float

    def in_view(self, motion: FaceMotion) -> np.ndarray:
        """(B, 2) how much of the left and right side is seen, 0…1."""
        return smoothstep(self._turned(motion), *TURN)

    def grown(
        self, motion: FaceMotion, positions: torch.Tensor, depths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (B, P, 2) and depths (B, P) of the vertices, the less deep the less the head has turned."""
        missing = np.interp(self._turned(motion), GROWS, (1, 0)).astype(np.float32)
        missing = upload(missing, positions.device).repeat_interleave(len(self.reach) // 2, 1)[..., None]
        reach = missing * (self.reach @ motion.rotation.mT * motion.scale[:, None, None])
        return positions - reach[..., :2], depths - reach[..., 2]

    def _turned(self, motion: FaceMotion) -> np.ndarray:
        """(B, 2) by how much the left and right side are turned into view, sines."""
        sine = -motion.host.rotation[:, 2, 0]
        turned, shown = (np.stack([-values, values], -1) for values in (sine - self.sine, sine))
        return np.minimum(turned, shown + FACING)


@dataclass(frozen=True)
class _Side:
    """The back of one side of a head, row by row of the texture.

    Attributes:
        view: what the photo shows of that side.
        width, depth: (h,) how far the head reaches beside its axis and behind it, normalized.
        hangs: 0 short hair … 1 hair that hangs.
        opaque: (h,) 0…1.
        neck: what is below the hair; None where hair hides it, or the photo does not show it.
    """

    view: SideView
    width: np.ndarray
    depth: np.ndarray
    hangs: float
    opaque: np.ndarray
    neck: Neck | None


def find_head_back(photo: FaceMotion, picture: torch.Tensor, person: np.ndarray, hair: HangingHair) -> HeadBack:
    """The back of a photo's head.

    Args:
        photo: its own landmarks in pixels of the surroundings, on the host.
        picture: (1, 3, 640, 640) the surroundings, 0…1.
        person: (640, 640) 0 background … 1 person.
        hair: long hair.
    """
    seen = channels_last(picture[0])
    rows = np.linspace(TOP, BOTTOM, TEXTURE[0])
    views = {
        side: SideView(photo, seen, side, rows, _outline(photo, person, rows, side), skin_colours(photo, seen, side))
        for side in (-1, 1)
    }
    necks = find_necks(views)
    longer = _longer(photo, hair, rows)
    sides = [_side(view, hair, longer, necks[side]) for side, view in views.items()]
    vertices, flat = (np.concatenate([_vertices(side, depth) for side in sides]) for depth in (np.inf, HIDDEN))
    texture = np.concatenate([_texture(side) for side in sides], 1)
    columns, rows = (np.linspace(0, length - 1, count) for length, count in zip(TEXTURE[::-1], MESH[::-1], strict=True))
    x, y = np.meshgrid(columns, rows)
    has_neck = np.repeat([side.neck is not None for side in sides], len(vertices) // 2)
    over_edge = np.maximum(1 - smoothstep(vertices[:, 1], *CHEEK), has_neck)
    places = [np.stack([x + number * TEXTURE[1], y], -1).reshape(-1, 2) for number in (0, 1)]
    index = np.arange(len(vertices)).reshape(2, *MESH)
    a, b, c, d = index[:, :-1, :-1], index[:, :-1, 1:], index[:, 1:, :-1], index[:, 1:, 1:]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 1).reshape(-1, 3)
    return HeadBack(
        vertices=vertices,
        triangles=torch.from_numpy(triangles),
        places=torch.from_numpy(np.concatenate(places).astype(np.float32)),
        over_edge=torch.from_numpy(over_edge[:, None].astype(np.float32)),
        reach=torch.from_numpy((vertices - flat).astype(np.float32)),
        texture=torch.from_numpy((texture * 255).round().clip(0, 255).astype(np.uint8)),
        sine=-float(photo.host.rotation[0, 2, 0]),
    )


def _outline(photo: FaceMotion, person: np.ndarray, rows: np.ndarray, side: int) -> np.ndarray:
    """(h,) how far a photo's head reaches beside its axis at normalized heights ``rows`` (h,)."""
    line = beside_axis(photo, side * SEARCHED[None], rows[:, None])
    shown = cv2.remap(person.astype(np.float32), line, None, cv2.INTER_LINEAR) > PERSON
    first = np.where(shown.all(1), len(SEARCHED) - 1, (~shown).argmax(1))
    outline = SEARCHED[first]
    return np.minimum(outline, _smooth(outline))


def _longer(photo: FaceMotion, hair: HangingHair, rows: np.ndarray) -> float:
    """How much further down than ``HANGING_ENDS`` a photo shows long hair beside its face; rows as above."""
    places = beside_axis(photo, np.concatenate([-BESIDE, BESIDE]), rows[:, None])
    hangs = hair.at(places.reshape(-1, 2).clip(0, EXTENT - 1)).reshape(len(rows), -1).max(1) > IS_HAIR
    lowest = rows[hangs].max(initial=HANGING_ENDS[1])
    return float(min(lowest - HANGING_ENDS[1], LONGER))


def _side(view: SideView, hair: HangingHair, longer: float, neck: Neck | None) -> _Side:
    """The back of one side of a photo's head; ``longer`` see above."""
    photo, side, rows, outline = view.photo, view.side, view.rows, view.outline
    is_head = (outline > OUTLINE[0]) & (outline < OUTLINE[1])
    low, high = (np.searchsorted(rows, height) for height in HANGING_HEIGHTS)
    inside = beside_axis(photo, side * (outline[low:high] - EDGE), rows[low:high])
    hangs = float(hair.at(inside.clip(0, EXTENT - 1)).mean())

    skull, behind = (np.interp(rows, HEIGHTS, values) for values in (WIDTHS, DEPTHS))
    # The outline of the near side of a turned head lies behind the axis.
    sine, cosine = -photo.host.rotation[0, 2, 0], photo.host.rotation[0, 2, 2]
    reach = outline * cosine / np.hypot(cosine, max(side * sine, 0) * behind / skull)
    # That of a head that looks up or down lies before or behind it: beside the axis a sphere is lower and narrower.
    lifted = np.hypot(sine, cosine)
    top, squares = rows[is_head.argmax()], np.minimum(rows, 0) ** 2
    reach *= np.sqrt(((lifted * top) ** 2 - squares).clip(0) / (lifted**2 * (top**2 - squares)).clip(1e-6))
    above_ear = (rows > EAR_TOP - ABOVE) & (rows < EAR_TOP)
    short = 1 - (1 - hangs) * smoothstep(rows, *HAIR_FADE)
    skull, behind = (values + hangs * (values.max() - values) for values in (skull, behind))
    neck = neck if hangs < HANGS else None
    usual = skull + short * (np.median(reach[above_ear]) - WIDTHS[0])
    if neck is not None:
        usual, behind = (
            np.maximum(usual, neck.width),
            np.maximum(behind, NECK_DEPTH * neck.width * (1 - smoothstep(rows, *NECK_BASE))),
        )
    usual = np.minimum(usual, reach)
    width = reach + smoothstep(rows, EAR_TOP - EAR_FADE, EAR_TOP + EAR_FADE) * (usual - reach)
    depth = behind + short * (width - skull).clip(-FLATTER * skull)
    ends = np.array(ENDS) + hangs * (np.subtract(HANGING_ENDS, ENDS) + longer)
    opaque = is_head * smoothstep(rows, *(top + np.array(BEGINS))) * (1 - smoothstep(rows, *ends))
    is_close = np.maximum.accumulate(outline - skull) < WIDE
    opaque = _smooth(opaque * is_close * (-side * sine < FAR))
    if neck is not None:
        low = np.searchsorted(rows, ends[0])
        opaque = np.where(rows < ends[0], opaque, opaque[low] * (1 - smoothstep(rows, *NECK_ENDS)))
    depth = _smooth(depth * (1 - FLATTER * (1 - smoothstep(rows, top, top + CROWN))), SMOOTH_DEPTH)
    return _Side(view, width, depth, hangs, opaque, neck)


def _vertices(side: _Side, deepest: float) -> np.ndarray:
    """(V, 3) normalized vertices of a side, row by row, none deeper than ``deepest``."""
    numbers = np.linspace(0, len(side.width) - 1, MESH[0])
    rows, width, depth = (
        np.interp(numbers, np.arange(len(side.width)), values)[:, None]
        for values in (side.view.rows, side.width, side.depth)
    )
    angles = np.linspace(*ANGLES, MESH[1])
    further = 1 + (BEHIND_JAW - 1) * (side.neck is not None) * smoothstep(rows, *JAW)
    x = side.view.side * width * np.cos(np.where(angles < 0, further * angles, angles))
    z = np.minimum(AXIS + np.where(angles > 0, depth, FRONT) * np.sin(angles), deepest)
    y = rows + SLOPE * (1 - smoothstep(rows, *SLOPING)) * (z - SLOPES_FROM).clip(0)
    return np.stack([x, y, z], -1).reshape(-1, 3)


def _texture(side: _Side) -> np.ndarray:
    """``TEXTURE`` × 4 colours of a side and how opaque it is, 0…1."""
    if not side.opaque.any():
        return np.zeros((*TEXTURE, 4), np.float32)
    view, rows, angles = side.view, side.view.rows, np.linspace(*ANGLES, TEXTURE[1])
    lowest = EAR_TOP - EAR_FADE
    above_ear = np.minimum(rows, lowest) - ABOVE * (1 - np.exp(-(rows - lowest).clip(0) / ABOVE))
    heights = above_ear + side.hangs * (rows - above_ear)
    top = rows[(side.opaque > 0.5).argmax()]
    has_hair = (rows > top) & (rows < lowest + side.hangs * (HANGING_ENDS[1] - lowest))
    step = float(side.depth[(rows > lowest - ABOVE) & (rows < lowest)].mean() * (angles[1] - angles[0]))
    sample = sample_hair(replace(view, outline=_smooth(view.outline)), has_hair, step)
    # Nothing is computed for rows that are not seen: its detail is most of what a back takes.
    first, last = np.flatnonzero(side.opaque)[[0, -1]] + [-BEYOND, BEYOND]
    if side.neck is not None:
        last = np.searchsorted(rows, HAIRLINE[1] + HAIRLINE_WIDTH[1])
    drawn, colours = np.s_[max(first, 0) : last], np.zeros((*TEXTURE, 3), np.float32)
    colours[drawn] = continued_hair(sample, np.interp(heights[drawn], rows, np.arange(len(rows))), TEXTURE[1])
    if side.neck is not None:
        below = np.s_[np.searchsorted(rows, NECK_FROM) :]
        neck = neck_texture(side.neck, view[below], TEXTURE[1], step)
        hairline = HAIRLINE[0] + (HAIRLINE[1] - HAIRLINE[0]) * angles.clip(0) / ANGLES[1]
        share = smoothstep(rows[below, None] - hairline, *HAIRLINE_WIDTH)[..., None]
        colours[below] += share * (neck - colours[below])
    colours = colours * (1 - DARKER * smoothstep(angles, *DARK_ANGLES))[:, None]
    return np.dstack([colours, np.broadcast_to(side.opaque[:, None], TEXTURE)])


def _smooth(values: np.ndarray, over: float = SMOOTH) -> np.ndarray:
    """Values (h,) of the texture's rows, averaged over a normalized height."""
    sigma = over / (BOTTOM - TOP) * TEXTURE[0]
    return cv2.GaussianBlur(values[None].astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[0]
