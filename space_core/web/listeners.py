"""The visitors who hold a connection; requests of those who don't are ended, as nobody fetches their results."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from space_core.web import gradio_page
from space_core.web.error_handlers import not_fetched
from space_core.web.logs import log_event

FETCH_SECONDS = 60.0  # after a request, within which its visitor has to listen for the result


class Listeners:
    """The sessions that listen for results, or whose page is open. For use on the event loop.

    Args:
        page: whose requests are ended.
    """

    def __init__(self, page: gr.Blocks) -> None:
        self._page = page
        self._connections: Counter[str] = Counter()
        self._expecting: set[asyncio.Task] = set()

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """A connection of a session, for as long as this context."""
        self._connections[session] += 1
        try:
            yield
        finally:
            self._connections[session] -= 1
            if not self._connections[session]:
                del self._connections[session]

    def expect(self, session: str, event: str) -> None:
        """Ends a request of a session, queued or running, unless that listens ``FETCH_SECONDS`` later.

        Of those who have listened and leave, Gradio itself ends the requests.
        """
        task = asyncio.create_task(self._end_unless_fetched(session, event))
        self._expecting.add(task)  # asyncio keeps no tasks alive
        task.add_done_callback(self._expecting.discard)

    async def _end_unless_fetched(self, session: str, event: str) -> None:
        await asyncio.sleep(FETCH_SECONDS)
        if session not in self._connections and await gradio_page.end_request(self._page, event, not_fetched()):
            log_event("not_fetched")
