"""Reading of speech recordings: every format that ffmpeg decodes, as one 16-bit copy that everything later uses."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soxr

from space_core.errors import SpaceError
from space_core.media import ffmpeg
from space_core.media.encryption import decoding_error
from space_core.media.files import shown_name, temporary_fault, temporary_file
from space_core.media.truncation import is_truncated
from space_core.timing import SAMPLE_RATE

SOUND_RATE = 48000  # Hz, of the 16-bit copy: 1920 samples per frame
MIN_SECONDS = 0.3  # about one syllable
MAX_CHANNELS = 64  # that ffmpeg can mix

SILENCE_DBFS = -60.0  # room noise is below this; quiet speech is at about -45
SILENCE_WINDOW = SAMPLE_RATE // 20  # samples: 50 ms
MIN_SPEECH_WINDOWS = 4  # windows (0.2 s) that must be louder than silence, so that a click does not count as speech

# Pads with silence where a track starts late or has gaps, so that a sample's index gives its time.
TIMELINE_FILTER = "aresample=async=1:first_pts=0"


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    Attributes:
        speech: ``(samples,)`` float32 in [-1, 1], 16 kHz mono: what the channels of ``sound`` have in common.
        sound: a file with the sound, raw 16-bit little-endian samples at ``SOUND_RATE``, channels interleaved; it is
            removed when nothing refers to it any more.
        channels: 1 or 2.
    """

    speech: np.ndarray
    sound: IO[bytes]
    channels: int


def load_speech(path: str | Path, max_seconds: float = 600.0) -> np.ndarray:
    """The ``speech`` of a recording, see ``load_recording``."""
    return load_recording(path, max_seconds).speech


def load_recording(path: str | Path, max_seconds: float = 600.0) -> Recording:
    """Decodes a recording, once: an audio file in any common format, or the first audio track of a video.

    Args:
        path: the user's file. Samples beyond full scale are clipped; more than two channels are mixed.
        max_seconds: the longest recording that is accepted, in seconds.

    Raises:
        SpaceError: the file does not exist, is not a recording, has no audio track, is truncated, silent, too short
            (under 0.3 s) or too long, or takes too long to decode; or the copy can't be written.
    """
    info = ffmpeg.probe(path, "recording")
    name = shown_name(info.path)
    if not info.has_sound:
        raise SpaceError(f"{name} has no sound track. Give a recording or a video with speech.")
    if info.channels and info.channels > MAX_CHANNELS:
        raise SpaceError(f"{name} has {info.channels} channels; the limit is {MAX_CHANNELS}. Export it in stereo.")

    recording, error_log = _decode(info, max_seconds)
    speech = recording.speech
    seconds = len(speech) / SAMPLE_RATE
    if seconds > max_seconds:
        # Decoding stops just past the limit, so only the declared duration gives the full length.
        length = f"{info.seconds:.0f} s long" if info.seconds and info.seconds > max_seconds + 1 else "longer"
        raise SpaceError(f"The recording {name} is {length}; the limit is {max_seconds:g} s. Give a shorter one.")
    if is_truncated(info, seconds, error_log, other_stream=info.has_pictures):
        message = f"The recording {name} is cut off or damaged. Save or upload it again."
        raise decoding_error(info.path, "recording", message)
    if len(speech) == 0:
        message = f"No sound could be read from {name}; it is empty or damaged. Save or upload it again."
        raise decoding_error(info.path, "recording", message)
    if seconds < MIN_SECONDS:
        shown = math.floor(100 * seconds) / 100  # not rounded up to the limit
        raise SpaceError(f"The recording {name} is too short: {shown:.2f} s; at least {MIN_SECONDS} s are needed.")
    if _is_silent(speech):
        raise SpaceError(f"The recording {name} is silent. Check the microphone and record again.")
    return recording


def _decode(info: ffmpeg.MediaInfo, max_seconds: float) -> tuple[Recording, str]:
    """At most ``max_seconds`` and one second of a recording, and ffmpeg's error log."""
    channels = 2 if info.channels in (2, None) else 1
    arguments = [*ffmpeg.input_arguments(info.path), "-map", "0:a:0", "-af", _filters(info.channels)]
    arguments += ["-ac", str(channels), "-ar", str(SOUND_RATE), "-t", str(max_seconds + 1), "-f", "f32le", "pipe:1"]
    sound = temporary_file()
    resampler = soxr.ResampleStream(SOUND_RATE, SAMPLE_RATE, channels, dtype="float32")
    speech = []
    # Decoding takes less than 1 % of the duration; in a video, the pictures are skipped.
    with ffmpeg.Process(arguments, 1 + max_seconds / 40, ffmpeg.DECODER_MEMORY, is_fed=False) as decoder:
        with decoder.limit(30 + max_seconds / 2):
            while block := decoder.pipe.read(SOUND_RATE * channels * 4):
                samples = np.frombuffer(block, np.float32, len(block) // (4 * channels) * channels)
                if not np.isfinite(samples).all():
                    raise SpaceError(
                        f"The recording {shown_name(info.path)} has invalid samples (NaN or infinity). Export it again."
                    )
                integers = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
                try:
                    sound.write(integers.data)
                except OSError as failure:
                    raise temporary_fault() from failure
                speech.append(resampler.resample_chunk(integers.reshape(-1, channels) / np.float32(32767)))
            decoder.wait()
        decoder.check_time("recording", info.path)
        try:
            sound.flush()
        except OSError as failure:
            raise temporary_fault() from failure
        speech.append(resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True))
        return Recording(_mono(np.concatenate(speech)), sound, channels), decoder.messages()


def _mono(speech: np.ndarray) -> np.ndarray:
    """The mean (samples,) of one or two channels (samples, channels), or half the difference of two that cancel out."""
    mean = speech.mean(1)
    if speech.shape[1] == 2:
        difference = (speech[:, 0] - speech[:, 1]) / 2
        if difference @ difference > mean @ mean:  # a microphone is wired the wrong way
            mean = difference
    return np.clip(mean, -1, 1)


def _filters(channels: int | None) -> str:
    if channels is None or channels <= 2:
        return TIMELINE_FILTER
    # Without a layout, ffmpeg does not know how to mix them.
    mean = "+".join(f"{1 / channels:.6f}*c{channel}" for channel in range(channels))
    return f"{TIMELINE_FILTER},pan=mono|c0={mean}"


def _is_silent(speech: np.ndarray) -> bool:
    """Whether fewer than four 50 ms windows of ``(samples,)`` have an RMS, without their mean, above -60 dBFS."""
    whole = len(speech) // SILENCE_WINDOW * SILENCE_WINDOW
    windows = speech[:whole].reshape(-1, SILENCE_WINDOW)
    loudness = np.sort(windows.std(axis=1))[::-1]
    return bool(loudness[min(MIN_SPEECH_WINDOWS, len(loudness)) - 1] < 10 ** (SILENCE_DBFS / 20))
