"""Which page sends a request, and under which name it asks for this machine: requests of other sites are refused."""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from space_core.web.settings import Settings

_LOCAL_NAME = re.compile(r"[^.]*|.*\.(localhost|local|internal|test)")  # reserved: none can be registered


class Origins:
    """The origins that a server takes requests from."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        is_address = _is_address(settings.host)
        self._is_local = ipaddress.ip_address(settings.host).is_loopback if is_address else settings.host == "localhost"

    def is_rebound(self, headers: Headers) -> bool:
        """Whether the page of another site may be asking, whose name its owner lets resolve to this machine.

        For the browser, this demo is then a part of that site (DNS rebinding). Such a name comes with the port on which
        the demo, or what forwards to it, listens on this machine, unless that is 80; the public addresses of proxies
        have none, or they are secure, of which browsers tell by a header that no page can set.
        """
        name, port = self.asked_host(headers)
        if not (self._is_local and port) or "sec-fetch-site" in headers:
            return False
        known = _is_address(name) or _LOCAL_NAME.fullmatch(name.rstrip("."))
        return not known and headers["host"].lower() != urlsplit(self._settings.root_path).netloc

    def asked_host(self, headers: Headers) -> tuple[str, str]:
        """The name and the port that a request was sent to; no port where the demo can't know it."""
        host = headers.get("host", "").lower()
        name, _, port = host.rpartition(":")
        if port.isdecimal():
            return name, port
        return host, "80" if self._settings.port == 80 else ""

    def is_foreign(self, headers: Headers) -> bool:
        """Whether the page of another site sends a request, one that the operator does not allow."""
        origin = headers.get("origin")
        if origin is None or origin in self._settings.allow_embedding:
            return False
        # Browsers say it themselves where the connection is secure; no page can set these headers.
        if headers.get("sec-fetch-site") == "same-origin":
            return False
        own = (headers.get("host"), headers.get("x-forwarded-host"), urlsplit(self._settings.root_path).netloc)
        try:
            return urlsplit(origin).netloc not in filter(None, own)
        except ValueError:  # it is no address
            return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
