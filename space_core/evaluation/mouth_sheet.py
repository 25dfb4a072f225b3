"""Mouths of recorded clips beside ours: a sheet to look at, and the brightness between the lips.

    python -m space_core.evaluation.mouth_sheet CORPUS sheet.png [--clips ID …] [--generator liveportrait]

Two rows for each clip: the recorded one, and the film that SPACE makes of one of its frames with closed lips and its
sound. Columns are the frames at falling quantiles of lip opening, cut around the lips at one scale. Clips are those of
validation speakers with large pictures, one of each speaker, unless they are named. Prints ``mouth_profile`` of both,
means over clips of frames with lips half open.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from space_core import AnimationOptions, SpacePipeline
from space_core.face.topology import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    OUTER_EYE_CORNERS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
)
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.measures.mouth_interior import mouth_profile
from space_core.measures.rendering import add_generator_argument

LARGE = 512  # pixels, least size of a clip
LONGEST = 150  # frames of a clip
PHOTO_FROM = 30  # first frames, of which the least open one is the photo
QUANTILES = (1.0, 0.97, 0.9, 0.75, 0.5, 0.2)
WIDTH, HEIGHT = 320, 240  # of a cell, pixels
FACES = 0.62  # width of a cell in heights of the face
FACE_TOP, CHIN = 10, 152
AROUND = (OUTER_UPPER_LIP[0], OUTER_UPPER_LIP[-1], OUTER_UPPER_LIP[5], OUTER_LOWER_LIP[5])
HALF_OPEN = (0.1, 0.16)  # lip opening in distances between the outer eye corners


def main() -> None:
    parser = corpus_arguments(__doc__)
    parser.add_argument("sheet", type=Path, help="the picture to write")
    parser.add_argument("--clips", nargs="+", metavar="ID", help="of the corpus")
    add_generator_argument(parser)
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    pipeline, options = SpacePipeline(), AnimationOptions(generator=arguments.generator)
    rows, profiles = [], []
    for clip in arguments.clips or clips_of_speakers(corpus):
        landmarks = corpus.landmarks(clip)[:LONGEST]
        seen = ~np.isnan(landmarks[:, 0, 0])
        frames = [frame for frame, kept in zip(islice(corpus.frames(clip), len(seen)), seen, strict=True) if kept]
        landmarks = landmarks[seen]
        photo = frames[int(_opening(landmarks[:PHOTO_FROM]).argmin())]
        film = list(islice(pipeline.animate(photo, corpus.video(clip), options).frames(), LONGEST))
        ours = [frame.picture for frame in film], np.concatenate([frame.motion.posed for frame in film])
        rows += [_row(frames, landmarks), _row(*ours)]
        profiles.append([_profile(frames, landmarks), _profile(*ours)])
    Image.fromarray(np.concatenate(rows)).save(arguments.sheet)
    for title, profile in zip(("recorded", "ours"), np.nanmean(profiles, axis=0), strict=True):
        print(f"{title:10s}" + "".join(f"{value:6.2f}" for value in profile))


def clips_of_speakers(corpus: Corpus) -> list[str]:
    """A clip with speech and large pictures of each validation speaker who has one."""
    chosen: dict[str, str] = {}
    for row in corpus.clips:
        if row["id"] in corpus.held_out and row["speech"] == "1" and int(row["size"]) >= LARGE:
            chosen.setdefault(row.get("speaker") or row["id"], row["id"])
    return list(chosen.values())


def _opening(landmarks: np.ndarray) -> np.ndarray:
    """(T,) lip opening of landmarks (T, 478, 3) in distances between the outer eye corners."""
    pairs = (INNER_UPPER_LIP[5], INNER_LOWER_LIP[5]), OUTER_EYE_CORNERS
    opening, unit = (np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) for a, b in pairs)
    return opening / unit


def _row(frames: Sequence[np.ndarray], landmarks: np.ndarray) -> np.ndarray:
    order, cells = _opening(landmarks).argsort(), []
    for quantile in QUANTILES:
        number = int(order[round(quantile * (len(order) - 1))])
        points = landmarks[number, :, :2]
        middle = points[list(AROUND)].mean(0)
        scale = WIDTH / FACES / np.linalg.norm(points[FACE_TOP] - points[CHIN])
        cut = np.column_stack([scale * np.eye(2), np.array([WIDTH, HEIGHT]) / 2 - scale * middle])
        cells.append(cv2.warpAffine(frames[number], cut, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
    return np.concatenate(cells, axis=1)


def _profile(frames: Sequence[np.ndarray], landmarks: np.ndarray) -> np.ndarray:
    """(5,) the mean profile of half open mouths; NaN if there are none."""
    low, high = HALF_OPEN
    chosen = np.flatnonzero((_opening(landmarks) > low) & (_opening(landmarks) < high))
    profiles = [mouth_profile(frames[number], landmarks[number]) for number in chosen.tolist()]
    return np.mean(profiles, axis=0) if profiles else np.full(5, np.nan)


if __name__ == "__main__":
    main()
