"""Runs ffmpeg on the files that users give, restricted to reading those files."""

import os
import re
import subprocess
import time
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast

import imageio_ffmpeg

from space_core.errors import ServerFault, SpaceError
from space_core.media.files import (
    existing_file,
    is_disk_full,
    named_kind,
    shown_name,
    temporary_fault,
    temporary_file,
)
from space_core.processes import children
from space_core.processes.children import KILLED, OUT_OF_TIME, Watchdog, enlarge_pipe
from space_core.processes.memory import out_of_memory

# Containers that hold audio or video themselves. Playlists and scripts (hls, dash, concat, …) are left out, since
# they make ffmpeg open other files and addresses, chosen by the author of an upload.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dv,eac3,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,mxf,nut,ogg,rm,"
    "tta,voc,w64,wav,wv"
)
MAX_PIXELS = 40_000_000  # of one video frame: admits 8K, and rejects small files that declare huge pictures
# Seconds for reading a header, which takes 0.03: of the processors, and by the clock on a busy machine.
PROBE_CPU_SECONDS, PROBE_SECONDS = 2, 60
MAX_REPORT_BYTES = 1 << 20  # of ffmpeg's description of a file, its titles and lyrics included
RESERVED_BYTES = 4096  # of the disk, for messages of ffmpeg
DECODER_MEMORY = 4 << 30  # bytes of address space; a decoder of 40 megapixels with 16 reference frames takes 1.5 GB
TIME_LIMIT_STATUSES = (OUT_OF_TIME, 255)  # the second is that of ffmpeg's own handler
STREAM = re.compile(r"^\s*Stream #0:\d+\S*: (Audio|Video): (.*)$", re.MULTILINE)
# Files that are given by mistake, by how they begin.
OTHER_KINDS = {
    "a PDF": rb"%PDF-",
    "a picture": rb"\xff\xd8\xff|\x89PNG|BM....\0{4}|II\*\0|MM\0\*|RIFF....WEBP|....ftyp(avif|heic|heix|mif1)",
}
DURATION = re.compile(r"^\s*Duration: (\d+):(\d\d):(\d\d\.\d+)(?:, start: (-?[\d.]+))?", re.MULTILINE)


@dataclass(frozen=True)
class MediaInfo:
    """What the header of a media file declares."""

    path: Path  # absolute
    seconds: float | None  # duration; None if the container does not declare it, as in recordings of browsers
    has_sound: bool
    channels: int | None  # of the first sound: 1, 2, or their number where no layout says what they are; else None
    has_pictures: bool  # has a video stream; a cover image does not count


def probe(path: str | Path, kind: str) -> MediaInfo:
    """Reads the header of a media file.

    Args:
        path: the user's file.
        kind: the noun for it in the message: "recording" or "video".

    Raises:
        SpaceError: the file does not exist, is empty, has neither audio nor video, has too large pictures or too much
            text, or takes too long to read.
        ServerFault: there is not enough memory, or the machine is too busy.
    """
    file = existing_file(path, kind)
    text = _header(file, kind)
    streams = STREAM.findall(text)
    if not streams:
        check_binary()
        raise _no_media(file, kind, text)
    if kind == "video" and "exceeds specified max pixel count" in text:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels"
        raise SpaceError(f"The pictures of {shown_name(file)} are too large; the limit is {limit}. Scale them down.")
    sounds = [details for medium, details in streams if medium == "Audio"]
    return MediaInfo(
        path=file,
        seconds=_declared_seconds(text),
        has_sound=bool(sounds),
        channels=_channels(sounds[0]) if sounds else None,
        has_pictures=any(medium == "Video" and "(attached pic)" not in details for medium, details in streams),
    )


