"""The options of a live stream, which may change while it runs."""

import threading
from dataclasses import replace
from typing import Any

from space_core.errors import SpaceError
from space_core.motion.live.options import CHANGEABLE_OPTIONS
from space_core.options import AnimationOptions


class LiveControl:
    """The options of a stream that may change while it runs; may be used from several threads."""

    def __init__(self, options: AnimationOptions | None = None) -> None:
        self._options = options or AnimationOptions()
        self._lock = threading.Lock()

    @property
    def options(self) -> AnimationOptions:
        """The present options."""
        return self._options

    def update(self, **changes: Any) -> None:
        """Changes options by name; the face follows within 0.8 s, from the next frames on that are planned.

        Args:
            changes: of ``CHANGEABLE_OPTIONS``, see ``AnimationOptions``. The seconds of an emotion's timeline are
                counted from the change.

        Raises:
            SpaceError: a value is out of range, or an option can't change while a stream runs.
        """
        if fixed := [name for name in changes if name not in CHANGEABLE_OPTIONS]:
            raise SpaceError(
                f"{' and '.join(fixed)} can't change while a stream runs; what can is {', '.join(CHANGEABLE_OPTIONS)}."
            )
        with self._lock:
            self._options = replace(self._options, **changes)
