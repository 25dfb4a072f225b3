"""The regression set: a second of speech of three portraits, as it looked when the set was last made.

    PYTHONPATH=. python tests/regression_set.py

makes it anew; look at the pictures in ``tests/regression/`` before they are committed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from space_core import AnimationOptions, SpacePipeline

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDER = Path(__file__).parent / "regression"
SHOWN = (4, 14, 24)  # frames of which landmarks and the face's picture are kept
AROUND = 12  # pixels around the face that its picture shows


@dataclass(frozen=True)
class Case:
    """A portrait, a second of a recording from a time (seconds) on, and how it is said."""

    portrait: str
    recording: str
    begins: float
    options: AnimationOptions


CASES = (
    Case("astronaut", "english_starlight", 0.5, AnimationOptions(emotion="happy", intensity=0.7)),
    Case("grace_hopper", "english_portrait", 1.0, AnimationOptions(head_motion=1.5, seed=2)),
    Case("mona_lisa", "spanish_stars", 0.6, AnimationOptions(emotion="surprised", blinks_per_minute=60, seed=3)),
)


def render(case: Case, pipeline: SpacePipeline, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Posed landmarks (3, 478, 3) and pictures (3, 512, 512, 3) of a case; ``folder`` is for its speech."""
    sound, rate = soundfile.read(EXAMPLES / f"{case.recording}.flac")
    speech = folder / f"{case.portrait}.wav"
    soundfile.write(speech, sound[round(case.begins * rate) : round((case.begins + 1) * rate)], rate)
    photo = EXAMPLES / f"{case.portrait}.jpg"
    motion = pipeline.motion(photo, speech, case.options)
    with pipeline.animate(photo, speech, case.options) as animation:
        pictures = [picture for number, picture in enumerate(animation) if number in SHOWN]
    return motion.posed[list(SHOWN)], np.stack(pictures)


def box_of(landmarks: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a picture (512, 512, 3) around landmarks (…, N, 3), on average."""
    places = landmarks[..., :2].reshape(-1, *landmarks.shape[-2:-1], 2).mean(0)
    low = np.maximum(places.min(0) - AROUND, 0).astype(int)
    high = np.minimum(places.max(0) + AROUND, 512).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def stored(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The same as they were stored; the pictures are black but for ``box_of`` the landmarks."""
    with np.load(FOLDER / f"{case.portrait}.npz") as file:
        landmarks = file["landmarks"].astype(np.float32) / 64
    pictures = np.zeros((len(SHOWN), 512, 512, 3), np.uint8)
    for picture, number in zip(pictures, SHOWN, strict=True):
        picture[box_of(landmarks)] = Image.open(FOLDER / f"{case.portrait}_{number}.webp")
    return landmarks, pictures


def main() -> None:
    import tempfile

    FOLDER.mkdir(exist_ok=True)
    pipeline = SpacePipeline("cpu")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            landmarks, pictures = render(case, pipeline, Path(folder))
            rounded = np.round(landmarks * 64).astype(np.int16)
            np.savez_compressed(FOLDER / f"{case.portrait}.npz", landmarks=rounded)
            face = box_of(rounded.astype(np.float32) / 64)
            for number, picture in zip(SHOWN, pictures, strict=True):
                Image.fromarray(picture[face]).save(FOLDER / f"{case.portrait}_{number}.webp", quality=96, method=6)


if __name__ == "__main__":
    main()
