"""A connection to Ray: to a running cluster, or to a new one on this machine that ends with the command."""

import importlib.util
import logging
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from space_core.errors import SpaceError

LOCAL = "local"
PACKAGES = ("ray", "fsspec", "pyarrow")
OBJECT_STORE_BYTES = 256 << 20  # of a local Ray, through which only rows of tables go


def check_installed() -> None:
    """Checks that the packages of the extra "cluster" are installed, without importing them.

    Raises:
        SpaceError: one is missing; the message says what to install.
    """
    if any(importlib.util.find_spec(package) is None for package in PACKAGES):
        raise SpaceError('Many machines need Ray. Install it with pip install ".[cluster]" in the folder of SPACE.')


@contextmanager
def ray_session(address: str, num_cpus: int | None) -> Iterator[None]:
    """Connects to Ray within this context.

    Args:
        address: "auto" for the cluster that this machine belongs to, "host:port" or "ray://host:port" for another one,
            or ``LOCAL``: a new one on this machine, which ends with the context. Neither it nor this process sends
            usage statistics; a cluster that runs already decides that for itself.
        num_cpus: processors of a new one; None for all of this machine's.

    Raises:
        SpaceError: Ray is not installed, or there is no cluster at this address.
    """
    check_installed()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported and when it starts
    # Messages of Ray's C++ code for its developers, which would break the progress bar.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    options: dict[str, Any] = {
        "include_dashboard": False,
        "num_cpus": num_cpus,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address == LOCAL:
        # Else Ray writes one into the home folder, which may be read-only. It reads the variable once in a process.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(options if address == LOCAL else {}),
        )
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as failure:
        raise SpaceError(
            f"No Ray cluster answers at {address!r}. Start one with 'ray start --head', or leave out --address. "
            "A cluster with a token needs RAY_AUTH_MODE=token, and the token in RAY_AUTH_TOKEN."
        ) from failure
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced the handler
    try:
        yield
    finally:
        ray.shutdown()
