"""Whether a file ends before what it promised: an upload that broke off, a recorder that crashed."""

import re
from pathlib import Path

from space_core.media.ffmpeg import MediaInfo

# What ffmpeg says of a file that ends too early.
COMPLAINTS = re.compile(r"partial file|ended prematurely|packet corrupt|truncat", re.IGNORECASE)
# Programs that stream a WAV write 0 or a number near 2 or 4 GiB for a size they don't know yet: that is no promise.
WAV_STREAMED = 0x7FFF0000
OGG_PAGE = 65307  # bytes, at most


def is_truncated(info: MediaInfo, seconds: float, complaints: str, other_stream: bool) -> bool:
    """Whether a file is shorter than it should be.

    Args:
        info: what the file declares.
        seconds: how much could be read.
        complaints: what ffmpeg wrote meanwhile.
        other_stream: the file also holds sound beside the pictures read (or the other way round), which may well be
            the longer one; then a difference in duration needs a complaint of ffmpeg's to count.
    """
    if _ends_inside_wav(info.path) or _ends_inside_ogg_page(info.path):
        return True
    if info.seconds is None or seconds >= 0.9 * info.seconds - 0.25:
        return False
    return not other_stream or COMPLAINTS.search(complaints) is not None


def _ends_inside_wav(path: Path) -> bool:
    """Whether a WAV is shorter than its header says; ffmpeg takes it for a shorter recording."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return False
        while len(header := file.read(8)) == 8:
            length = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                return length < WAV_STREAMED and file.tell() + length > size + 1024
            file.seek(length + length % 2, 1)
    return False


def _ends_inside_ogg_page(path: Path) -> bool:
    """Whether an Ogg's last page is incomplete; Ogg declares no duration that could be compared."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(0, size - OGG_PAGE))
        end = file.read()
    page = end[end.rfind(b"OggS") :]  # capture pattern, 22 bytes, number of segments, their lengths, their content
    return len(page) < 27 or len(page) < 27 + page[26] or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
