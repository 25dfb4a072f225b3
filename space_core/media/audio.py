"""Speech recordings in: whatever ffmpeg reads becomes 16 kHz mono samples."""

import tempfile
import threading
from pathlib import Path

import numpy as np

from space_core.errors import SpaceError
from space_core.media import ffmpeg
from space_core.media.files import shown_name
from space_core.media.truncation import is_truncated
from space_core.timing import SAMPLE_RATE

MIN_SECONDS = 0.3  # shorter than a syllable: nothing to move the lips by

SILENCE_DBFS = -60.0  # the noise of a quiet room stays below this, quiet speech is at -45
SILENCE_WINDOW = SAMPLE_RATE // 20  # 50 ms
SPEECH_WINDOWS = 4  # so many windows (0.2 s) have to be louder than silence: a click is not speech

# Fills what is missing where a track starts late or has gaps, so a sample's index is its time. The video's sound goes
# through the same filter, which is what keeps lips and sound together.
TIMELINE_FILTER = "aresample=async=1:first_pts=0"


def load_speech(path: str | Path, max_seconds: float = 600.0) -> np.ndarray:
    """Reads a recording: a sound file of any common kind, or the first sound track of a video.

    Args:
        path: the user's file.
        max_seconds: the longest recording that is taken.

    Returns:
        ``(samples,)`` float32 in [-1, 1], 16 kHz mono, at least 0.3 s.

    Raises:
        SpaceError: no such file, not a recording, without a sound track, cut off, silent, too short or too long.
    """
    info = ffmpeg.probe(path, "recording")
    name = shown_name(info.path)
    if not info.has_sound:
        raise SpaceError(f"{name} has no sound track. Give a recording or a video with speech.")

    speech, complaints = _decode(info.path, max_seconds)
    seconds = len(speech) / SAMPLE_RATE
    if seconds > max_seconds:
        # Only the declared duration says how long it really is; what was read stops just past the limit.
        length = f"{info.seconds:.0f} s long" if info.seconds and info.seconds > max_seconds + 1 else "longer"
        raise SpaceError(f"The recording {name} is {length}; the limit is {max_seconds:g} s. Give a shorter one.")
    if is_truncated(info, seconds, complaints, other_stream=info.has_pictures):
        raise SpaceError(f"The recording {name} is cut off or damaged. Save or upload it again.")
    if len(speech) == 0:
        raise SpaceError(f"No sound could be read from {name}; it is empty or damaged. Save or upload it again.")
    if not np.isfinite(speech).all():
        raise SpaceError(f"The recording {name} holds values that are no sound (NaN or infinity). Export it again.")
    if seconds < MIN_SECONDS:
        raise SpaceError(f"The recording {name} is too short: {seconds:.2f} s; at least {MIN_SECONDS} s are needed.")
    if _is_silent(speech):
        raise SpaceError(f"The recording {name} is silent. Check the microphone and record again.")
    return np.clip(speech, -1.0, 1.0)


def _decode(path: Path, max_seconds: float) -> tuple[np.ndarray, str]:
    """The samples, of up to a second more than ``max_seconds``, with what ffmpeg complained about."""
    arguments = ffmpeg.input_arguments(path)
    arguments += ["-map", "0:a:0", "-af", TIMELINE_FILTER, "-ac", "1", "-ar", str(SAMPLE_RATE)]
    arguments += ["-t", str(max_seconds + 1), "-f", "f32le", "pipe:1"]
    with tempfile.TemporaryFile() as complaints:
        process = ffmpeg.start(arguments, complaints)
        timeout = threading.Timer(60 + max_seconds / 2, process.kill)  # decoding takes a hundredth of the duration
        timeout.start()
        try:
            content = process.stdout.read()
        finally:
            timeout.cancel()
            ffmpeg.stop(process)
        whole = len(content) // 4 * 4
        return np.frombuffer(content[:whole], np.float32), ffmpeg.read_complaints(complaints)


def _is_silent(speech: np.ndarray) -> bool:
    """Whether hardly anything in ``(samples,)`` is louder than -60 dBFS (RMS in 50 ms windows, without any offset)."""
    whole = len(speech) // SILENCE_WINDOW * SILENCE_WINDOW
    windows = speech[:whole].reshape(-1, SILENCE_WINDOW)
    loudness = np.sort(windows.std(axis=1))[::-1]
    return bool(loudness[min(SPEECH_WINDOWS, len(loudness)) - 1] < 10 ** (SILENCE_DBFS / 20))
