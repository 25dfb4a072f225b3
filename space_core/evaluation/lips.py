"""How well the lips of stage 1 match recorded ones.

Prints, for every validation clip with speech and on average: the correlation of lip opening with the tracked truth, the
lag of the truth with the best correlation, the standard deviation relative to the truth, the share of the truth's
closures that are met, the share of motion above 6 Hz in both. Then the same average under noise, room and telephone;
how often lips meet where espeak-ng says p, b, m, and part where it says open vowels; how still the
mouth is in silence, in noise and in music.
"""

import time

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from space_core.face.normalization import normalize
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, canonical_face
from space_core.motion.emotion import emotion_curve
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks
from space_core.motion.speech_features import speech_power
from space_core.timing import FPS, SAMPLE_RATE, number_of_frames
from space_core.training import espeak
from space_core.training.corpus import Corpus

LARGEST_LAG = 10  # frames
JITTER_FREQUENCY = 6.0  # Hz
UPPER, LOWER = INNER_UPPER_LIP[5], INNER_LOWER_LIP[5]
RENDERED = "vasa_1"  # in the id of clips that another model rendered
NEARLY_CLOSED = 0.15  # of the range from closed to wide
LARGE_FACE = 200  # pixels; lips of smaller faces are tracked less exactly


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    speaker = load_speech2landmarks()
    rows, spoilt = [], {name: [] for name in SPOILERS}
    for clip in validation_clips(corpus):
        speech = corpus.speech(clip["id"])
        truth, portrait = recorded(corpus.landmarks(clip["id"]))
        rows.append(compare(lip_opening(say(speaker, speech, portrait)), truth))
        large = int(clip["face_px"]) >= LARGE_FACE and RENDERED not in clip["id"]
        print(f"{clip['id'][-44:]:44s} {describe(rows[-1])}{'  large, recorded' if large else ''}")
        for name, spoil in SPOILERS.items():
            spoilt[name].append(compare(lip_opening(say(speaker, spoil(speech), portrait)), truth)["correlation"])
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    print(f"{'mean':44s} {describe(mean)}")
    print("correlation", ", ".join(f"{name} {np.mean(values):.2f}" for name, values in spoilt.items()))

    face = canonical_face().vertices
    met, parted = [], []
    for voice, text in SENTENCES.items():
        shut, apart = phonemes_met(speaker, voice, text, face)
        print(
            f"{voice:24s} lips meet in {sum(shut)} of {len(shut)} p, b, m, part in {sum(apart)} of {len(apart)} vowels"
        )
        met += shut
        parted += apart
    print(
        f"{'all voices':24s} lips meet in {np.mean(met):.0%} of p, b, m, part in {np.mean(parted):.0%} of open vowels"
    )
    for name, sound in wordless(5.0).items():
        opening = lip_opening(say(speaker, sound, face))
        print(f"{name:24s} lip opening {opening.mean():.4f}, standard deviation {opening.std():.4f}")
    pause = len(speech) // 2
    paused = np.concatenate([speech[:pause], np.zeros(SAMPLE_RATE, np.float32), speech[pause:]])
    inside = slice(pause * FPS // SAMPLE_RATE + 6, (pause + SAMPLE_RATE) * FPS // SAMPLE_RATE - 6)
    opening = lip_opening(say(speaker, paused, face))[inside]
    print(f"{'a pause of a second':24s} lip opening {opening.mean():.4f}, standard deviation {opening.std():.4f}")
    begun = time.perf_counter()
    say(speaker, np.tile(speech, 1 + 10 * SAMPLE_RATE // len(speech))[: 10 * SAMPLE_RATE], face)
    print(f"10 s of speech took {time.perf_counter() - begun:.2f} s")


def phonemes_met(speaker: Speech2Landmarks, voice: str, text: str, face: np.ndarray) -> tuple[list[bool], list[bool]]:
    """For every p, b, m of a voice's text, whether lips meet; for every open vowel, whether they are apart."""
    speech, phonemes = espeak.speak(text, voice)
    opening = lip_opening(say(speaker, speech, face))
    opening = relative(opening)
    met, parted = [], []
    for phoneme in phonemes:
        # Frames that show a part of the phoneme.
        shown = opening[int(phoneme.begin * FPS) : int(np.ceil(phoneme.end * FPS)) + 1]
        if phoneme.name in espeak.LIPS_MEET:
            met.append(bool(shown.min() < NEARLY_CLOSED))
        elif phoneme.name in espeak.OPEN_VOWELS:
            parted.append(bool(shown.max() > NEARLY_CLOSED))
    return met, parted


def noisy(speech: np.ndarray) -> np.ndarray:
    """Speech with white noise 10 dB below it."""
    noise = np.random.default_rng(0).standard_normal(len(speech))
    return (speech + noise * np.sqrt(speech_power(speech) / 10)).astype(np.float32)


def in_a_room(speech: np.ndarray) -> np.ndarray:
    """Speech in a room whose sound falls by 60 dB in half a second."""
    times = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    echo = np.random.default_rng(0).standard_normal(len(times)) * 10 ** (-6 * times)
    echo[0] = np.sqrt((echo**2).sum())  # as loud as all that comes back
    return fftconvolve(speech, echo)[: len(speech)].astype(np.float32)


def on_the_telephone(speech: np.ndarray) -> np.ndarray:
    """Speech between 300 and 3400 Hz."""
    band = butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")
    return sosfilt(band, speech).astype(np.float32)


SPOILERS = {"with noise": noisy, "in a room": in_a_room, "on the telephone": on_the_telephone}

# Of voices that are in no training, in languages that are and that aren't.
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
    """The manifest's rows of the clips kept for validation that carry their own speech."""
    return [row for row in corpus.clips if row["id"] in corpus.held_out and row["speech"] == "1"]


def recorded(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lip opening (T,) of a track (T, 478, 3), and a portrait (478, 3): its frame nearest to a shut mouth."""
    seen = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
    normalized, _ = normalize(landmarks[seen])
    opening = lip_opening(normalized)
    return np.interp(np.arange(len(landmarks)), seen, opening), normalized[opening.argmin()]


def say(speaker: Speech2Landmarks, speech: np.ndarray, portrait: np.ndarray, emotion: str = "neutral") -> np.ndarray:
    """Normalized landmarks (T, 478, 3) in one piece."""
    curve = emotion_curve(emotion, 1.0, number_of_frames(len(speech)))
    return np.concatenate(list(speaker.speak(speech, portrait, curve)))


def lip_opening(landmarks: np.ndarray) -> np.ndarray:
    """The distance (T,) between the middles of the inner lips."""
    return np.linalg.norm(landmarks[:, UPPER] - landmarks[:, LOWER], axis=-1)


def compare(opening: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The figures named at the top of this file, for lip openings (T,)."""
    length = min(len(opening), len(truth))
    opening, truth = opening[:length], truth[:length]
    correlations = {}
    for lag in range(-LARGEST_LAG, LARGEST_LAG + 1):
        first, last = max(-lag, 0), length - max(lag, 0)
        correlations[lag] = np.corrcoef(opening[first:last], truth[first + lag : last + lag])[0, 1]
    lag = max(correlations, key=correlations.get)
    return {
        "correlation": correlations[0],
        "best": correlations[lag],
        "lag": lag,
        "amplitude": opening.std() / truth.std(),
        "closed": closure(opening, truth, lag),
        "jitter": jitter(opening),
        "true jitter": jitter(truth),
    }


def closure(opening: np.ndarray, truth: np.ndarray, lag: int) -> float:
    """The share of the closures in the truth at which the lips come as near to each other, within a frame of them."""
    first, last = max(-lag, 0), len(truth) - max(lag, 0)
    opening, truth = relative(opening[first:last]), relative(truth[first + lag : last + lag])
    nearest = np.pad(opening, 1, mode="edge")
    nearest = np.min([nearest[:-2], nearest[1:-1], nearest[2:]], axis=0)
    bottom = np.flatnonzero((truth[1:-1] <= truth[:-2]) & (truth[1:-1] < truth[2:]) & (truth[1:-1] < NEARLY_CLOSED)) + 1
    return float((nearest[bottom] < NEARLY_CLOSED).mean()) if len(bottom) else 1.0


def relative(opening: np.ndarray) -> np.ndarray:
    """A lip opening in its own range: 0 closed, 1 wide."""
    return (opening - opening.min()) / (np.percentile(opening, 95) - opening.min())


def jitter(opening: np.ndarray) -> float:
    """The share of a curve's power that lies above 6 Hz."""
    power = np.abs(np.fft.rfft((opening - opening.mean()) * np.hanning(len(opening)))) ** 2
    return float(power[np.fft.rfftfreq(len(opening), 1 / FPS) > JITTER_FREQUENCY].sum() / power.sum())


def describe(figures: dict[str, float]) -> str:
    return (
        "correlation {correlation:.2f}, {best:.2f} at lag {lag:+.1f}, amplitude {amplitude:.2f}, closes {closed:.2f}, "
        "above 6 Hz {jitter:.3f} (recorded {true jitter:.3f})"
    ).format(**figures)


def wordless(seconds: float) -> dict[str, np.ndarray]:
    """Recordings without words: float32 at 16 kHz."""
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
