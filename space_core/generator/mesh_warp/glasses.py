"""Glasses in a photo: where their frames are, whether anything is seen through them, and the face without them.

Frames are rigid. A face mesh has no points for them and would bend them with brows and cheeks, so they are cut out
here, and ``worn_glasses`` draws them over the moving face.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, label, mean
from skimage.draw import line, polygon2mask
from torch.nn import functional as F

from space_core.face.topology import EYES, Eye
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.sampling import EXTENT, pixels_of, sample
from space_core.smoothstep import smoothstep

# A rim is sought around each eye as a closed line that is darker or lighter than both of its sides. All lengths are
# normalized units: outer eye corners one apart, which is about 9 cm.
ANGLES, RADII = 72, 80  # rays from the middle of an eye and places on each
LENS = (0.29, 0.24)  # half width and half height of a usual lens; rays are that much longer to the sides
NEAREST, FARTHEST = 0.5, 2.1  # where rays begin and end, in those
LENS_BELOW, LENS_BESIDE = 0.03, 0.02  # how far below an eye's middle, and towards the temple, a lens' middle is
NOSE = 0.03  # no rim comes nearer to the middle of the face
# Half widths of a rim, in places on a ray, and what they count: brows are thick lines, too.
THICKNESS = ((1, 1.0), (2, 1.0), (4, 0.7), (7, 0.6))
STEEPEST = 3  # places that a rim moves from one ray to the next
BEND = 0.004  # what each of those costs, in brightness relative to the skin's
CLEAR = 0.25  # a line that contrasts by so much with the skin is no better for contrasting more
ALIKE = 5  # places by which one eye's rim may differ from what both agree on
WEAKEST = 0.2  # the share of a rim that may be hidden: by hair, light or the brow
ROUGHEST = 1.6  # places that a rim moves from ray to ray on average; creases of a screwed up face are no such line
SURE = 0.065  # contrast, relative to the skin, that the rest has in glasses; other faces stay below
SURE_OF_TINTED = 0.05  # and in tinted glasses, before which frames contrast less
# Below an eye there is no brow: a line there that contrasts by so much all along is a rim's, and less is enough for the
# rest; where there is none at all, brows and wrinkles have been taken for one.
LOWER_RIM, SURE_OF_BOLD, LEAST_LOWER_RIM = (0.1, 0.15), 0.045, 0.001
# The bridge is such a line, too, across the nose at the height of the eyes; frowns stand upright, brows are higher.
BRIDGE = (0.11, 0.11)  # half width and half height of where it is sought
CROSSINGS, HEIGHTS = 23, 44  # places there

NOSE_ROOT = 168
SKIN = (50, 280, 117, 346, 205, 425, 6, 197)  # points of cheeks and nose that show skin

ARM = (ANGLES * 11 // 12, 0.25)  # from which ray's end a frame's arm begins, and how far it is seen
HINGE = 0.05  # radius of where the arm begins
# So far beyond a rim's outermost point the arm is the frame's … it lies on the temple, and moves with it. On the far
# side of a turned face, none … all that is seen there is the frame's: sine of the yaw.
ON_TEMPLE, FAR = (0.06, 0.14), (0.15, 0.25)

# Sunglasses are dark from side to side, lens and frame, before both eyes; no face in the shade is.
MIDDLE = (0.24, 0.17)  # half width and half height of what is looked at there
SHOWING = 0.8  # this share of it …
DARK = 0.55  # … is less bright than that, relative to the skin
TINTED = 0.5  # of tinted glasses, through which eyes are seen, this share is
REACH = 0.5  # and from the middle of an eye what is dark belongs to them so far

# Of what is near to the line of a rim, the frame is what differs from the skin on both sides by more than the second
# share of the most that anything nearby differs; what differs by less than the first is skin.
NEAR_RIM = (0.05, 0.065)
DIFFERS = (0.25, 0.6)
NEARBY = 0.05  # distance over which the most is sought
# Thick black frames reach further from the line: what is that dark, relative to the skin, that near to it, and belongs
# to a piece of which at least this share is frame already.
BLACK, BLACK_REACH, BLACK_SHARE = 0.3, 0.14, 0.3
# At the temples what is dark may be hair: from so far inside of a rim's outermost point on, the reach is less.
AT_TEMPLE, REACH_AT_TEMPLE = -0.04, 0.07
# Brows are as dark as frames, and may touch one. Inside of a brow, less the first of these at both of its lines of
# points of the mesh, there is no rim; from its lower line up to the second above its upper one, what is further from
# the rim than the frame is thick is brow.
BROWS = (((46, 53, 52, 65, 55), (70, 63, 105, 66, 107)), ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336)))
INSIDE_BROW, ABOVE_BROW = -0.008, 0.06
# Unless rims outside of the brows have less than this share of the contrast, or other colours than below the eyes by
# more than the second: then they are in front of the brows.
AS_GOOD, OTHER_COLOUR = 0.85, 0.1
# A frame is as thick as it is over half of the rays below an eye, or, if it is thicker at the top, over this share of
# those above it, as brows touch it only in part; and its edge is soft by the last of these.
BELOW_EYE, ABOVE_EYE = slice(ANGLES * 3 // 24, ANGLES * 9 // 24 + 1), slice(ANGLES * 13 // 24, ANGLES * 23 // 24 + 1)
FREE_OF_BROW, SOFT_EDGE = 0.25, 0.006
IN_PIECE, SMALLEST_PIECE = 0.3, 0.01  # of the frame; smaller pieces, in square units, are wrinkles
# Skin behind the frame is like that around it, but for what is darker, by these shares of the skin's brightness: the
# shade of the rim, and lashes.
SHADE, LEAST_WEIGHT = (0.6, 0.95), 0.02
# Lenses tint, mirror and shade what is seen through them: it does not count for the skin behind the frame that rising
# brows uncover above it, but for that which is seen through the lens, from so far inside of the rim on.
ELSEWHERE, LENS_EDGE = 1e-4, 0.02
# Nor do brows count for skin: behind a frame that covers a part of one, the brow goes on between its lines of points of
# the mesh, softly by the first of these, like what is seen of it: what is that dark there, relative to the skin. Of
# brows of which less is seen, as a share, nothing is known.
SOFT_BROW, BROW_DARK, BROW_SEEN, AROUND_BROW = 0.012, (0.85, 0.6), (0.03, 0.1), 0.03
BACKGROUND = 0.02  # and what is beside the head likewise
EDGE = 2  # pixels around a frame that its edge and its shade take
LIDS_FREE = (0.02, 0.07)  # but what is that near to an eye is the eye's
# All but this share of the frame that a photo shows faces the viewer by this much, see ``on_shell``: where the shell
# does not, as on the far side of a turned face, it is too curved, and is made flatter step by step.
HARDLY_SEEN, FACING, FLATTER, MOST_STEPS = 0.01, 0.33, 0.9, 20
LEAST_FACING = 0.1  # where the shell is seen more from its edge its depth is not known
SHELL = (6, 168, 70, 300, 105, 334, 66, 296, 117, 346, 50, 280)  # as deep as these; temples would bend it too far

_Brow = tuple[tuple[int, ...], tuple[int, ...]]  # points of its lower and of its upper line, from its outer end


@dataclass(frozen=True)
class Glasses:
    """Glasses in a portrait's surroundings.

    Attributes:
        opaque: whether nothing is seen through them.
        frame: (1, 1, 640, 640) 1 where the frame, or an opaque lens, is seen … 0.
        hidden: (1, 1, 640, 640) 1 where they change the picture of the face … 0; a little more than ``frame``.
        bare: (1, 3, 640, 640) the surroundings without them, 0…1.
        shell: (4,) normalized depth of the frame at x and y: a + b·y + c·x², with one c for negative and one for
            positive x.
    """

    opaque: bool
    frame: torch.Tensor
    hidden: torch.Tensor
    bare: torch.Tensor
    shell: torch.Tensor

    def depth(self, points: torch.Tensor) -> torch.Tensor:
        """(…) the normalized depth of the shell at x and y (…, 2)."""
        x, y = points.unbind(-1)
        return self.shell[0] + self.shell[1] * y + torch.where(x < 0, self.shell[2], self.shell[3]) * x**2


@dataclass(frozen=True)
class _Face:
    """A face whose glasses are sought.

    Attributes:
        picture: (1, 3, 640, 640) the portrait's surroundings, 0…1.
        photo: its own landmarks in pixels of those.
        person: (640, 640) 0 background … 1 person.
        brightness: (640, 640) relative to the skin's.
    """

    picture: torch.Tensor
    photo: FaceMotion
    person: torch.Tensor
    brightness: torch.Tensor


def find_glasses(picture: torch.Tensor, photo: FaceMotion, person: np.ndarray) -> Glasses | None:
    """The glasses in a photo.

    Args:
        picture: (1, 3, 640, 640) its surroundings, 0…1.
        photo: its own landmarks in pixels of those.
        person: (640, 640) 0 background … 1 person.

    Returns:
        None where there are none.
    """
    grey, skin = picture.mean(1, keepdim=True), _skin_brightness(picture, photo)
    smooth = F.avg_pool2d(grey, 3, 1, 1) / skin
    face = _Face(picture, photo, torch.from_numpy(person).float(), grey[0, 0] / skin)
    dark = min(_share_of_dark(photo, smooth, eye) for eye in EYES)
    if dark > SHOWING:
        return _sunglasses(face, smooth)
    sure = SURE_OF_TINTED if dark > TINTED else SURE
    across, contrast = _nose(photo, smooth)
    bridge = _line(contrast)
    sure_of_bridge = _weakest(contrast, bridge)
    if np.sqrt(CLEAR * sure_of_bridge) < min(sure, SURE_OF_BOLD):
        return None
    rays = [_rays(photo, eye, side) for eye, side in zip(EYES, (-1, 1), strict=True)]
    contrasts = [_lines(sample(smooth, points[None])[0, 0]) * free for points, free in rays]
    rings = _rings(contrasts)
    below = _rings([_outside_brow(photo, *of_eye) for of_eye in zip(contrasts, rays, BROWS, strict=True)])
    is_below = _is_as_good(face, rays, contrasts, rings, below)
    rings = below if is_below else rings
    sure_of_rims = np.mean([_weakest(contrast, ring) for contrast, ring in zip(contrasts, rings, strict=True)])
    lower = [_weakest(each[BELOW_EYE], ring[BELOW_EYE]) for each, ring in zip(contrasts, rings, strict=True)]
    sure = min(sure, SURE - (SURE - SURE_OF_BOLD) * smoothstep(np.min(lower), *LOWER_RIM))
    if np.sqrt(sure_of_rims * sure_of_bridge) < sure or max(lower) < LEAST_LOWER_RIM:
        return None
    if np.abs(np.diff(rings)).mean() > ROUGHEST:
        return None
    rims = [points[np.arange(ANGLES), ring] for (points, _), ring in zip(rays, rings, strict=True)]
    return _glasses(face, *rims, across[np.arange(CROSSINGS), bridge], is_below)


def _weakest(contrast: np.ndarray, line: np.ndarray) -> float:
    """The contrast that all but a fifth of a line (A,) through rows of contrasts (A, R) has."""
    return float(np.quantile(contrast[np.arange(len(line)), line], WEAKEST))


def _rays(photo: FaceMotion, eye: Eye, side: int) -> tuple[torch.Tensor, np.ndarray]:
    """Points (72, 60, 2) on rays from the middle of an eye, in pixels, the first ray to the temple, then down.

    And which of them (72, 60) a rim may reach. ``side`` is −1 for the left eye, 1 for the right one.
    """
    device = photo.posed.device
    angle = torch.arange(ANGLES, device=device) * (2 * np.pi / ANGLES)
    ray = torch.stack([side * LENS[0] * angle.cos(), LENS[1] * angle.sin()], -1)
    away = ray[:, None] * torch.linspace(NEAREST, FARTHEST, RADII, device=device)[:, None]
    away = away + torch.tensor([side * LENS_BESIDE, LENS_BELOW], device=device)
    corners = photo.normalized[0, [eye.upper_lid[0], eye.upper_lid[-1]]].mean(0)
    points = _middle(photo, eye) + photo.scale * (away @ photo.rotation[0, :2, :2].T)
    return points, (side * (corners[0] + away[..., 0]) > NOSE).cpu().numpy()


def _outside_brow(
    photo: FaceMotion, contrast: np.ndarray, rays: tuple[torch.Tensor, np.ndarray], brow: _Brow
) -> np.ndarray:
    """The contrast (72, 60) on the rays of an eye, 0 inside of its brow."""
    inside = torch.from_numpy(_brow_mask(photo, brow, INSIDE_BROW, INSIDE_BROW)).float()[None, None]
    return contrast * (sample(inside, rays[0][None])[0, 0] < 0.5).numpy()


def _lines(brightness: torch.Tensor) -> np.ndarray:
    """(A, R) how much each place in the rows of a brightness (A, R) contrasts with both of its sides, 0…0.25."""
    best = torch.zeros_like(brightness)
    for half, counts in THICKNESS:
        width = 2 * half + 1
        means = F.avg_pool1d(F.pad(brightness[:, None], (width + half,) * 2, mode="replicate"), width, 1)[:, 0]
        middle = means[:, width:-width]
        inner, outer = middle - means[:, : -2 * width], middle - means[:, 2 * width :]
        least = torch.minimum(inner.abs(), outer.abs())
        best = torch.where(inner * outer > 0, best.maximum(least * counts), best)
    return best.clamp(max=CLEAR).cpu().numpy()


def _spread(contrast: np.ndarray) -> np.ndarray:
    """The largest of each place and its two neighbours on both sides."""
    wide = np.pad(contrast, ((0, 0), (2, 2)))
    return np.max([wide[:, start : start + RADII] for start in range(5)], axis=0)


def _nose(photo: FaceMotion, grey: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """Points (23, 44, 2) across the nose between the eyes, in pixels, and how much each contrasts with those above and
    below it (23, 44).
    """
    device = photo.posed.device
    corners = [corner for eye in EYES for corner in (eye.upper_lid[0], eye.upper_lid[-1])]
    away = (photo.normalized[0, corners].mean(0) - photo.normalized[0, NOSE_ROOT])[:2] + torch.stack(
        torch.meshgrid(
            torch.linspace(-BRIDGE[0], BRIDGE[0], CROSSINGS, device=device),
            torch.linspace(-BRIDGE[1], BRIDGE[1], HEIGHTS, device=device),
            indexing="ij",
        ),
        -1,
    )
    points = photo.posed[0, NOSE_ROOT, :2] + photo.scale * (away @ photo.rotation[0, :2, :2].T)
    return points, _lines(sample(grey, points[None])[0, 0])


def _is_as_good(
    face: _Face,
    rays: list[tuple[torch.Tensor, np.ndarray]],
    contrasts: list[np.ndarray],
    rings: list[np.ndarray],
    others: list[np.ndarray],
) -> bool:
    """Whether other places (A,) of both rims on their rays, where they differ, are as much of a frame's line."""
    smooth, measured = F.avg_pool2d(face.picture, 3, 1, 1), []
    for places in (rings, others):
        contrast, unlike = 0.0, [torch.zeros(0)]
        for (points, _), of_eye, place, ring, other in zip(rays, contrasts, places, rings, others, strict=True):
            differs = ring != other
            contrast += of_eye[np.arange(ANGLES), place][differs].sum()
            colours = sample(smooth, points[np.arange(ANGLES), place][None, None])[0, :, 0]
            usual = colours[:, BELOW_EYE].median(1, keepdim=True).values
            unlike.append((colours - usual)[:, torch.from_numpy(differs)].norm(dim=0))
        measured.append((contrast, float(torch.cat(unlike).mean().nan_to_num())))
    (contrast, unlike), (other_contrast, other_unlike) = measured
    return other_contrast >= AS_GOOD * contrast and other_unlike <= unlike + OTHER_COLOUR


