"""Mean mouth shape by class of phonemes, beside recorded speakers'.

    python -m space_core.evaluation.visemes CORPUS

Recorded are the corpus's clips of sentences of the GRID corpus (Cooke et al., 2006), whose names spell their words.
espeak-ng says the same words with known times; dynamic time warping of the speech encoder's features carries the times
over to the clip. Prints, by class, the mean of each measure of the mouth over the frames in the middle third of its
phonemes, relative to the mean over the sentence: recorded, predicted from the same sound, and predicted at the
amplitude (standard deviation) of these speakers, who move their lips less than most. Most of these clips were trained
on.
Then the same of predicted motion alone for sentences of espeak-ng.
"""

import re
from collections.abc import Iterator

import numpy as np
import torch

from space_core.evaluation.lips import predict
from space_core.face.topology import canonical_face
from space_core.measures import espeak
from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.lips import MEASURES, mouth_measures, recorded
from space_core.motion.motion_network import CONTEXT_FRAMES
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks
from space_core.motion.speech_encoder import TOKENS_PER_FRAME
from space_core.motion.speech_features import log_mel, speech_power
from space_core.timing import FPS, number_of_frames

# espeak-ng's names of English phonemes.
CLASSES = {
    "u o w sh": ("u", "u:", "w", "oU", "O", "O:", "S"),
    "i e s": ("i", "i:", "s", "eI"),
    "a ae": ("a", "A", "A:", "aI", "aU"),
    "f v": ("f", "v"),
    "m b p": ("m", "b", "p"),
    "th l": ("T", "D", "l"),
}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(zip("z123456789", NUMBERS, strict=True)),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
SENTENCE = re.compile(r"_([blps][bgrw][abiw][a-vx-z][z1-9][anps])(_|$)")
VOICES = ("en+m3", "en+f2")
STEP_COST = 0.15  # of a step of the time warp that is not diagonal, in cosine distances
SPOKEN = (
    "Who knew the blue shoes would shrink? We owe you two new wooden shows.",
    "She sees these seas, he eats green peas. Daisy says hey.",
    "A fat cat sat on a mat. Father's car is far, my dad has a map.",
    "Five brave wives of Vivian have fought for love. Fifty vivid waves fall off.",
    "Mom and Bob pump more. Papa bought a big map for my baby.",
    "Think of three thin things. All the little bells will ring through Thursday, Lily.",
)


def report(corpus: Corpus) -> None:
    """Prints the tables named at the top of this file."""
    model = load_speech2landmarks()
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in CLASSES}
    deviations = []
    for clip in corpus.clips:
        words = sentence_words(clip["id"])
        if words is None or clip["speech"] != "1" or len(corpus.seen_landmarks(clip["id"])) < FPS:
            continue
        speech = corpus.speech(clip["id"])
        truth, portrait = recorded(corpus.landmarks(clip["id"]))
        ours = mouth_measures(predict(model, speech, portrait))[: len(truth)]
        truth = truth[: len(ours)]
        spans = aligned_phonemes(model, speech, words)
        spoken = slice(round(spans[0].begin * FPS), round(spans[-1].end * FPS))
        deviations.append([truth[spoken].std(0), ours[spoken].std(0)])
        for name, frames in class_frames(spans, len(ours)):
            rows[name].append((truth[frames] - truth[spoken].mean(0), ours[frames] - ours[spoken].mean(0)))
    amplitude = np.divide(*np.mean(deviations, axis=0))
    print(f"{len(deviations)} sentences of GRID; relative to their means, in thousandths of the eye corners' distance")
    print(f"{'class':12s} frames  " + "".join(f"{name:>20s}" for name in MEASURES))
    for name, pairs in rows.items():
        if pairs:
            truth, ours = (np.concatenate(side) for side in zip(*pairs, strict=True))
            columns = zip(
                *(1000 * each for each in (truth.mean(0), ours.mean(0), ours.mean(0) * amplitude)), strict=True
            )
            print(f"{name:12s} {len(truth):6d}  " + "".join(f"{a:+8.0f}{b:+6.0f}{c:+6.0f}" for a, b, c in columns))
    print(f"{'amplitude':20s}" + "".join(f"{each:20.2f}" for each in amplitude))
    print(
        "recorded, predicted from the same sound, and that times the amplitude: recorded standard deviation over ours"
    )
    print("Predicted from espeak-ng's speech:")
    synthetic: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    for voice in VOICES:
        for text in SPOKEN:
            speech, phonemes = espeak.synthesize(text, voice)
            ours = mouth_measures(predict(model, speech, canonical_face().vertices))
            for name, frames in class_frames(phonemes, len(ours)):
                synthetic[name].append(ours[frames] - ours.mean(0))
    for name, values in synthetic.items():
        columns = 1000 * np.concatenate(values).mean(0)
        print(f"{name:12s} {sum(map(len, values)):6d}  " + "".join(f"{value:+20.0f}" for value in columns))


