"""When a visitor is shown progress, and how long the rest of a film will take."""

import time

from space_core.web.jobs import Step
from space_core.web.metrics import Metrics

SHOWN_EVERY = 0.2  # seconds between two steps that are shown


class ProgressClock:
    """Measures how long the stages of a film take, and estimates how long the rest of it will."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stage, self._since, self._shown = "", time.monotonic(), 0.0

    def is_due(self, step: Step) -> bool:
        """Whether a step is to be shown: the first of a stage, the last, and a few a second between them."""
        now = time.monotonic()
        if step.stage != self._stage:
            self.end_stage()
            self._stage, self._since, self._shown = step.stage, now, 0.0
        if now - self._shown < SHOWN_EVERY and step.done < step.total:
            return False
        self._shown = now
        return True

    def end_stage(self) -> None:
        """Adds the time of the current stage to the metrics."""
        if self._stage:
            self._metrics.observe_stage(self._stage, time.monotonic() - self._since)

    def seconds_left(self, step: Step) -> float | None:
        """Until the film is made; None before enough of its frames are rendered."""
        elapsed = time.monotonic() - self._since
        if step.stage != "frames" or step.done < 10 or elapsed < 0.5:
            return None
        return elapsed / step.done * (step.total - step.done)
