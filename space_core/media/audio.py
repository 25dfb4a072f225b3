"""Reading of speech recordings: every format that ffmpeg decodes, as 16 kHz mono samples."""

import tempfile
import threading
from pathlib import Path

import numpy as np

from space_core.errors import SpaceError
from space_core.media import ffmpeg
from space_core.media.files import shown_name
from space_core.media.truncation import is_truncated
from space_core.timing import SAMPLE_RATE

MIN_SECONDS = 0.3  # about one syllable

SILENCE_DBFS = -60.0  # room noise is below this; quiet speech is at about -45
SILENCE_WINDOW = SAMPLE_RATE // 20  # samples: 50 ms
MIN_SPEECH_WINDOWS = 4  # windows (0.2 s) that must be louder than silence, so that a click does not count as speech

# Pads with silence where a track starts late or has gaps, so that a sample's index gives its time. The sound of the
# written video goes through the same filter, which keeps lips and sound synchronous.
TIMELINE_FILTER = "aresample=async=1:first_pts=0"


def load_speech(path: str | Path, max_seconds: float = 600.0) -> np.ndarray:
    """Decodes a recording, once: an audio file in any common format, or the first audio track of a video.

    Args:
        path: the user's file.
        max_seconds: the longest recording that is accepted, in seconds.

    Returns:
        ``(samples,)`` float32 in [-1, 1], 16 kHz mono, at least 0.3 s; channels are averaged.

    Raises:
        SpaceError: the file does not exist, is not a recording, has no audio track, is truncated, silent, too short
            or too long.
    """
    info = ffmpeg.probe(path, "recording")
    name = shown_name(info.path)
    if not info.has_sound:
        raise SpaceError(f"{name} has no sound track. Give a recording or a video with speech.")

    speech, error_log = _decode(info.path, max_seconds)
    seconds = len(speech) / SAMPLE_RATE
    if seconds > max_seconds:
        # Decoding stops just past the limit, so only the declared duration gives the full length.
        length = f"{info.seconds:.0f} s long" if info.seconds and info.seconds > max_seconds + 1 else "longer"
        raise SpaceError(f"The recording {name} is {length}; the limit is {max_seconds:g} s. Give a shorter one.")
    if is_truncated(info, seconds, error_log, other_stream=info.has_pictures):
        raise SpaceError(f"The recording {name} is cut off or damaged. Save or upload it again.")
    if len(speech) == 0:
        raise SpaceError(f"No sound could be read from {name}; it is empty or damaged. Save or upload it again.")
    if not np.isfinite(speech).all():
        raise SpaceError(f"The recording {name} has invalid samples (NaN or infinity). Export it again.")
    if seconds < MIN_SECONDS:
        raise SpaceError(f"The recording {name} is too short: {seconds:.2f} s; at least {MIN_SECONDS} s are needed.")
    if _is_silent(speech):
        raise SpaceError(f"The recording {name} is silent. Check the microphone and record again.")
    return np.clip(speech, -1.0, 1.0)


def _decode(path: Path, max_seconds: float) -> tuple[np.ndarray, str]:
    """(samples,) float32 of at most ``max_seconds`` and one second, and ffmpeg's error log."""
    arguments = ffmpeg.input_arguments(path)
    arguments += ["-map", "0:a:0", "-af", TIMELINE_FILTER, "-ac", "1", "-ar", str(SAMPLE_RATE)]
    arguments += ["-t", str(max_seconds + 1), "-f", "f32le", "pipe:1"]
    with tempfile.TemporaryFile() as error_log:
        process, output = ffmpeg.start_decoder(arguments, error_log)
        timeout = threading.Timer(60 + max_seconds / 2, process.kill)  # decoding usually takes 1 % of the duration
        timeout.start()
        try:
            content = output.read()
        finally:
            timeout.cancel()
            ffmpeg.stop(process)
        samples = np.frombuffer(content, np.float32, count=len(content) // 4)
        return samples, ffmpeg.read_error_log(error_log)


def _is_silent(speech: np.ndarray) -> bool:
    """Whether fewer than four 50 ms windows of ``(samples,)`` have an RMS, without their mean, above -60 dBFS."""
    whole = len(speech) // SILENCE_WINDOW * SILENCE_WINDOW
    windows = speech[:whole].reshape(-1, SILENCE_WINDOW)
    loudness = np.sort(windows.std(axis=1))[::-1]
    return bool(loudness[min(MIN_SPEECH_WINDOWS, len(loudness)) - 1] < 10 ** (SILENCE_DBFS / 20))
