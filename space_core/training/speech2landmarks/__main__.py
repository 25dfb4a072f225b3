"""Runs the recipe of Speech2Landmarks, see ``space_core/training/speech2landmarks/__init__.py``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.measures.lips import recorded
from space_core.motion.motion_network import MotionDecoder, MotionNetwork
from space_core.motion.quantization import quantize
from space_core.motion.speech2landmarks import WEIGHTS, load_speech2landmarks
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, SpeechEncoder
from space_core.motion.speech_features import speech_activity, speech_power
from space_core.timing import FPS
from space_core.training import speech2landmarks
from space_core.training.speech2landmarks.alignment import MIN_CORRELATION, align
from space_core.training.speech2landmarks.amplitude import RecordedClip, match_amplitude
from space_core.training.speech2landmarks.augmentation import augment, music, noise, tones
from space_core.training.speech2landmarks.clips import (
    encode,
    encode_clips,
    encoded_clip,
    read_clips,
    shifted,
    whole_mel,
)
from space_core.training.speech2landmarks.finetune import Example, finetune
from space_core.training.speech2landmarks.held_sounds import held_examples
from space_core.training.speech2landmarks.loss import MotionLoss
from space_core.training.speech2landmarks.pseudo_labels import HELD_OUT, pseudo_labelled_clip, pseudo_labels
from space_core.training.speech2landmarks.recordings import aligned, read_recordings
from space_core.training.speech2landmarks.train import Material, decode, report, train
from space_core.training.whisper import whisper_encoder

STEPS = 1600
NOISE_SEED = 5
WORDLESS = (music, noise, tones)
HELD_RUNS = ((3, 6e-4), (5, 6e-4), (7, 6e-4))  # seeds and learning rates
HELD_SHARES = (0.5, 0.42, 0.08)  # of windows: from speech, from held sounds, from noise and music


def main() -> None:
    parser = corpus_arguments(speech2landmarks.__doc__)
    parser.add_argument("--held", action="store_true", help="only step 7, from the weights as they are")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    if arguments.held:
        model = load_speech2landmarks()
        decoder, encoder, basis = model.network.decoder, model.network.encoder, model.basis
    else:
        encoder = whisper_encoder()
        decoder, basis = trained_decoder(corpus, encoder)
    wordless = wordless_examples(encoder, len(basis))

    # 7. Held sounds
    paths = [path for path in sorted((corpus.folder / "speech").glob("*.flac")) if path.stem not in HELD_OUT]
    paths += sorted((corpus.cache / "speech").glob("*.flac"))[::3]
    held = cached(
        corpus.cache / "speech2landmarks.held.pt", lambda: list(held_examples(paths, decoder, encoder, basis))
    )
    mels = [speech_mel(path) for path in paths]
    mels[::3] = [augment(mel[None])[0] for mel in mels[::3]]
    own = [self_labelled(decoder, encode(mel, encoder), 1.0) for mel in mels]
    loss = MotionLoss(basis, soft_closures=True)
    decoder = finetune(decoder, (own, held, wordless), loss, HELD_SHARES, HELD_RUNS, keeps_embedding=True)
    save(decoder, encoder, basis)


def trained_decoder(corpus: Corpus, encoder: SpeechEncoder) -> tuple[MotionDecoder, np.ndarray]:
    """The decoder after steps 1 to 6, and the basis."""
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
        lambda: pseudo_labels(
            corpus, Material([encoded_clip(clip, features) for clip in training], validation, basis), encoder
        ),
    )
    print(f"{len(labels)} recordings without video, {sum(map(len, labels.values())) / FPS / 60:.1f} min")
    training += [pseudo_labelled_clip(Path(path), motion) for path, motion in labels.items()]

    # 4. The decoder
    checkpoint = corpus.cache / "speech2landmarks.pt"
    decoder = train(Material(training, validation, basis), STEPS, encoder=encoder, checkpoint=checkpoint)
    report("network", decoder, validation, basis)

    # 5. Fine-tuning on all clips
    clips = recorded_examples(corpus, decoder, encoder, basis)
    speech = [encode(speech_mel(path), encoder) for path in sorted((corpus.cache / "speech").glob("*.flac"))[::8]]
    own = [self_labelled(decoder, sound) for sound in speech]
    decoder = finetune(decoder, (clips, own, wordless_examples(encoder, len(basis))), MotionLoss(basis))
    report("fine-tuned", decoder, validation, basis)

    # 6. Amplitude
    tracked = torch.cat([motion[:, :-1] for _, motion, _ in clips]).double().numpy()
    gains = match_amplitude(decoder, speakers_of(corpus, encoder), basis, np.cov(tracked.T))
    print("gains of the measures of the mouth:", gains.round(2))
    return decoder, basis


def recorded_examples(
    corpus: Corpus, decoder: MotionDecoder, encoder: SpeechEncoder, basis: np.ndarray
) -> list[Example]:
    """All recorded clips whose lips follow what the decoder predicts from their sound, with one average amplitude.

    ``basis`` (coefficients, 478, 3) is that of the motion.
    """
    recordings = read_recordings(corpus)
    encoded = [encode(recording.mel(), encoder) for recording in recordings]
    pairs = [
        (sound, fitting)
        for sound, recording in zip(encoded, recordings, strict=True)
        if (fitting := aligned(recording, decode(decoder, sound).numpy(), basis)) is not None
    ]
    average = np.mean([recording.amplitudes() for _, recording in pairs], axis=0)
    return [
        (sound, torch.from_numpy(recording.motion(basis, average)).float(), torch.from_numpy(recording.weight).float())
        for sound, recording in pairs
    ]


def self_labelled(decoder: MotionDecoder, sound: torch.Tensor, certainty: float = 2.0) -> Example:
    """Features (2 T, 384) with what the decoder predicts from them, its closure logit times ``certainty``."""
    outputs = decode(decoder, sound).clone()
    outputs[:, -1] = torch.sigmoid(certainty * outputs[:, -1])
    return sound, outputs, torch.ones(len(outputs))


def wordless_examples(encoder: SpeechEncoder, num_coefficients: int) -> list[Example]:
    """Noise, music and tones with a closed mouth."""
    draw = np.random.default_rng(NOISE_SEED)
    return [shut(encode(sound(draw), encoder), num_coefficients) for _ in range(8) for sound in WORDLESS]


def shut(sound: torch.Tensor, num_coefficients: int) -> Example:
    """Features (2 T, 384) with a closed mouth."""
    motion = torch.zeros(len(sound) // TOKENS_PER_FRAME, num_coefficients + 1)
    motion[:, -1] = 1
    return sound, motion, torch.ones(len(motion))


def speech_mel(path: Path) -> torch.Tensor:
    """(4 T, 80) log-mel spectrogram of a recording without video."""
    speech, _ = soundfile.read(path, dtype="float32")
    return whole_mel(speech)


def speakers_of(corpus: Corpus, encoder: SpeechEncoder) -> list[list[RecordedClip]]:
    """The validation clips with speech, by speaker."""
    speakers: dict[str, list[RecordedClip]] = {}
    for row in corpus.clips:
        if row["id"] in corpus.held_out and row["speech"] == "1" and len(corpus.seen_landmarks(row["id"])) > 1:
            speech = corpus.speech(row["id"])
            mel = whole_mel(speech)
            measures, _ = recorded(corpus.landmarks(row["id"]))
            activity = speech_activity(speech, speech_power(speech))
            speakers.setdefault(row["speaker"] or row["id"], []).append(
                RecordedClip(encode(mel, encoder), activity, measures)
            )
    return list(speakers.values())


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """What ``make`` returns, read from the file if it exists, else written to it."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made, path)
    return torch.load(path, weights_only=False)


def save(decoder: MotionDecoder, encoder: SpeechEncoder, basis: np.ndarray) -> None:
    """Writes the quantized network with the basis (coefficients, 478, 3)."""
    network = MotionNetwork(len(basis))
    network.encoder.load_state_dict(encoder.state_dict())
    network.decoder.load_state_dict(decoder.state_dict())
    save_file(quantize(network.state_dict()) | {"basis": torch.from_numpy(basis).float().contiguous()}, WEIGHTS)


if __name__ == "__main__":
    main()
