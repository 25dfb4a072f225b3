"""Detection of encrypted MP4, M4A and MOV: purchased music, audio books and films. ffmpeg reads noise from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from space_core.errors import SpaceError
from space_core.media.files import shown_name

PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")  # boxes, each within the one before
PROTECTION = b"sinf", b"adrm"  # boxes of a track's description: Common Encryption and FairPlay; Audible
MAX_BOXES = 10_000  # at one level; files of hours have thousands of fragments
MAX_DESCRIPTION = 1 << 16  # bytes


def decoding_error(path: Path, kind: str, message: str) -> SpaceError:
    """The error for a file that could not be decoded: that it is encrypted where it is, otherwise ``message``.

    Args:
        path: an existing file.
        kind: the noun for it in the message: "recording" or "video".
        message: what is wrong with the file if it is not encrypted.
    """
    if _is_encrypted(path):
        message = f"The {kind} {shown_name(path)} is encrypted. Give a copy without copy protection."
    return SpaceError(message)


def _is_encrypted(path: Path) -> bool:
    """Whether a file is an MP4 or its like with an encrypted track."""
    with path.open("rb") as file:
        is_mp4 = file.read(12)[4:8] == b"ftyp"
        return is_mp4 and any(box in description for description in _descriptions(file) for box in PROTECTION)


def _descriptions(file: BinaryIO) -> Iterator[bytes]:
    """The boxes ``stsd`` of all tracks."""
    spans = [(0, file.seek(0, 2))]
    for name in PATH:
        spans = [inner for start, end in spans for inner in _boxes(file, name, start, end)]
    for start, end in spans:
        file.seek(start)
        yield file.read(min(end - start, MAX_DESCRIPTION))


def _boxes(file: BinaryIO, name: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the content of each box of a name begins and ends, of the boxes between two places of a file."""
    for _ in range(MAX_BOXES):
        file.seek(start)
        header = file.read(16)
        length, content = int.from_bytes(header[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(header[8:], "big"), start + 16
        following = start + length if length else end  # 0: until the end
        if len(header) < 8 or not content <= following <= end:
            return
        if header[4:8] == name:
            yield content, following
        start = following