def _rings(contrasts: list[np.ndarray]) -> list[np.ndarray]:
    """(A,) for each eye the places of its rim on rays of these contrasts (A, R); both are alike."""
    both = _ring(sum(_spread(contrast) for contrast in contrasts) / 2)
    away = np.abs(np.arange(RADII) - both[:, None]) > ALIKE
    return [_ring(np.where(away, -1.0, contrast)) for contrast in contrasts]


def _ring(contrast: np.ndarray) -> np.ndarray:
    """(A,) the place on each ray at which the closed line of the most contrast (A, R) crosses it."""
    turns = _line(np.concatenate([contrast] * 2))  # twice around, so that it closes
    half = ANGLES // 2
    return np.concatenate([turns[ANGLES : ANGLES + half], turns[half:ANGLES]])


def _line(contrast: np.ndarray) -> np.ndarray:
    """(A,) the place in each row of contrasts (A, R) through which the line of the most contrast goes."""
    steps, places = np.arange(-STEEPEST, STEEPEST + 1), np.arange(contrast.shape[1])
    gained, came_from = contrast[0], np.zeros(contrast.shape, int)
    for number in range(1, len(contrast)):
        wide = np.pad(gained, STEEPEST, constant_values=-np.inf)
        choices = np.lib.stride_tricks.sliding_window_view(wide, len(steps)) - BEND * np.abs(steps)
        best = choices.argmax(1)
        came_from[number] = places + steps[best]
        gained = contrast[number] + choices[places, best]
    line = np.empty(len(contrast), int)
    line[-1] = gained.argmax()
    for number in range(len(contrast) - 1, 0, -1):
        line[number - 1] = came_from[number, line[number]]
    return line


