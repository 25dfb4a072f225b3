"""The mesh-warp generator: the photo's own pixels carried by its face mesh, eyes and mouth behind lids and lips.

For every cell of a coarse grid over the film the rasterizer finds the place in the photo that is seen there (the map is
piecewise linear), and the compositor samples the photo through it. The person moves; the background stands still.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from space_core.face.canvas import Canvas, crop_canvas
from space_core.face.covered_mouth import is_mouth_covered
from space_core.face.crop import AROUND_CROP
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.portrait import Portrait
from space_core.face.posed_face import PosedFace
from space_core.face.sharpness import softening_of
from space_core.face.topology import OVAL
from space_core.generator.mesh_warp import drawing_process
from space_core.generator.mesh_warp.background import Background, estimate_background
from space_core.generator.mesh_warp.bars import PreparedBars, behind_bars, draw_bars
from space_core.generator.mesh_warp.compositing.compositor import compose
from space_core.generator.mesh_warp.compositing.prepared_canvas import PreparedCanvas, film_transform, prepare_canvas
from space_core.generator.mesh_warp.compositing.soft_edges import soften_edges
from space_core.generator.mesh_warp.compositing.stretched_rims import smooth_rims
from space_core.generator.mesh_warp.drawing_process import DrawingLease
from space_core.generator.mesh_warp.face_motion import TO_SURROUNDINGS, FaceMotion, PixelTransform, face_motion
from space_core.generator.mesh_warp.far_side import FarAppearance, far_appearance
from space_core.generator.mesh_warp.features import (
    PreparedEyes,
    PreparedLips,
    PreparedSmileFolds,
    draw_eyes,
    draw_lips,
    draw_smile_folds,
    photo_blur,
    prepare_eyes_on,
    prepare_lips_on,
    prepare_smile_folds_on,
)
from space_core.generator.mesh_warp.frame_memory import FrameMemory
from space_core.generator.mesh_warp.glasses.finding import find_glasses
from space_core.generator.mesh_warp.glasses.worn_glasses import WornGlasses, draw_glasses, take_off_glasses
from space_core.generator.mesh_warp.head_sides import continued_beside, with_head_sides
from space_core.generator.mesh_warp.head_top import continued_above, with_head_top
from space_core.generator.mesh_warp.lip_edges import LipEdges, find_lip_edges, moved_to_edges, with_shut_lips
from space_core.generator.mesh_warp.parallel import thread_beside
from space_core.generator.mesh_warp.placement import place
from space_core.generator.mesh_warp.prepared_mouth import prepare_mouth
from space_core.generator.mesh_warp.refinement import load_refinement
from space_core.generator.mesh_warp.relighting import PreparedLight, prepare_light, relight
from space_core.generator.mesh_warp.warp_mesh import WarpMesh, build_warp_mesh
from space_core.generator.mesh_warp.warping import warp_frames
from space_core.generator.mesh_warp.wrinkles import PreparedWrinkles, crease_shade, prepare_wrinkles
from space_core.progress import NUM_CORES

# Frames of 512 × 512 in a batch: 4 take 7 % longer a frame, for starting the operations; 8 take 40 MB more, as fast.
CPU_BATCH = 6
# On CUDA, where starting the operations takes longer than computing them: frames in a batch, and pixels at most.
CUDA_BATCH, CUDA_PIXELS = 96, 24 << 20
MAX_WORKERS = drawing_process.NUM_PROCESSES + 1  # threads, each of which draws or waits for a process that draws
# Batches that are rendered before they are asked for, at most, and bytes of their frames, at most.
LOOK_AHEAD, LOOK_AHEAD_BYTES = 2 * MAX_WORKERS - 1, 60_000_000
STILL = 1e-3  # pixels of a crop; smaller offsets are set to 0


@dataclass(frozen=True)
class PreparedPortrait:
    """What every frame of a portrait needs, on the generator's device.

    Attributes:
        canvas: the film's picture at rest, the person as a layer, and the grid.
        to_film: from pixels of the portrait's crop to those of the film.
        photo: the photo's own landmarks, in pixels of the film.
        lip_edges: where the photo shows the lips' inner edges; None where something covers the mouth.
        mesh: the warp mesh, in pixels of the film.
        wrinkles: the creases of the skin.
        smile_folds: the folds of the photo's smile.
        glasses: glasses, or None.
        eyes: what lies behind the lids; None where sunglasses hide them.
        lips: what lies behind the lips; None where something covers the mouth.
        light: the light on the face, or None where it turns with the head.
        blur: the standard deviation of the Gaussian that has blurred the photo in its face, in pixels of the film.
        bars: what is in front of all at the photo's edges, or None.
    """

    canvas: PreparedCanvas
    to_film: PixelTransform
    photo: FaceMotion
    lip_edges: LipEdges | None
    mesh: WarpMesh
    wrinkles: PreparedWrinkles
    smile_folds: PreparedSmileFolds
    glasses: WornGlasses | None
    eyes: PreparedEyes | None
    lips: PreparedLips | None
    light: PreparedLight | None
    blur: float
    bars: PreparedBars | None

    @property
    def to_surroundings(self) -> PixelTransform:
        """From pixels of the film to those of the portrait's surroundings."""
        return self.to_film.inverse().then(TO_SURROUNDINGS)


