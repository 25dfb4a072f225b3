"""Draws the inside of the mouth between the lips: its mesh, the photo's own teeth if it shows them, the lips' shade.

Lengths are normalized, see ``prepared_mouth``.
"""

import math

import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.anatomy import MILLIMETRE
from space_core.generator.mesh_warp.dental_arch import on_arch
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, index_on, upload
from space_core.generator.mesh_warp.mouth_mesh import draw_mouth_mesh, lips_rounded
from space_core.generator.mesh_warp.opening_mask import (
    WINDOW_MARGIN,
    OpeningMask,
    Window,
    alpha_blend,
    opening_mask,
    window_around,
)
from space_core.generator.mesh_warp.prepared_mouth import EDGE, EDGE_SHARE, PreparedMouth
from space_core.generator.mesh_warp.sampling import blur_batch, pairs, reach_of_blur, sample
from space_core.generator.mesh_warp.upper_row import UPPER_LIP_REACH, lip_shade

NEGLIGIBLE_BLUR = 0.25  # pixels
OWN_TEETH = (0.6, 1.0)  # shares of a soft photo's own teeth; some of them are blurred again … none
TRANSPARENT = 1e-4  # share of a pixel; where less of it is covered, the colour does not matter
# An open mouth of the photo's own is replaced by the drawn one as the lips move by these amounts (root mean square,
# normalized).
MOVED_LOW, MOVED_HIGH = 0.002, 0.012
# Insides of the lips: their brightness relative to the seam's, and how many millimetres from the edges of the upper and
# the lower lip they have gone into the dark to 1 / e.
LINING, LINING_ABOVE, LINING_BELOW = 1.5, 2.0, 3.0
# Where lips are closer than the first of these, what is further away on them is stretched over their edges, less and
# less up to the second: by that share of a lip's height and so much at most, and less in that part of its length.
LIPS_CLOSE, LIP_STRETCH, LIP_ENDS = (2 * MILLIMETRE, 5 * MILLIMETRE), (0.5, 2.4 * MILLIMETRE), (0.0, 0.2)
SEAM_SHOWN = 0.6  # how far the seam between such lips is its own colour
SEAM_IN_SOFT_PHOTOS = 0.5  # pixels by which it is wider on each side for each pixel of softening, or it blurs away
OWN_HOOD = 0.8  # of the shade of rounded lips, the part that the photo's own teeth are spared
# Teeth get less light, the closer lips are; the photo's own show what they get where lips are as far apart as there. At
# the first of these distances the share is left of what it is at the second.
LIGHT_BY_OPENING, LEAST_LIGHT = (4 * MILLIMETRE, 20 * MILLIMETRE), 0.5
CORNERS, CORNERS_SHADE = (0.3, 0.9), 0.35  # from the middle to a corner; of light, what the cheeks keep from the depth
# Where the photo shows the mouth open, nothing is brighter than what it shows at the lips' edges, or a pale line stands
# around dark corners: from the middle to a corner; and so far from these edges no more.
DARK_CORNERS, DARK_WITHIN = (0.2, 0.6), 2 * MILLIMETRE
LOWER_LIP_SHADE = (0.1, 2.5)  # of the lower lip, as ``UPPER_LIP_SHADE`` and ``UPPER_LIP_REACH`` are of the upper one
# The wet inside of the lower lip, which it turns outwards as it opens, covers what is close above its edge: that share
# of it there, and 1 / e of that so many millimetres above; less towards the corners, where it would be a pale line.
LOWER_LINING, LOWER_LINING_REACH = 0.8, 1.2
# Light comes from above: the upper part of an opening between rounded lips gets that share less of it. Down from the
# first of these shares of its height it gets more and more.
HOOD, HOOD_ENDS = 0.7, (0.3, 1.0)
PARTED = (1.2 * MILLIMETRE, 3 * MILLIMETRE)  # from here to there, parting lips let light in


def mouth_is_open(mouth: PreparedMouth, host: HostMotion) -> bool:
    """Whether the lips leave an opening in any of the frames."""
    return bool((_apart(mouth, host) > 0).any())


