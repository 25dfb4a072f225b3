"""Asks the demo on this machine whether it is well: ``python -m space_core.web.healthcheck``; if not, exit status 1.

With the demo's own variables, and the standard library alone, so that it costs little.
"""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT = 10.0  # seconds


def main() -> int:
    """Prints the answer of ``/healthz``; 0 if its status is 200."""
    port = os.environ.get("SPACE_MONITORING_PORT") or os.environ.get("SPACE_PORT") or "7860"
    host = (os.environ.get("SPACE_MONITORING_PORT") and os.environ.get("SPACE_MONITORING_HOST")) or ""
    host = host or os.environ.get("SPACE_HOST") or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    address = f"http://[{host}]:{port}/healthz" if ":" in host else f"http://{host}:{port}/healthz"
    request = urllib.request.Request(address)
    if token := os.environ.get("SPACE_MONITORING_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT) as answer:
            print(answer.read().decode())
    except (OSError, urllib.error.HTTPError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