class MeshWarpGenerator:
    """See the module; implements ``Generator``."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._refinement = load_refinement(self.device)

    @torch.inference_mode()
    def prepare(self, portrait: Portrait, canvas: Canvas | None = None, refined: bool = True) -> PreparedPortrait:
        """See ``Generator.prepare``."""
        # Prepared on the host, as values decide what is prepared; then everything is placed on the device.
        canvas, host = canvas or crop_canvas(portrait, SIZE), torch.device("cpu")
        canvas, bars = behind_bars(canvas, portrait)
        size = np.array(portrait.photo.shape[1::-1])
        edges = np.stack([portrait.crop.to_crop(corner) + MARGIN for corner in (np.zeros(2), size)])
        canvas, whole, continued = _with_whole_head(canvas, portrait, edges)
        face = PosedFace(portrait.normalized[None], portrait.pose)
        to_film = film_transform(canvas)
        surroundings, hidden = portrait.behind_bars(portrait.surroundings, AROUND_CROP)
        picture = torch.tensor(surroundings).permute(2, 0, 1)[None].float() / 255
        covered = is_mouth_covered(portrait.image, portrait.landmarks)
        lip_edges = None if covered else find_lip_edges(picture, face_motion(face, TO_SURROUNDINGS, host))
        face = _with_lips(face, lip_edges)
        around, photo = (face_motion(face, transform, host) for transform in (TO_SURROUNDINGS, to_film))
        glasses, worn, person = find_glasses(picture, around, portrait.person), None, portrait.person
        if glasses is not None:
            canvas, worn = take_off_glasses(canvas, glasses, photo)
            picture, person, whole = glasses.bare, person - glasses.beyond, whole - glasses.beyond
        blur = photo_blur(canvas, photo)
        soft = softening_of(blur, to_film.scale)
        with thread_beside() as beside:
            # Half of the work, while this thread does the other half.
            background = beside.submit(estimate_background, portrait, picture, hidden, edges, whole)
            appearance = far_appearance(around, picture, person)
            prepared_canvas = beside.submit(_prepare_canvas, canvas, photo, background, appearance, soft)
            mouth = prepare_mouth(picture, around)
            depiction = mouth.colours.depiction
            mesh = build_warp_mesh(around, picture, person, edges, continued, appearance, depiction.stone)
            prepared = PreparedPortrait(
                to_film=to_film,
                photo=photo,
                lip_edges=lip_edges,
                mesh=mesh.transformed(TO_SURROUNDINGS.inverse().then(to_film)),
                wrinkles=prepare_wrinkles(picture, around, depiction, soft / to_film.scale),
                smile_folds=prepare_smile_folds_on(canvas, photo, depiction),
                glasses=worn,
                eyes=None if glasses and glasses.opaque else prepare_eyes_on(canvas, photo, soft, depiction),
                lips=None if covered else prepare_lips_on(canvas, photo, mouth, blur, refined),
                light=prepare_light(picture, around, depiction),
                blur=blur,
                bars=bars,
                canvas=prepared_canvas.result(),
            )
        return place(prepared, self.device)

    def warm_up(self) -> None:
        """Starts the processes that help to draw; returns when they are ready. See ``drawing_process``."""
        if self.device.type == "cpu" and NUM_CORES > 1:
            drawing_process.warm_up()

    def batch_size(self, prepared: PreparedPortrait) -> int:
        """See ``Generator.batch_size``."""
        height, width = prepared.canvas.still.shape[:2]
        pixels = max(height * width, SIZE**2)
        if self.device.type == "cuda":
            return max(1, min(CUDA_BATCH, CUDA_PIXELS // pixels))
        return max(1, CPU_BATCH * SIZE**2 // pixels)

    def seconds_per_frame(self, prepared: PreparedPortrait) -> float | None:
        """See ``Generator.seconds_per_frame``."""
        return None

    def render(self, prepared: PreparedPortrait, faces: Iterable[PosedFace]) -> Generator[np.ndarray, None, None]:
        """See ``Generator.render``."""
        # On a CPU single operations are too small to be divided among cores, so each core renders a batch of its own:
        # on two cores busy with other work at 35 frames a second instead of 4.
        num_bytes = self.batch_size(prepared) * prepared.canvas.still.numel()
        look_ahead = min(max(LOOK_AHEAD_BYTES // num_bytes, 1), LOOK_AHEAD)
        # No more workers than batches at a time: those ahead and the one that is asked for.
        num_workers = min(NUM_CORES, MAX_WORKERS, look_ahead + 1) if self.device.type == "cpu" else 1
        workers = ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,))
        memory = FrameMemory()
        pixels = prepared.canvas.still[..., 0].numel()
        lease = DrawingLease(prepared, memory) if num_workers > 1 and pixels <= drawing_process.MAX_PIXELS else None
        try:
            pending: deque[Future[Callable[[], np.ndarray]]] = deque()
            for number, face in enumerate(faces):
                pending.append(workers.submit(self._start_batch, prepared, face, memory, lease))
                # A single frame that comes first is drawn alone: others would delay it.
                if len(pending) > look_ahead or (number == 0 and len(face) == 1):
                    yield pending.popleft().result()()
            while pending:
                yield pending.popleft().result()()
        finally:
            # Without waiting for the threads: an iterator that was dropped may be collected in one of them.
            workers.shutdown(wait=False, cancel_futures=True)
            if lease is not None:
                lease.close()

    def render_batch(
        self, prepared: PreparedPortrait, face: PosedFace, memory: FrameMemory | None = None
    ) -> np.ndarray:
        """(B, H, W, 3) uint8 RGB frames of a few frames of a face, in this thread; for ``memory`` see ``compose``."""
        return self._start_batch(prepared, face, memory)()

    def _start_batch(
        self,
        prepared: PreparedPortrait,
        face: PosedFace,
        memory: FrameMemory | None,
        lease: DrawingLease | None = None,
    ) -> Callable[[], np.ndarray]:
        """Starts ``render_batch`` without waiting for a GPU; the function that is returned waits for the frames.

        The batch is drawn in a process of ``lease`` if one is free.
        """
        if lease is not None and (drawn := lease.draw(face)) is not None:
            return lambda: drawn
        frames = self.draw(prepared, face, memory)
        if self.device.type != "cuda":
            return frames.cpu().numpy
        host = torch.empty_like(frames, device="cpu", pin_memory=True).copy_(frames, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def wait() -> np.ndarray:
            copied.synchronize()
            return host.numpy()

        return wait

    @torch.inference_mode()
    def draw(self, prepared: PreparedPortrait, face: PosedFace, memory: FrameMemory | None = None) -> torch.Tensor:
        """(B, H, W, 3) uint8 RGB frames on the device; reads nothing back from it. For ``memory`` see ``compose``."""
        motion = face_motion(_with_lips(face, prepared.lip_edges), prepared.to_film, self.device)
        canvas = prepared.canvas
        frames, places = self._composed(prepared, motion, memory)
        soften_edges(frames, canvas, places)
        smooth_rims(frames, canvas.grid, places, prepared.photo, motion)
        draw_smile_folds(frames, canvas, places, prepared.smile_folds, motion)
        if prepared.eyes is not None:
            draw_eyes(frames, canvas, places, prepared.eyes, motion)
        if prepared.lips is not None:
            draw_lips(frames, prepared.lips, self._refinement, motion)
        if prepared.glasses is not None:
            draw_glasses(frames, prepared.glasses, motion)
        if prepared.light is not None:
            relight(frames, prepared.light, canvas, places, motion, prepared.to_surroundings)
        if prepared.bars is not None:
            draw_bars(frames, prepared.bars)
        return frames

    def _composed(
        self, prepared: PreparedPortrait, motion: FaceMotion, memory: FrameMemory | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``compose`` returns; the warp is freed before the features are drawn."""
        canvas = prepared.canvas
        warp = warp_frames(canvas, prepared.mesh, motion, STILL * prepared.to_film.scale)
        seen = canvas.centres[:, 1:-1, 1:-1] + warp.offsets
        shade = crease_shade(prepared.wrinkles, motion, seen, canvas.grid, prepared.to_surroundings)
        return compose(canvas, warp, shade, memory)


