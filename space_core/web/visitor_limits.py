"""What one visitor may take: requests, uploads, and their bytes."""

import ipaddress
import time
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

from starlette.types import Scope

UPLOADS_AT_A_TIME = 10  # of one visitor
SWEEP_SECONDS = 60.0  # between two times at which all visitors are looked through
IPV6_PREFIX = 64  # bits; a household or a server has all the addresses with one such prefix


@dataclass
class _Visitor:
    """The uploads of one visitor: how many there are now, and when and how large (bytes) the recent ones were."""

    now: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def counts_since(self, oldest: float) -> bool:
        """Forgets what was before a moment; whether anything is left."""
        while self.recent and self.recent[0][0] < oldest:
            self.recent.popleft()
        return bool(self.recent or self.now)


class UploadLimits:
    """Counts the uploads of each address. For use in one thread.

    Args:
        uploads, num_bytes: so many of one visitor are allowed within ``seconds``.
    """

    def __init__(self, uploads: int, num_bytes: int, seconds: float) -> None:
        self._uploads, self._bytes, self._seconds = uploads, num_bytes, seconds
        self._visitors: dict[str, _Visitor] = {}
        self._swept = time.monotonic()

    def begin(self, address: str, declared: int) -> str | None:
        """Counts an upload that begins, unless a limit refuses it with a sentence.

        Args:
            address: see ``visitor_address``.
            declared: how many bytes it says that it has; 0 if it doesn't.
        """
        visitor = self._forget_old(address)
        if visitor.now >= UPLOADS_AT_A_TIME:
            return f"{UPLOADS_AT_A_TIME} of your uploads are under way. Wait until one is done."
        if len(visitor.recent) >= self._uploads or self._left(visitor) < max(declared, 1):
            return "You have uploaded as much as one visitor may. Try again later."
        visitor.now += 1
        return None

    def bytes_left(self, address: str) -> int:
        """How many bytes the visitor may still upload."""
        return self._left(self._visitors.setdefault(address, _Visitor()))

    def end(self, address: str, num_bytes: int) -> None:
        """Counts an upload that began and has ended, with as many bytes as arrived."""
        visitor = self._visitors.setdefault(address, _Visitor(now=1))
        visitor.now -= 1
        visitor.recent.append((time.monotonic(), num_bytes))

    @property
    def num_addresses(self) -> int:
        """How many addresses are remembered."""
        return len(self._visitors)

    def _left(self, visitor: _Visitor) -> int:
        return self._bytes - sum(num_bytes for _, num_bytes in visitor.recent)

    def _forget_old(self, address: str) -> _Visitor:
        """Forgets uploads that no longer count, now and then also of all the other visitors, and returns this one."""
        now = time.monotonic()
        if now - self._swept > SWEEP_SECONDS:  # not for each upload: there may be very many addresses
            self._swept = now
            idle = [name for name, visitor in self._visitors.items() if not visitor.counts_since(now - self._seconds)]
            for name in idle:
                del self._visitors[name]
        visitor = self._visitors.setdefault(address, _Visitor())
        visitor.counts_since(now - self._seconds)
        return visitor


class RateLimit:
    """A token bucket for each address. For use in one thread.

    Args:
        per_second: tokens that come back.
        at_once: tokens of a full bucket, which every address has at first.
        longest_wait: seconds ahead for which tokens can be reserved.
    """

    def __init__(self, per_second: float, at_once: float, longest_wait: float = 0.0) -> None:
        self.longest_wait = longest_wait
        self._per_second, self._at_once = per_second, at_once
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, fewer than none if reserved; and when
        self._swept = time.monotonic()

    def reserve(self, address: str, tokens: float = 1.0) -> float:
        """After how many seconds a visitor has so many tokens; takes none if these are more than ``longest_wait``.

        Args:
            address: see ``visitor_address``.
            tokens: how many.
        """
        now = time.monotonic()
        self._forget_full(now)
        left = self._tokens(self._buckets.get(address, (self._at_once, now)), now) - tokens
        seconds = max(0.0, -left / self._per_second)
        if seconds <= self.longest_wait:
            self._buckets[address] = left, now
        return seconds

    @property
    def num_addresses(self) -> int:
        """How many addresses are remembered."""
        return len(self._buckets)

    def _tokens(self, bucket: tuple[float, float], now: float) -> float:
        tokens, then = bucket
        return min(self._at_once, tokens + (now - then) * self._per_second)

    def _forget_full(self, now: float) -> None:
        if now - self._swept > self._at_once / self._per_second:
            self._swept = now
            full = [address for address, bucket in self._buckets.items() if self._tokens(bucket, now) == self._at_once]
            for address in full:
                del self._buckets[address]


def visitor_address(scope: Scope) -> str:
    """What identifies the visitor of a request: the address of an IPv4 client, the network of an IPv6 client."""
    return address_of_host((scope.get("client") or ("",))[0])


@lru_cache(4096)
def address_of_host(host: str) -> str:
    """What identifies the visitor at a host, see ``visitor_address``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


def networks_of(names: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks that addresses and networks name, with commas between them.

    Raises:
        ValueError: a name is neither; it is a sentence without its end.
    """
    networks = []
    for name in filter(None, map(str.strip, names.split(","))):
        try:
            networks.append(ipaddress.ip_network(name))
        except ValueError:
            raise ValueError(f"{name} is neither an address nor a network such as 10.0.0.0/8") from None
    return networks
