"""The body of a request as it arrives, which may not come too slowly."""

import time
from asyncio import wait_for

from starlette.types import Message, Receive

IDLE_SECONDS = 20.0  # without a byte, after which a request is given up
MIN_BYTES_PER_SECOND = 2000  # of a request on average, after IDLE_SECONDS


class RequestBody:
    """The body of a request as it arrives: the bytes so far, and no message later than it may be.

    Attributes:
        num_bytes: that have arrived.
        is_given_up: whether what is left of it is not read.
    """

    def __init__(self, receive: Receive) -> None:
        self.num_bytes = 0
        self.is_given_up = False
        self._receive = receive
        self._begun = time.monotonic()
        self._is_complete = False

    async def receive(self) -> Message:
        """The next message.

        Raises:
            TimeoutError: it does not come within ``IDLE_SECONDS``, or the body comes too slowly all in all.
        """
        if self._is_complete:  # what comes now is that the client disconnects, which has all its time
            return await self._receive()
        message = await wait_for(self._receive(), IDLE_SECONDS)
        self.num_bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body")
        seconds = time.monotonic() - self._begun - IDLE_SECONDS
        if not self._is_complete and self.num_bytes < seconds * MIN_BYTES_PER_SECOND:
            raise TimeoutError
        return message