def _with_lips(face: PosedFace, edges: LipEdges | None) -> PosedFace:
    """A face whose lips are moved to their edges in the photo, or never part if ``edges`` is None."""
    return with_shut_lips(face) if edges is None else moved_to_edges(face, edges)


def _with_whole_head(
    canvas: Canvas, portrait: Portrait, edges: np.ndarray
) -> tuple[Canvas, np.ndarray, tuple[bool, bool, bool]]:
    """A canvas whose picture goes on with the head beyond the photo's ``edges``, see ``build_warp_mesh``.

    Returns:
        The canvas; the person's mask (640, 640) over the surroundings, continued in the same way; and whether the head
        goes on beyond the left, upper and right edge.
    """
    scale = float(portrait.pose.scale[0])
    sides = with_head_sides(portrait.person, edges, scale)
    canvas = continued_beside(canvas, sides)
    top = with_head_top(sides.person, edges[0, 1], scale)
    if top is not None:
        canvas = continued_above(canvas, edges[0, 1], top)
    whole = sides.person if top is None else top
    return canvas, whole, (sides.left is not None, top is not None, sides.right is not None)


def _prepare_canvas(
    canvas: Canvas,
    photo: FaceMotion,
    background: Future[Background],
    appearance: FarAppearance | None,
    softening: float,
) -> PreparedCanvas:
    """``prepare_canvas`` for the photo's own landmarks in pixels of the film."""
    middle = photo.host.posed[0, list(OVAL), :2].mean(0)
    return prepare_canvas(canvas, middle, background.result(), appearance, softening)
