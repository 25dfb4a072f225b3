"""Pairs to train on: rendered mouths and the recorded frames that they should equal."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from space_core.face.crop_size import MARGIN
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.posed_face import PosedFace, fit_posed_face
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform, face_motion
from space_core.generator.mesh_warp.refinement import (
    PreparedRefinement,
    crop_windows,
    lip_motion_weight,
    lips_in_window,
    prepare_refinement,
    window_pixels,
)
from space_core.measures.corpus import Corpus
from space_core.measures.plain_warp import plain_warp
from space_core.measures.rendering import render_face
from space_core.motion.lips import lip_gaps

FARTHEST = 20.0  # degrees between the head poses of photo and target
MIN_MOTION = 0.1  # ``lip_motion_weight`` of windows to train on
SMOOTHING = 0.7  # frames; standard deviation of the filter that removes the tracker's jitter


@dataclass
class Windows:
    """N rendered mouths of photos, cropped to the refinement's window.

    Attributes:
        rendered: (N, 3, 128, 128) uint8 RGB: the generator's frame without refinement.
        photo: (N, 4, 128, 128) uint8, ``PreparedRefinement.conditioning`` × 255.
        lips: (N, 4, 11, 2) the curves of the lips in pixels of the window.
        motion_weight: (N,) see ``lip_motion_weight``.
    """

    rendered: torch.Tensor
    photo: torch.Tensor
    lips: torch.Tensor
    motion_weight: torch.Tensor

    def __getitem__(self, index: slice | torch.Tensor) -> Self:
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.motion_weight)

    def with_motion(self) -> Self:
        """Those whose lips have moved from the photo's."""
        return self[(self.motion_weight > MIN_MOTION).nonzero()[:, 0]]

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass
class Pairs(Windows):
    """Windows of recorded clips, one of whose frames is the photo, and the recorded frames that they should look like.

    Attributes:
        warped, recorded: (N, 3, 128, 128) uint8 RGB: the plain warp (in validation pairs; elsewhere it equals
            ``rendered``), the recorded frame.
        clip: (N,) int64 the number of the clip.
    """

    warped: torch.Tensor
    recorded: torch.Tensor
    clip: torch.Tensor


def read_pairs(corpus: Corpus, clips: list[str], photo_quantiles: tuple[float, ...], targets: int, name: str) -> Pairs:
    """The pairs of some clips, rendered once and stored in the cache under a name.

    Args:
        corpus: the corpus with its cache.
        clips: ids.
        photo_quantiles: of lip opening: the frames of each clip that serve as photos.
        targets: frames rendered from each photo, at most.
        name: "train" or "validation"; only the latter has plain warps.
    """
    path = corpus.cache / "refinement" / f"{name}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs = [
            pair
            for number, clip in enumerate(clips)
            for pair in _pairs_of_clip(corpus, clip, number, photo_quantiles, targets, name == "validation")
        ]
        save_windows(pairs, path)
    return Pairs(**torch.load(path))


def save_windows(parts: Sequence[Windows], path: Path) -> None:
    """Stores windows or pairs together as the arguments of their class."""
    names = [field.name for field in fields(parts[0])]
    torch.save({name: torch.cat([getattr(part, name) for part in parts]) for name in names}, path)


def _pairs_of_clip(
    corpus: Corpus, clip: str, number: int, photo_quantiles: tuple[float, ...], targets: int, with_warped: bool
) -> list[Pairs]:
    landmarks = corpus.landmarks(clip).astype(np.float64)
    seen = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
    landmarks[seen] = gaussian_filter1d(landmarks[seen], SMOOTHING, axis=0, mode="nearest")
    gaps = lip_gaps(landmarks[seen]).mean(-1)
    photos = [seen[np.argsort(gaps)[round(quantile * (len(seen) - 1))]] for quantile in photo_quantiles]
    shown = seen[np.unique(np.linspace(0, len(seen) - 1, targets).round().astype(int))]
    needed = set(photos) | set(shown)
    frames = {t: frame for t, frame in enumerate(corpus.frames(clip)) if t in needed}
    pairs = [
        _pairs_of_photo(frames, landmarks, photo, [t for t in shown if t != photo], number, with_warped)
        for photo in photos
    ]
    return [pair for pair in pairs if pair is not None]


def _pairs_of_photo(
    frames: dict[int, np.ndarray], landmarks: np.ndarray, photo: int, shown: list[int], clip: int, with_warped: bool
) -> Pairs | None:
    tracked = SimpleNamespace(detect=lambda _: [landmarks[photo]])
    portrait = prepare_portrait(frames[photo], tracked)
    posed = landmarks[shown] / portrait.crop.scale
    posed[..., :2] -= portrait.crop.origin / portrait.crop.scale
    face = fit_posed_face(posed)
    near = np.abs(face.pose.rotation - portrait.pose.rotation).max(1) < FARTHEST
    if not near.any():
        return None
    posed, shown = posed[near], [t for t, kept in zip(shown, near, strict=True) if kept]
    windows, pixels = render_windows(portrait, fit_posed_face(posed))
    pixels_of_clip = pixels * portrait.crop.scale + torch.tensor(portrait.crop.origin, dtype=torch.float32)
    return Pairs(
        **windows.__dict__,
        warped=_crop(list(plain_warp(portrait, posed)), pixels) if with_warped else windows.rendered,
        recorded=_crop([frames[t] for t in shown], pixels_of_clip),
        clip=torch.full((len(shown),), clip),
    )


def render_windows(portrait: Portrait, face: PosedFace) -> tuple[Windows, torch.Tensor]:
    """A face in motion as the generator draws it without refinement, and where its windows lie in the portrait's crop.

    ``face`` is in pixels of the crop; so are the places, (N, 128, 128, 2).
    """
    motion, prepared, generator = _motion(face, margin=0), _prepare(portrait), MeshWarpGenerator()
    pixels = window_pixels(prepared.centre, prepared.lattice, motion)
    unrefined = generator.prepare(portrait, refined=False)
    windows = Windows(
        rendered=_crop(list(render_face(generator, unrefined, face)), pixels),
        photo=(prepared.conditioning * 255).round().byte().expand(len(pixels), -1, -1, -1).clone(),
        lips=torch.stack(lips_in_window(prepared.centre, motion), 1),
        motion_weight=torch.from_numpy(lip_motion_weight(prepared.photo, motion)),
    )
    return windows, pixels


def _prepare(portrait: Portrait) -> PreparedRefinement:
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    return prepare_refinement(picture, _motion(PosedFace(portrait.normalized[None], portrait.pose), MARGIN))


def _motion(face: PosedFace, margin: int) -> FaceMotion:
    """The face in pixels of the portrait's crop with a margin around."""
    return face_motion(face, PixelTransform(1.0, np.full(2, float(margin))), torch.device("cpu"))


def _crop(frames: list[np.ndarray], pixels: torch.Tensor) -> torch.Tensor:
    """Frames (H, W, 3) uint8 sampled at pixels (B, 128, 128, 2): (B, 3, 128, 128) uint8; pixel centres are integers."""
    pictures = torch.tensor(np.stack(frames)).permute(0, 3, 1, 2).float()
    return crop_windows(pictures, pixels, step=1).round().byte()
