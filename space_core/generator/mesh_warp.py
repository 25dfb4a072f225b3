"""The mesh-warp generator: the photo's own pixels carried by its face mesh, with eyes and a mouth behind the lids and lips.

Every frame maps each of its pixels to the place in the photo it shows. The map is drawn by the rasterizer at half
resolution (it is piecewise linear) and the photo is sampled through it at full resolution, from a texture of twice the
photo's, so that moving pixels stay as sharp as still ones. The person moves; the background stands still behind.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, grey_dilation
from torch.nn import functional as F

from space_core.face.portrait import MARGIN, SIZE, Portrait
from space_core.generator.inpainting import fill
from space_core.generator.rasterizer import rasterize
from space_core.generator.warp_mesh import WarpMesh, build_warp_mesh

BATCH = 8  # frames rendered at once
MAP_SIZE = SIZE // 2
EXTENT = SIZE + 2 * MARGIN  # side of the surroundings, pixels
STILL = 1e-3  # pixels; less motion than this is none

# The person's mask is made steeper: what is nearly certain is certain.
MASK_LOW, MASK_HIGH = 0.15, 0.85
BACKGROUND_CLEARANCE = 25  # width, in pixels, of the brush that keeps the background clear of the person's edge


@dataclass(frozen=True)
class PreparedPortrait:
    """What every frame of a portrait needs, on the generator's device.

    Attributes:
        mesh: the warp mesh, on the CPU.
        triangles: its triangles.
        source: (V, 2) its vertices in the photo.
        texture: (1, 3, 1279, 1279) the surroundings at twice their resolution, 0…1; every other pixel is an original.
        person: (1, 1, 640, 640) 0 background … 1 person.
        background: (1, 3, 640, 640) the surroundings without the person.
    """

    mesh: WarpMesh
    triangles: torch.Tensor
    source: torch.Tensor
    texture: torch.Tensor
    person: torch.Tensor
    background: torch.Tensor


class MeshWarpGenerator:
    """See the module; fulfils ``Generator``."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        # Pixel centres of a frame, in pixels of the surroundings: of all pixels, and of the map's coarser lattice.
        axis = torch.arange(SIZE, dtype=torch.float32, device=self.device) + MARGIN
        self._pixels = _lattice(axis)
        self._lattice = _lattice(torch.linspace(MARGIN, MARGIN + SIZE - 1, MAP_SIZE, device=self.device))

    def prepare(self, portrait: Portrait) -> PreparedPortrait:
        """See ``Generator.prepare``."""
        mesh = build_warp_mesh(portrait)
        picture = torch.tensor(portrait.surroundings, device=self.device).permute(2, 0, 1)[None].float() / 255
        steep = np.clip((portrait.person - MASK_LOW) / (MASK_HIGH - MASK_LOW), 0, 1)
        kept = gaussian_filter(grey_dilation(steep, (BACKGROUND_CLEARANCE, BACKGROUND_CLEARANCE)), 3)
        person = torch.tensor(steep, device=self.device)[None, None]
        unknown = torch.tensor(kept, device=self.device)[None, None]
        return PreparedPortrait(
            mesh=mesh,
            triangles=torch.tensor(mesh.triangles, device=self.device),
            source=torch.tensor(mesh.source, dtype=torch.float32, device=self.device),
            texture=_double(picture),
            person=person,
            background=fill(picture, 1 - unknown),
        )

    def render(self, prepared: PreparedPortrait, landmarks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """See ``Generator.render``."""
        for chunk in landmarks:
            for first in range(0, len(chunk), BATCH):
                yield from self._render(prepared, chunk[first : first + BATCH])

    @torch.inference_mode()
    def _render(self, prepared: PreparedPortrait, landmarks: np.ndarray) -> np.ndarray:
        """(B, 512, 512, 3) uint8 frames of a few posed landmarks (B, 478, 3)."""
        positions, depths = (
            torch.tensor(array, dtype=torch.float32, device=self.device) for array in prepared.mesh.move(landmarks)
        )
        offsets = self._offsets(prepared, positions, depths)
        frames = self._compose(prepared, offsets)
        return (frames * 255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def _offsets(self, prepared: PreparedPortrait, positions: torch.Tensor, depths: torch.Tensor) -> torch.Tensor:
        """(B, 2, 512, 512) from each pixel to the place in the photo that it shows, pixels."""
        per_step = (MAP_SIZE - 1) / (SIZE - 1)
        offsets = rasterize(
            (positions - MARGIN) * per_step,
            depths,
            prepared.triangles,
            prepared.source - positions,
            MAP_SIZE,
        ).permute(0, 3, 1, 2)
        offsets = torch.where(offsets.abs() < STILL, 0, offsets)
        return F.interpolate(offsets, (SIZE, SIZE), mode="bilinear", align_corners=True)

    def _compose(self, prepared: PreparedPortrait, offsets: torch.Tensor) -> torch.Tensor:
        """(B, 3, 512, 512) the photo through the map, 0…1, with the background standing still."""
        where = self._pixels + offsets.permute(0, 2, 3, 1)
        person = sample(prepared.texture, where)
        # Where the background shows through (1 - mask), the moved background is exchanged for the still one. With no
        # motion both are the same, so the photo comes out as it went in, soft edges of hair and all.
        shows = 1 - sample(prepared.person, where)
        moved = sample(prepared.background, where)
        still = prepared.background[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        return person + shows * (still - moved)


def sample(texture: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) a texture (1, C, h, w) of the surroundings at places (B, H, W, 2), in pixels of the surroundings."""
    grid = where * (2 / (EXTENT - 1)) - 1
    return F.grid_sample(
        texture.expand(len(where), -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def _lattice(axis: torch.Tensor) -> torch.Tensor:
    """(1, n, n, 2) x and y at the crossings of n columns and rows."""
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)[None]


def _double(picture: torch.Tensor) -> torch.Tensor:
    """(1, C, 2h − 1, 2w − 1) a picture with a pixel between every two, by a windowed sinc of eight taps."""
    taps = torch.arange(8, device=picture.device) - 3.5
    kernel = torch.sinc(taps) * torch.sinc(taps / 4)
    kernel = kernel / kernel.sum()
    for axis in (-1, -2):
        length = picture.shape[axis]
        moved = picture.movedim(axis, -1)
        flat = F.pad(moved.reshape(1, -1, length), (3, 3), mode="replicate")
        between = F.conv1d(flat.view(-1, 1, length + 6), kernel[None, None]).view(*moved.shape[:-1], length - 1)
        woven = moved.new_empty(*moved.shape[:-1], 2 * length - 1)
        woven[..., ::2], woven[..., 1::2] = moved, between
        picture = woven.movedim(-1, axis)
    return picture.clamp(0, 1).contiguous()
