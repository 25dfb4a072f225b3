"""Figures about the service for Prometheus. No label ever holds anything that a visitor gave."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

REASONS = ("input", "stopped", "full", "left", "error")
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters and clocks of one running service."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._asked = Counter("space_asked", "Requests by endpoint.", ["endpoint"], registry=registry)
        self._failed = Counter(
            "space_failed",
            "Requests without a result, by endpoint and reason.",
            ["endpoint", "reason"],
            registry=registry,
        )
        self._stage = Histogram(
            "space_stage_seconds", "Time a stage took.", ["stage"], buckets=SECONDS, registry=registry
        )
        self._frames = Counter("space_frames", "Frames filmed.", registry=registry)
        self._filming = Counter("space_filming_seconds", "Time spent filming.", registry=registry)
        self._speed = Gauge("space_frames_per_second", "Frames a second of the latest film.", registry=registry)
        self._queue = Gauge("space_queue_length", "Visitors who wait.", registry=registry)

    def asked(self, endpoint: str) -> None:
        """A visitor asked for something; ``endpoint`` is a name of ours."""
        self._asked.labels(endpoint).inc()

    def failed(self, endpoint: str, reason: str) -> None:
        """A request ended without a result.

        ``reason``: "input" (the visitor's files or options), "stopped" (by the visitor), "full" (no place in the
        queue), "left" (the visitor went away) or "error" (a fault of ours); ``ValueError`` for any other.
        """
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no reason; one of {', '.join(REASONS)}")
        self._failed.labels(endpoint, reason).inc()

    def stage(self, stage: str, seconds: float) -> None:
        """A stage of the pipeline took ``seconds``; ``stage`` is a name of ours."""
        self._stage.labels(stage).observe(seconds)

    def filmed(self, frames: int, seconds: float) -> None:
        """A film of ``frames`` was made in ``seconds``."""
        self._frames.inc(frames)
        self._filming.inc(seconds)
        if seconds > 0:
            self._speed.set(frames / seconds)

    def queue(self, length: Callable[[], int]) -> None:
        """From now on, the queue's length is what ``length`` returns."""
        self._queue.set_function(length)

    def text(self) -> bytes:
        """All figures in Prometheus' text format, of type ``content_type``."""
        return generate_latest(self._registry)
