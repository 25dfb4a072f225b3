"""Starts the web demo: settings, log, pipeline, page, server. ``python app.py`` prints its address."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from space_core.processes.configuration import configure_process
from space_core.processes.garbage_collection import exempt_from_collection
from space_core.web.private_files import create_private_folder
from space_core.web.settings import Settings, on_zero_gpu

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: no usage data is sent

if __name__ == "__main__":
    # Before gradio and torch are imported, which takes seconds: --help and wrong settings are answered at once.
    SETTINGS = Settings.from_command_line()
    create_private_folder()  # also before: packages look up where they may write when they are imported
    configure_process()  # before threads start and NumPy is loaded

if on_zero_gpu():
    import spaces  # before torch: on a ZeroGPU Space it emulates a GPU for torch

with exempt_from_collection():
    from space_core import SpaceError, SpacePipeline
    from space_core.media.content_credentials import ContentCredentials
    from space_core.web import logs
    from space_core.web.appearance import APPEARANCE
    from space_core.web.application import Callbacks
    from space_core.web.backend import Backend
    from space_core.web.live_page import add_live
    from space_core.web.metrics import Metrics
    from space_core.web.page import build_page
    from space_core.web.server import serve
    from space_core.web.service import AnimationService

EXAMPLES = Path(__file__).parent / "examples"


def main(settings: Settings) -> None:
    """Loads the pipeline and serves the page."""
    logs.configure(settings.log_level)
    try:
        credentials = ContentCredentials(settings.certificate_folder) if settings.content_credentials else None
        with ExitStack() as stack:
            pipeline, replicas = _backend(settings, credentials, stack)
            service = AnimationService(
                pipeline, Metrics(), settings.time_limit, replicas, settings.num_slots, settings.max_sessions
            )
            _serve(service, pipeline, settings)
    except SpaceError as error:
        raise SystemExit(f"space: {error}") from None


def _backend(
    settings: Settings, credentials: ContentCredentials | None, stack: ExitStack
) -> tuple[Backend, Callable[[], dict[str, int]] | None]:
    """What makes the films, which ends with ``stack``, and the numbers of its replicas, if it has any."""
    cache_bytes = settings.portraits_mb * 1024 * 1024
    if settings.backend == "local":
        return SpacePipeline(settings.device, credentials, cache_bytes), None
    from space_core.cluster.serving import Replicas, serving

    replicas = Replicas(
        settings.least_replicas, settings.replicas, settings.replica_cpus, settings.replica_gpus, cache_bytes
    )
    remote = stack.enter_context(serving(settings.address, replicas, credentials))
    return remote, remote.replicas


def _serve(service: AnimationService, pipeline: Backend, settings: Settings) -> None:
    page = build_page(service, settings, EXAMPLES)
    example = EXAMPLES / "astronaut.jpg"
    live = partial(add_live, pipeline=pipeline, service=service, settings=settings, example=example)
    if on_zero_gpu():
        spaces.zero.startup()  # what Gradio's own way of starting a page would call
    elif settings.backend == "local":
        files = str(example), str(EXAMPLES / "english_starlight.flac")
        threading.Thread(target=service.warm_up, args=files, name="warm-up").start()
    callbacks = Callbacks(
        health=service.health,
        on_disconnect=service.disconnect,
        on_expiry=service.expire,
        on_fault=service.note_fault,
        on_cancel=service.cancel,
        on_grace=service.drain,
        on_end=service.end,
        num_live=service.num_live,
        add_routes=live if settings.offers_live else None,
    )
    try:
        serve(page, settings, service.metrics, callbacks, streams=service.streams, **APPEARANCE)
    finally:
        service.end()  # the warm-up, too, where the address is taken


if __name__ == "__main__":
    main(SETTINGS)