def _header(file: Path, kind: str) -> str:
    """What ffmpeg says of a file when it opens it.

    Raises:
        SpaceError: it takes too long, or holds too much text.
        ServerFault: there is not enough memory, or the machine is too busy.
    """
    begun = time.monotonic()
    process = _start(
        input_arguments(file),
        PROBE_CPU_SECONDS,
        DECODER_MEMORY,
        death_signal=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        with closing(Watchdog(process)) as watchdog, watchdog.limit(PROBE_SECONDS):
            report = cast(BinaryIO, process.stderr).read(MAX_REPORT_BYTES + 1)
            if is_whole := len(report) <= MAX_REPORT_BYTES:
                process.wait()
    finally:
        process.kill()
        process.wait()
        cast(BinaryIO, process.stderr).close()
    if watchdog.has_starved:
        raise too_busy(kind)
    if watchdog.has_killed or process.returncode in TIME_LIMIT_STATUSES or not is_whole:
        raise too_slow(kind, file)
    if process.returncode == KILLED:
        # At its limit of time, if it does not end by itself at once; else by the system, which has no memory left.
        raise too_slow(kind, file) if time.monotonic() - begun > PROBE_CPU_SECONDS else out_of_memory()
    return report.decode("utf-8", "replace")


def _no_media(file: Path, kind: str, text: str) -> SpaceError:
    """Why a file whose header has no streams is no recording or video."""
    examples = "WAV, MP3, M4A, FLAC, Ogg or WebM" if kind == "recording" else "MP4, MOV, WebM or MKV"
    with file.open("rb") as content:
        start = content.read(12)
    if other := named_kind(start, OTHER_KINDS):
        return SpaceError(f"{shown_name(file)} is {other}, not a {kind}. Use {examples}.")
    if start[4:8] == b"ftyp" and "moov atom not found" in text:
        return SpaceError(f"The {kind} {shown_name(file)} is cut off or damaged. Save or upload it again.")
    return SpaceError(f"{shown_name(file)} is not a {kind} that can be read, or it is damaged. Use {examples}.")


def _declared_seconds(text: str) -> float | None:
    """The duration that a header declares; None if it does not."""
    # A duration that ffmpeg estimates from the bit rate does not show where the file should end.
    declared = None if "Estimating duration from bitrate" in text else DURATION.search(text)
    if declared is None:
        return None
    seconds = sum(float(n) * unit for n, unit in zip(declared.groups()[:3], (3600, 60, 1), strict=True))
    if seconds and "Input #0, matroska" in text:  # whose duration is the time at which it ends
        seconds -= float(declared[4])
    return seconds


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


def version() -> str:
    """What the executable reports with "-version"; empty if it gives no answer."""
    try:
        done = subprocess.run([binary(), "-version"], capture_output=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def check_binary() -> None:
    """Checks that the executable is ffmpeg: for a program that gave no answer.

    Raises:
        SpaceError: it is another program, or none.
    """
    if not version().startswith("ffmpeg version"):
        variable = "IMAGEIO_FFMPEG_EXE"
        name = f"that {variable} names" if os.environ.get(variable) else "of the package imageio-ffmpeg"
        raise SpaceError(f"The program {name} is not a working ffmpeg. Set {variable} to the path of one.")


def too_slow(kind: str, path: Path) -> SpaceError:
    """The error for a file that takes longer to read than it may."""
    return SpaceError(f"The {kind} {shown_name(path)} takes too long to read. Convert it to another format.")


def too_busy(kind: str) -> ServerFault:
    """The fault for a file whose reader got too little of the processors in its time."""
    return ServerFault(f"Reading the {kind} took too long, as this machine is busy. Try again later.", "timeout")


def _channels(details: str) -> int | None:
    """The number of channels by what ffmpeg reports of a stream; None for more than two in a usual layout."""
    for layout, number in (("mono", 1), ("stereo", 2)):
        if f", {layout}" in details:
            return number
    unknown = re.search(r", (\d+) channels", details)
    return int(unknown[1]) if unknown else None


class Process:
    """A running ffmpeg and the pipe from it or to it; nothing it does takes longer than it may.

    Attributes:
        pipe: what it writes, or where its input is written.
    """

    def __init__(
        self,
        arguments: list[str],
        cpu_seconds: float,
        memory_bytes: int = 0,
        *,
        is_fed: bool,
        stdout: IO[bytes] | None = None,
        descriptors: tuple[int, ...] = (),
    ) -> None:
        """Starts ffmpeg.

        Args:
            arguments: everything but the program and its log settings.
            cpu_seconds, memory_bytes: its limits, see ``children.start``.
            is_fed: whether the pipe is its input instead of its output.
            stdout: where one that is fed writes what it writes to "pipe:1"; None drops it.
            descriptors: of files that it inherits.

        Raises:
            SpaceError: ffmpeg can't be started.
        """
        # Not a pipe: ffmpeg would block when it is full.
        self._error_log = temporary_file()
        try:
            # Its first messages have room, or one about a full disk could not be written, either.
            self._error_log.write(bytes(RESERVED_BYTES))
            self._error_log.seek(0)
            self._process = _start(
                ["-nostats", "-loglevel", "error", *arguments],
                cpu_seconds,
                memory_bytes,
                death_signal=is_fed,
                stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
                stdout=(stdout or subprocess.DEVNULL) if is_fed else subprocess.PIPE,
                stderr=self._error_log,
                pass_fds=descriptors,
            )
        except BaseException as failure:
            with suppress(OSError):  # what was not written can't be now
                self._error_log.close()
            if isinstance(failure, OSError) and is_disk_full(failure):
                raise temporary_fault() from failure
            raise
        self.pipe = cast(BinaryIO, self._process.stdin if is_fed else self._process.stdout)
        enlarge_pipe(self.pipe.fileno())
        try:
            self._watchdog = Watchdog(self._process)
        except RuntimeError:  # no further thread can be started
            self._process.kill()
            self._process.wait()
            self.pipe.close()
            self._error_log.close()
            raise

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because it took too long."""
        return self._watchdog.has_killed or self._process.poll() in TIME_LIMIT_STATUSES

    def check_time(self, kind: str, file: Path) -> None:
        """For one that reads a user's file and has ended: checks that it was not stopped.

        Raises:
            SpaceError: the file takes too long to read.
            ServerFault: the machine is too busy.
        """
        if self._watchdog.has_starved:
            raise too_busy(kind)
        if self.timed_out:
            raise too_slow(kind, file)

    def limit(self, seconds: float) -> AbstractContextManager[None]:
        """A context for waiting, in which ffmpeg is killed after ``seconds``."""
        return self._watchdog.limit(seconds)

    def wait(self) -> int:
        """Waits for its end; returns the exit status."""
        return self._process.wait()

    def messages(self) -> str:
        """The last 64 KiB of its error messages."""
        self._error_log.seek(max(0, self._error_log.seek(0, 2) - 65536))
        return self._error_log.read().rstrip(b"\0").decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends ffmpeg in any state, waits for it and closes its pipe."""
        self._process.kill()
        self._process.wait()
        self._watchdog.close()
        with suppress(OSError):  # buffered bytes can't be flushed to a process that has ended
            self.pipe.close()
        self._error_log.close()


def _start(
    arguments: list[str], cpu_seconds: float, memory_bytes: int, death_signal: bool, **options: Any
) -> subprocess.Popen[bytes]:
    command = [binary(), "-hide_banner", "-nostdin", *arguments]
    try:
        return children.start(command, cpu_seconds, memory_bytes, death_signal=death_signal, **options)
    except OSError:
        check_binary()
        raise