def mouth_margin(mouth: PreparedMouth) -> int:
    """How many pixels around the lips' points the inside of a mouth is drawn."""
    return WINDOW_MARGIN + reach_of_blur(mouth.softening)


def draw_mouth(frames: torch.Tensor, mouth: PreparedMouth, motion: FaceMotion) -> None:
    """Draws the inside of the mouth into frames (B, 3, h, w) around it, in place, where the lips leave it open.

    ``motion`` is in pixels of the frames.
    """
    device = frames.device
    upper, lower = (
        motion.posed.index_select(1, index_on(lip, device))[..., :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP)
    )
    across = lower - upper
    apart = across.norm(dim=-1, keepdim=True)
    scale = motion.scale[:, None, None]
    if mouth.open_in_photo:  # the edges of its lips show a little of what lay between them
        closing = -across * torch.clamp(EDGE * scale / apart.clamp(min=1e-3), max=EDGE_SHARE)
    else:  # what the lips were apart in the photo is the tracker's, not the mouth's: it does not count as open
        closing = 0.5 * across / apart.clamp(min=1e-3) * torch.minimum(mouth.gap * scale, apart)
    upper, lower = upper + closing, lower - closing
    points = motion.host.posed[:, [*INNER_UPPER_LIP, *INNER_LOWER_LIP], :2]
    window = window_around(points, mouth_margin(mouth), frames.shape[2:], device)
    opening = opening_mask(upper, lower, window.pixels, mouth.softness)
    seen = _colours_at(frames, window)
    inside, own = _inside(mouth, motion, window, opening, seen)
    alpha = opening.coverage
    if mouth.open_in_photo:
        inside = _with_dark_corners(inside, seen, opening, scale)
        lips = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]
        change = motion.host.normalized[:, lips] - mouth.photo.host.normalized[:, lips]
        moved = smoothstep(np.sqrt(np.square(change).sum(-1).mean(-1)), MOVED_LOW, MOVED_HIGH)
        alpha = alpha * upload(moved.astype(np.float32), device)[:, None, None]
        apart = _apart(mouth, motion.host)
        closed = moved * (1 - apart[:, 5] / mouth.opening).clip(0) * (1 - smoothstep(apart[:, 5], *LIPS_CLOSE))
        if closed.any():
            share = upload(closed.astype(np.float32), device)[:, None, None]
            _stretch_lips(frames, motion, (upper, lower), share)
            away = torch.maximum(opening.below_upper.abs(), opening.above_lower.abs())
            line = (1.5 + SEAM_IN_SOFT_PHOTOS * mouth.softening - away).clamp(0, 1)
            line = SEAM_SHOWN * share * _between_corners(opening) * line
            line = blur_batch(line[:, None], math.hypot(mouth.blur, mouth.softening))[:, 0]
            alpha_blend(frames, window, mouth.seam.expand_as(inside), line)
    if mouth.softening:
        inside, alpha = _softened(inside, own, alpha, mouth.softening)
    alpha_blend(frames, window, inside, alpha)


def _stretch_lips(
    frames: torch.Tensor, motion: FaceMotion, edges: tuple[torch.Tensor, torch.Tensor], closed: torch.Tensor
) -> None:
    """Stretches lips, where they close that are open in the photo, over their ``edges`` (B, 11, 2), in place.

    The warp, which is smooth, leaves some of what is between them, teeth or the dark, on their edges: this is covered
    by a share ``closed`` (B, 1, 1).
    """
    points = motion.host.posed[:, [*OUTER_UPPER_LIP, *OUTER_LOWER_LIP], :2]
    window = window_around(points, WINDOW_MARGIN, frames.shape[2:], frames.device)
    upper, lower = (
        motion.posed.index_select(1, index_on(lip, frames.device))[..., :2]
        for lip in (OUTER_UPPER_LIP, OUTER_LOWER_LIP)
    )
    lips = torch.cat([upper, edges[1]]), torch.cat([edges[0], lower])
    upper_lip, lower_lip = opening_mask(*lips, window.pixels.repeat(2, 1, 1, 1)).halves()
    above, below = upper_lip.above_lower, lower_lip.below_upper  # pixels away from the edges
    scale = motion.scale[:, None, None]
    up, down = (
        _stretched(lip, away, closed, scale) for lip, away in zip((upper_lip, lower_lip), (above, below), strict=True)
    )
    down = torch.where(above > below, -up, down)
    source = window.pixels + pairs(torch.zeros_like(down), down)
    alpha_blend(frames, window, sample(frames, source), (down != 0).float())


