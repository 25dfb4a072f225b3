"""The recipe of the consonants' weights: which frames of speech hold them, and the mouth's shapes in /f v/ and /θ ð/.

    python -m space_core.training.gather_speech --only espeak flite
    python -m space_core.training.consonants

writes ``weights/consonants.safetensors``. The classifier, two layers on Speech2Landmarks' features, is trained on
recordings of espeak-ng and flite, whose phonemes have exact times, and measured on every fifth of them. The shapes are
made of action units. Takes three minutes.
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
from space_core.motion.consonants import (
    ALVEOLAR,
    BILABIAL,
    DENTAL,
    LABIODENTAL,
    NUM_CLASSES,
    WEIGHTS,
    Consonants,
    classify,
    with_context,
)
from space_core.motion.lips import LOWER, OUTER_LOWER, OUTER_UPPER, UPPER, lip_gaps
from space_core.motion.speech2landmarks import load_speech2landmarks
from space_core.timing import FPS

ESPEAK_RECORDINGS, FLITE_RECORDINGS = 110, 60  # of about 15 s
VALIDATION = 5  # every fifth of each voice is not trained on
HIDDEN, DROPOUT = 64, 0.2
STEPS, BATCH, RATE, WEIGHT_DECAY, SEED = 1500, 1024, 2e-3, 0.1, 0

# The phonemes of a class, by espeak-ng's names and by flite's. Affricates begin at the alveolar ridge.
CLASSES = {
    LABIODENTAL: "f v pF",
    BILABIAL: "p b m p; b; m; B",
    DENTAL: "T D th dh",
    ALVEOLAR: "l n t d l^ l- n^ n- n_ @L t2 t# t; d; ts ts; dz tS dZ ch jh",
}
CLASS_OF = {name: number for number, names in CLASSES.items() for name in names.split()}

# In /θ ð/ lips and teeth are apart by the tongue's tip and what is seen of the upper incisors above it.
DENTAL_UNITS = "10:0.1, 26:0.55"

# In /f v/ the upper lip rises a little and the jaw hardly drops; the lower lip leaves a gap in which the upper incisors
# stand on it, and is drawn back under them, so that less of its red is seen.
LABIODENTAL_UNITS = "10:0.2, 12:0.05, 26:0.15"
GAP = 2.2  # between the inner lips in the middle, millimetres, as are the others
TUCKED_UP, TUCKED_BACK = 1.6, 2.0  # the lower rim of the lower lip and the lip
TUCKED_REACH = 4.0  # standard deviation of the skin that follows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE)
    folder = parser.parse_args().cache / "speech"
    training: list[tuple[np.ndarray, np.ndarray]] = []
    validation = {}
    for program, count in (("espeak", ESPEAK_RECORDINGS), ("flite", FLITE_RECORDINGS)):
        paths = sorted(folder.glob(f"{program}_*.flac"), key=number_of)[:count]
        held_out = paths[::VALIDATION]
        training += [frames_of(path) for path in paths if path not in held_out]
        validation[program] = [frames_of(path) for path in held_out]
    trained = fit(*(np.concatenate(each) for each in zip(*training, strict=True)))
    save_file({name: array.astype(np.float16) for name, array in trained._asdict().items()}, WEIGHTS)
    for title, pairs in ({"all trained on": training} | validation).items():
        inputs, target = (np.concatenate(each) for each in zip(*pairs, strict=True))
        print(f"{len(pairs)} recordings, {title}")
        describe(classify(trained, inputs), target)


def number_of(path: Path) -> int:
    """Of a recording, which its file's name contains."""
    return int(path.stem.split("_")[1])


def frames_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The classifier's inputs (T, 5 × 256) for a recording, and the shares of each frame that the classes take."""
    windows = load_speech2landmarks().analyse(load_speech(path))
    features = np.concatenate([window.features for window in windows]).astype(np.float32)
    share, frames = np.zeros((len(features), NUM_CLASSES), np.float32), np.arange(len(features))
    for name, begin, end in json.loads(path.with_suffix(".json").read_text()):
        overlap = np.minimum(frames + 1, end * FPS) - np.maximum(frames, begin * FPS)
        share[:, CLASS_OF.get(name, NUM_CLASSES - 1)] += overlap.clip(0, 1)
    share[:, -1] += 1e-3  # of frames after the end
    return with_context(features), share / share.sum(1, keepdims=True)


def fit(inputs: np.ndarray, target: np.ndarray) -> Consonants:
    """The classifier, trained to give the shares (T, 5) for inputs (T, 5 × 256)."""
    torch.manual_seed(SEED)
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-3
    normalized, wanted = torch.from_numpy((inputs - mean) / deviation), torch.from_numpy(target)
    hidden, last = nn.Linear(inputs.shape[1], HIDDEN), nn.Linear(HIDDEN, NUM_CLASSES)
    network = nn.Sequential(nn.Dropout(DROPOUT), hidden, nn.ReLU(), nn.Dropout(DROPOUT), last)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(normalized), (BATCH,))
        loss = nn.functional.cross_entropy(network(normalized[chosen]), wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    weight, bias, last_weight, last_bias = (
        parameter.detach().numpy() for layer in (hidden, last) for parameter in (layer.weight, layer.bias)
    )
    weight = weight / deviation
    return Consonants(weight, bias - weight @ mean, last_weight, last_bias, labiodental_shape(), dental_shape())


def describe(predicted: np.ndarray, target: np.ndarray) -> None:
    """Prints how well predicted probabilities (T, 5) agree with shares (T, 5)."""
    for number, names in CLASSES.items():
        found, held = predicted[:, number] > 0.5, target[:, number]
        print(
            f"    /{names[:3]}/: of the frames that hold more than half of them {found[held > 0.5].mean():.2f} are "
            f"found, of those found {(held[found] > 0).mean():.2f} hold some"
        )


def labiodental_shape() -> np.ndarray:
    """Offsets (478, 3) from the resting face in /f v/."""
    offset = unit_offsets(unit_strengths(LABIODENTAL_UNITS, 1))[0]
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


def dental_shape() -> np.ndarray:
    """Offsets (478, 3) from the resting face in /θ ð/."""
    return unit_offsets(unit_strengths(DENTAL_UNITS, 1))[0]


if __name__ == "__main__":
    main()
