"""The corpus: its clips, which of them are kept for validation, and the faces tracked in them.

Every recipe and every evaluation takes the corpus folder as its argument. Slow intermediate results are stored in a
cache folder, so an interrupted run resumes.
"""

import argparse
import csv
from collections.abc import Iterator
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
    """A corpus folder (``manifest.csv``, ``split.csv``, ``video/``, ``portraits/``, ``speech/``) and its cache."""

    folder: Path
    cache: Path = CACHE
    _detector: Detector | None = field(default=None, repr=False)

    @cached_property
    def clips(self) -> list[dict[str, str]]:
        """The rows of ``manifest.csv``, one per clip: id, seconds, size, face_px, speech, emotion, …"""
        return _rows(self.folder / "manifest.csv")

    @cached_property
    def held_out(self) -> set[str]:
        """The ids in ``split.csv``: clips to validate on, never to train on."""
        return {row["id"] for row in _rows(self.folder / "split.csv")}

    def video(self, clip: str) -> Path:
        """The path of the clip."""
        return self.folder / "video" / f"{clip}.mp4"

    def speech(self, clip: str) -> np.ndarray:
        """The clip's sound (N,), float32, 16 kHz mono."""
        return load_speech(self.video(clip))

    def frames(self, clip: str) -> Iterator[np.ndarray]:
        """The clip's frames (H, W, 3) uint8 RGB, one by one."""
        frames = imageio_ffmpeg.read_frames(str(self.video(clip)))
        width, height = next(frames)["size"]
        for frame in frames:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)

    def landmarks(self, clip: str) -> np.ndarray:
        """The face tracked in a clip: (T, 478, 3) float32, in pixels of the clip, NaN where no face was found.

        Tracking takes about 10 ms per frame; the result is stored in ``cache/tracks``.
        """
        track = self.cache / "tracks" / f"{clip}.npy"
        if not track.exists():
            self._detector = self._detector or build_detector("mediapipe")
            missing = np.full((478, 3), np.nan, np.float32)
            faces = self._detector.track(self.frames(clip))
            track.parent.mkdir(parents=True, exist_ok=True)
            np.save(track, np.stack([missing if face is None else face for face in faces]))
        return np.load(track)

    def seen_landmarks(self, clip: str) -> np.ndarray:
        """The rows of ``landmarks`` in which a face was found."""
        landmarks = self.landmarks(clip)
        return landmarks[~np.isnan(landmarks[:, 0, 0])]


def corpus_arguments(description: str) -> argparse.ArgumentParser:
    """The command-line arguments of all recipes and evaluations: ``CORPUS`` and ``--cache``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="the corpus folder")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of intermediate results (%(default)s)")
    return parser


def corpus_from_arguments(description: str) -> Corpus:
    """The corpus named on the command line, see ``corpus_arguments``."""
    arguments = corpus_arguments(description).parse_args()
    return Corpus(arguments.corpus, arguments.cache)


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))
