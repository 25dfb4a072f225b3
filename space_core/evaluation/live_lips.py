"""Lips of live speech compared with those of a film of the whole recording, and with recorded ones.

    python -m space_core.evaluation.live_lips CORPUS

Prints, for every validation speaker and on average: the correlation of lip opening with the tracked truth, at the lag
that is best for the film, of the film and live; the correlation of both with each other; and how much larger than the
film's changes of velocity are live. The clips of a speaker are joined, each without its own mean.
"""

import numpy as np

from space_core.evaluation.lips import LARGEST_LAG, correlation, joined, predict, validation_speakers
from space_core.face.topology import canonical_face
from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.lips import mouth_measures, recorded
from space_core.motion.emotion import emotion_curve
from space_core.motion.lips import resting_face
from space_core.motion.live.speech import LiveSpeech
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    model, face = load_speech2landmarks(), canonical_face().vertices
    rows = []
    for speaker, clips in validation_speakers(corpus).items():
        sounds = [corpus.speech(clip["id"]) for clip in clips]
        truths = [recorded(corpus.landmarks(clip["id"]))[0] for clip in clips]
        films = [mouth_measures(predict(model, sound, face)) for sound in sounds]
        lives = [mouth_measures(predict_live(model, sound, face)) for sound in sounds]
        rows.append(_compared(films, lives, truths))
        print(f"{speaker[-44:]:44s} {_described(rows[-1])}", flush=True)
    print(f"{'mean':44s} {_described(np.mean(rows, axis=0))}")


def predict_live(model: Speech2Landmarks, speech: np.ndarray, portrait: np.ndarray) -> np.ndarray:
    """Normalized landmarks (T, 478, 3) of speech (N,) as it arrives, for a portrait's normalized ones (478, 3)."""
    live, rest = LiveSpeech(model), resting_face(portrait, model.basis)
    live.push(speech)
    windows = [speech.window for speech in iter(live.next, None)]
    live.finish()
    windows += [speech.window for speech in iter(live.next, None)]
    emotions = [emotion_curve("neutral", 1.0, len(window.outputs)) for window in windows]
    return np.concatenate(
        [model.show(window, rest, emotion)[0] for window, emotion in zip(windows, emotions, strict=True)]
    )


def _compared(films: list[np.ndarray], lives: list[np.ndarray], truths: list[np.ndarray]) -> tuple[float, ...]:
    """The figures of one speaker, of measures of the mouth (T, 6)."""

    def with_truth(curves: list[np.ndarray], lag: int) -> float:
        pairs = [(curve[: len(truth)], truth[: len(curve)]) for curve, truth in zip(curves, truths, strict=True)]
        return float(correlation(*joined(pairs, lag))[0])

    lag = max(range(-LARGEST_LAG, LARGEST_LAG + 1), key=lambda each: with_truth(films, each))
    together = correlation(*joined(list(zip(lives, films, strict=True)), 0))[0]
    roughness = [np.abs(np.diff(np.concatenate(curves)[:, 0], 2)).mean() for curves in (lives, films)]
    return with_truth(films, lag), with_truth(lives, lag), float(together), float(roughness[0] / roughness[1])


def _described(figures: tuple[float, ...] | np.ndarray) -> str:
    film, live, together, rougher = figures
    return f"film {film:.3f}, live {live:.3f}, both {together:.3f}, changes of velocity {rougher:.2f} times the film's"


if __name__ == "__main__":
    report(corpus_from_arguments(__doc__))
