"""Where the frame of glasses is in a photo: sunglasses by their darkness, others along their rims."""

from itertools import pairwise

import cv2
import numpy as np
import scipy
import skimage
import torch

from space_core.arrays import smoothstep
from space_core.face.topology import BROWS, EYES, Eye
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.glasses.cut_out import EDGE, IN_FRAME, Glasses, cut_out, filled
from space_core.generator.mesh_warp.glasses.rims import ABOVE_EYE, ANGLES, BELOW_EYE, LENS_BELOW, Rims
from space_core.generator.mesh_warp.glasses.searched_face import (
    SearchedFace,
    brow_mask,
    middle_of,
    normalized_distance_to,
)
from space_core.generator.mesh_warp.morphology import disc, square
from space_core.generator.mesh_warp.sampling import EXTENT, box_mean, pixels_of, sample

ARM = (ANGLES * 11 // 12, 0.25)  # from which ray's end a frame's arm begins, and how far it is seen
HINGE = 0.05  # radius of where the arm begins
# So far beyond a rim's outermost point the arm is the frame's … it lies on the temple, and moves with it. On the far
# side of a turned face, none … all that is seen there is the frame's: sine of the yaw.
ON_TEMPLE, FAR = (0.06, 0.14), (0.15, 0.25)

# Sunglasses are dark from side to side, lens and frame, before both eyes; no face in the shade is.
MIDDLE = (0.24, 0.17)  # half width and half height of what is looked at there
SHOWING = 0.72  # this share of it …
DARK = 0.55  # … is less bright than that, relative to the skin
TINTED = 0.5  # of tinted glasses, through which eyes are seen, this share is
REACH = 0.5  # and from the middle of an eye what is dark belongs to them so far
# Hair that their arms touch is as dark: beyond the middles of the eyes, what is further from pieces that are wider than
# twice the first of these than they are by the second is hair. Reflections there are narrower than twice the last.
ARM_WIDTH, BEYOND_LENS, REFLECTION = 0.03, 0.015, 0.06

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
# Brows are as dark as frames, and may touch one. From a brow's lower line of points of the mesh up to this above its
# upper one, what is further from the rim than the frame is thick is brow.
ABOVE_BROW = 0.06
# A frame is as thick as it is over half of the rays below an eye, or, if it is thicker at the top, over this share of
# those above it, as brows touch it only in part; and its edge is soft by the last of these.
FREE_OF_BROW, SOFT_EDGE = 0.25, 0.006
# Hair at a temple is as dark as a frame, too. Beyond a rim's outermost point, within these distances from it and from
# the frame's lines, a dark piece of which less than that share is near to these is hair, with the arm that it hides.
BESIDE_RIM, AROUND_ARM, ARM_SHARE = 0.3, 0.2, 0.6
SMALLEST_PIECE = 0.01  # of the frame; smaller pieces, in square units, are wrinkles
LIDS_FREE = (0.02, 0.07)  # what is that near to an eye is the eye's


def share_of_dark(photo: FaceMotion, grey: torch.Tensor, eye: Eye) -> float:
    """How much of what is around an eye is dark, 0…1, in brightness (1, 1, 640, 640) relative to the skin."""
    steps = torch.linspace(-1, 1, 24, device=grey.device)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    away = grid[grid.norm(dim=-1) < 1] * torch.tensor(MIDDLE, device=grey.device)
    away = away + torch.tensor([0, LENS_BELOW], device=grey.device)
    points = middle_of(photo, eye) + photo.scale * (away @ photo.rotation[0, :2, :2].T)
    return float((sample(grey, points[None, None]) < DARK).float().mean())


def sunglasses(face: SearchedFace, smooth: torch.Tensor) -> Glasses:
    """Glasses that are all that is dark around the eyes, in brightness (1, 1, 640, 640) relative to the skin."""
    photo = face.photo
    pixels, reach = pixels_of(smooth), REACH * photo.scale
    near = torch.stack([(pixels - middle_of(photo, eye)).norm(dim=-1) < reach for eye in EYES]).any(0)
    dark, _ = scipy.ndimage.label(((smooth[0, 0] < DARK) & near[0]).cpu().numpy())
    middles = [middle_of(photo, eye).round().long().clamp(0, EXTENT - 1).tolist() for eye in EYES]
    around_eyes = np.isin(dark, [dark[y, x] for x, y in middles if dark[y, x]])
    drawn = torch.from_numpy(_without_hair(around_eyes, photo)) & (face.person > 0.5)
    return cut_out(face, True, drawn.float(), drawn, drawn.float())


def _without_hair(dark: np.ndarray, photo: FaceMotion) -> np.ndarray:
    """(640, 640) bool, what is ``dark`` (640, 640) bool around the eyes without the hair beside it."""
    scale, across = float(photo.host.scale[0]), photo.host.rotation[0, :2, 0]
    pieces, _ = scipy.ndimage.label(cv2.erode(dark.astype(np.uint8), disc(round(ARM_WIDTH * scale)), borderValue=0))
    middles = np.stack([middle_of(photo, eye).cpu().numpy() for eye in EYES])
    x, y = middles.round().astype(int).clip(0, EXTENT - 1).T
    lenses = pieces[y, x]
    if not lenses.all():
        return dark
    near = cv2.dilate(np.isin(pieces, lenses).astype(np.uint8), disc(round((ARM_WIDTH + BEYOND_LENS) * scale))) > 0
    along = np.arange(EXTENT) * across[0] + np.arange(EXTENT)[:, None] * across[1]
    between = (along > (middles @ across).min()) & (along < (middles @ across).max())
    dark = dark & (near | between)
    closed = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_CLOSE, disc(round(REFLECTION * scale))) > 0
    return np.where(between, dark, closed)


