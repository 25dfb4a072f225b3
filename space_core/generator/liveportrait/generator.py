"""The generator "liveportrait": LivePortrait's networks draw the face, which is pasted back into the photo."""

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch

from space_core.arrays import smoothstep
from space_core.face.canvas import Canvas, crop_canvas
from space_core.face.crop import AROUND_CROP
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.normalization import HeadPose
from space_core.face.portrait import Portrait
from space_core.face.posed_face import PosedFace, join_faces
from space_core.generator.liveportrait.face_crop import cut_faces, face_crop
from space_core.generator.liveportrait.motion_extractor import Latents
from space_core.generator.liveportrait.networks import LivePortraitNetworks

CPU_BATCH, CUDA_BATCH = 4, 16  # frames rendered at once
CONTEXT = 2  # frames before and after a batch that are handed to what drives the generator
SLOW_SECONDS = 0.5  # a frame; the time is reported beforehand
# Of the mask by which the picture is pasted back, in parts of its side: nothing is taken from the outer border, then
# more and more.
BORDER, FADE = 0.02, 0.1

Box = tuple[int, int, int, int]  # left, top, right and bottom, pixels


class LatentChanges(Protocol):
    """What drives T frames: changes of the portrait's own latents.

    Attributes:
        expression: (T, 21, 3).
        translation: (T, 3).
        scale: (T, 1).
        angles: (T, 3) pitch, yaw and roll, degrees.
    """

    @property
    def expression(self) -> torch.Tensor: ...

    @property
    def translation(self) -> torch.Tensor: ...

    @property
    def scale(self) -> torch.Tensor: ...

    @property
    def angles(self) -> torch.Tensor: ...


class LatentPredictor(Protocol):
    """Stage 2; see ``space_core.latents.Landmarks2Latents``."""

    def predict(
        self, rest: np.ndarray, photo_pose: HeadPose, own: torch.Tensor, face: PosedFace, frames: slice
    ) -> LatentChanges: ...


@dataclass(frozen=True)
class PreparedPortrait:
    """What every frame of a portrait needs.

    Attributes:
        volume: (1, 32, 16, 64, 64) its appearance, on the device.
        latents: its own latents, B = 1, on the device.
        keypoints: (1, 21, 3) the keypoints of these.
        rest: (478, 3) its normalized landmarks.
        pose: its head pose.
        still: (H, W, 3) uint8 RGB, the film's picture at rest.
        box: the part of it into which is pasted.
        matrix: (2, 3) from pixels of that part to those of the generator's picture.
        mask: (h, w, 1) float32 of that part, 0 the photo … 1 the generator's picture; 0 where bars are.
        seconds: that one frame took.
    """

    volume: torch.Tensor
    latents: Latents
    keypoints: torch.Tensor
    rest: np.ndarray
    pose: HeadPose
    still: np.ndarray
    box: Box
    matrix: np.ndarray
    mask: np.ndarray
    seconds: float