def _stretched(lip: OpeningMask, away: torch.Tensor, closed: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(B, h, w) how many pixels further from its inner edge lies what a stretched lip shows, so many away from it.

    ``closed`` (B, 1, 1) says how much, see ``_stretch_lips``; ``scale`` (B, 1, 1) is in pixels per normalized unit.
    """
    thickness = (lip.below_upper + lip.above_lower).clamp(min=1)
    further = closed * (LIP_STRETCH[0] * thickness).minimum(LIP_STRETCH[1] * scale)
    return further * (1 - away / thickness).clamp(0, 1) * (away > -1) * _between_corners(lip)


def _between_corners(opening: OpeningMask) -> torch.Tensor:
    """(B, h, w) 1 between the corners of lips, less towards them, where they stay as they are: dark."""
    return smoothstep(1 - opening.along.abs(), *LIP_ENDS)


def _colours_at(frames: torch.Tensor, window: Window) -> torch.Tensor:
    """(B, 3, h, w) what frames (B, 3, H, W) show in a window."""
    index = window.index.flatten(1)[:, None].expand(-1, 3, -1)
    return frames.flatten(2).gather(2, index).unflatten(2, window.index.shape[1:])


def _with_dark_corners(
    inside: torch.Tensor, seen: torch.Tensor, opening: OpeningMask, scale: torch.Tensor
) -> torch.Tensor:
    """The inside of a mouth (B, 3, h, w), towards the corners and near the lips no brighter than what is seen there.

    ``seen`` (B, 3, h, w) is what the warped photo shows, before the mouth is drawn.
    """
    away = torch.minimum(opening.below_upper, opening.above_lower) / (DARK_WITHIN * scale)
    share = smoothstep(opening.along.abs(), *DARK_CORNERS) * smoothstep(away, 1.0, 0.0)
    return torch.lerp(inside, torch.minimum(inside, seen), share[:, None])


def _softened(
    inside: torch.Tensor, own: torch.Tensor, alpha: torch.Tensor, sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The inside of a mouth and its alpha, as ``draw_mouth`` has them, as blurred as a soft photo.

    Except where the photo's own teeth are, ``own`` (B, 1, h, w), which are so already.
    """
    alpha = alpha[:, None]
    soft = blur_batch(torch.cat([inside * alpha, alpha], 1), sigma)
    colours = soft[:, :3] / soft[:, 3:].clamp(min=TRANSPARENT)
    return torch.lerp(colours, inside, smoothstep(own, *OWN_TEETH)), soft[:, 3]


def _inside(
    mouth: PreparedMouth, motion: FaceMotion, window: Window, opening: OpeningMask, seen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The inside of the mouth in a window of the frames, and where it is the photo's own teeth, 0…1.

    (B, 3, h, w) and (B, 1, h, w). ``seen`` (B, 3, h, w) is what the warped photo shows there.
    """
    # In a dark corner of the photo's lips anything brighter would be a pale line around the opening, or a speck.
    brightness = seen.mean(1, keepdim=True) / mouth.seam.mean().clamp(min=TRANSPARENT)
    seam, lips = (mouth.seam * brightness.clamp(max=most) for most in (1.0, LINING))
    if not _parted(mouth, motion.host):
        return seam, torch.zeros_like(seam[:, :1])
    drawn = draw_mouth_mesh(mouth, motion, window)
    millimetre = motion.scale[:, None, None, None] * MILLIMETRE
    above, below = opening.below_upper[:, None] / millimetre, opening.above_lower[:, None] / millimetre
    # The insides of lips and cheeks go back into the dark, and cover teeth towards the corners.
    lining = torch.exp(torch.minimum(above * (LINING_BELOW / LINING_ABOVE), below).clamp(min=0) * (-1 / LINING_BELOW))
    aside = smoothstep(opening.along.abs()[:, None], *CORNERS)
    depths = mouth.depths * (1 - CORNERS_SHADE * aside) ** mouth.reddening
    picture = drawn[:, :3] + (1 - drawn[:, 3:]) * depths
    picture = torch.lerp(picture, lips, lining * (1 - drawn[:, 3:] * (1 - aside)))
    turned_out = LOWER_LINING * torch.exp(-((below.clamp(min=0) / LOWER_LINING_REACH) ** 2))
    picture = torch.lerp(picture, mouth.lips, turned_out * (1 - aside) * (1 - mouth.colours.depiction.cartoon))
    if mouth.blur > NEGLIGIBLE_BLUR:
        picture = blur_batch(picture, mouth.blur)

    # Little light falls in where the lips are close together.
    shade, hood = _shade_of_lips(mouth, above, below), _shade_of_rounded_lips(mouth, motion, above, below)
    apart = (above + below) * MILLIMETRE
    light = mouth.near_lips + (1 - mouth.near_lips) * smoothstep(apart, MILLIMETRE, mouth.full_light)
    if mouth.shows_teeth:
        light = light * (mouth.dimmed + (1 - mouth.dimmed) * smoothstep(apart, mouth.opening, 2 * mouth.opening))
    own_share = torch.zeros_like(picture[:, :1])
    if mouth.has_teeth:
        light = light * _light_as_in_photo(mouth, motion)
        arch = on_arch(motion, window.pixels, float(mouth.origin[2]))
        own = sample(mouth.teeth, mouth.photo.project(arch[..., :2], arch[..., 2]))
        own, own_share = own.split((3, 1), 1)
        picture = torch.lerp(picture, own / mouth.dimmed, own_share)
        hood = hood + OWN_HOOD * own_share * (1 - hood)
    # Lips that hardly part show the shade between them, no teeth.
    return torch.lerp(seam, picture * (shade * hood) ** mouth.reddening * light, smoothstep(apart, *PARTED)), own_share


def _light_as_in_photo(mouth: PreparedMouth, motion: FaceMotion) -> torch.Tensor:
    """(B, 1, 1, 1) the light between lips, relative to the photo's: less where they are closer."""
    apart = np.append(_apart(mouth, motion.host)[:, 5], mouth.opening).astype(np.float32)
    light = LEAST_LIGHT + (1 - LEAST_LIGHT) * smoothstep(apart, *LIGHT_BY_OPENING)
    left = 1 + (1 - mouth.colours.depiction.cartoon) * ((light[:-1] / light[-1]).clip(max=1) - 1)
    return upload(left.astype(np.float32), motion.posed.device)[:, None, None, None]


def _shade_of_lips(mouth: PreparedMouth, above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """(B, 1, h, w) the light that lips leave to what is behind them, so many millimetres away from their edges."""
    shade = lip_shade(above, mouth.upper_lip_shade, UPPER_LIP_REACH) * lip_shade(below, *LOWER_LIP_SHADE)
    return shade + mouth.colours.depiction.cartoon * (1 - shade)


def _shade_of_rounded_lips(
    mouth: PreparedMouth, motion: FaceMotion, above: torch.Tensor, below: torch.Tensor
) -> torch.Tensor:
    """What ``_shade_of_lips`` gives, of how far the lips are rounded."""
    down = above / (above + below).clamp(min=TRANSPARENT)
    rounded = upload(lips_rounded(mouth, motion.host), above.device)[:, None, None, None]
    return 1 - (1 - mouth.colours.depiction.cartoon) * HOOD * rounded * smoothstep(down, *HOOD_ENDS[::-1])


def _parted(mouth: PreparedMouth, host: HostMotion) -> bool:
    """Whether light falls in between the lips in any of the frames; between their points they may be further apart."""
    return bool((_apart(mouth, host) > 0.6 * PARTED[0]).any())


def _apart(mouth: PreparedMouth, host: HostMotion) -> np.ndarray:
    """(B, 11) how far the lips' points are apart, beyond the photo's gap, normalized."""
    upper, lower = (host.posed[:, list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    return np.linalg.norm(lower - upper, axis=-1) / host.scale[:, None] - mouth.gap_on_host
