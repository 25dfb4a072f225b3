"""Lips of stage 1 compared with recorded ones.

    python -m space_core.evaluation.lips CORPUS

Prints, for every validation speaker and on average: the correlation of lip opening with the tracked truth, the lag of
the truth with the best correlation, the share of the truth's closures that are met, the share of motion above 6 Hz in
both. Then for each measure of the mouth, at that lag, the correlation and the standard deviation beside the recorded
one. Then the average correlation under noise, in a room and over the telephone; how often lips meet in p, b, m of
espeak-ng and part in its open vowels; the lip opening in silence, noise and music. Head motion is removed from the
recorded clips; the clips of a speaker are joined, each without its own mean.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from space_core.face.topology import canonical_face
from space_core.measures import espeak
from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.lips import (
    MEASURES,
    NEARLY_CLOSED,
    closures_met,
    lip_opening,
    mouth_measures,
    recorded,
    relative_opening,
)
from space_core.measures.spectrum import share_above
from space_core.motion.breaths import BREATH_FRAMES
from space_core.motion.emotion import emotion_curve
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks
from space_core.motion.speech_features import speech_power
from space_core.timing import FPS, SAMPLE_RATE, number_of_frames

LARGEST_LAG = 6  # frames
JITTER_FREQUENCY = 6.0  # Hz
RENDERED = "vasa_1"  # in the id of clips that another model rendered
LARGE_FACE = 200  # pixels; lips of smaller faces are tracked less exactly


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    model = load_speech2landmarks()
    report_speakers(model, corpus)
    face = canonical_face().vertices
    report_phonemes(model, face)
    report_rest(model, face)
    speech, _ = espeak.synthesize(*VOICED)
    begun = time.perf_counter()
    predict(model, np.tile(speech, 1 + 10 * SAMPLE_RATE // len(speech))[: 10 * SAMPLE_RATE], face)
    print(f"10 s of speech took {time.perf_counter() - begun:.2f} s")


def report_speakers(model: Speech2Landmarks, corpus: Corpus) -> None:
    """Prints how lips follow recorded speakers', also with noise, and how far each measure of the mouth moves."""
    rows: list[dict[str, Any]] = []
    degraded: dict[str, list[float]] = {name: [] for name in DEGRADATIONS}
    for speaker, clips in validation_speakers(corpus).items():
        sounds = [corpus.speech(clip["id"]) for clip in clips]
        truths, portraits = zip(*(recorded(corpus.landmarks(clip["id"])) for clip in clips), strict=True)
        rows.append(compare(model, sounds, portraits, truths))
        large = int(clips[0]["face_px"]) >= LARGE_FACE and RENDERED not in speaker
        print(f"{speaker[-44:]:44s} {describe(rows[-1])}{'  large, recorded' if large else ''}", flush=True)
        for name, degrade in DEGRADATIONS.items():
            noisy = compare(model, [degrade(speech) for speech in sounds], portraits, truths)
            degraded[name].append(noisy["correlation"])
    mean = {name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}
    print(f"{'mean':44s} {describe(mean)}")
    print("correlation", ", ".join(f"{name} {np.mean(values):.2f}" for name, values in degraded.items()))
    print(f"{'measure':16s} correlation  standard deviation  recorded  ratio  median over speakers")
    ratios = np.median([row["deviation"] / row["true deviation"] for row in rows], axis=0)
    for index, name in enumerate(MEASURES):
        ours, theirs = mean["deviation"][index], mean["true deviation"][index]
        print(
            f"{name:16s} {mean['measures'][index]:11.2f} {ours:19.4f} {theirs:9.4f} {ours / theirs:6.2f} "
            f"{ratios[index]:8.2f}"
        )


def report_phonemes(model: Speech2Landmarks, face: np.ndarray) -> None:
    """Prints how often lips of a face (478, 3) meet where they must, and part where they must."""
    met, parted = [], []
    for voice, text in SENTENCES.items():
        shut, apart = phonemes_met(model, voice, text, face)
        print(
            f"{voice:24s} lips meet in {sum(shut)} of {len(shut)} p, b, m, part in {sum(apart)} of {len(apart)} vowels"
        )
        met += shut
        parted += apart
    print(
        f"{'all voices':24s} lips meet in {np.mean(met):.0%} of p, b, m, part in {np.mean(parted):.0%} of open vowels"
    )