def sentence_words(clip: str) -> str | None:
    """The words of a clip of the GRID corpus, from its id; None for any other clip."""
    found = SENTENCE.search(clip)
    if not found or not ("grid" in clip or "osalinasv" in clip or "dr_pato" in clip or "vid2speech" in clip):
        return None
    return " ".join(words[letter] for words, letter in zip(WORDS, found[1], strict=True))


def class_frames(phonemes: list[espeak.Phoneme], num_frames: int) -> Iterator[tuple[str, list[int]]]:
    """For each phoneme of a class, the class and the frames in the phoneme's middle third, at least one."""
    for phoneme in phonemes:
        for name, members in CLASSES.items():
            if phoneme.name in members:
                third = (phoneme.end - phoneme.begin) / 3
                first, last = ((phoneme.begin + share * third) * FPS for share in (1, 2))
                frames = range(round(first), max(round(last), round(first) + 1))
                yield name, [frame for frame in frames if 0 <= frame < num_frames]


def aligned_phonemes(model: Speech2Landmarks, speech: np.ndarray, words: str) -> list[espeak.Phoneme]:
    """The phonemes of a recording (N,) of known words, with the times that dynamic time warping gives them."""
    paths = []
    for voice in VOICES:
        spoken, phonemes = espeak.synthesize(words, voice)
        cost, path = time_warp(_features(model, spoken), _features(model, speech))
        paths.append((cost, path, phonemes))
    _, path, phonemes = min(paths, key=lambda found: found[0])
    rate = TOKENS_PER_FRAME * FPS
    times = [np.interp(np.array([p.begin, p.end]) * rate, np.arange(len(path)), path) / rate for p in phonemes]
    return [espeak.Phoneme(p.name, *time) for p, time in zip(phonemes, times, strict=True)]


def time_warp(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Dynamic time warping of unit vectors (N, width) onto (M, width): mean cost, and (N,) mean indices in M.

    The source may begin and end anywhere in the target.
    """
    distance = 1 - source @ target.T
    total = np.full(distance.shape, np.inf)
    came = np.zeros(distance.shape, int)
    total[0] = distance[0]
    for i in range(1, len(source)):
        for j in range(len(target)):
            steps = [total[i - 1, j] + STEP_COST, np.inf, np.inf]
            if j > 0:
                steps[1] = total[i - 1, j - 1]
                steps[2] = total[i, j - 1] + STEP_COST
            came[i, j] = int(np.argmin(steps))
            total[i, j] = steps[came[i, j]] + distance[i, j]
    i, j = len(source) - 1, int(total[-1].argmin())
    cost = total[i, j] / len(source)
    visited: list[list[int]] = [[] for _ in source]
    while True:
        visited[i].append(j)
        if i == 0:
            return float(cost), np.array([np.mean(each) for each in visited])
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 0)


@torch.inference_mode()
def _features(model: Speech2Landmarks, speech: np.ndarray) -> np.ndarray:
    """The speech encoder's features (2 T, 384), centred, of unit length."""
    frames = number_of_frames(len(speech))
    mel = log_mel(speech, speech_power(speech), -CONTEXT_FRAMES, frames + 2 * CONTEXT_FRAMES)
    features = (
        model.network.get_submodule("encoder")(torch.from_numpy(mel)[None].to(model.device))[0].float().cpu().numpy()
    )
    features = features[CONTEXT_FRAMES * TOKENS_PER_FRAME : (CONTEXT_FRAMES + frames) * TOKENS_PER_FRAME]
    features = features - features.mean(0)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


if __name__ == "__main__":
    report(corpus_from_arguments(__doc__))
