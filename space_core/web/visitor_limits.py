"""What one visitor may take: uploads, their bytes, and places in the queue."""

import ipaddress
import time
from collections import deque
from dataclasses import dataclass, field

from starlette.types import Scope

UPLOADS_AT_A_TIME = 10  # of one visitor
IPV6_PREFIX = 64  # bits; a household or a server has all the addresses with one such prefix


@dataclass
class _Visitor:
    """The uploads of one visitor: how many there are now, and when and how large (bytes) the recent ones were."""

    now: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=deque)


class UploadLimits:
    """Counts the uploads of each address. For use in one thread.

    Args:
        uploads, num_bytes: so many of one visitor are allowed within ``seconds``.
    """

    def __init__(self, uploads: int, num_bytes: int, seconds: float) -> None:
        self._uploads, self._bytes, self._seconds = uploads, num_bytes, seconds
        self._visitors: dict[str, _Visitor] = {}

    def begin(self, address: str, declared: int) -> str | None:
        """Counts an upload that begins, unless a limit refuses it with a sentence.

        Args:
            address: see ``visitor_address``.
            declared: how many bytes it says that it has; 0 if it doesn't.
        """
        self._forget_old()
        visitor = self._visitors.setdefault(address, _Visitor())
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

    def _left(self, visitor: _Visitor) -> int:
        return self._bytes - sum(num_bytes for _, num_bytes in visitor.recent)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self._seconds
        for address, visitor in list(self._visitors.items()):
            while visitor.recent and visitor.recent[0][0] < oldest:
                visitor.recent.popleft()
            if not visitor.recent and not visitor.now:
                del self._visitors[address]


def visitor_address(scope: Scope) -> str:
    """The address that stands for the visitor of a request: that of an IPv4 client, the network of an IPv6 client."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