def report_rest(model: Speech2Landmarks, face: np.ndarray) -> None:
    """Prints how far lips of a face (478, 3) open where nothing is said."""
    for name, sound in wordless(5.0).items():
        opening = lip_opening(predict(model, sound, face))
        print(f"{name:24s} lip opening {opening.mean():.4f}, standard deviation {opening.std():.4f}")
    speech, _ = espeak.synthesize(*VOICED)
    pause = len(speech) // 2
    paused = np.concatenate([speech[:pause], np.zeros(2 * SAMPLE_RATE, np.float32), speech[pause:]])
    first = pause * FPS // SAMPLE_RATE
    before_breath = slice(first + 6, first + 2 * FPS - BREATH_FRAMES - 2)
    opening = lip_opening(predict(model, paused, face))[before_breath]
    print(f"{'a pause of two seconds':24s} lip opening {opening.mean():.4f}, standard deviation {opening.std():.4f}")


def phonemes_met(model: Speech2Landmarks, voice: str, text: str, face: np.ndarray) -> tuple[list[bool], list[bool]]:
    """For every p, b, m of a text in a voice of espeak-ng, whether lips meet; for open vowels, whether they part.

    ``face`` (478, 3) is the normalized one that says it.
    """
    speech, phonemes = espeak.synthesize(text, voice)
    opening = relative_opening(lip_opening(predict(model, speech, face)))
    met, parted = [], []
    for phoneme in phonemes:
        # Frames that overlap the phoneme.
        shown = opening[int(phoneme.begin * FPS) : int(np.ceil(phoneme.end * FPS)) + 1]
        if phoneme.name in espeak.BILABIALS:
            met.append(bool(shown.min() < NEARLY_CLOSED))
        elif phoneme.name in espeak.OPEN_VOWELS:
            parted.append(bool(shown.max() > NEARLY_CLOSED))
    return met, parted


def add_noise(speech: np.ndarray) -> np.ndarray:
    """Speech (N,) float32, 16 kHz, with white noise 10 dB below it."""
    noise = np.random.default_rng(0).standard_normal(len(speech))
    return (speech + noise * np.sqrt(speech_power(speech) / 10)).astype(np.float32)


def add_reverberation(speech: np.ndarray) -> np.ndarray:
    """Speech in a room with a reverberation time (60 dB) of half a second."""
    times = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    echo = np.random.default_rng(0).standard_normal(len(times)) * 10 ** (-6 * times)
    echo[0] = np.sqrt((echo**2).sum())  # as much power as all reflections
    return fftconvolve(speech, echo)[: len(speech)].astype(np.float32)


def limit_band(speech: np.ndarray) -> np.ndarray:
    """Speech (N,) float32, 16 kHz, between 300 and 3400 Hz, as by telephone."""
    band = butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")
    return sosfilt(band, speech).astype(np.float32)


DEGRADATIONS = {"with noise": add_noise, "in a room": add_reverberation, "on the telephone": limit_band}

VOICED = ("The rainbow is a division of white light into many beautiful colours, boiling over.", "en-us+f2")

# For voices that no training used, in languages that the training data has and that it has not.
SENTENCES = {
    "en-us+anika": "Maybe Bob and Pam bought a map of the park. My mama and papa made a big apple pie. "
    "Stop that boat, the harbour is far above. Nobody remembers a simple problem by a number.",
    "en+ed": "The farmer's barn burned, but the lambs are calm. Push the table back a bit, please. "
    "I am a member of the club. Father parked the car by the market.",
    "de+michel": "Bitte mach mir am Abend ein paar Bananen. Papa malt einen Baum am Bach. Aber Mama bleibt bei Peter.",
    "es+Diogo": "Mi mamá prepara una paella para mi papá. La banda toca samba. Pablo habla bajo el árbol.",
    "it+belinda": "La mamma prepara la pasta. Il bambino ama la barca. Papà ha comprato una bella lampada.",
    "fr+zac": "Papa a mis la table. Maman a bu un peu de bon vin. Le bateau part sans bagages par la mer.",
    "nl+anika": "Mijn mama maakt een appel. De boot vaart langs de brug. Papa bakt brood op maandag.",
    "sv+ed": "Mamma och pappa bakar bullar. Barnet badar i en balja. En apa åt en banan på bordet.",
}


