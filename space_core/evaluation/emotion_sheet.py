"""A sheet of emotions on several portraits, for the README and visual inspection.

    python -m space_core.evaluation.emotion_sheet examples/emotions.jpg [PHOTO …] [--generator liveportrait]

One row per portrait, one column per emotion, all from the same moment of a recording, without head motion and blinks.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from space_core import AnimationOptions, SpacePipeline
from space_core.assets import example_path
from space_core.measures.rendering import add_generator_argument
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY

SPEECH = example_path("english_starlight.flac")
PHOTOS = tuple(example_path(f"{name}.jpg") for name in ("astronaut", "grace_hopper", "mona_lisa"))
FRAME = 64  # of the recording: an open vowel for which lips are neither spread nor rounded
CELL, CAPTION = 176, 22  # pixels
MARGIN = 0.16  # of the crop, that is cut off on each side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path, help="the picture to write")
    parser.add_argument("photos", type=Path, nargs="*", default=PHOTOS, metavar="PHOTO", help="portraits (examples)")
    parser.add_argument("--intensity", type=float, default=1.0, help=f"0 to {MAX_INTENSITY:g} (%(default)s)")
    parser.add_argument("--frame", type=int, default=FRAME, help="of the recording, 25 a second (%(default)s)")
    add_generator_argument(parser)
    arguments = parser.parse_args()
    pipeline = SpacePipeline()
    options = AnimationOptions(
        intensity=arguments.intensity, generator=arguments.generator, head_motion=0, blinks_per_minute=0
    )
    rows = [_captions(), *(_row(pipeline, photo, options, arguments.frame) for photo in arguments.photos)]
    Image.fromarray(np.concatenate(rows)).save(arguments.sheet, quality=85)


def _row(pipeline: SpacePipeline, photo: Path, options: AnimationOptions, frame: int) -> np.ndarray:
    cells = []
    for emotion in EMOTIONS:
        felt = replace(options, emotion=emotion)
        motion = pipeline.motion(photo, SPEECH, felt)[frame : frame + 1]
        (picture,) = pipeline.animate(photo, motion, AnimationOptions(generator=options.generator))
        cut = round(MARGIN * len(picture))
        cells.append(Image.fromarray(picture[cut:-cut, cut:-cut]).resize((CELL, CELL), Image.Resampling.LANCZOS))
    return np.concatenate([np.asarray(cell) for cell in cells], axis=1)


def _captions() -> np.ndarray:
    strip = Image.new("RGB", (CELL * len(EMOTIONS), CAPTION), "white")
    draw = ImageDraw.Draw(strip)
    for column, emotion in enumerate(EMOTIONS):
        place = (CELL * (column + 0.5), CAPTION / 2)
        draw.text(place, emotion, "black", ImageFont.load_default(14), anchor="mm")
    return np.asarray(strip)


if __name__ == "__main__":
    main()
