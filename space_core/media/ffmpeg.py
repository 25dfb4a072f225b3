"""Runs ffmpeg on the files that users give, restricted to reading those files."""

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import BinaryIO, cast

import imageio_ffmpeg

from space_core.errors import SpaceError
from space_core.media.files import existing_file, shown_name

if sys.platform == "linux":
    from fcntl import F_SETPIPE_SZ, fcntl


# Containers that hold audio or video themselves. Playlists and scripts (hls, dash, concat, …) are left out, since
# they make ffmpeg open other files and addresses, chosen by the author of an upload.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dv,eac3,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,mxf,nut,ogg,rm,"
    "tta,voc,w64,wav,wv"
)
MAX_PIXELS = 40_000_000  # of one video frame: admits 8K, and rejects small files that declare huge pictures
PROBE_TIMEOUT = 60  # seconds
PIPE_BYTES = 1 << 20  # the largest pipe that Linux allows without privileges
STREAM = re.compile(r"^\s*Stream #0:\d+\S*: (Audio|Video): (.*)$", re.MULTILINE)
DURATION = re.compile(r"^\s*Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)


Decoder = tuple[subprocess.Popen[bytes], BufferedReader]
Encoder = tuple[subprocess.Popen[bytes], BufferedWriter]


@dataclass(frozen=True)
class MediaInfo:
    """What the header of a media file declares."""

    path: Path  # absolute
    seconds: float | None  # duration; None if the container does not declare it, as in recordings of browsers
    has_sound: bool
    has_pictures: bool  # has a video stream; a cover image does not count


def probe(path: str | Path, kind: str) -> MediaInfo:
    """Reads the header of a media file.

    Args:
        path: the user's file.
        kind: the noun for it in the message: "recording" or "video".

    Raises:
        SpaceError: the file does not exist, is empty, has neither audio nor video, or has too large pictures.
    """
    file = existing_file(path, kind)
    command = [binary(), "-hide_banner", "-nostdin", *input_arguments(file)]
    try:
        report = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT).stderr
    except subprocess.TimeoutExpired:
        raise SpaceError(
            f"Reading the {kind} {shown_name(file)} takes too long. Convert it to another format."
        ) from None
    text = report.decode("utf-8", "replace")
    streams = STREAM.findall(text)
    if not streams:
        with file.open("rb") as content:
            start = content.read(12)
        if start[4:8] == b"ftyp" and "moov atom not found" in text:
            raise SpaceError(f"The {kind} {shown_name(file)} is cut off or damaged. Save or upload it again.")
        examples = "WAV, MP3, M4A, FLAC, Ogg or WebM" if kind == "recording" else "MP4, MOV, WebM or MKV"
        raise SpaceError(f"{shown_name(file)} is not a {kind} that can be read, or it is damaged. Use {examples}.")
    if kind == "video" and "exceeds specified max pixel count" in text:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels"
        raise SpaceError(f"The pictures of {shown_name(file)} are too large; the limit is {limit}. Scale them down.")
    # A duration that ffmpeg estimates from the bit rate does not show where the file should end.
    declared = None if "Estimating duration from bitrate" in text else DURATION.search(text)
    return MediaInfo(
        path=file,
        seconds=sum(float(n) * unit for n, unit in zip(declared.groups(), (3600, 60, 1), strict=True))
        if declared
        else None,
        has_sound=any(sort == "Audio" for sort, _ in streams),
        has_pictures=any(sort == "Video" and "(attached pic)" not in details for sort, details in streams),
    )


def input_arguments(path: Path) -> list[str]:
    """ffmpeg's arguments to read a user's file and no other file.

    The prefix ``file:`` prevents names such as "concat:a|b" or "http:x" from being read as protocols.
    """
    whitelists = ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    return [*whitelists, "-max_pixels", str(MAX_PIXELS), "-i", f"file:{path}"]


@cache
def binary() -> str:
    """The path of the ffmpeg executable that the package imageio-ffmpeg provides.

    Raises:
        SpaceError: imageio-ffmpeg has none for this platform.
    """
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise SpaceError(
            "There is no ffmpeg for this machine. Install ffmpeg or set IMAGEIO_FFMPEG_EXE to its path."
        ) from None


def start_decoder(arguments: list[str], error_log: BinaryIO) -> Decoder:
    """Starts ffmpeg; returns the process and the pipe to read its output from.

    Args:
        arguments: everything but the program and its log settings; a list, so that no shell parses names in it.
        error_log: an open file for ffmpeg's messages. Not a pipe: ffmpeg would block when nobody reads it.
    """
    process = _start(arguments, error_log, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    output = cast(BufferedReader, process.stdout)
    _enlarge(output.fileno())
    return process, output


def start_encoder(arguments: list[str], error_log: BinaryIO) -> Encoder:
    """Starts ffmpeg; returns the process and the pipe to write its input to. See ``start_decoder``."""
    process = _start(arguments, error_log, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    pipe = cast(BufferedWriter, process.stdin)
    _enlarge(pipe.fileno())
    return process, pipe


def _start(arguments: list[str], error_log: BinaryIO, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [binary(), "-hide_banner", "-nostats", "-loglevel", "error", "-nostdin", *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=error_log,
        start_new_session=True,  # Ctrl-C reaches only Python, which stops ffmpeg and removes unfinished files
    )


def _enlarge(pipe: int) -> None:
    """Gives a pipe a larger buffer: with Linux' default of 64 KiB, raw 4K frames take twice the time to transfer."""
    if sys.platform == "linux":
        with suppress(OSError):  # the user's limit of pipe memory is reached; the pipe works as it is
            fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends an ffmpeg process in any state, waits for it and closes its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # buffered bytes can't be flushed to a process that has ended
                pipe.close()


def read_error_log(error_log: BinaryIO) -> str:
    """The last 64 KiB of what ffmpeg wrote to the file given to ``start_decoder`` or ``start_encoder``."""
    error_log.seek(max(0, error_log.seek(0, 2) - 65536))
    return error_log.read().decode("utf-8", "replace")
