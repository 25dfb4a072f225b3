"""Speech synthesis by espeak-ng with the exact time of every phoneme; needs Debian's package ``espeak-ng``."""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from space_core.timing import SAMPLE_RATE

SYNCHRONOUS, PHONEME_EVENTS, UTF8 = 2, 1, 1
RATE, PITCH = 1, 3  # of espeak_PARAMETER
LIST_TERMINATED, PHONEME = 0, 7  # of espeak_EVENT_TYPE

BILABIALS = ("p", "b", "m")
OPEN_VOWELS = ("a", "A", "aI", "aU")  # in espeak-ng's names, without length and nasality


@dataclass(frozen=True)
class Phoneme:
    """A phoneme by espeak-ng's name without length and nasality, from ``begin`` to ``end`` in seconds."""

    name: str
    begin: float
    end: float


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def synthesize(text: str, voice: str, rate: int = 160, pitch: int = 50) -> tuple[np.ndarray, list[Phoneme]]:
    """Speech (N,) float32 at 16 kHz and its phonemes in order.

    Args:
        text: the words, in the voice's language.
        voice: a language and a variant, such as "en-us+f3".
        rate: words per minute.
        pitch: 0 to 100.

    Raises:
        ValueError: espeak-ng has no such voice.
    """
    library, sample_rate, chunks, marks = _library()
    chunks.clear()
    marks.clear()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    library.espeak_SetParameter(RATE, rate, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, UTF8, None, None)
    library.espeak_Synchronize()
    sound = np.concatenate([np.zeros(0, np.int16), *chunks]).astype(np.float32) / 2**15
    ends = [begin for _, begin in marks[1:]] + [len(sound) / sample_rate]
    phonemes = [Phoneme(name, begin, end) for (name, begin), end in zip(marks, ends, strict=True)]
    return resample_poly(sound, SAMPLE_RATE, sample_rate).astype(np.float32), phonemes


@cache
def _library() -> tuple[ctypes.CDLL, int, list[np.ndarray], list[tuple[str, float]]]:
    """The library, its sample rate, and the lists to which its callback appends sound and phoneme marks."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    sample_rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS)
    chunks, marks = [], []

    @_Callback  # type: ignore[untyped-decorator]  # of ctypes
    def collect(sound: Any, length: int, events: Any) -> int:
        if length > 0:
            chunks.append(np.ctypeslib.as_array(sound, (length,)).copy())
        index = 0
        while events[index].type != LIST_TERMINATED:
            if events[index].type == PHONEME:
                name = events[index].name.decode(errors="replace").rstrip(":~")
                marks.append((name, events[index].audio_position / 1000))
            index += 1
        return 0

    library.espeak_SetSynthCallback(collect)
    library.collect = collect  # type: ignore[attr-defined]  # kept alive as long as the library
    return library, sample_rate, chunks, marks
