"""How many pictures of a live stream are drawn, so that a slow generator does not fall behind the sound."""

import math
import time
from dataclasses import dataclass

from space_core.motion.motion import Motion
from space_core.timing import FPS

NEWEST_SHARE = 0.5  # of the latest pictures in the mean time of a picture


@dataclass(frozen=True)
class PlannedSegment:
    """Motion to be drawn.

    Attributes:
        motion: a few frames.
        arrived: when its sound came, on the monotonic clock, if it was waited for; None where it was there before.
    """

    motion: Motion
    arrived: float | None


class Pace:
    """The time at which frames are due, and how many of them can be drawn until then.

    A frame is due 1/25 s after the one before it, but not before its sound has come. Used by the thread that draws;
    others may ask ``is_late``.
    """

    def __init__(self, skip_after: float) -> None:
        """``skip_after``: seconds by which frames may be late before pictures are skipped; infinity skips none."""
        self._skip_after = skip_after
        self._due = -math.inf  # of the first frame that has not been delivered, on the monotonic clock
        self._seconds: float | None = None  # mean of a picture; None before the first one

    @property
    def is_late(self) -> bool:
        """Whether pictures are skipped now, if any more motion is there."""
        return self._lag() > self._skip_after

    def pictures_of(self, planned: PlannedSegment, is_newest: bool) -> int:
        """How many pictures of the next segment are to be drawn; at least one of the newest."""
        if math.isinf(self._due) or planned.arrived is not None:
            self._due = max(self._due, planned.arrived or time.monotonic())
        count = len(planned.motion)
        if math.isinf(self._skip_after):
            return count
        if self._seconds is None:
            return 1  # a whole segment of a generator that takes a second for a picture would be late by seconds
        seconds = count / FPS + self._skip_after - self._lag()
        return int(min(max(seconds / self._seconds, is_newest), count))

    def count_pictures(self, count: int, seconds: float) -> None:
        """Updates the mean time of a picture with ``count`` pictures that took so many seconds."""
        latest = max(seconds / count, 1e-6)
        self._seconds = latest if self._seconds is None else self._seconds + NEWEST_SHARE * (latest - self._seconds)

    def count_frame(self, waited: float) -> None:
        """Advances the due time by a frame that was delivered.

        ``waited`` are the seconds for which the frame waited for its reader; they do not count as lateness, as skipping
        pictures can't make up for a slow reader.
        """
        self._due += 1 / FPS + min(waited, max(self._lag(), 0))

    def _lag(self) -> float:
        return time.monotonic() - self._due