def find_frame(face: SearchedFace, rims: Rims) -> Glasses:
    """The glasses that have these rims and this bridge."""
    photo, picture = face.photo, face.picture
    apart = smoothstep(normalized_distance_to(_eyes(photo), photo), *LIDS_FREE)
    away = normalized_distance_to(_outline(face, rims), photo)
    near = smoothstep(away, *NEAR_RIM[::-1]) * apart * face.person
    smooth = filled(picture, (near > 0).float(), torch.ones_like(near))
    # Of means over 3 × 3 pixels: wrinkles are thinner than rims.
    differs = box_mean(picture - smooth, 1)[0].square().sum(0).sqrt()
    size = (2 * round(NEARBY * float(photo.scale)) + 1,) * 2
    most = torch.from_numpy(cv2.blur(cv2.dilate((differs * near).numpy(), np.ones(size, np.uint8)), size))
    frame = smoothstep(differs / most.clamp(min=1e-3), *DIFFERS) * near
    sides = [_beyond_rim(photo, rim, side) for rim, side in ((rims.left, -1), (rims.right, 1))]
    sine, beside = photo.host.rotation[0, 2, 0], np.maximum(*sides)
    near_side = 1 - smoothstep(abs(sine), *FAR) * (sides[int(sine > 0)] == beside)
    of_frame = torch.from_numpy(1 - near_side * smoothstep(beside, *ON_TEMPLE))
    reach = torch.from_numpy(np.where(beside > AT_TEMPLE, np.float32(REACH_AT_TEMPLE), np.float32(BLACK_REACH)))
    dark = (face.brightness < BLACK) & (away < reach) & (of_frame > 0) & (apart > 0.5) & (face.person > 0.5)
    pieces, count = scipy.ndimage.label(dark.numpy())
    black = scipy.ndimage.mean(frame.numpy() > IN_FRAME, pieces, np.arange(1, count + 1)) > BLACK_SHARE
    frame = frame.maximum(torch.from_numpy(np.concatenate([[False], black])[pieces]).float())
    for rim, brow in zip((rims.left, rims.right), BROWS if rims.are_below_brows else (), strict=rims.are_below_brows):
        above = torch.from_numpy(brow_mask(photo, brow, 0.0, ABOVE_BROW))
        frame = frame * ~(above & (away > _thickness(rim, frame, float(photo.scale))))
    frame = frame * ~torch.from_numpy(_hair(face, beside, away.numpy()) & (near_side > 0))
    pieces, _ = scipy.ndimage.label(frame.numpy() > IN_FRAME, np.ones((3, 3)))
    is_large = np.bincount(pieces.ravel()) >= SMALLEST_PIECE * float(photo.scale) ** 2
    is_large[0] = False
    large = cv2.dilate(is_large[pieces].astype(np.float32), square(2 * EDGE + 1))
    lenses = np.maximum(
        *(skimage.draw.polygon2mask((EXTENT, EXTENT), rim.numpy()[:, ::-1]) for rim in (rims.left, rims.right))
    )
    frame = frame * torch.from_numpy(large)
    return cut_out(face, False, frame * of_frame, torch.from_numpy(lenses), frame * (of_frame == 1), apart)


