"""The web application: Gradio's page, mounted beside the demo's own routes and behind its middleware."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import fastapi
import gradio as gr
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from space_core.web import gradio_page, gradio_patches
from space_core.web.admission import Admission
from space_core.web.cancellation import add_cancellation
from space_core.web.error_handlers import add_exception_handlers
from space_core.web.expiry import expire_regularly
from space_core.web.film_streams import FilmStreaming, FilmStreams
from space_core.web.heartbeat import add_heartbeat
from space_core.web.listeners import Listeners
from space_core.web.logs import log_event
from space_core.web.metrics import Metrics
from space_core.web.middleware import RequestGuard
from space_core.web.monitoring import add_monitoring
from space_core.web.result_streams import ResultStreamGuard
from space_core.web.settings import Settings


@dataclass(frozen=True)
class Callbacks:
    """What the server calls; in the demo these are methods of ``AnimationService``.

    Attributes:
        health: returns ``{"loaded": bool, "device": str}``, and may add ``"degraded"``, the reason of a fault, and
            ``"stuck"``, the number of jobs that can't be ended, and the numbers of ``REPLICAS``.
        on_disconnect: called with the session of a visitor who disconnects or cancels while a job of theirs runs, or
            who closes the page.
        on_expiry: called once a minute with the age in seconds from which on what visitors gave must be removed.
        on_fault: called with the reason of a fault of the server outside of the endpoints, as when a result is copied.
        on_cancel: called with the session of a visitor who cancels a request that runs, before ``on_disconnect``.
        on_grace: called, when the server is about to end, with the seconds that jobs and live sessions have to finish.
        on_end: called after these, to end those that have not finished.
        num_live: returns the number of live sessions.
        add_routes: called once with the application, to add routes beside the page, such as those of live sessions; or
            None.
    """

    health: Callable[[], dict[str, Any]]
    on_disconnect: Callable[[str], None]
    on_expiry: Callable[[float], None]
    on_fault: Callable[[str], None] = lambda reason: None
    on_cancel: Callable[[str], None] = lambda session: None
    on_grace: Callable[[float], None] = lambda seconds: None
    on_end: Callable[[], None] = lambda: None
    num_live: Callable[[], int] = lambda: 0
    add_routes: Callable[[fastapi.FastAPI], None] | None = None


def build_app(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    callbacks: Callbacks,
    *,
    admission: Admission | None = None,
    streams: FilmStreams | None = None,
    **appearance: Any,
) -> fastapi.FastAPI:
    """The page at "/", with ``/healthz`` and ``/metrics`` beside it.

    Args:
        page: its queue is set up here, from the settings.
        settings: the operator's.
        metrics: counts uploads that are too large, and visitors who find the queue full or leave it.
        callbacks: see there.
        admission: who may join the queue; by default as the settings say.
        streams: the films that can be asked for while they are drawn; None for a page that has none.
        appearance: theme, css, js, head, favicon_path and i18n, as ``gr.mount_gradio_app`` takes them.
    """
    gradio_patches.apply()
    gradio_patches.write_to_upload_folder()
    listeners = Listeners(page)
    _set_up_queue(page, settings, metrics, callbacks, admission or Admission(settings, metrics), listeners)

    def on_close(session: str) -> None:
        callbacks.on_disconnect(session)
        gradio_page.close_session(gradio_page.mounted_app(app), session)

    app = fastapi.FastAPI(lifespan=_expiring(page, settings, callbacks), openapi_url=None)
    add_monitoring(app, page, metrics, callbacks.health)
    add_heartbeat(app, lambda: gradio_page.mounted_app(app).stop_event, listeners, on_close)
    add_cancellation(app, page, callbacks.on_cancel)
    if callbacks.add_routes is not None:
        callbacks.add_routes(app)
    _mount_page(app, page, settings, appearance)
    app.add_middleware(ResultStreamGuard, page=page, listeners=listeners)
    app.add_middleware(FilmStreaming, streams=streams or FilmStreams())
    names = gradio_page.api_names(page)
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics, api_names=names, on_fault=callbacks.on_fault)
    return app


def _expiring(page: gr.Blocks, settings: Settings, callbacks: Callbacks) -> Lifespan[fastapi.FastAPI]:
    """The lifespan of an application, in which visitors' files are removed when they are old enough."""

    @asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        kept_seconds, max_bytes = settings.kept_minutes * 60, settings.max_upload_bytes
        task = asyncio.create_task(expire_regularly(page, kept_seconds, max_bytes, callbacks.on_expiry))
        try:
            yield
        finally:
            task.cancel()

    return lifespan


def _set_up_queue(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    callbacks: Callbacks,
    admission: Admission,
    listeners: Listeners,
) -> None:
    """Sets up the page's queue, whose places ``admission`` counts."""
    page.analytics_enabled = False
    # max_size: places are counted by ``Admission``. api_open: or a request to /run would be served without waiting.
    page.queue(max_size=None, default_concurrency_limit=settings.num_slots, api_open=False)

    def on_queue_failure(endpoint: str, reason: str) -> None:
        metrics.count_failure(endpoint, reason)
        if reason == "left":
            log_event("left", reason=reason, endpoint=endpoint)
        else:  # a fault, which has been logged
            callbacks.on_fault(reason)

    gradio_page.observe_queue(page, admission.admit, on_queue_failure, callbacks.on_disconnect, listeners.expect)
    metrics.track_queue(lambda: gradio_page.queue_length(page))


def _mount_page(app: fastapi.FastAPI, page: gr.Blocks, settings: Settings, appearance: dict[str, Any]) -> None:
    """Mounts the page at "/"."""
    # Before the page is mounted, which otherwise lets any origin read its answers.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allow_embedding,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        allow_credentials=True,
    )
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        root_path=settings.root_path or None,
        max_file_size=settings.max_upload_bytes,
        show_error=False,  # an error's message may name our files; gr.Error is shown all the same
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=settings.mcp,
        **appearance,
    )
    add_exception_handlers(gradio_page.mounted_app(app))
    gradio_page.require_uploads(page)
    if settings.mcp:
        gradio_page.set_mcp_address(page, f"http://{_own_host(settings)}:{settings.port}/")


def _own_host(settings: Settings) -> str:
    """Where the server reaches itself."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host
