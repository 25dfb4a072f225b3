"""Frames of faces for measurements, drawn by the generator that is to be measured."""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from space_core.device import pick_device
from space_core.face.posed_face import PosedFace, fit_posed_face
from space_core.generator.generator import Generator, Prepared
from space_core.generators import DEFAULT_GENERATOR, GENERATORS, available_generators, build_generator
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.progress import ignore_progress


def add_generator_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--generator``, as all evaluations that draw pictures have it: a name for ``the_generator``."""
    parser.add_argument(
        "--generator",
        type=_usable,
        choices=list(GENERATORS),
        default=DEFAULT_GENERATOR,
        help="what draws the pictures (default: %(default)s)",
    )


def corpus_and_generator_from_arguments(description: str) -> tuple[Corpus, Generator[Any]]:
    """The corpus and the generator named on the command line, see ``corpus_arguments``."""
    parser = corpus_arguments(description)
    add_generator_argument(parser)
    arguments = parser.parse_args()
    return Corpus(arguments.corpus, arguments.cache), the_generator(arguments.generator)


def the_generator(name: str) -> Generator[Any]:
    """The generator of a name, on the GPU if there is one; on first use it may be trained for minutes."""
    return build_generator(name, pick_device("auto"), ignore_progress)


def render_face(generator: Generator[Prepared], prepared: Prepared, face: PosedFace) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB of a face in motion."""
    size = generator.batch_size(prepared)
    for batch in generator.render(prepared, (face[first : first + size] for first in range(0, len(face), size))):
        yield from batch


def render_landmarks(generator: Generator[Prepared], prepared: Prepared, landmarks: np.ndarray) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB of landmarks (T, 478, 3), such as a tracker's, in pixels of the portrait's crop."""
    return render_face(generator, prepared, fit_posed_face(landmarks))


def _usable(name: str) -> str:
    if name in GENERATORS and name not in available_generators():
        raise argparse.ArgumentTypeError(f"the weights of {name} are not here: python -m space_core get-weights {name}")
    return name
