"""Teaches the refinement network that is shipped what a larger one does, in less than half of its time.

It is trained on many more mouths than there are recorded ones to compare with: those of portraits and of clips' first
frames, animated with the corpus's speech.
"""

import copy
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from space_core.errors import SpaceError
from space_core.face.posed_face import PosedFace, join_faces
from space_core.generator.mesh_warp.refinement import (
    PART_UNIT,
    SIDE,
    RefinementNetwork,
    assemble_conditioning,
    keep_drawn_edges,
    near_lips,
    window_lattice,
)
from space_core.measures.corpus import Corpus
from space_core.motion.emotion_labels import EMOTIONS
from space_core.options import AnimationOptions
from space_core.pipeline import SpacePipeline
from space_core.training.optimization import set_learning_rate, update_average
from space_core.training.refinement.losses import window_edge
from space_core.training.refinement.pairs import Windows, render_windows, save_windows
from space_core.training.refinement.train import SEED, WARM_UP_STEPS, augment, ema_decay

STEPS, BATCH, LEARNING_RATE = 5000, 16, 2e-3
NUM_CLIPS, MIN_FACE = 100, 200  # clips whose first frame is a photo; pixels of their faces
FILMS, FRAMES = 3, 16  # of each photo, in other voices and emotions; frames taken of each film
PART = (88, 104)  # rows and columns of the window that are compared at a time, as large as most of those refined
RAW_LOSS = 0.1  # weight of the networks' outputs themselves, which also count where the refinement is limited
LARGEST_GRADIENT = 0.1  # norm
REPORT_EVERY = 100  # steps


def read_windows(corpus: Corpus) -> Windows:
    """Mouths to train on, drawn once and stored in the cache; about 20 minutes on a CPU core."""
    path = corpus.cache / "refinement" / "distillation.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_windows(list(_draw_windows(corpus)), path)
    return Windows(**torch.load(path))


def distil(teacher: RefinementNetwork, windows: Windows, device: torch.device, steps: int = STEPS) -> RefinementNetwork:
    """A network of the shipped size that refines mouths as the teacher, on that device, does."""
    torch.manual_seed(SEED)
    network = RefinementNetwork().to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    lattice, edge, windows = window_lattice(device), window_edge().to(device), windows.with_motion()
    generator, since, sums = torch.Generator().manual_seed(SEED), time.monotonic(), np.zeros(2)
    for step in range(1, steps + 1):
        set_learning_rate(optimizer, LEARNING_RATE, step - 1, steps, WARM_UP_STEPS)
        chosen = windows[torch.randint(len(windows), (BATCH,), generator=generator)].to(device)
        conditioning, near = _random_part(chosen, lattice, edge, generator)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                wanted = teacher(conditioning)
            added = network(conditioning)
        shown = keep_drawn_edges(conditioning, wanted)
        distance = ((keep_drawn_edges(conditioning, added) - shown).abs() * near).mean()
        optimizer.zero_grad()
        (distance + RAW_LOSS * ((added - wanted).abs() * near).mean()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        update_average(average, network, ema_decay(step))
        sums += distance.item(), (shown.abs() * near).mean().item()
        if step % REPORT_EVERY == 0:
            differs, size = 255 * sums / REPORT_EVERY
            print(f"{step} steps, {time.monotonic() - since:.0f} s: off by {differs:.3f} of {size:.3f} grey levels")
            sums[:] = 0
    return average


def _random_part(
    windows: Windows, lattice: torch.Tensor, edge: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A part of windows, varied as for training: the conditioning (B, 11, h, w) and its ``near_lips`` (B, 1, h, w).

    ``lattice`` and ``edge`` are those of the whole window, see ``PreparedRefinement``.
    """
    rendered, _, photo, lips = augment(windows, generator)
    part: list[slice] = []
    for side in PART:
        first = PART_UNIT * int(torch.randint((SIDE - side) // PART_UNIT + 1, (), generator=generator))
        part.append(slice(first, first + side))
    rows, columns = part
    pictures = rendered[..., rows, columns], photo[..., rows, columns]
    conditioning = assemble_conditioning(*pictures, list(lips.unbind(1)), lattice[:, rows, columns])
    return conditioning, near_lips(conditioning, edge[rows, columns])


def _draw_windows(corpus: Corpus) -> Iterator[Windows]:
    random, pipeline = np.random.default_rng(SEED), SpacePipeline()
    voices = sorted(corpus.folder.glob("speech/*"))
    photos: Iterator[Path | np.ndarray] = chain(sorted(corpus.folder.glob("portraits/*")), _first_frames(corpus))
    for photo in photos:
        films = []
        for emotion in random.choice(EMOTIONS, FILMS, replace=False):
            options = AnimationOptions(emotion=str(emotion), seed=int(random.integers(1000)))
            try:
                motion = pipeline.motion(photo, voices[random.integers(len(voices))], options)
            except SpaceError as reason:  # no face, or one that can't be animated
                print(f"{photo if isinstance(photo, Path) else 'The first frame of a clip'} is left out: {reason}")
                break
            films.append(motion.face[np.linspace(0, len(motion) - 1, FRAMES).round().astype(int)])
        if films:
            face = join_faces(films)
            with pipeline.animate(photo, motion) as animation:
                portrait = animation.portrait
            yield render_windows(portrait, PosedFace(face.normalized, face.pose, face.emotion))[0]


def _first_frames(corpus: Corpus) -> Iterator[np.ndarray]:
    """The first frames of clips to train on, (H, W, 3) uint8."""
    clips = [row for row in corpus.clips if row["id"] not in corpus.held_out and int(row["face_px"]) >= MIN_FACE]
    for row in clips[:: -(-len(clips) // NUM_CLIPS)]:
        yield next(corpus.frames(row["id"]))