class LivePortraitGenerator:
    """See the module; implements ``Generator``."""

    def __init__(self, networks: LivePortraitNetworks, predictor: LatentPredictor) -> None:
        self._networks = networks
        self._predictor = predictor

    def prepare(self, portrait: Portrait, canvas: Canvas | None = None, refined: bool = True) -> PreparedPortrait:
        """See ``Generator.prepare``; there is nothing to refine."""
        canvas, crop, networks = canvas or crop_canvas(portrait, SIZE), face_crop(portrait.landmarks), self._networks
        surroundings, _ = portrait.behind_bars(portrait.surroundings, AROUND_CROP)
        face = cut_faces(surroundings[None], crop, networks.layout.input_size, shift=MARGIN)
        volume, latents = networks.extract_appearance(face), networks.extract_motion(face)
        keypoints = networks.transform_keypoints(latents)
        left, top, width, height = canvas.shown
        still = canvas.picture[top : top + height, left : left + width]
        side = networks.layout.output_size
        matrix = crop.matrix(side, canvas.crop.scale, canvas.crop.origin - [left, top])
        box, matrix, mask = _paste_mask(matrix, side, width, height)
        _, in_front = portrait.behind_bars(canvas.picture, canvas.crop)
        mask = mask * ~in_front[top : top + height, left : left + width, None][box[1] : box[3], box[0] : box[2]]
        start = time.perf_counter()
        networks.render(volume, keypoints, keypoints).cpu()
        seconds = time.perf_counter() - start
        return PreparedPortrait(
            volume, latents, keypoints, portrait.normalized, portrait.pose, still, box, matrix, mask, seconds
        )

    def batch_size(self, prepared: PreparedPortrait) -> int:
        """See ``Generator.batch_size``."""
        size = CUDA_BATCH if self._networks.device.type == "cuda" else CPU_BATCH
        height, width, _ = prepared.still.shape
        return max(1, size * SIZE**2 // max(height * width, SIZE**2))

    def seconds_per_frame(self, prepared: PreparedPortrait) -> float | None:
        """See ``Generator.seconds_per_frame``."""
        return prepared.seconds if prepared.seconds >= SLOW_SECONDS else None

    def render(self, prepared: PreparedPortrait, faces: Iterable[PosedFace]) -> Generator[np.ndarray, None, None]:
        """See ``Generator.render``."""
        for face, frames in with_neighbours(faces, CONTEXT):
            driving = self._networks.stitch(prepared.keypoints, self.keypoints(prepared, face, frames))
            pictures = self._networks.render(prepared.volume, prepared.keypoints, driving)
            drawn = pictures.permute(0, 2, 3, 1).float().cpu().numpy()
            yield np.stack([_paste(prepared, picture) for picture in drawn])

    def keypoints(self, prepared: PreparedPortrait, face: PosedFace, frames: slice) -> torch.Tensor:
        """(B, 21, 3) the keypoints of some frames of a face, before the shoulders are stitched."""
        own = prepared.latents
        flat = torch.cat([own.expression.flatten(1), own.translation, own.scale], 1)[0]
        change = self._predictor.predict(prepared.rest, prepared.pose, flat, face, frames)
        pitch, yaw, roll = change.angles.T
        moved = Latents(
            pitch=own.pitch + pitch,
            yaw=own.yaw + yaw,
            roll=own.roll + roll,
            translation=own.translation + change.translation,
            expression=own.expression + change.expression,
            scale=own.scale + change.scale,
            canonical=own.canonical.expand(len(pitch), -1, -1),
        )
        return self._networks.transform_keypoints(moved)


def with_neighbours(faces: Iterable[PosedFace], reach: int) -> Iterator[tuple[PosedFace, slice]]:
    """Each batch of frames with up to ``reach`` frames before and after it, and where in these the batch is."""
    past: list[PosedFace] = []
    waiting: list[PosedFace] = []

    def next_batch() -> tuple[PosedFace, slice]:
        batch = waiting.pop(0)
        before = join_faces(past)[-reach:] if past else None
        around = [*([before] if before else []), batch, *waiting]
        first = len(before) if before else 0
        past[:] = [join_faces([*([before] if before else []), batch])[-reach:]]
        return join_faces(around)[: first + len(batch) + reach], slice(first, first + len(batch))

    for face in faces:
        waiting.append(face)
        while sum(map(len, waiting[1:])) >= reach:
            yield next_batch()
    while waiting:
        yield next_batch()


def _paste_mask(matrix: np.ndarray, side: int, width: int, height: int) -> tuple[Box, np.ndarray, np.ndarray]:
    """Where in a film of that width and height the generator's picture comes to lie.

    ``matrix`` (2, 3) leads from the film to that picture, whose side is given. Returns its box, the
    matrix from pixels of the box, and the mask (h, w, 1).
    """
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], float)
    places = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    left, top = np.clip(np.floor(places.min(0)).astype(int), 0, [width, height]).tolist()
    right, bottom = np.clip(np.ceil(places.max(0)).astype(int), 0, [width, height]).tolist()
    within = np.concatenate([matrix[:, :2], (matrix @ [left, top, 1])[:, None]], 1)
    rows, columns = np.mgrid[: bottom - top, : right - left]
    x, y = np.tensordot(within, np.stack([columns, rows, np.ones_like(rows)]), 1) / (side - 1)
    inside = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))  # distance from the picture's border
    mask = smoothstep((inside - BORDER) / FADE).astype(np.float32)
    return (left, top, right, bottom), within, mask[..., None]


def _paste(prepared: PreparedPortrait, picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB, the film's frame with the generator's picture (h, w, 3), 0…1, in it."""
    left, top, right, bottom = prepared.box
    size, frame = (right - left, bottom - top), prepared.still.copy()
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    drawn = 255 * cv2.warpAffine(picture, prepared.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    behind = frame[top:bottom, left:right].astype(np.float32)
    mixed = behind + prepared.mask * (drawn - behind)
    frame[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255)
    return frame
