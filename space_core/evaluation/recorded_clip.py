"""Recorded frames in the crop of a portrait, to compare rendered ones with."""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from space_core.face.crop_size import MARGIN
from space_core.face.detector import Detector
from space_core.face.normalization import normalize
from space_core.face.portrait import Portrait, cut, prepare_portrait
from space_core.measures.corpus import Corpus

EVERY = 5  # frames of a clip, one in so many


@dataclass(frozen=True)
class Clip:
    """A clip in the crop of its first frame's portrait.

    Attributes:
        portrait: with the tracked landmarks of that frame as its own.
        frames: (512, 512, 3) uint8 RGB, the clip's own, the first of them the portrait's.
        landmarks: (T, 478, 3) tracked in them, in pixels of the crop.
    """

    portrait: Portrait
    frames: list[np.ndarray]
    landmarks: np.ndarray


def load_clip(corpus: Corpus, clip: str, detector: Detector, at_most: int) -> Clip:
    """Some frames of a clip, evenly spread."""
    seen = np.flatnonzero(~np.isnan(corpus.landmarks(clip)[:, 0, 0]))[::EVERY]
    return cut_clip(corpus, clip, detector, seen[np.linspace(0, len(seen) - 1, min(len(seen), at_most)).astype(int)])


def cut_clip(corpus: Corpus, clip: str, detector: Detector, numbers: np.ndarray) -> Clip:
    """The frames of a clip with these numbers (T,), in all of which a face was found."""
    tracked, seen = corpus.landmarks(clip).astype(np.float64), numbers
    wanted = set(seen.tolist())
    recorded = (frame for number, frame in enumerate(corpus.frames(clip)) if number in wanted)
    first = next(recorded)
    portrait = prepare_portrait(first, detector)
    frames = [cut(frame, portrait.crop)[MARGIN:-MARGIN, MARGIN:-MARGIN] for frame in chain([first], recorded)]
    landmarks = tracked[seen[: len(frames)]] / portrait.crop.scale
    landmarks[..., :2] = portrait.crop.to_crop(tracked[seen[: len(frames)], :, :2])
    normalized, pose = normalize(landmarks[:1])
    portrait = replace(portrait, landmarks=landmarks[0], normalized=normalized[0], pose=pose)
    return Clip(portrait, frames, landmarks)
