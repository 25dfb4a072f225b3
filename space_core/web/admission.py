"""Admission to the queue: limits for all visitors together and for each of them."""

import math

from fastapi import HTTPException

from space_core.web.error_handlers import RESTARTING
from space_core.web.gradio_page import Place
from space_core.web.logs import log_event
from space_core.web.metrics import Metrics
from space_core.web.settings import Settings
from space_core.web.visitor_limits import RateLimit


class Admission:
    """Admits or refuses requests. Videos, previews and texts to be spoken have separate queues."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._places = settings.queue_size
        self._places_of_one = settings.visitor_places
        self._jobs_of_one = settings.visitor_jobs
        self._jobs = RateLimit(self._jobs_of_one / 60, max(1.0, self._jobs_of_one))
        self._metrics = metrics
        self._is_closed = False

    def close(self) -> None:
        """Refuses all requests from now on."""
        self._is_closed = True

    def admit(self, endpoint: str, taken: list[Place], place: Place) -> None:
        """Admits a request to a queue.

        Args:
            endpoint: its name in metrics and log.
            taken: the places of the queue that are taken.
            place: the place that is asked for. Two places are one visitor's if their sessions or addresses are equal.

        Raises:
            HTTPException: 429 or 503, with a sentence for the visitor.
        """
        if self._is_closed:
            self._refuse(endpoint, "restarting", 503, RESTARTING)
        if sum(other.waits for other in taken) >= self._places:
            sentence = f"All places in the queue are taken ({self._places}). Try again in a few minutes."
            self._refuse(endpoint, "full", 429, sentence)
        same_session = sum(place.session == other.session for other in taken if place.session)
        same_address = sum(place.address == other.address for other in taken)
        if max(same_session, same_address) >= self._places_of_one:
            sentence = (
                f"You have all {self._places_of_one} places in the queue that one visitor may have. Wait for one."
            )
            self._refuse(endpoint, "limit", 429, sentence)
        if seconds := math.ceil(self._jobs.reserve(place.address)):
            sentence = (
                f"Videos, previews and texts of one visitor are limited to {self._jobs_of_one:g} a minute. "
                f"Try again in {seconds} s."
            )
            self._refuse(endpoint, "limit", 429, sentence, {"Retry-After": str(seconds)})

    def _refuse(
        self, endpoint: str, reason: str, status: int, sentence: str, headers: dict[str, str] | None = None
    ) -> None:
        self._metrics.count_failure(endpoint, reason)
        log_event("refused", reason=reason, endpoint=endpoint)
        raise HTTPException(status, sentence, headers)