def _share_of_dark(photo: FaceMotion, grey: torch.Tensor, eye: Eye) -> float:
    """How much of what is around an eye is dark, 0…1, in brightness (1, 1, 640, 640) relative to the skin."""
    steps = torch.linspace(-1, 1, 24, device=grey.device)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    away = grid[grid.norm(dim=-1) < 1] * torch.tensor(MIDDLE, device=grey.device)
    away = away + torch.tensor([0, LENS_BELOW], device=grey.device)
    points = _middle(photo, eye) + photo.scale * (away @ photo.rotation[0, :2, :2].T)
    return float((sample(grey, points[None, None]) < DARK).float().mean())


def _middle(photo: FaceMotion, eye: Eye) -> torch.Tensor:
    """(2,) the middle between the corners of an eye, pixels."""
    return photo.posed[0, [eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0)


def _sunglasses(face: _Face, smooth: torch.Tensor) -> Glasses:
    """Glasses that are all that is dark around the eyes, in brightness (1, 1, 640, 640) relative to the skin."""
    photo = face.photo
    pixels, reach = pixels_of(smooth), REACH * photo.scale
    near = torch.stack([(pixels - _middle(photo, eye)).norm(dim=-1) < reach for eye in EYES]).any(0)
    dark, _ = label(((smooth[0, 0] < DARK) & near[0]).cpu().numpy())
    middles = [_middle(photo, eye).round().long().clamp(0, EXTENT - 1).tolist() for eye in EYES]
    drawn = np.isin(dark, [dark[y, x] for x, y in middles if dark[y, x]])
    drawn = torch.from_numpy(drawn) & (face.person > 0.5)
    return _cut_out(face, True, drawn.float(), drawn, drawn.float())


def _glasses(
    face: _Face, left: torch.Tensor, right: torch.Tensor, bridge: torch.Tensor, is_below_brows: bool
) -> Glasses:
    """Glasses with these rims (72, 2) and this bridge (23, 2), in pixels of the surroundings."""
    photo, picture = face.photo, face.picture
    apart = smoothstep(_away(_eyes(photo), photo), *LIDS_FREE)
    away = _away(_outline(face, left, right, bridge), photo)
    near = smoothstep(away, *NEAR_RIM[::-1]) * apart * face.person
    smooth = _filled(picture, (near > 0).float(), torch.ones_like(near))
    # Of means over 3 × 3 pixels: wrinkles are thinner than rims.
    differs = F.avg_pool2d(picture - smooth, 3, 1, 1)[0].norm(dim=0)
    size = (2 * round(NEARBY * float(photo.scale)) + 1,) * 2
    most = torch.from_numpy(cv2.blur(cv2.dilate((differs * near).numpy(), np.ones(size, np.uint8)), size))
    frame = smoothstep(differs / most.clamp(min=1e-3), *DIFFERS) * near
    sides = [_beyond_rim(photo, rim, side) for rim, side in ((left, -1), (right, 1))]
    sine, beside = photo.host.rotation[0, 2, 0], np.maximum(*sides)
    near_side = 1 - smoothstep(abs(sine), *FAR) * (sides[int(sine > 0)] == beside)
    of_frame = torch.from_numpy(1 - near_side * smoothstep(beside, *ON_TEMPLE))
    reach = torch.from_numpy(np.where(beside > AT_TEMPLE, np.float32(REACH_AT_TEMPLE), np.float32(BLACK_REACH)))
    dark = (face.brightness < BLACK) & (away < reach) & (of_frame > 0) & (apart > 0.5) & (face.person > 0.5)
    pieces, count = label(dark.numpy())
    black = mean(frame.numpy() > IN_PIECE, pieces, np.arange(1, count + 1)) > BLACK_SHARE
    frame = frame.maximum(torch.from_numpy(np.concatenate([[False], black])[pieces]).float())
    for rim, brow in zip((left, right), BROWS if is_below_brows else (), strict=is_below_brows):
        above = torch.from_numpy(_brow_mask(photo, brow, 0.0, ABOVE_BROW))
        frame = frame * ~(above & (away > _thickness(rim, frame, float(photo.scale))))
    pieces, _ = label(frame.numpy() > IN_PIECE, np.ones((3, 3)))
    is_large = np.bincount(pieces.ravel()) >= SMALLEST_PIECE * float(photo.scale) ** 2
    is_large[0] = False
    large = cv2.dilate(is_large[pieces].astype(np.float32), np.ones((2 * EDGE + 1, 2 * EDGE + 1)))
    lenses = np.maximum(*(polygon2mask((EXTENT, EXTENT), rim.numpy()[:, ::-1]) for rim in (left, right)))
    frame = frame * torch.from_numpy(large)
    return _cut_out(face, False, frame * of_frame, torch.from_numpy(lenses), frame * (of_frame == 1))


def _brow_mask(photo: FaceMotion, brow: _Brow, below: float, above: float) -> np.ndarray:
    """(640, 640) bool, a brow, and what is so far below and above it, normalized; less than the brow where negative."""
    lower, upper = (photo.host.posed[0, list(line), :2] for line in brow)
    down = photo.host.rotation[0, :2, 1] * photo.host.scale[0]
    outline = np.concatenate([lower + below * down, (upper - above * down)[::-1]])
    return polygon2mask((EXTENT, EXTENT), outline[:, ::-1])


def _thickness(rim: torch.Tensor, frame: torch.Tensor, scale: float) -> torch.Tensor:
    """() how far a frame (640, 640) reaches outwards from the line (72, 2) of its rim, normalized."""
    outwards = rim - rim.mean(0)
    outwards = outwards / outwards.norm(dim=-1, keepdim=True).clamp(min=1)
    along = rim[:, None] + outwards[:, None] * torch.arange(round(BLACK_REACH * scale))[:, None]
    reached = (sample(frame[None, None], along[None])[0, 0] > IN_PIECE).cumprod(-1).sum(-1) / scale
    return reached[BELOW_EYE].median().maximum(reached[ABOVE_EYE].quantile(FREE_OF_BROW)) + SOFT_EDGE


def _beyond_rim(photo: FaceMotion, rim: torch.Tensor, side: int) -> np.ndarray:
    """(640, 640) how far each pixel lies beyond a rim's outermost point (72, 2), towards the temple, normalized."""
    outwards = side * photo.host.rotation[0, :2, 0]
    outwards /= np.linalg.norm(outwards) * photo.host.scale[0]
    x, y = np.outer(outwards, np.arange(EXTENT)).astype(np.float32)
    return (x - np.float32((rim.numpy() @ outwards).max())) + y[:, None]


def _outline(face: _Face, left: torch.Tensor, right: torch.Tensor, bridge: torch.Tensor) -> np.ndarray:
    """(640, 640) bool, the lines of rims and bridge, of hinges and of where the arms begin."""
    photo, drawn = face.photo, np.zeros((EXTENT, EXTENT), bool)
    lines = [torch.cat([left, left[:1]]), torch.cat([right, right[:1]]), bridge]
    for rim, side in ((left, -1), (right, 1)):
        arm = photo.rotation[0, :2, 0] * (side * ARM[1] * photo.scale)
        lines.append(torch.stack([rim[ARM[0]], rim[ARM[0]] + arm]))
        hinge = rim[ARM[0]] + arm * (HINGE / ARM[1])
        drawn |= ((pixels_of(face.picture)[0] - hinge).norm(dim=-1) < HINGE * photo.scale).cpu().numpy()
    for points in lines:
        points = points.round().long().clamp(0, EXTENT - 1).tolist()
        for (x, y), (next_x, next_y) in pairwise(points):
            drawn[line(y, x, next_y, next_x)] = True
    return drawn


def _eyes(photo: FaceMotion) -> np.ndarray:
    """(640, 640) bool, where both eyes are open."""
    eyes = np.zeros((EXTENT, EXTENT), bool)
    for eye in EYES:
        outline = photo.posed[0, [*eye.upper_lid, *eye.lower_lid[-2:0:-1]], :2].cpu().numpy()
        eyes |= polygon2mask(eyes.shape, outline[:, ::-1])
    return eyes


def _away(drawn: np.ndarray, photo: FaceMotion) -> torch.Tensor:
    """(640, 640) how far each pixel is from what is drawn (640, 640), normalized."""
    distance = distance_transform_edt(~drawn) / float(photo.scale)
    return torch.tensor(distance, dtype=torch.float32, device=photo.posed.device)


def _cut_out(face: _Face, opaque: bool, frame: torch.Tensor, lenses: torch.Tensor, rigid: torch.Tensor) -> Glasses:
    """The glasses of which the surroundings show ``frame`` (640, 640), resting on the face.

    ``lenses`` (640, 640) bool is where something is seen through them, if anything is. ``rigid`` (640, 640) is the part
    of the frame that the face is without; the face has the rest, too.
    """
    size = (2 * EDGE + 1,) * 2
    hidden = (cv2.dilate(rigid.numpy(), np.ones(size, np.uint8)) > 0.05).astype(np.float32)
    hidden = torch.from_numpy(cv2.blur(hidden, (3, 3)))
    x, y, z = face.photo.normalized[0, list(SHELL)].cpu().double().T.numpy()
    shell = np.linalg.lstsq(np.stack([np.ones_like(x), y, x**2], 1), z, rcond=None)[0]
    shell = _facing_viewer(
        torch.tensor([*shell, shell[2]], dtype=torch.float32, device=frame.device), face.photo, frame
    )
    trusted = LEAST_WEIGHT + (1 - LEAST_WEIGHT) * smoothstep(face.brightness, *SHADE)
    trusted = trusted * (BACKGROUND + (1 - BACKGROUND) * face.person)
    trusted = trusted * _beside_brows(face.photo)
    bare = _filled(face.picture, hidden, trusted * torch.where(lenses, ELSEWHERE, 1.0))
    if not opaque:
        inside = cv2.GaussianBlur(lenses.numpy().astype(np.float32), (0, 0), LENS_EDGE * float(face.photo.scale))
        in_lens = _filled(face.picture, hidden, trusted * torch.where(lenses, 1.0, ELSEWHERE))
        bare = torch.lerp(bare, in_lens, torch.from_numpy(2 * inside - 1).clamp(min=0))
    bare = _with_brows(face, bare, hidden)
    return Glasses(opaque, frame[None, None], hidden[None, None], bare, shell)


def on_shell(shell: torch.Tensor, motion: FaceMotion, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, h, w) the normalized depth at which a shell (4,), see ``Glasses``, is seen at pixels (B, h, w, 2).

    And (B, h, w) half the cosine of its slope to the line of sight, about; 0 where it is not seen.
    """
    x, y = motion.unproject(pixels, 0.0).unbind(-1)
    # Along a line of sight x and y are affine in the depth, so the shell is met where a quadratic is zero:
    # bend · depth² − 2 · half · depth + constant.
    step_x, step_y = motion.unproject(motion.translation[:, None, None, :2], 1.0).unbind(-1)
    a, b, *bends = shell.unbind()
    c = torch.where(x + a * step_x < 0, *bends)
    bend, half, constant = c * step_x**2, (1 - b * step_y - 2 * c * x * step_x) / 2, a + b * y + c * x**2
    discriminant = half**2 - bend * constant
    root = discriminant.clamp(min=0).sqrt()
    # The first of both places; written so that it also holds for a shell without curvature.
    depth = constant / (half + root).clamp(min=LEAST_FACING)
    return depth, torch.where(half > 0, torch.where(discriminant > 0, root, 0), 0)


def _facing_viewer(shell: torch.Tensor, photo: FaceMotion, frame: torch.Tensor) -> torch.Tensor:
    """A shell (4,), as flat on the far side as it takes for a frame (640, 640) in a photo to face the viewer."""
    pixels = (frame > IN_PIECE).nonzero().flip(-1).float()[None, None]
    if not pixels.numel():
        return shell
    flatter = torch.ones(4)
    flatter[2 + int(photo.host.rotation[0, 2, 0] > 0)] = FLATTER
    for _ in range(MOST_STEPS):
        if on_shell(shell, photo, pixels)[1].quantile(HARDLY_SEEN) > FACING:
            break
        shell = shell * flatter
    return shell


def _beside_brows(photo: FaceMotion) -> torch.Tensor:
    """(640, 640) 1 where there is no brow … hardly anything where there is one."""
    brows = np.maximum(*(_brow_mask(photo, brow, AROUND_BROW, AROUND_BROW) for brow in BROWS))
    return 1 - (1 - ELSEWHERE) * torch.from_numpy(brows).float()


def _with_brows(face: _Face, bare: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """A face (1, 3, 640, 640) without glasses, with the parts of its brows that were ``hidden`` (640, 640)."""
    for brow in BROWS:
        mask = _brow_mask(face.photo, brow, 0.0, 0.0).astype(np.float32)
        is_brow = torch.from_numpy(cv2.GaussianBlur(mask, (0, 0), SOFT_BROW * float(face.photo.scale)))
        seen = torch.from_numpy(mask) * (1 - hidden)
        dark = seen * smoothstep(face.brightness, *BROW_DARK)
        known = smoothstep(dark.sum() / mask.sum().clip(1), *BROW_SEEN)
        if known > 0:
            hairs = _filled(face.picture, hidden, dark)
            bare = torch.lerp(bare, hairs, hidden * is_brow * known)
    return bare


def _skin_brightness(picture: torch.Tensor, photo: FaceMotion) -> torch.Tensor:
    """() the usual brightness of the skin of cheeks and nose, 0…1."""
    return sample(picture, photo.posed[:, None, list(SKIN), :2]).mean(1).median().clamp(min=0.05)


def _filled(picture: torch.Tensor, hidden: torch.Tensor, trusted: torch.Tensor) -> torch.Tensor:
    """The picture (1, 3, 640, 640) filled where something is ``hidden`` (640, 640), 0…1.

    Pixels around it count for as much as they are ``trusted`` (640, 640), 0…1.
    """
    rows, columns = (np.flatnonzero((hidden > 0).any(axis).numpy()) for axis in (1, 0))
    if not len(rows):
        return picture
    window = np.s_[..., *(slice(max(int(used[0]) - EDGE, 0), int(used[-1]) + EDGE + 1) for used in (rows, columns))]
    hidden, trusted, part = hidden[window], trusted[window], picture[window]
    filled = picture.clone()
    filled[window] = torch.lerp(part, fill(part, ((1 - hidden) * trusted)[None, None]), hidden)
    return filled
