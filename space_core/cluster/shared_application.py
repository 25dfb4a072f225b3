"""An application of Ray Serve that several pages share: the first page starts it, the last one removes it."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from space_core.errors import ServerFault
from space_core.version import __version__

DEPLOYMENT = "PipelineReplica"
PREFIX = "space-"  # of the names of our applications
NAMESPACE = "space pages"  # of the marks and the lock in Ray
LOCK = "lock"
LOCK_SECONDS = 0.05  # between two tries to get it
MARK_SECONDS = 10.0  # within which Ray removes the name of the mark of a page that ends


@contextmanager
def shared_application(bound: Any, settings: str) -> Iterator[tuple[str, Any]]:
    """The name and the handle of an application; runs at least within this context.

    Args:
        bound: the bound deployment.
        settings: its settings in words: pages with the same settings and version share one application.

    Raises:
        ServerFault: no replica could be started.
    """
    import ray
    from ray import serve

    class Mark:
        """An actor that lives no longer than its page, even if that is killed; its name says what the page uses."""

    name = PREFIX + hashlib.sha256(f"{__version__} {settings}".encode()).hexdigest()[:12]
    mark_name = f"{name}.{secrets.token_hex(8)}"
    kind: Any = ray.remote(Mark)
    # Before the application is looked for: a page that ends afterwards leaves it alone, and one that is removing it at
    # this moment has the lock.
    with _lock():
        mark = kind.options(name=mark_name, namespace=NAMESPACE, num_cpus=0, max_restarts=-1).remote()
    try:
        try:
            serve.start(proxy_location="Disabled")  # the page is the only way in
            _delete_unused()
            there = serve.status().applications.get(name)
            if there is not None and there.status in ("RUNNING", "DEPLOYING"):
                handle = serve.get_app_handle(name)
            else:
                handle = serve.run(bound, name=name, route_prefix=None)
        except RuntimeError as failure:
            raise ServerFault(f"No replica could be started: {str(failure).splitlines()[0]}", "internal") from failure
        yield name, handle
    finally:
        ray.kill(mark)
        until = time.monotonic() + MARK_SECONDS
        while mark_name in _marks() and time.monotonic() < until:
            time.sleep(0.1)
        _delete_unused()


def _marks() -> list[str]:
    from ray.util import list_named_actors

    return [actor["name"] for actor in list_named_actors(all_namespaces=True) if actor["namespace"] == NAMESPACE]


def _delete_unused() -> None:
    """Removes this program's applications that no page uses: those of pages that have ended or were killed."""
    from ray import serve

    with _lock():
        used = {mark.split(".")[0] for mark in _marks()}
        for name in serve.status().applications:
            if name.startswith(PREFIX) and name not in used:
                serve.delete(name)


@contextmanager
def _lock() -> Iterator[None]:
    """Within this context no other page of the cluster has the lock.

    Ray gives a name to one actor at a time, and takes it back when the actor's page has ended, even if that was killed.
    """
    import ray
    from ray.exceptions import ActorAlreadyExistsError

    class Lock:
        """An actor whose existence is the lock."""

    kind: Any = ray.remote(Lock)
    while True:
        try:
            lock = kind.options(name=LOCK, namespace=NAMESPACE, num_cpus=0).remote()
            break
        except ActorAlreadyExistsError:
            time.sleep(LOCK_SECONDS)
    try:
        yield
    finally:
        ray.kill(lock)
