"""Runs the recipe of Speech2Landmarks, see ``space_core/training/speech2landmarks/__init__.py``."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from space_core.measures.corpus import corpus_from_arguments
from space_core.motion.quantization import quantize
from space_core.motion.speech2landmarks import WEIGHTS, MotionDecoder, MotionNetwork
from space_core.motion.speech_encoder import SpeechEncoder
from space_core.timing import FPS
from space_core.training import speech2landmarks
from space_core.training.speech2landmarks.alignment import MIN_CORRELATION, align
from space_core.training.speech2landmarks.clips import encode_clips, encoded_clip, read_clips, shifted
from space_core.training.speech2landmarks.pseudo_labels import pseudo_labelled_clip, pseudo_labels
from space_core.training.speech2landmarks.train import clip_figures, report, train
from space_core.training.whisper import whisper_encoder

STEPS = 1600
AMPLITUDE = 0.8  # standard deviation of lip opening relative to recorded ones; closing lips adds the rest


def main() -> None:
    corpus = corpus_from_arguments(speech2landmarks.__doc__)
    encoder = whisper_encoder()

    # 1. Clips and basis
    training, held_out, basis = read_clips(corpus)
    features = cached(corpus.cache / "speech2landmarks.features.pt", lambda: encode_clips(training + held_out, encoder))
    validation = [encoded_clip(clip, features) for clip in held_out]

    # 2. Alignment of sound and video
    lags = cached(corpus.cache / "speech2landmarks.lags.pt", lambda: align(training, features, basis))
    excluded = {name: lag for name, (lag, correlation) in lags.items() if lag or correlation <= MIN_CORRELATION}
    print("clips shifted or left out:", excluded)
    training = [shifted(clip, lags[clip.name][0]) for clip in training if lags[clip.name][1] > MIN_CORRELATION]

    # 3. Pseudo-labels of speech without video
    labels = cached(
        corpus.cache / "speech2landmarks.labels.pt",
        lambda: pseudo_labels(corpus, [encoded_clip(clip, features) for clip in training], validation, basis, encoder),
    )
    print(f"{len(labels)} recordings without video, {sum(map(len, labels.values())) / FPS / 60:.1f} min")
    training += [pseudo_labelled_clip(Path(path), motion) for path, motion in labels.items()]

    # 4. The shipped decoder
    checkpoint = corpus.cache / "speech2landmarks.pt"
    decoder = train(training, validation, basis, STEPS, encoder=encoder, checkpoint=checkpoint)
    report("network", decoder, validation, basis)
    # Regression averages out what the sound does not determine, which makes motion smaller; the basis compensates.
    amplitude = np.mean([clip_figures(decoder, clip, basis)[3] for clip in validation])
    print(f"motion is magnified by {AMPLITUDE / amplitude:.2f}")
    save(decoder, encoder, basis * AMPLITUDE / amplitude)


def cached(path: Path, make):
    """What ``make`` returns, read from the file if it exists, else written to it."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made, path)
    return torch.load(path, weights_only=False)


def save(decoder: MotionDecoder, encoder: SpeechEncoder, basis: np.ndarray) -> None:
    """Writes the quantized network with the basis."""
    network = MotionNetwork(len(basis))
    network.encoder.load_state_dict(encoder.state_dict())
    network.decoder.load_state_dict(decoder.state_dict())
    save_file(quantize(network.state_dict()) | {"basis": torch.from_numpy(basis).float().contiguous()}, WEIGHTS)


if __name__ == "__main__":
    main()
