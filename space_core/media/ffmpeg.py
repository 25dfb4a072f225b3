"""How ffmpeg is run on the files users give, so that it reads those and nothing else."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import imageio_ffmpeg

from space_core.errors import SpaceError
from space_core.media.files import existing_file, shown_name

# Containers that hold sound or moving pictures themselves. Playlists and scripts (hls, dash, concat, …) are not
# among them: those make ffmpeg open other files and addresses that the author of an upload chose.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dv,eac3,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,mxf,nut,ogg,rm,"
    "tta,voc,w64,wav,wv"
)
MAX_PIXELS = 40_000_000  # of one video frame: 8K fits; a small file that claims a giant picture doesn't
PROBE_TIMEOUT = 60  # seconds
STREAM = re.compile(r"^\s*Stream #0:\d+\S*: (Audio|Video): (.*)$", re.MULTILINE)
DURATION = re.compile(r"^\s*Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)


@dataclass(frozen=True)
class MediaInfo:
    """What a file declares about itself."""

    path: Path  # absolute
    seconds: float | None  # None: the container doesn't say, as with recordings a browser streams
    has_sound: bool
    has_pictures: bool  # moving ones; a cover image doesn't count


def probe(path: str | Path, kind: str) -> MediaInfo:
    """Reads a file's header.

    Args:
        path: the user's file.
        kind: what it is for, in the words of the message: "recording" or "video".

    Raises:
        SpaceError: no such file, an empty one, one that holds neither sound nor video, or one with giant pictures.
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
    # An estimate from the first bit rates says nothing about where the file should end.
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
    """ffmpeg's arguments to read a user's file, and nothing but that file.

    The ``file:`` in front keeps names such as "concat:a|b" or "http:x" from being taken for protocols.
    """
    whitelists = ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    return [*whitelists, "-max_pixels", str(MAX_PIXELS), "-i", f"file:{path}"]


@cache
def binary() -> str:
    """The ffmpeg executable that the package imageio-ffmpeg brings.

    Raises:
        SpaceError: there is none for this kind of machine.
    """
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise SpaceError(
            "There is no ffmpeg for this machine. Install ffmpeg or set IMAGEIO_FFMPEG_EXE to its path."
        ) from None


def start(arguments: list[str], complaints: BinaryIO, feeds: bool = False) -> subprocess.Popen:
    """Starts ffmpeg with a pipe to read its output from (or, with ``feeds``, to write its input to).

    Args:
        arguments: all but the program itself; a list, so no shell ever reads a name in it.
        complaints: an open file for what ffmpeg has to say. A file, since an unread pipe would block ffmpeg.
    """
    return subprocess.Popen(
        [binary(), "-hide_banner", "-nostats", "-loglevel", "error", "-nostdin", *arguments],
        stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if feeds else subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,  # Ctrl-C is for Python to handle: it stops ffmpeg and tidies up
    )


def stop(process: subprocess.Popen) -> None:
    """Ends an ffmpeg process, wherever it is in its work, and waits until it is gone."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # bytes it had not taken yet can't be flushed to it any more
                continue


def read_complaints(complaints: BinaryIO) -> str:
    """The last of what ffmpeg wrote to the file given to ``start``; at most 64 KiB of it."""
    complaints.seek(max(0, complaints.seek(0, 2) - 65536))
    return complaints.read().decode("utf-8", "replace")
