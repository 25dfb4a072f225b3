"""Tracks the face in every clip of the corpus: what all other recipes learn from.

    python -m space_core.training.track_corpus CORPUS TRACKS

writes ``TRACKS/<id>.npy``: landmarks (T, 478, 3), float32, in pixels of the clip, 25 frames a second, NaN where no face
was found. A clip that is there is not tracked again.
"""

import argparse
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from tqdm import tqdm

from space_core.face.detector import build_detector
from space_core.training.corpus import read_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tracks", type=Path)
    arguments = parser.parse_args()
    arguments.tracks.mkdir(parents=True, exist_ok=True)
    detector = build_detector("mediapipe")
    for clip in tqdm(read_manifest(arguments.corpus), unit="clip"):
        track = arguments.tracks / f"{clip['id']}.npy"
        if not track.exists():
            video = arguments.corpus / "video" / f"{clip['id']}.mp4"
            np.save(track, _landmarks(detector, video))


def _landmarks(detector, video: Path) -> np.ndarray:
    frames = imageio_ffmpeg.read_frames(str(video))
    width, height = next(frames)["size"]
    images = (np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames)
    lost = np.full((478, 3), np.nan, np.float32)
    return np.stack([lost if face is None else face for face in detector.track(images)])


if __name__ == "__main__":
    main()
