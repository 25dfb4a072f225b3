"""Lips of stage 1 compared with recorded ones.

    python -m space_core.evaluation.lips CORPUS

Prints, for every validation clip with speech and on average: the correlation of lip opening with the tracked truth, the
lag of the truth with the best correlation, the standard deviation relative to the truth, the share of the truth's
closures that are met, the share of motion above 6 Hz in both. Then the average correlation under noise, in a room and
over the telephone; how often lips meet in p, b, m of espeak-ng and part in its open vowels; the lip opening in silence,
noise and music.
"""

import time

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from space_core.face.normalization import normalize
from space_core.face.topology import canonical_face
from space_core.measures import espeak
from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.lips import NEARLY_CLOSED, best_lag, closures_met, lip_opening, relative_opening
from space_core.motion.emotion import emotion_curve
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks
from space_core.motion.speech_features import speech_power
from space_core.timing import FPS, SAMPLE_RATE, number_of_frames

LARGEST_LAG = 10  # frames
JITTER_FREQUENCY = 6.0  # Hz
RENDERED = "vasa_1"  # in the id of clips that another model rendered
LARGE_FACE = 200  # pixels; lips of smaller faces are tracked less exactly


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    model = load_speech2landmarks()
    rows, degraded = [], {name: [] for name in DEGRADATIONS}
    for clip in validation_clips(corpus):
        speech = corpus.speech(clip["id"])
        truth, portrait = recorded(corpus.landmarks(clip["id"]))
        rows.append(compare(lip_opening(predict(model, speech, portrait)), truth))
        large = int(clip["face_px"]) >= LARGE_FACE and RENDERED not in clip["id"]
        print(f"{clip['id'][-44:]:44s} {describe(rows[-1])}{'  large, recorded' if large else ''}")
        for name, degrade in DEGRADATIONS.items():
            opening = lip_opening(predict(model, degrade(speech), portrait))
            degraded[name].append(compare(opening, truth)["correlation"])
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    print(f"{'mean':44s} {describe(mean)}")
    print("correlation", ", ".join(f"{name} {np.mean(values):.2f}" for name, values in degraded.items()))

    face = canonical_face().vertices
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
    for name, sound in wordless(5.0).items():
        opening = lip_opening(predict(model, sound, face))
        print(f"{name:24s} lip opening {opening.mean():.4f}, standard deviation {opening.std():.4f}")
    pause = len(speech) // 2
    paused = np.concatenate([speech[:pause], np.zeros(SAMPLE_RATE, np.float32), speech[pause:]])
    inside = slice(pause * FPS // SAMPLE_RATE + 6, (pause + SAMPLE_RATE) * FPS // SAMPLE_RATE - 6)
    opening = lip_opening(predict(model, paused, face))[inside]
    print(f"{'a pause of a second':24s} lip opening {opening.mean():.4f}, standard deviation {opening.std():.4f}")
    begun = time.perf_counter()
    predict(model, np.tile(speech, 1 + 10 * SAMPLE_RATE // len(speech))[: 10 * SAMPLE_RATE], face)
    print(f"10 s of speech took {time.perf_counter() - begun:.2f} s")


def phonemes_met(model: Speech2Landmarks, voice: str, text: str, face: np.ndarray) -> tuple[list[bool], list[bool]]:
    """For every p, b, m of a text in a voice of espeak-ng, whether lips meet; for open vowels, whether they part."""
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
    """Speech with white noise 10 dB below it."""
    noise = np.random.default_rng(0).standard_normal(len(speech))
    return (speech + noise * np.sqrt(speech_power(speech) / 10)).astype(np.float32)


def add_reverberation(speech: np.ndarray) -> np.ndarray:
    """Speech in a room with a reverberation time (60 dB) of half a second."""
    times = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    echo = np.random.default_rng(0).standard_normal(len(times)) * 10 ** (-6 * times)
    echo[0] = np.sqrt((echo**2).sum())  # as much power as all reflections
    return fftconvolve(speech, echo)[: len(speech)].astype(np.float32)


def limit_band(speech: np.ndarray) -> np.ndarray:
    """Speech between 300 and 3400 Hz."""
    band = butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")
    return sosfilt(band, speech).astype(np.float32)


DEGRADATIONS = {"with noise": add_noise, "in a room": add_reverberation, "on the telephone": limit_band}

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
    """The manifest's rows of the validation clips with their own speech."""
    return [row for row in corpus.clips if row["id"] in corpus.held_out and row["speech"] == "1"]


def recorded(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lip opening (T,) of a track (T, 478, 3), and a portrait (478, 3): its frame nearest to a shut mouth."""
    seen = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
    normalized, _ = normalize(landmarks[seen])
    opening = lip_opening(normalized)
    return np.interp(np.arange(len(landmarks)), seen, opening), normalized[opening.argmin()]


def predict(model: Speech2Landmarks, speech: np.ndarray, portrait: np.ndarray, emotion: str = "neutral") -> np.ndarray:
    """Normalized landmarks (T, 478, 3) of speech (N,), for a portrait's normalized landmarks (478, 3)."""
    curve = emotion_curve(emotion, 1.0, number_of_frames(len(speech)))
    return np.concatenate(list(model.predict(speech, portrait, curve)))


def compare(opening: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The figures of one clip named at the top of this file, of lip openings (T,)."""
    length = min(len(opening), len(truth))
    opening, truth = opening[:length], truth[:length]
    lag, best, correlation = best_lag(opening, truth, LARGEST_LAG)
    return {
        "correlation": correlation,
        "best": best,
        "lag": lag,
        "amplitude": opening.std() / truth.std(),
        "closed": closures_met(opening, truth, lag),
        "jitter": jitter(opening),
        "true jitter": jitter(truth),
    }


def jitter(opening: np.ndarray) -> float:
    """Share of the power of a curve (T,) above 6 Hz."""
    power = np.abs(np.fft.rfft((opening - opening.mean()) * np.hanning(len(opening)))) ** 2
    return float(power[np.fft.rfftfreq(len(opening), 1 / FPS) > JITTER_FREQUENCY].sum() / power.sum())


def describe(figures: dict[str, float]) -> str:
    """The figures of ``compare`` in one line."""
    return (
        "correlation {correlation:.2f}, {best:.2f} at lag {lag:+.1f}, amplitude {amplitude:.2f}, closes {closed:.2f}, "
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