def validation_clips(corpus: Corpus) -> list[dict[str, str]]:
    """The manifest's rows of the validation clips with their own speech that show a face."""
    rows = [row for row in corpus.clips if row["id"] in corpus.held_out and row["speech"] == "1"]
    return [row for row in rows if len(corpus.seen_landmarks(row["id"])) > 1]


def validation_speakers(corpus: Corpus) -> dict[str, list[dict[str, str]]]:
    """The rows of ``validation_clips`` by speaker; a clip of an unknown speaker is one by itself."""
    speakers: dict[str, list[dict[str, str]]] = {}
    for row in validation_clips(corpus):
        speakers.setdefault(row["speaker"] or row["id"], []).append(row)
    return speakers


def predict(
    model: Speech2Landmarks,
    speech: np.ndarray,
    portrait: np.ndarray,
    emotion: str = "neutral",
    intensity: float = 1.0,
) -> np.ndarray:
    """Normalized landmarks (T, 478, 3) of speech (N,), for a portrait's normalized landmarks (478, 3)."""
    curve = emotion_curve(emotion, intensity, number_of_frames(len(speech)))
    return np.concatenate(list(model.predict(speech, portrait, curve)))


def compare(
    model: Speech2Landmarks, sounds: Sequence[np.ndarray], portraits: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> dict[str, Any]:
    """The figures of one speaker named at the top of this file.

    ``sounds`` (N,), ``portraits`` (478, 3) and recorded ``truths`` (T, 6) are of the clips.
    """
    predicted = [
        mouth_measures(predict(model, speech, face))[: len(truth)]
        for speech, face, truth in zip(sounds, portraits, truths, strict=True)
    ]
    pairs = [(ours, truth[: len(ours)]) for ours, truth in zip(predicted, truths, strict=True)]
    correlations = {lag: correlation(*joined(pairs, lag))[0] for lag in range(-LARGEST_LAG, LARGEST_LAG + 1)}
    lag = max(correlations, key=lambda each: correlations[each])
    ours, theirs = joined(pairs, lag)
    return {
        "correlation": correlations[0],
        "best": correlations[lag],
        "lag": lag,
        "closed": np.mean([closures_met(opening[:, 0], truth[:, 0], lag) for opening, truth in pairs]),
        "jitter": np.mean([jitter(opening[:, 0]) for opening, _ in pairs]),
        "true jitter": np.mean([jitter(truth[:, 0]) for _, truth in pairs]),
        "measures": correlation(ours, theirs),
        "deviation": ours.std(0),
        "true deviation": theirs.std(0),
    }


def joined(pairs: list[tuple[np.ndarray, np.ndarray]], lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Curves (T, 6) and recorded ones that come ``lag`` frames later, of all clips joined, each without its mean."""
    cut = [
        (ours[max(-lag, 0) : len(ours) - max(lag, 0)], truth[max(lag, 0) : len(truth) - max(-lag, 0)])
        for ours, truth in pairs
    ]
    ours, truths = ([curve - curve.mean(0) for curve in curves] for curves in zip(*cut, strict=True))
    return np.concatenate(ours), np.concatenate(truths)


def correlation(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column of curves (T, 6) without mean: (6,)."""
    return (ours * theirs).mean(0) / np.maximum(ours.std(0) * theirs.std(0), 1e-12)


def jitter(opening: np.ndarray) -> float:
    """Share of the power of a curve (T,) above 6 Hz."""
    return float(share_above(opening, JITTER_FREQUENCY))


def describe(figures: dict[str, float]) -> str:
    """The figures of ``compare`` in one line."""
    return (
        "correlation {correlation:.2f}, {best:.2f} at lag {lag:+.1f}, closes {closed:.2f}, "
        "above 6 Hz {jitter:.3f} (recorded {true jitter:.3f})"
    ).format(**figures)


def wordless(seconds: float) -> dict[str, np.ndarray]:
    """Sounds (N,) without speech, float32 at 16 kHz, by name."""
    draw = np.random.default_rng(0)
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = draw.standard_normal(len(times))
    chord = sum(
        np.sin(2 * np.pi * pitch * overtone * times) / overtone for pitch in (220, 277, 330) for overtone in (1, 2, 3)
    )
    sounds = {
        "silence": np.zeros_like(times),
        "quiet room": 0.001 * noise,
        "loud noise": 0.1 * noise,
        "chords": 0.05 * chord * np.exp(-3 * (times % 0.5)),
    }
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


if __name__ == "__main__":
    report(corpus_from_arguments(__doc__))
