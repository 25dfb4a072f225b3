"""The corpus: its clips, which of them are kept for validation, and the faces tracked in them.

Every recipe and every evaluation takes the corpus folder as its argument and keeps what takes long to compute in a
cache folder, from which it goes on if it was stopped.
"""

import argparse
import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from space_core.face.detector import Detector, build_detector
from space_core.media.audio import load_speech

CACHE = Path(__file__).parents[2] / "cache"


@dataclass
class Corpus:
    """A corpus folder with ``manifest.csv``, ``split.csv`` and ``video/``, and the cache that belongs to it."""

    folder: Path
    cache: Path = CACHE
    _detector: Detector | None = field(default=None, repr=False)

    @cached_property
    def clips(self) -> list[dict[str, str]]:
        """The rows of ``manifest.csv``, one a clip: id, seconds, size, face_px, speech, emotion, …"""
        return _rows(self.folder / "manifest.csv")

    @cached_property
    def held_out(self) -> set[str]:
        """The ids in ``split.csv``: clips to validate on, never to train on."""
        return {row["id"] for row in _rows(self.folder / "split.csv")}

    def video(self, clip: str) -> Path:
        """The clip's file."""
        return self.folder / "video" / f"{clip}.mp4"

    def speech(self, clip: str) -> np.ndarray:
        """The clip's sound (N,), float32, 16 kHz mono."""
        return load_speech(self.video(clip))

    def frames(self, clip: str):
        """The clip's pictures (H, W, 3) uint8 RGB, one by one."""
        frames = imageio_ffmpeg.read_frames(str(self.video(clip)))
        width, height = next(frames)["size"]
        for frame in frames:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)

    def landmarks(self, clip: str) -> np.ndarray:
        """The face tracked in a clip: (T, 478, 3) float32, in pixels of the clip, NaN where no face was found.

        Tracking takes about a hundredth of a second a frame; it is done once, the result kept in ``cache/tracks``.
        """
        track = self.cache / "tracks" / f"{clip}.npy"
        if not track.exists():
            self._detector = self._detector or build_detector("mediapipe")
            lost = np.full((478, 3), np.nan, np.float32)
            faces = self._detector.track(self.frames(clip))
            track.parent.mkdir(parents=True, exist_ok=True)
            np.save(track, np.stack([lost if face is None else face for face in faces]))
        return np.load(track)

    def seen_landmarks(self, clip: str) -> np.ndarray:
        """Those of ``landmarks`` in which a face was found."""
        landmarks = self.landmarks(clip)
        return landmarks[~np.isnan(landmarks[:, 0, 0])]


def corpus_arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that all recipes and evaluations take: ``CORPUS`` and ``--cache``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="the corpus folder")
    parser.add_argument("--cache", type=Path, default=CACHE, help="what takes long is kept there (%(default)s)")
    return parser


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))
