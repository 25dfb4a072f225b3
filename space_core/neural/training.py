"""Trains Landmarks2Latents for a generator's weights, and stores it beside them with a card."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from space_core.errors import SpaceError
from space_core.generator.liveportrait.networks import LivePortraitNetworks
from space_core.latents.fitting import STEPS, VARIANTS, Errors, Examples, errors, fit, join_examples
from space_core.latents.landmarks2latents import Landmarks2Latents, LatentNetwork, load_landmarks2latents
from space_core.media.files import unfinished_file
from space_core.neural.drawn_takes import DrawnTakes
from space_core.neural.video_takes import video_takes
from space_core.progress import Progress

FILE = "space_landmarks2latents.safetensors"
NUM_TAKES = 270
# After which no more takes are drawn, seconds by the kind of device: a busy or slow machine learns from fewer, so that
# all is done within a quarter of an hour on two cores, and two minutes with a GPU (not timed yet).
GATHERING_SECONDS = {"cpu": 600.0, "cuda": 60.0}
MIN_TAKES = 10
WHOLE = next(iter(VARIANTS))  # the one that is used; the others are for the card
CHOOSING, VALIDATION = 0.1, 0.2  # shares of the takes: to choose the best state by, and to measure it on
CARD = """# Landmarks2Latents for these weights

Trained by `python -m space_core.training.landmarks2latents --seed {seed} --takes {drawn}` in {minutes:.1f} minutes
from {frames} frames, which the motion extractor beside this file read: {drawn} takes that SPACE's mesh warp drew
of its example portraits{recorded}. It belongs to these weights alone and is under their terms.

Validation on {held} takes that were not trained on, root mean square errors in the latents' units:

| given, besides the head pose | expression | translation and scale |
| --- | --- | --- |
{rows}

The error of the expression is {reduction:.0%} {direction} that of the portrait's own latents.
"""


@dataclass(frozen=True)
class TrainingResult:
    """A network with its validation figures.

    Attributes:
        network: the network.
        errors: by variant, on the validation takes.
        card: the card's text.
    """

    network: LatentNetwork
    errors: dict[str, Errors]
    card: str


def load_or_train(networks: LivePortraitNetworks, folder: Path, progress: Progress) -> Landmarks2Latents:
    """The network beside the weights in a folder; one that is missing or belongs to other weights is trained.

    Raises:
        SpaceError: it is missing or of other weights, and the folder can't be written to; or the disk is full.
    """
    try:
        return load_landmarks2latents(folder / FILE, fingerprint(networks), networks.device)
    except SpaceError:
        if not os.access(folder, os.W_OK):
            raise
        trained = train(networks, progress)
        save(trained, networks, folder)
        return Landmarks2Latents(trained.network, networks.device)


def train(
    networks: LivePortraitNetworks,
    progress: Progress,
    seed: int = 0,
    num_takes: int = NUM_TAKES,
    videos: Sequence[Path] = (),
    steps: int = STEPS,
) -> TrainingResult:
    """Trains the network for these networks' motion extractor; the same seed and number of takes give the same one.

    Args:
        networks: with their weights.
        progress: called with the stage "learning".
        seed: of everything random.
        num_takes: of twelve frames each, that are drawn; fewer where they take longer than ``GATHERING_SECONDS``.
        videos: with a face, to train on as well.
        steps: see ``fit``.

    Raises:
        SpaceError: a video can't be used.
    """
    begun, total = time.monotonic(), num_takes + num_takes // 10 * len(VARIANTS)
    parts, num_recorded = _gather(networks, lambda done: progress("learning", done, total), seed, num_takes, videos)
    held, choosing, training = _split(parts, seed)
    fitted: dict[str, LatentNetwork] = {}
    for done, variant in enumerate(VARIANTS):
        progress("learning", num_takes + num_takes // 10 * done, total)
        fitted[variant] = fit(training, choosing, seed, variant, steps)
    progress("learning", total, total)
    found = {variant: errors(network, held, variant) for variant, network in fitted.items()}
    whole = found[WHOLE]
    rows = [f"| {name} | {one.expression:.5f} | {one.placement:.5f} |" for name, one in found.items()]
    rows.append(
        f"| nothing: the portrait's own latents | {whole.trivial_expression:.5f} | {whole.trivial_placement:.5f} |"
    )
    card = CARD.format(
        seed=seed,
        minutes=(time.monotonic() - begun) / 60,
        frames=sum(map(len, parts)),
        drawn=len(parts) - num_recorded,
        recorded=f", and {num_recorded} takes of videos ({len(videos)})" if videos else "",
        held=len(np.unique(held.take)),
        rows="\n".join(rows),
        reduction=abs(whole.reduction),
        direction="below" if whole.reduction >= 0 else "above",
    )
    return TrainingResult(fitted[WHOLE], found, card)


def _gather(
    networks: LivePortraitNetworks,
    on_take: Callable[[int], None],
    seed: int,
    num_takes: int,
    videos: Sequence[Path],
) -> tuple[list[Examples], int]:
    """The examples of each take, those of the videos first, and how many of the takes are of videos.

    ``on_take`` is called with the number of takes that were drawn so far. For the rest see ``train``.
    """
    drawn = DrawnTakes(networks, seed)
    parts: list[Examples] = []
    for video in videos:  # first, so that one that can't be used is refused at once
        for part in video_takes(video, networks, drawn.planner, drawn.detector, len(parts)):
            on_take(0)
            parts.append(part)
    num_recorded, until = len(parts), time.monotonic() + GATHERING_SECONDS[networks.device.type]
    on_take(0)
    for num_drawn, part in enumerate(drawn.takes(num_takes, num_recorded), 1):
        parts.append(part)
        on_take(num_drawn)
        if time.monotonic() > until and num_drawn >= MIN_TAKES:
            break
    return parts, num_recorded


def _split(parts: Sequence[Examples], seed: int) -> list[Examples]:
    """The takes at random in three: for validation, for the choice of the best state, and to train on."""
    order = np.random.default_rng(seed).permutation(len(parts))
    first, second = round(len(parts) * VALIDATION), round(len(parts) * (VALIDATION + CHOOSING))
    return [
        join_examples([parts[take] for take in sorted(takes)])
        for takes in (order[:first], order[first:second], order[second:])
    ]


def save(trained: TrainingResult, networks: LivePortraitNetworks, folder: Path) -> None:
    """Writes network and card beside the weights.

    Raises:
        SpaceError: the folder can't be written to.
    """
    path = folder / FILE
    tensors = {name: tensor.cpu().contiguous() for name, tensor in trained.network.state_dict().items()}
    try:
        with unfinished_file(path) as unfinished:
            save_file(tensors, unfinished, {"weights": fingerprint(networks)})
            unfinished.replace(path)
        path.with_suffix(".md").write_text(trained.card, "utf-8")
    except OSError as error:
        raise SpaceError(f"{path} can't be written: {error.strerror or error}.") from error


def fingerprint(networks: LivePortraitNetworks) -> str:
    """Identifies the weights of a motion extractor."""
    checksum = hashlib.sha256()
    for name, tensor in sorted(networks.motion_extractor.state_dict().items()):
        checksum.update(name.encode())
        checksum.update(tensor.detach().cpu().contiguous().numpy().tobytes()[: 1 << 12])
    return checksum.hexdigest()
