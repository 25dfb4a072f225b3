"""Pseudo-labels: motion of speech without video, predicted by an ensemble of decoders."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from space_core.measures.corpus import Corpus
from space_core.measures.espeak import BILABIALS, OPEN_VOWELS
from space_core.motion.speech_encoder import SpeechEncoder
from space_core.timing import FPS
from space_core.training.speech2landmarks.clips import SPEEDS, Clip, encode, make_clip, whole_mel
from space_core.training.speech2landmarks.train import Ensemble, Material, decode, report, train

NUM_DECODERS = 6
STEPS = 120  # of each decoder

# Recordings that are the sound of clips kept for validation.
HELD_OUT = {
    "styletalk_kristinoem",
    "styletalk_reagan_clip1",
    "latentsync_demo1_audio",
    "v_express_aud" + 6 * "_b",
    "v_express_aud" + 10 * "_b",
}


def pseudo_labels(corpus: Corpus, material: Material, encoder: SpeechEncoder) -> dict[str, np.ndarray]:
    """Predicted motion (T, coefficients) of the recordings in the corpus and in the cache, by path."""
    ensemble = Ensemble([train(material, STEPS, seed=seed) for seed in range(NUM_DECODERS)])
    report("ensemble", ensemble, material.validation, material.basis)
    paths = [path for path in sorted((corpus.folder / "speech").glob("*.flac")) if path.stem not in HELD_OUT]
    paths += sorted((corpus.cache / "speech").glob("*.flac"))
    return {str(path): _predicted_motion(ensemble, encoder, path) for path in paths}


def pseudo_labelled_clip(path: Path, motion: np.ndarray) -> Clip:
    """A recording with its predicted motion (T, coefficients), and closures from its phonemes if they are known."""
    speech, _ = soundfile.read(path, dtype="float32")
    phonemes = path.with_suffix(".json")
    shut = phoneme_closures(json.loads(phonemes.read_text()), len(motion)) if phonemes.exists() else 0.5
    motion = np.column_stack([motion, np.broadcast_to(shut, len(motion))])
    clip = make_clip(path.stem, speech, motion, np.zeros(len(motion)), SPEEDS[::2])
    return replace(clip, tracked=False)


def phoneme_closures(phonemes: list[tuple[str, float, float]], num_frames: int) -> np.ndarray:
    """(num_frames,) 1 where lips meet for p, b, m, 0 in open vowels, 0.5 elsewhere.

    ``phonemes`` are names with their begin and end in seconds.
    """
    shut = np.full(num_frames, 0.5)
    middles = (np.arange(num_frames) + 0.5) / FPS
    for name, begin, end in phonemes:
        if name in OPEN_VOWELS:
            shut[(middles > begin) & (middles < end)] = 0
    for name, begin, end in phonemes:
        if name in BILABIALS:
            # The last quarter of the phoneme is its release.
            inside = (middles > begin) & (middles < begin + 0.75 * (end - begin))
            inside[np.abs(middles - (begin + 0.4 * (end - begin))).argmin()] = True
            around = np.convolve(inside, np.ones(3), mode="same") > 0
            shut[around & ~inside] = 0.5
            shut[inside] = 1
    return shut


def _predicted_motion(ensemble: Ensemble, encoder: SpeechEncoder, path: Path) -> np.ndarray:
    speech, _ = soundfile.read(path, dtype="float32")
    return decode(ensemble, encode(whole_mel(speech), encoder)).numpy()[:, :-1]
