"""Metrics of the service for Prometheus. No label ever holds anything that a visitor gave."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from space_core.errors import FAULT_REASONS

REASONS = ("input", "stopped", "full", "limit", "left", "restarting", *FAULT_REASONS)
REPLICAS = {
    "replicas": "Replicas of the pipeline that run.",
    "busy": "Replicas that make a film.",
    "waiting": "Films that wait for a replica.",
}
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters, histograms and gauges of one running service."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter("space_asked", "Requests by endpoint.", ["endpoint"], registry=registry)
        self._failures = Counter(
            "space_failed",
            "Requests without a result, by endpoint and reason.",
            ["endpoint", "reason"],
            registry=registry,
        )
        self._stages = Histogram(
            "space_stage_seconds", "Time a stage took.", ["stage"], buckets=SECONDS, registry=registry
        )
        self._frames = Counter("space_frames", "Frames filmed.", registry=registry)
        self._film_seconds = Counter("space_filming_seconds", "Time spent filming.", registry=registry)
        self._speed = Gauge("space_frames_per_second", "Frames a second of the latest film.", registry=registry)
        self._addresses = Gauge(
            "space_addresses",
            "Addresses whose requests or uploads of late are counted for the limits of one visitor.",
            ["limit"],
            registry=registry,
        )
        self._queue_length = Gauge("space_queue_length", "Visitors who wait.", registry=registry)
        self._live = Gauge("space_live_sessions", "Live sessions.", registry=registry)
        self._live_frames = Counter("space_live_frames", "Frames of live sessions.", registry=registry)
        self._live_skipped = Counter(
            "space_live_frames_skipped",
            "Frames of live sessions whose picture was skipped, to keep up with the sound.",
            registry=registry,
        )
        self._stuck = Gauge("space_stuck_jobs", "Jobs past their time limit that do not end.", registry=registry)

    def count_request(self, endpoint: str) -> None:
        """Counts a request; ``endpoint`` is a fixed name, never a visitor's word."""
        self._requests.labels(endpoint).inc()

    def count_failure(self, endpoint: str, reason: str) -> None:
        """Counts a request that ended without a result.

        Args:
            endpoint: see ``count_request``.
            reason: "input" (the visitor's files or options), "stopped" (by the visitor), "full" (no place in the
                queue), "limit" (of one visitor), "left" (the visitor went away), "restarting" (the server ends), or
                one of ``FAULT_REASONS``: a fault of the server.

        Raises:
            ValueError: any other reason.
        """
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no reason; one of {', '.join(REASONS)}")
        self._failures.labels(endpoint, reason).inc()

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Adds the time that a stage of the pipeline took; ``stage`` is a name of ``Progress``."""
        self._stages.labels(stage).observe(seconds)

    def observe_film(self, num_frames: int, seconds: float) -> None:
        """Adds a film and the time that it took."""
        self._frames.inc(num_frames)
        self._film_seconds.inc(seconds)
        if seconds > 0:
            self._speed.set(num_frames / seconds)

    def count_live_frame(self, is_skipped: bool) -> None:
        """Counts a frame of a live session; ``is_skipped``: its picture was not drawn."""
        self._live_frames.inc()
        self._live_skipped.inc(is_skipped)

    def track_addresses(self, limit: str, number: Callable[[], int]) -> None:
        """From now on, ``number`` returns how many addresses a limit counts: that of "requests" or of "uploads"."""
        self._addresses.labels(limit).set_function(number)

    def track_queue(self, length: Callable[[], int]) -> None:
        """From now on, the queue's length is what ``length`` returns."""
        self._queue_length.set_function(length)

    def track_live(self, number: Callable[[], int]) -> None:
        """From now on, the number of live sessions is what ``number`` returns."""
        self._live.set_function(number)

    def track_stuck(self, number: Callable[[], int]) -> None:
        """From now on, the number of jobs that can't be ended is what ``number`` returns."""
        self._stuck.set_function(number)

    def track_replicas(self, numbers: Callable[[], dict[str, int]]) -> None:
        """From now on, "replicas", "busy" and "waiting" are what ``numbers`` returns."""
        for name, description in REPLICAS.items():
            gauge = Gauge(f"space_{name}", description, registry=self._registry)
            gauge.set_function(partial(_number, numbers, name))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format, of type ``content_type``."""
        return generate_latest(self._registry)


def _number(numbers: Callable[[], dict[str, int]], name: str) -> int:
    return numbers()[name]
