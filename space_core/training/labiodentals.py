"""The recipe of the labiodentals' weights: which frames of speech hold /f v/, and the shape of the mouth in them.

    python -m space_core.training.gather_speech
    python -m space_core.training.labiodentals

writes ``weights/labiodentals.safetensors``. The classifier, a logistic regression on Speech2Landmarks' features, is
trained on espeak-ng's recordings, whose phonemes have exact times, and measured on every fifth of them. The shape is
made of action units. Takes two minutes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from space_core.face.topology import canonical_face
from space_core.measures.corpus import CACHE
from space_core.media.audio import load_speech
from space_core.motion.action_units import MILLIMETRES, unit_offsets, unit_strengths
from space_core.motion.labiodentals import WEIGHTS, with_context
from space_core.motion.speech2landmarks import (
    LOWER,
    OUTER_LOWER,
    OUTER_UPPER,
    UPPER,
    lip_gaps,
    load_speech2landmarks,
)
from space_core.timing import FPS

RECORDINGS = 110  # of about 15 s
VALIDATION = 5  # every fifth is not trained on
STEPS, BATCH, RATE, WEIGHT_DECAY, SEED = 800, 1024, 3e-3, 0.1, 0

# The shape: the upper lip rises a little and the jaw hardly drops; the lower lip leaves a gap in which the upper
# incisors stand on it, and is drawn back under them, so that less of its red is seen.
UNITS = "10:0.2, 12:0.05, 26:0.15"
GAP = 2.2  # between the inner lips in the middle, millimetres, as are the others
TUCKED_UP, TUCKED_BACK = 1.6, 2.0  # the lower rim of the lower lip and the lip
TUCKED_REACH = 4.0  # standard deviation of the skin that follows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE)
    paths = (parser.parse_args().cache / "speech").glob("espeak_*.flac")
    recordings = [frames_of(path) for path in sorted(paths, key=number_of)[:RECORDINGS]]
    training = [pair for index, pair in enumerate(recordings) if index % VALIDATION]
    weight, bias = fit(*(np.concatenate(each) for each in zip(*training, strict=True)))
    for title, pairs in (("trained on", training), ("not trained on", recordings[::VALIDATION])):
        inputs, target = (np.concatenate(each) for each in zip(*pairs, strict=True))
        found = inputs @ weight + bias > 0
        print(
            f"{len(pairs)} recordings {title}: of the frames that hold more than half of /f v/ "
            f"{found[target > 0.5].mean():.2f} are found, of those found {(target[found] > 0).mean():.2f} hold some"
        )
    save_file({"weight": weight, "bias": np.array([bias], np.float32), "shape": shape().astype(np.float32)}, WEIGHTS)


def number_of(path: Path) -> int:
    """Of a recording, which its file's name contains."""
    return int(path.stem.split("_")[1])


def frames_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The classifier's inputs (T, 5 × 256) for a recording, and the share of each frame (T,) that /f v/ take."""
    windows = load_speech2landmarks().analyse(load_speech(path))
    features = np.concatenate([window.features for window in windows]).astype(np.float32)
    share, frames = np.zeros(len(features), np.float32), np.arange(len(features))
    for name, begin, end in json.loads(path.with_suffix(".json").read_text()):
        if name[0] in "fv" or name == "pF":
            share += np.clip(np.minimum(frames + 1, end * FPS) - np.maximum(frames, begin * FPS), 0, 1)
    return with_context(features), share.clip(0, 1)


def fit(inputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (5 × 256,) and bias of a logistic regression of the target (T,) on inputs (T, 5 × 256)."""
    torch.manual_seed(SEED)
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-3
    normalized, wanted = torch.from_numpy((inputs - mean) / deviation), torch.from_numpy(target)
    linear = nn.Linear(inputs.shape[1], 1)
    optimizer = torch.optim.AdamW(linear.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(STEPS):
        chosen = torch.randint(len(normalized), (BATCH,))
        loss = nn.functional.binary_cross_entropy_with_logits(linear(normalized[chosen])[:, 0], wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weight = linear.weight.detach().numpy()[0] / deviation
    return weight, float(linear.bias.detach()[0] - weight @ mean)


def shape() -> np.ndarray:
    """Offsets (478, 3) from the resting face in /f v/."""
    offset = unit_offsets(unit_strengths(UNITS, 1))[0]
    gap = GAP * np.sin(np.linspace(0, np.pi, len(LOWER) + 2))[1:-1] / MILLIMETRES
    offset[LOWER, 1] += gap - lip_gaps(offset)
    vertices = canonical_face().vertices
    rims = vertices[OUTER_LOWER]
    middle = np.exp(-0.5 * (rims[:, 0] / (0.5 * np.abs(rims[:, 0]).max())) ** 2)
    offset[OUTER_LOWER, 1] = offset[LOWER, 1] - (gap + TUCKED_UP * middle / MILLIMETRES)
    distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, LOWER + OUTER_LOWER, :2], axis=-1).min(1)
    back = np.exp(-0.5 * (distance * MILLIMETRES / TUCKED_REACH) ** 2) * TUCKED_BACK / MILLIMETRES
    back[UPPER + OUTER_UPPER] = 0
    back[vertices[:, 1] < vertices[UPPER[4], 1]] = 0
    offset[:, 2] += back
    return offset


if __name__ == "__main__":
    main()
