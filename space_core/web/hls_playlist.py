"""HTTP Live Streaming (RFC 8216) of a fragmented MP4 that is being written: its segments, and the playlist of them."""

import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from space_core.media.video_writer import KEY_FRAME_SECONDS
from space_core.timing import FPS

TARGET_SECONDS = round(KEY_FRAME_SECONDS)  # of a segment; each begins with a key frame
VIDEO_TRACK = 1
NO_KEY_FRAME = 0x10000  # of a sample's flags (ISO/IEC 14496-12, 8.8.3.1)


@dataclass(frozen=True)
class Part:
    """Bytes of the file, and how many frames are in them."""

    first: int
    end: int
    num_frames: int


class HlsPlaylist:
    """The segments of one file; keeps it open, so that they can be read when it has been removed.

    May be closed by another thread; nothing is there any more then.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._lock = threading.Lock()
        self._header_end = 0
        self._segments: list[Part] = []
        self._position = 0  # of the next box
        self._begun = Part(0, 0, 0)  # a segment of which the end has not been seen
        self._has_ended = False

    def update(self, has_ended: bool) -> None:
        """Finds the segments that have become complete; ``has_ended``: nothing more is written."""
        while (box := self._next_box()) is not None:
            kind, first, end = box
            if kind == b"moov":
                self._header_end = end
            elif kind == b"moof":
                num_frames, begins_with_key_frame = _video(self._read(first, end) or b"")
                if begins_with_key_frame and self._begun.num_frames >= TARGET_SECONDS * FPS:
                    self._segments.append(self._begun)
                    self._begun = Part(0, 0, 0)
                start = self._begun.first or self._position
                self._begun = Part(start, end, self._begun.num_frames + num_frames)
            elif kind == b"mdat":
                self._begun = Part(self._begun.first, end, self._begun.num_frames)
            self._position = end
        if has_ended and not self._has_ended:
            self._has_ended = True
            if self._begun.num_frames:
                self._segments.append(self._begun)

    @property
    def is_begun(self) -> bool:
        """Whether there is a segment, or the film has ended without one."""
        return bool(self._segments) or self._has_ended

    def text(self, name: str) -> str:
        """The playlist; ``name`` is that of the film, of which the names of its segments are made."""
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{TARGET_SECONDS}", "#EXT-X-PLAYLIST-TYPE:EVENT"]
        lines += ["#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-START:TIME-OFFSET=0", f'#EXT-X-MAP:URI="{name}.init.mp4"']
        for number, segment in enumerate(self._segments):
            lines += [f"#EXTINF:{segment.num_frames / FPS:.2f},", f"{name}.{number}.m4s"]
        return "\n".join([*lines, *["#EXT-X-ENDLIST"] * self._has_ended, ""])

    def header(self) -> bytes | None:
        """What players read before any segment; None where it isn't there."""
        return self._read(0, self._header_end)

    def segment(self, number: int) -> bytes | None:
        """A segment; None where there is none of this number, or not yet."""
        if number >= len(self._segments):
            return None
        return self._read(self._segments[number].first, self._segments[number].end)

    def close(self) -> None:
        """Closes the film's file; nothing can be read from it any more."""
        with self._lock:
            self._file.close()

    def _next_box(self) -> tuple[bytes, int, int] | None:
        """The kind, the beginning of the content and the end of the next box; None before all of it is written."""
        first = self._position
        header = self._read(first, first + 8)
        if header is None:
            return None
        length, kind = struct.unpack(">I4s", header)
        is_whole = length >= 8 and self._read(first + length - 1, first + length) is not None
        return (kind, first + 8, first + length) if is_whole else None

    def _read(self, first: int, end: int) -> bytes | None:
        """Bytes of the file; None where they are not all there, or none at all."""
        with self._lock:
            if self._file.closed:
                return None
            self._file.seek(first)
            content = self._file.read(end - first)
        return content if content and len(content) == end - first else None


def _video(fragment: bytes) -> tuple[int, bool]:
    """How many frames a fragment has, and whether the first is a key frame; its content is that of its moof box."""
    num_frames, begins_with_key_frame = 0, False
    for content in _boxes(fragment, b"traf"):
        (header,) = _boxes(content, b"tfhd")
        flags, track = struct.unpack_from(">II", header)
        if track != VIDEO_TRACK:
            continue
        # 0x1, 0x2, 0x8, 0x10: what stands before the default flags of samples, 0x20.
        before = 8 * bool(flags & 0x1) + 4 * sum(bool(flags & bit) for bit in (0x2, 0x8, 0x10))
        sample_flags = struct.unpack_from(">I", header, 8 + before)[0] if flags & 0x20 else 0
        for run in _boxes(content, b"trun"):
            flags, count = struct.unpack_from(">II", run)
            at = 8 + 4 * bool(flags & 0x1)
            if flags & 0x4:  # of the first sample
                (sample_flags,) = struct.unpack_from(">I", run, at)
            elif flags & 0x400:  # of each, after its duration and its size
                (sample_flags,) = struct.unpack_from(">I", run, at + 4 * bool(flags & 0x100) + 4 * bool(flags & 0x200))
            if not num_frames and count:
                begins_with_key_frame = not sample_flags & NO_KEY_FRAME
            num_frames += count
    return num_frames, begins_with_key_frame


def _boxes(content: bytes, kind: bytes) -> list[bytes]:
    """The contents of the boxes of a kind that follow each other in ``content``."""
    found, first = [], 0
    while first + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, first)
        if length < 8:
            break
        if name == kind:
            found.append(content[first + 8 : first + length])
        first += length
    return found
