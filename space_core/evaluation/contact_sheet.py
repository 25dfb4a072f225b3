"""A contact sheet of talking portraits, for the README and visual inspection.

    python -m space_core.evaluation.contact_sheet examples/contact_sheet.jpg [--generator liveportrait]

One row per example: the portrait, then frames evenly spread over its video.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from space_core import AnimationOptions, SpacePipeline
from space_core.assets import example_path
from space_core.measures.rendering import add_generator_argument

ROWS = (
    ("astronaut.jpg", "english_starlight.flac", AnimationOptions(emotion="happy", intensity=0.7)),
    ("grace_hopper.jpg", "english_portrait.flac", AnimationOptions()),
    ("mona_lisa.jpg", "spanish_stars.flac", AnimationOptions(emotion="surprised", intensity=0.8)),
)
NUM_FRAMES = 5
CELL = 256  # side of a frame in the sheet, pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path, help="the picture to write")
    add_generator_argument(parser)
    arguments = parser.parse_args()
    pipeline = SpacePipeline()
    rows = [
        _row(pipeline, photo, speech, replace(options, generator=arguments.generator))
        for photo, speech, options in ROWS
    ]
    Image.fromarray(np.concatenate(rows)).save(arguments.sheet, quality=88)


def _row(pipeline: SpacePipeline, photo: str, speech: str, options: AnimationOptions) -> np.ndarray:
    animation = pipeline.animate(example_path(photo), example_path(speech), options)
    wanted = set(np.linspace(0, animation.num_frames - 1, NUM_FRAMES + 2).astype(int)[1:-1])
    frames = [frame for number, frame in enumerate(animation) if number in wanted]
    cells = [Image.fromarray(frame).resize((CELL, CELL), Image.Resampling.LANCZOS) for frame in frames]
    portrait = Image.fromarray(animation.portrait.image).resize((CELL, CELL), Image.Resampling.LANCZOS)
    return np.concatenate([np.asarray(cell) for cell in (portrait, *cells)], axis=1)


if __name__ == "__main__":
    main()
