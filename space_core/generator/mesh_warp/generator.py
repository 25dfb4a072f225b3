"""The mesh-warp generator: the photo's own pixels carried by its face mesh, eyes and mouth behind lids and lips.

Every frame maps each of its pixels to the place in the photo it shows. The map is drawn by the rasterizer at half
resolution (it is piecewise linear) and the photo is sampled through it at full resolution, from a texture of twice the
photo's, so that moving pixels stay as sharp as still ones. The person moves; the background stands still behind.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, grey_dilation
from torch.nn import functional as F

from space_core.face.canvas import Canvas
from space_core.face.portrait import MARGIN, SIZE, Portrait
from space_core.generator.mesh_warp.canvas_warp import PreparedCanvas, draw_frame, prepare_canvas
from space_core.generator.mesh_warp.eyes import PreparedEye, draw_eyes, prepare_eyes
from space_core.generator.mesh_warp.face_motion import FaceMotion, face_motion
from space_core.generator.mesh_warp.glasses import Glasses, find_glasses
from space_core.generator.mesh_warp.inpainting import fill
from space_core.generator.mesh_warp.mouth import PreparedMouth, draw_mouth, prepare_mouth
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.generator.mesh_warp.refinement import PreparedRefinement, load_refinement, prepare_refinement, refine
from space_core.generator.mesh_warp.sampling import EXTENT, double, lattice, sample
from space_core.generator.mesh_warp.warp_mesh import WarpMesh, build_warp_mesh
from space_core.generator.mesh_warp.wrinkles import PreparedWrinkles, crease_depths, draw_wrinkles, prepare_wrinkles
from space_core.progress import NUM_CORES

CPU_BATCH, CUDA_BATCH = 4, 16  # frames rendered at once; more of them leave a core's cache
STILL = 1e-3  # pixels; less motion than this is none

# The person's mask is made steeper: what is nearly certain is certain.
MASK_LOW, MASK_HIGH = 0.3, 0.95
DOUBT_LOW, DOUBT_HIGH = 0.08, 0.3
BACKGROUND_CLEARANCE = 19  # width, in pixels, of the brush that keeps the background clear of the person's edge


@dataclass(frozen=True)
class PreparedPortrait:
    """What every frame of a portrait needs, on the generator's device.

    Attributes:
        mesh: the warp mesh.
        texture: (1, 3, 1279, 1279) the surroundings at twice their resolution, 0…1; every other pixel is an original.
        behind: (1, 4, 640, 640) how much of the background shows, 0 person … 1 background, and the surroundings without
            the person, 0…1.
        wrinkles: the creases of the skin.
        glasses: glasses, or None.
        eyes, mouth: what lies behind the lids and the lips; a canvas has eyes of its own, sunglasses hide them.
        canvas: what is drawn into instead of the crop, or None.
        refinement: of the mouth in the crop, or None; a canvas has one of its own.
    """

    mesh: WarpMesh
    texture: torch.Tensor
    behind: torch.Tensor
    wrinkles: PreparedWrinkles
    glasses: Glasses | None
    eyes: list[PreparedEye]
    mouth: PreparedMouth
    canvas: PreparedCanvas | None
    refinement: PreparedRefinement | None


class MeshWarpGenerator:
    """See the module; fulfils ``Generator``."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        # The centres of a frame's pixels, in pixels of the surroundings.
        self._pixels = lattice(torch.arange(SIZE, dtype=torch.float32, device=self.device) + MARGIN)

    def prepare(self, portrait: Portrait, canvas: Canvas | None = None, refined: bool = True) -> PreparedPortrait:
        """See ``Generator.prepare``."""
        photo = face_motion(portrait.landmarks[None], self.device)
        size = np.array(portrait.photo.shape[1::-1])
        edges = np.stack([portrait.crop.to_crop(corner) + MARGIN for corner in (np.zeros(2), size)])
        mesh = build_warp_mesh(photo, edges)
        picture = torch.tensor(portrait.surroundings, device=self.device).permute(2, 0, 1)[None].float() / 255
        steep = np.clip((portrait.person - MASK_LOW) / (MASK_HIGH - MASK_LOW), 0, 1)
        # Tips of hair of which the mask is hardly sure would stay behind when the head goes.
        doubtful = np.clip((portrait.person - DOUBT_LOW) / (DOUBT_HIGH - DOUBT_LOW), 0, 1)
        kept = gaussian_filter(grey_dilation(doubtful, (BACKGROUND_CLEARANCE, BACKGROUND_CLEARANCE)), 3)
        shows, known = (torch.tensor(1 - mask, device=self.device)[None, None] for mask in (steep, kept))
        background = fill(picture, known)
        mouth = prepare_mouth(picture, photo, softness=max(1.0, 1 / portrait.crop.scale))
        unknown = background - picture * known
        glasses = find_glasses(picture, photo)
        hidden = glasses is not None and glasses.opaque
        frame = glasses and glasses.frame
        wrinkles = prepare_wrinkles(picture, photo, frame)
        return PreparedPortrait(
            mesh=mesh,
            texture=double(picture),
            behind=torch.cat([shows, background], 1),
            wrinkles=wrinkles,
            glasses=glasses,
            eyes=[] if canvas or hidden else prepare_eyes(picture, photo, frame),
            mouth=mouth,
            canvas=canvas
            and prepare_canvas(
                canvas, portrait.landmarks, torch.cat([shows, known, unknown], 1), wrinkles, glasses, mouth, refined
            ),
            refinement=prepare_refinement(picture, photo) if refined and not canvas else None,
        )

    def render(self, prepared: PreparedPortrait, landmarks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """See ``Generator.render``."""
        size = CUDA_BATCH if self.device.type == "cuda" else CPU_BATCH
        if prepared.canvas is not None:
            size = max(1, size * SIZE**2 // prepared.canvas.still[..., 0].numel())
        batches = (chunk[first : first + size] for chunk in landmarks for first in range(0, len(chunk), size))
        # On a CPU the operations are too small to be shared out among cores one by one, so every core renders a batch
        # of its own. On two cores busy with other work that was 35 frames a second instead of 4.
        if self.device.type == "cuda":
            workers = ThreadPoolExecutor(1)
        else:
            workers = ThreadPoolExecutor(NUM_CORES, initializer=torch.set_num_threads, initargs=(1,))
        try:
            at_work: deque[Future[np.ndarray]] = deque()
            for batch in batches:
                at_work.append(workers.submit(self._render, prepared, batch))
                if len(at_work) > NUM_CORES:
                    yield from at_work.popleft().result()
            while at_work:
                yield from at_work.popleft().result()
        finally:
            workers.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _render(self, prepared: PreparedPortrait, landmarks: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 frames of a few posed landmarks (B, 478, 3)."""
        motion = face_motion(landmarks, self.device)
        if prepared.canvas is not None:
            maps = self._map(prepared, motion, EXTENT // 2, 0, EXTENT).split(1)
            moments = zip(maps, crease_depths(prepared.wrinkles, motion), landmarks, strict=True)
            return np.stack([draw_frame(prepared.canvas, *moment) for moment in moments])
        where = self._pixels + self._offsets(prepared, motion)
        frames = self._compose(prepared, where)
        draw_wrinkles(frames, where, prepared.wrinkles, motion)
        draw_eyes(frames, where, prepared.eyes, motion)
        draw_mouth(frames, prepared.mouth, motion)
        if prepared.refinement:
            refine(frames, load_refinement(self.device), prepared.refinement, motion)
        return (frames * 255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def _offsets(self, prepared: PreparedPortrait, motion: FaceMotion) -> torch.Tensor:
        """(B, 512, 512, 2) from each pixel to the place in the photo that it shows, pixels."""
        offsets = self._map(prepared, motion, SIZE // 2, MARGIN, SIZE).permute(0, 3, 1, 2).contiguous()
        offsets = _without_steps(offsets)
        return F.interpolate(offsets, (SIZE, SIZE), mode="bilinear", align_corners=True).permute(0, 2, 3, 1)

    def _map(self, prepared: PreparedPortrait, motion: FaceMotion, steps: int, first: int, size: int) -> torch.Tensor:
        """(B, steps, steps, 2) the same at places evenly over ``size`` pixels of the surroundings from ``first`` on."""
        positions, depths = prepared.mesh.move(motion)
        offsets = rasterize(
            (positions - first) * ((steps - 1) / (size - 1)),
            depths,
            prepared.mesh.triangles,
            prepared.mesh.source - positions,
            steps,
        )
        if prepared.glasses:
            places = lattice(first + torch.arange(steps, device=self.device) * ((size - 1) / (steps - 1)))
            offsets = prepared.glasses.hold(offsets, places, motion)
        return torch.where(offsets.abs() < STILL, 0, offsets)

    def _compose(self, prepared: PreparedPortrait, where: torch.Tensor) -> torch.Tensor:
        """(B, 3, 512, 512) the photo at the places (B, 512, 512, 2), 0…1, with the background standing still."""
        frames = sample(prepared.texture, where)
        # Where the background shows, the background that has moved along is exchanged for the still one. With no motion
        # both are the same, so the photo comes out as it went in, soft edges of hair and all.
        moved = sample(prepared.behind, where)
        still = prepared.behind[:, 1:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return frames.addcmul_(moved[:, :1], still - moved[:, 1:])


def _without_steps(offsets: torch.Tensor) -> torch.Tensor:
    """Offsets (B, 2, n, n), each the mean of 3 × 3: outlines in front of something else are smooth lines.

    A third of what a pooling takes on a CPU.
    """
    wide = F.pad(offsets, (1, 1, 1, 1), mode="replicate")
    rows = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9
