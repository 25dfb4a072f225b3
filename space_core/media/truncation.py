"""Detection of truncated files: interrupted uploads, recorders that crashed."""

import re
from pathlib import Path

from space_core.media.ffmpeg import MediaInfo

# Messages of ffmpeg for files that end too early.
TRUNCATION_MESSAGES = re.compile(r"partial file|ended prematurely|packet corrupt|truncat", re.IGNORECASE)
# Programs that stream a WAV write 0 or a number near 2 or 4 GiB as the size, since they do not have it yet.
MIN_PLACEHOLDER_SIZE = 0x7FFF0000  # bytes
MAX_OGG_PAGE = 65307  # bytes


def is_truncated(info: MediaInfo, seconds: float, error_log: str, other_stream: bool) -> bool:
    """Whether a file is shorter than it declares.

    Args:
        info: what the file declares.
        seconds: the length of what was decoded.
        error_log: ffmpeg's error messages from decoding.
        other_stream: whether the file also has a stream of the other kind (audio beside the decoded video or vice
            versa). That stream may be the longer one, so a difference in duration counts only with a message of ffmpeg.
    """
    if _ends_inside_wav(info.path) or _ends_inside_ogg_page(info.path):
        return True
    if info.seconds is None or seconds >= 0.9 * info.seconds - 0.25:
        return False
    return not other_stream or TRUNCATION_MESSAGES.search(error_log) is not None


def _ends_inside_wav(path: Path) -> bool:
    """Whether a WAV is shorter than its header declares; ffmpeg reads such a file without an error."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return False
        while len(header := file.read(8)) == 8:
            length = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                return length < MIN_PLACEHOLDER_SIZE and file.tell() + length > size + 1024
            file.seek(length + length % 2, 1)
    return False


def _ends_inside_ogg_page(path: Path) -> bool:
    """Whether the last page of an Ogg file is incomplete; Ogg declares no duration to compare with."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(0, size - MAX_OGG_PAGE))
        end = file.read()
    page = end[end.rfind(b"OggS") :]  # capture pattern, 22 bytes, number of segments, their lengths, their content
    return len(page) < 27 or len(page) < 27 + page[26] or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
