"""Glasses cut out of a photo, and the face without them."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from space_core.arrays import distance_to, smoothstep
from space_core.face.topology import BROWS
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.far_cheek import face_mask
from space_core.generator.mesh_warp.glasses.searched_face import SearchedFace, brow_mask
from space_core.generator.mesh_warp.glasses.shell import fit_shell
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.sampling import EXTENT

IN_FRAME = 0.3  # threshold of the frame's mask, 0…1, where a binary one is needed
# The skin behind the frame is filled from the skin around it. Darker pixels, which are the shade of the rim or lashes,
# have less weight: full above the second of these brightnesses, relative to the skin's, ``MIN_WEIGHT`` below the first.
SHADE, MIN_WEIGHT = (0.6, 0.95), 0.02
# Lenses tint, mirror and shade what is seen through them. So pixels in the lenses have the weight ``ELSEWHERE`` for the
# skin outside of them, which rising brows uncover, and those outside have it for the skin inside; the change from one
# to the other is blurred by ``LENS_EDGE`` (normalized standard deviation).
ELSEWHERE, LENS_EDGE = 1e-4, 0.02
# Brows have no weight for skin, within ``AROUND_BROW`` of them. Where a frame covers a part of one, the brow is
# continued between its lines of points of the mesh, blurred by ``SOFT_BROW``, from what is dark there (brightness
# relative to the skin). ``BROW_SEEN`` is the share of a brow that has to be seen for that. Lengths are normalized.
SOFT_BROW, BROW_DARK, BROW_SEEN, AROUND_BROW = 0.012, (0.85, 0.6), (0.03, 0.1), 0.03
BACKGROUND = 0.02  # weight of what is beside the head
EDGE = 2  # pixels around a frame that its edge and its shade take up
# Where glasses reach beyond the far cheek of a turned face, and this far around them (their hinge), the background is
# filled in: between these distances from the cheek, normalized, and for these sines of the yaw.
AROUND_FRAME, BEYOND_CHEEK, TURNED = 0.06, (0.02, 0.05), (0.15, 0.25)


@dataclass(frozen=True)
class Glasses:
    """Glasses in a portrait's surroundings.

    Attributes:
        opaque: whether nothing is seen through them.
        frame: (1, 1, 640, 640) 1 where the frame, or an opaque lens, is seen … 0.
        hidden: (1, 1, 640, 640) 1 where they change the picture of the face … 0; a little more than ``frame``.
        bare: (1, 3, 640, 640) the surroundings without them, 0…1.
        beyond: (640, 640) by how much less of the person there is without them beyond the far cheek, 0…1.
        shell: (4,) normalized depth of the frame at x and y: a + b·y + c·x², with one c for negative and one for
            positive x.
    """

    opaque: bool
    frame: torch.Tensor
    hidden: torch.Tensor
    bare: torch.Tensor
    beyond: np.ndarray
    shell: torch.Tensor

    def depth(self, points: torch.Tensor) -> torch.Tensor:
        """(…) the normalized depth of the shell at x and y (…, 2)."""
        x, y = points.unbind(-1)
        return self.shell[0] + self.shell[1] * y + torch.where(x < 0, self.shell[2], self.shell[3]) * x**2


def cut_out(
    face: SearchedFace,
    opaque: bool,
    frame: torch.Tensor,
    lenses: torch.Tensor,
    rigid: torch.Tensor,
    apart: torch.Tensor | None = None,
) -> Glasses:
    """The glasses of which the surroundings show ``frame`` (640, 640), resting on the face.

    ``lenses`` (640, 640) bool is where something is seen through them, if anything is. ``rigid`` (640, 640) is the part
    of the frame that the face is without; the face has the rest, too. ``apart`` (640, 640) is 0 at the eyes, whose
    lashes a frame's edge does not hide … 1.
    """
    size = (2 * EDGE + 1,) * 2
    behind = (cv2.dilate(rigid.numpy(), np.ones(size, np.uint8)) > 0.05).astype(np.float32)
    hidden = torch.from_numpy(cv2.blur(behind, (3, 3)))
    hidden = hidden if apart is None else rigid.maximum(hidden * apart)
    shell = fit_shell(face.photo, frame > IN_FRAME, None if opaque else lenses)
    trusted = MIN_WEIGHT + (1 - MIN_WEIGHT) * smoothstep(face.brightness, *SHADE)
    trusted = trusted * (BACKGROUND + (1 - BACKGROUND) * face.person)
    trusted = trusted * _beside_brows(face.photo)
    bare = filled(face.picture, hidden, trusted * torch.where(lenses, ELSEWHERE, 1.0))
    if not opaque:
        inside = cv2.GaussianBlur(lenses.numpy().astype(np.float32), (0, 0), LENS_EDGE * float(face.photo.scale))
        in_lens = filled(face.picture, hidden, trusted * torch.where(lenses, 1.0, ELSEWHERE))
        bare = torch.lerp(bare, in_lens, torch.from_numpy(2 * inside - 1).clamp(min=0))
    bare = _with_brows(face, bare, hidden)
    bare, beyond = _without_beyond_cheek(face, bare, hidden, frame, lenses)
    return Glasses(opaque, frame[None, None], hidden[None, None], bare, beyond, shell)


def _without_beyond_cheek(
    face: SearchedFace, bare: torch.Tensor, hidden: torch.Tensor, frame: torch.Tensor, lenses: torch.Tensor
) -> tuple[torch.Tensor, np.ndarray]:
    """The face without glasses, and without what these show beyond its far cheek; and ``Glasses.beyond``.

    There the background is behind them, or hair, as is around them. For the arguments see ``cut_out``.
    """
    photo, scale = face.photo, float(face.photo.scale)
    sine = photo.host.rotation[0, 2, 0]
    turned = smoothstep(abs(sine), *TURNED)
    if not turned:
        return bare, np.zeros_like(hidden.numpy())
    cheek = distance_to(face_mask(photo)) / scale
    far_side = np.sign(sine) * (np.arange(EXTENT) - photo.host.translation[0, 0]) > 0
    around = square(2 * max(round(AROUND_FRAME * scale), EDGE) + 1)
    near = cv2.dilate(((frame > 0) | (hidden > 0) | lenses).numpy().astype(np.uint8), around)
    worn = cv2.blur(near.astype(np.float32), (3, 3))
    beyond = torch.from_numpy((worn * smoothstep(cheek, *BEYOND_CHEEK) * far_side * turned).astype(np.float32))
    known = torch.from_numpy((cheek > BEYOND_CHEEK[1]).astype(np.float32))
    behind = filled(torch.cat([face.picture, face.person[None, None]], 1), beyond, known)
    bare = torch.lerp(bare, behind[:, :3], beyond * hidden)
    return bare, (face.person - behind[0, 3]).clamp(min=0).numpy()


def _beside_brows(photo: FaceMotion) -> torch.Tensor:
    """(640, 640) 1 where there is no brow … hardly anything where there is one."""
    brows = np.maximum(*(brow_mask(photo, brow, AROUND_BROW, AROUND_BROW) for brow in BROWS))
    return 1 - (1 - ELSEWHERE) * torch.from_numpy(brows).float()


def _with_brows(face: SearchedFace, bare: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """A face (1, 3, 640, 640) without glasses, with the parts of its brows that were ``hidden`` (640, 640)."""
    for brow in BROWS:
        mask = brow_mask(face.photo, brow, 0.0, 0.0).astype(np.float32)
        is_brow = torch.from_numpy(cv2.GaussianBlur(mask, (0, 0), SOFT_BROW * float(face.photo.scale)))
        seen = torch.from_numpy(mask) * (1 - hidden)
        dark = seen * smoothstep(face.brightness, *BROW_DARK)
        known = smoothstep(dark.sum() / mask.sum().clip(1), *BROW_SEEN)
        if known > 0:
            hairs = filled(face.picture, hidden, dark)
            bare = torch.lerp(bare, hairs, hidden * is_brow * known)
    return bare


def filled(picture: torch.Tensor, hidden: torch.Tensor, trusted: torch.Tensor) -> torch.Tensor:
    """The picture (1, C, 640, 640) filled where something is ``hidden`` (640, 640), 0…1.

    Pixels around it count for as much as they are ``trusted`` (640, 640), 0…1.
    """
    rows, columns = (np.flatnonzero((hidden > 0).any(axis).numpy()) for axis in (1, 0))
    if not len(rows):
        return picture
    near = [slice(max(int(used[0]) - EDGE, 0), int(used[-1]) + EDGE + 1) for used in (rows, columns)]
    window = np.s_[..., near[0], near[1]]
    hidden, trusted, part = hidden[window], trusted[window], picture[window]
    filled = picture.clone()
    filled[window] = torch.lerp(part, fill(part, ((1 - hidden) * trusted)[None, None]), hidden)
    return filled
