"""Runs the recipe of the neural generator, see ``space_core/training/face_vid2vid/__init__.py``."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from space_core.device import pick_device
from space_core.errors import SpaceError
from space_core.options import DEVICES
from space_core.training import face_vid2vid
from space_core.training.face_vid2vid.clips import Batch, pick_pairs, read_clips, split
from space_core.training.face_vid2vid.figures import figures, reenact, save_sheet
from space_core.training.face_vid2vid.train import SETTINGS, Trainer, untrained_networks

VALIDATION_PAIRS, VALIDATION_SEED = 48, 1 << 32
PRINT_EVERY, SAVE_EVERY = 50, 250  # steps
CARD = """# Networks of LivePortrait's structure, trained by SPACE

`python -m space_core.training.face_vid2vid --size {size}`, seed {seed}, {steps} steps, {clips} clips.
They are under the terms of these clips. The stitching networks correct nothing.

Means over {pairs} pairs of frames of {held} clips{unseen}:

{table}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=face_vid2vid.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, required=True, metavar="FOLDER", help="of talking faces, one in each")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="for the weights")
    parser.add_argument("--size", choices=list(SETTINGS), default="published", help="default: %(default)s")
    parser.add_argument("--steps", type=int, help="default: 200000, toy 1500")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    arguments = parser.parse_args()
    try:
        train(arguments.videos, arguments.output, arguments.size, arguments.steps, arguments.seed, arguments.device)
    except SpaceError as error:
        raise SystemExit(f"space_core: {error}") from None


def train(
    videos: Path, output: Path, size: str, steps: int | None, seed: int, device: str
) -> dict[str, dict[str, float]]:
    """Trains, or goes on where it was interrupted; returns the figures that the card has.

    See ``main`` for the arguments.

    Raises:
        SpaceError: there is nothing to train on, or no such device.
    """
    settings = SETTINGS[size]
    settings = replace(settings, steps=steps or settings.steps)
    clips = list(read_clips(videos, settings.layout.output_size, output / "clips"))
    if not clips:
        raise SpaceError(f"{videos} has no video with a face.")
    training, held = split(clips)
    pairs = pick_pairs(held, VALIDATION_PAIRS, VALIDATION_SEED, mirrored=False)
    trainer = Trainer(settings, output / "training.pt", pick_device(device), seed)
    begun = time.monotonic()
    while trainer.step < settings.steps:
        losses = trainer.train_step(pick_pairs(training, trainer.batch_size, seed + trainer.step))
        if trainer.step % PRINT_EVERY == 0:
            values = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"{trainer.step} steps, {time.monotonic() - begun:.0f} s: {values}", flush=True)
        if trainer.step % SAVE_EVERY == 0 or trainer.step == settings.steps:
            trainer.save()
            trainer.export(output)
            save_sheet(output / "drawn.png", pairs, reenact(trainer.networks, pairs))
    found = _compare(trainer, pairs, seed)
    unseen = " that were not trained on" if held is not training else ", the same"
    card = CARD.format(
        size=size,
        seed=seed,
        steps=settings.steps,
        clips=len(training),
        pairs=VALIDATION_PAIRS,
        held=len(held),
        unseen=unseen,
        table=_table(found),
    )
    (output / "card.md").write_text(card, "utf-8")
    print(card)
    return found


def _compare(trainer: Trainer, pairs: Batch, seed: int) -> dict[str, dict[str, float]]:
    """Figures of what the trained networks draw, beside those of the source itself and of networks before training."""
    torch.manual_seed(seed)
    untrained = untrained_networks(trainer.settings.layout).to(trainer.device)
    pictures = {
        "the source itself": pairs.source,
        "untrained networks": reenact(untrained, pairs),
        "trained networks": reenact(trainer.networks, pairs),
    }
    return {name: figures(drawn, pairs.driving, trainer.vgg) for name, drawn in pictures.items()}


def _table(found: dict[str, dict[str, float]]) -> str:
    """Figures as a table in Markdown, a row for each name."""
    columns = list(next(iter(found.values())))
    rows = [("", *columns), ("---",) * (len(columns) + 1)]
    rows += [(name, *(f"{row[column]:.4f}" for column in columns)) for name, row in found.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
