"""Runs the recipe of the refinement, see ``space_core/training/refinement/__init__.py``."""

import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from space_core.device import pick_device
from space_core.generator.mesh_warp.refinement import WEIGHTS, RefinementNetwork, read_network
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.options import DEVICES
from space_core.training import refinement
from space_core.training.refinement.distillation import distil, read_windows
from space_core.training.refinement.figures import report
from space_core.training.refinement.pairs import Pairs, read_pairs
from space_core.training.refinement.train import BATCH, CHANNELS, SEED, STEPS, Trainer

# Left out: drawn characters and paintings, by parts of their ids; clips or faces of fewer pixels, which are blurred.
NOT_RECORDED = ("yongen", "static_assets3", "mona", "mola", "yomir", "kara", "driving9")
MIN_SIZE, MIN_FACE = 512, 300
PHOTO_QUANTILES = (0.05, 0.6)  # of lip opening: the frames of a clip that serve as photos
TARGETS, VALIDATION_TARGETS = 18, 12  # frames rendered from each of these photos, at most
OPENING_OFFSET = 5  # pixels of the window; mouths open by that much are drawn twice as often as closed ones
CHECKPOINT_EVERY, REPORT_EVERY = 50, 500  # steps


def main() -> None:
    parser = corpus_arguments(refinement.__doc__)
    parser.add_argument(
        "--fine-tune", type=int, metavar="STEPS", help="start from the teacher's weights, so many steps"
    )
    parser.add_argument("--distil", action="store_true", help="teach the small network only")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to train (default: %(default)s)")
    arguments = parser.parse_args()
    corpus, device = Corpus(arguments.corpus, arguments.cache), pick_device(arguments.device)
    path = corpus.cache / "refinement" / "teacher.safetensors"
    if (arguments.distil or arguments.fine_tune) and not path.exists():
        parser.error(f"{path} is not there; run the recipe without --distil and --fine-tune first")
    if not arguments.distil:
        _save(_trained(corpus, device, arguments.fine_tune, path), path)
    teacher = read_network(path, CHANNELS).to(device).requires_grad_(False)
    _save(distil(teacher, read_windows(corpus), device), WEIGHTS)


def _save(network: RefinementNetwork, path: Path) -> None:
    weights = {name: array.half().contiguous() for name, array in network.state_dict().items()}
    weights.pop("film.weight", None)  # the network runs without latents
    save_file(weights, path)


def _trained(corpus: Corpus, device: torch.device, fine_tuning: int | None, teacher: Path) -> RefinementNetwork:
    """A large network, trained on clips from scratch or, for so many steps, from the weights in a file."""
    steps = fine_tuning or STEPS
    clips = [
        row["id"]
        for row in corpus.clips
        if row["id"] not in corpus.held_out
        and int(row["size"]) >= MIN_SIZE
        and int(row["face_px"]) >= MIN_FACE
        and not any(part in row["id"] for part in NOT_RECORDED)
    ]
    held_out = sorted(row["id"] for row in corpus.clips if row["id"] in corpus.held_out and not row["speaker"])
    validation = read_pairs(corpus, held_out, PHOTO_QUANTILES[:1], VALIDATION_TARGETS, "validation").to(device)
    pairs = read_pairs(corpus, clips, PHOTO_QUANTILES, TARGETS, "train").with_motion()
    print(f"{len(pairs)} pairs of {len(clips)} clips to train on, {len(validation)} of {len(held_out)} to validate on")

    checkpoint = corpus.cache / "refinement" / "training.pt"
    trainer = Trainer(checkpoint, teacher if fine_tuning else None, steps, device)
    chosen = np.random.default_rng(SEED).choice(len(pairs), (steps, BATCH), p=_chances(pairs))
    pairs = pairs.to(device)
    since = time.monotonic()
    while trainer.step < steps:
        losses = trainer.train_step(pairs[torch.from_numpy(chosen[trainer.step])])
        if trainer.step % 20 == 0:
            values = ", ".join(f"{name} {float(value):.4f}" for name, value in losses.items())
            print(f"{trainer.step} steps, {time.monotonic() - since:.0f} s: {values}", flush=True)
        if trainer.step % CHECKPOINT_EVERY == 0:
            trainer.save()
        if trainer.step % REPORT_EVERY == 0:
            report(trainer, validation[::4], held_out)
    report(trainer, validation, held_out)
    return trainer.average


def _chances(pairs: Pairs) -> np.ndarray:
    """The probability of each pair: every clip counts alike, and open mouths, which are rare, more than closed ones."""
    opening = (pairs.lips[:, 1, 5] - pairs.lips[:, 0, 5]).norm(dim=-1)
    share = ((OPENING_OFFSET + opening) / torch.bincount(pairs.clip)[pairs.clip]).double().numpy()
    return share / share.sum()


if __name__ == "__main__":
    main()
