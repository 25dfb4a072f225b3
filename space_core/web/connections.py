"""Limits of connections: how many an address has, how long the head of a request takes, how slowly answers are read."""

import asyncio
import ipaddress
import sys
from collections.abc import Sequence
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from space_core.web.visitor_limits import address_of_host, networks_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HEAD_SECONDS = 20.0  # from when a connection is made, or its next request begins, until the request's head is there
READER_SECONDS = 60.0  # in which a reader of whose answer 64 KB wait must have taken three quarters of these
MAX_CONNECTIONS = 256  # of one address: a browser has up to about ten, and many people can share an address
MAX_FILES = 65_536  # of this process, connections among them, as far as the system allows


class LimitedConnection(H11Protocol):
    """uvicorn's protocol of HTTP/1.1 with these limits; addresses in ``proxies`` may have any number of connections."""

    proxies: Sequence[Network] = ()
    _head_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._is_one_too_many():
            transport.close()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Such a reader would keep a film that is long deleted on the disk.
        self._reader_timer = self.loop.call_later(READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_waiting_for_reader()
        super().resume_writing()

    def _await_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_waiting_for_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _is_one_too_many(self) -> bool:
        if self.client is None or _is_in(self.client[0], self.proxies):
            return False
        own = _address_of(self.transport)
        return sum(_address_of(connection.transport) == own for connection in self.connections) > MAX_CONNECTIONS


def limited_connections(trusted_proxies: str) -> type[LimitedConnection]:
    """The protocol for these proxies: addresses and networks, with commas between them."""
    return type("LimitedConnection", (LimitedConnection,), {"proxies": networks_of(trusted_proxies)})


def allow_many_files() -> None:
    """Lets this process have as many open files as the system allows: by default it is 1024, one of each connection."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _address_of(transport: asyncio.BaseTransport) -> str:
    return address_of_host((transport.get_extra_info("peername") or ("",))[0])


def _is_in(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
