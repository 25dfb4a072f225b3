"""How many frames an ffmpeg has encoded, as it reports: its own queues take a score of frames, of whatever size."""

import os
import re
from functools import cache

from space_core.media import ffmpeg

FIRST_VERSION = 6  # of ffmpeg, that reports frames


class EncodedFrames:
    """Counts the frames that one ffmpeg has encoded."""

    def __init__(self) -> None:
        self._count = 0
        self._reader, self._writer = os.pipe()

    @property
    def arguments(self) -> list[str]:
        """ffmpeg's arguments for its output; the process is to inherit ``descriptors``."""
        return ["-stats_enc_post:v", f"pipe:{self._writer}", "-stats_enc_post_fmt:v", "{n}"]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the process of ffmpeg is to inherit."""
        return (self._writer,)

    def begin(self) -> None:
        """To be called when ffmpeg has started, which then alone can write reports."""
        os.close(self._writer)

    def wait_for(self, count: int) -> None:
        """Waits until so many frames are encoded, or ffmpeg has ended."""
        while self._count < count:
            report = os.read(self._reader, 4096)
            if not report:
                return
            self._count += report.count(b"\n")

    def close(self) -> None:
        """Gives up the reports."""
        os.close(self._reader)


@cache
def can_be_counted() -> bool:
    """Whether this system's ffmpeg reports the frames that it has encoded."""
    if os.name != "posix":  # no descriptors are inherited elsewhere
        return False
    number = re.match(r"ffmpeg version n?(\d+)\.", ffmpeg.version())
    return number is not None and int(number[1]) >= FIRST_VERSION