def _thickness(rim: torch.Tensor, frame: torch.Tensor, scale: float) -> torch.Tensor:
    """() how far a frame (640, 640) reaches outwards from the line (72, 2) of its rim, normalized."""
    outwards = rim - rim.mean(0)
    outwards = outwards / outwards.norm(dim=-1, keepdim=True).clamp(min=1)
    along = rim[:, None] + outwards[:, None] * torch.arange(round(BLACK_REACH * scale))[:, None]
    reached = (sample(frame[None, None], along[None])[0, 0] > IN_FRAME).cumprod(-1).sum(-1) / scale
    return reached[BELOW_EYE].median().maximum(reached[ABOVE_EYE].quantile(FREE_OF_BROW)) + SOFT_EDGE


def _hair(face: SearchedFace, beside: np.ndarray, away: np.ndarray) -> np.ndarray:
    """(640, 640) bool, the hair at the temples.

    ``beside`` (640, 640) is how far a pixel lies beyond the rims' outermost points, ``away`` (640, 640) how far from
    the lines of the frame, normalized.
    """
    is_dark = (face.brightness < DARK).numpy() & (face.person > 0.5).numpy()
    pieces, count = scipy.ndimage.label(is_dark & (beside > 0) & (beside < BESIDE_RIM) & (away < AROUND_ARM))
    near = scipy.ndimage.mean(away < NEAR_RIM[1], pieces, np.arange(1, count + 1))
    return np.concatenate([[False], near < ARM_SHARE])[pieces]


def _beyond_rim(photo: FaceMotion, rim: torch.Tensor, side: int) -> np.ndarray:
    """(640, 640) how far each pixel lies beyond a rim's outermost point (72, 2), towards the temple, normalized."""
    outwards = side * photo.host.rotation[0, :2, 0]
    outwards /= np.linalg.norm(outwards) * photo.host.scale[0]
    x, y = np.outer(outwards, np.arange(EXTENT)).astype(np.float32)
    return (x - np.float32((rim.numpy() @ outwards).max())) + y[:, None]


def _outline(face: SearchedFace, rims: Rims) -> np.ndarray:
    """(640, 640) bool, the lines of rims and bridge, of hinges and of where the arms begin."""
    photo, drawn = face.photo, np.zeros((EXTENT, EXTENT), bool)
    lines = [*(torch.cat([rim, rim[:1]]) for rim in (rims.left, rims.right)), rims.bridge]
    for rim, side in ((rims.left, -1), (rims.right, 1)):
        arm = photo.rotation[0, :2, 0] * (side * ARM[1] * photo.scale)
        lines.append(torch.stack([rim[ARM[0]], rim[ARM[0]] + arm]))
        hinge = rim[ARM[0]] + arm * (HINGE / ARM[1])
        drawn |= ((pixels_of(face.picture)[0] - hinge).norm(dim=-1) < HINGE * photo.scale).cpu().numpy()
    for points in lines:
        pixels = points.round().long().clamp(0, EXTENT - 1).tolist()
        for (x, y), (next_x, next_y) in pairwise(pixels):
            drawn[skimage.draw.line(y, x, next_y, next_x)] = True
    return drawn


def _eyes(photo: FaceMotion) -> np.ndarray:
    """(640, 640) bool, where both eyes are open."""
    eyes = np.zeros((EXTENT, EXTENT), bool)
    for eye in EYES:
        outline = photo.posed[0, [*eye.upper_lid, *eye.lower_lid[-2:0:-1]], :2].cpu().numpy()
        eyes |= skimage.draw.polygon2mask(eyes.shape, outline[:, ::-1])
    return eyes
