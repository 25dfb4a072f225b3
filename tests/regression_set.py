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
SHOWN = (4, 14, 24)  # frames whose pictures are kept


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
    """Posed landmarks (25, 478, 3) and the pictures shown (3, 512, 512, 3) of a case; ``folder`` is for its speech."""
    sound, rate = soundfile.read(EXAMPLES / f"{case.recording}.flac")
    speech = folder / f"{case.portrait}.wav"
    soundfile.write(speech, sound[round(case.begins * rate) : round((case.begins + 1) * rate)], rate)
    photo = EXAMPLES / f"{case.portrait}.jpg"
    motion = pipeline.motion(photo, speech, case.options)
    with pipeline.animate(photo, speech, case.options) as animation:
        pictures = [picture for number, picture in enumerate(animation) if number in SHOWN]
    return motion.posed, np.stack(pictures)


def stored(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The same as they were stored."""
    with np.load(FOLDER / f"{case.portrait}.npz") as file:
        landmarks = file["landmarks"].astype(np.float32) / 64
    names = [FOLDER / f"{case.portrait}_{number}.webp" for number in SHOWN]
    return landmarks, np.stack([np.asarray(Image.open(name)) for name in names])


def main() -> None:
    import tempfile

    FOLDER.mkdir(exist_ok=True)
    pipeline = SpacePipeline("cpu")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            landmarks, pictures = render(case, pipeline, Path(folder))
            np.savez_compressed(FOLDER / f"{case.portrait}.npz", landmarks=np.round(landmarks * 64).astype(np.int16))
            for number, picture in zip(SHOWN, pictures, strict=True):
                Image.fromarray(picture).save(FOLDER / f"{case.portrait}_{number}.webp", quality=96, method=6)


if __name__ == "__main__":
    main()
