"""The web server: the page, with health and metrics beside it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import fastapi
import gradio as gr
import uvicorn
from fastapi.responses import JSONResponse, Response

from space_core.web import gradio_patches
from space_core.web.error_handlers import add_exception_handlers
from space_core.web.logs import error_fields, log_event
from space_core.web.metrics import Metrics
from space_core.web.middleware import RequestGuard
from space_core.web.private_files import exit_within, expire_files, is_private
from space_core.web.settings import Settings

SHUTDOWN_SECONDS = 3  # for open connections when the server ends
EXPIRY_INTERVAL = 60  # seconds between two searches for what has expired


def build_app(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    *,
    health: Callable[[], dict[str, Any]],
    on_disconnect: Callable[[str], None],
    on_expiry: Callable[[float], None],
    **appearance: Any,
) -> fastapi.FastAPI:
    """The page at "/", with ``/healthz`` and ``/metrics`` beside it.

    Args:
        page: its queue is set up here, from the settings.
        settings: the operator's.
        metrics: counts uploads that are too large, and visitors who find the queue full or leave it.
        health: returns ``{"loaded": bool, "device": str}``.
        on_disconnect: called with the session of a visitor who disconnects or cancels while a job of theirs runs. The
            page calls its own ``unload`` when it is closed; for programs this is the only call.
        on_expiry: called once a minute with the age in seconds from which on what visitors gave must be removed.
        appearance: theme, css, js, head, favicon_path and i18n, as ``gr.mount_gradio_app`` takes them.
    """
    gradio_patches.apply()
    page.analytics_enabled = False
    # api_open: or a request to /run would be served without waiting in the queue.
    page.queue(max_size=settings.queue_size, default_concurrency_limit=settings.concurrency, api_open=False)
    full_message = f"All places in the queue are taken ({settings.queue_size}). Try again in a few minutes."

    def on_queue_failure(endpoint: str, reason: str) -> None:
        metrics.count_failure(endpoint, reason)
        log_event("refused" if reason == "full" else "left", reason=reason, endpoint=endpoint)

    gradio_patches.observe_queue(page, full_message, on_queue_failure, on_disconnect)
    metrics.track_queue(lambda: gradio_patches.queue_length(page))

    @asynccontextmanager
    async def expiring(_: fastapi.FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_expire_regularly(page, settings.kept_minutes * 60, on_expiry))
        try:
            yield
        finally:
            task.cancel()

    app = fastapi.FastAPI(lifespan=expiring, openapi_url=None)
    _add_health_and_metrics(app, page, metrics, health)
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
    add_exception_handlers(gradio_patches.mounted_app(app))
    gradio_patches.require_uploads(page)
    if settings.mcp:
        gradio_patches.set_mcp_address(page, f"http://{_own_host(settings)}:{settings.port}/")
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics)
    return app


def serve(page: gr.Blocks, settings: Settings, metrics: Metrics, **arguments: Any) -> None:
    """Serves the page until SIGINT or SIGTERM, and then ends the program; arguments as for ``build_app``.

    Raises:
        SystemExit: with one sentence, if the address is taken.
    """
    app = build_app(page, settings, metrics, **arguments)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would hold visitors' addresses
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise SystemExit(
                f"space: can't listen on port {settings.port} of {settings.host} ({error.strerror}). "
                "Choose others with --host and --port."
            ) from None
        listener.listen(config.backlog)
        shown = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
        print(f"* Running on local URL:  http://{shown}:{settings.port}", flush=True)
        log_event("serving", device=arguments["health"]().get("device"))
        try:
            _Server(config, page, app).run([listener])
        except KeyboardInterrupt:
            pass
        finally:
            log_event("ended")
            exit_within(SHUTDOWN_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn's server, which closes the connections of open pages before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, page: gr.Blocks, app: fastapi.FastAPI) -> None:
        super().__init__(config)
        self._page = page
        self._mounted = gradio_patches.mounted_app(app)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        gradio_patches.close(self._page, self._mounted)
        await super().shutdown(sockets)


def _add_health_and_metrics(
    app: fastapi.FastAPI, page: gr.Blocks, metrics: Metrics, health: Callable[[], dict[str, Any]]
) -> None:
    # Both on the event loop, so that they answer even when all threads are at work.
    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        state = health()
        loaded = bool(state.get("loaded"))
        status = "ready" if loaded else "loading"
        queue_length = gradio_patches.queue_length(page)
        answer = {"status": status, "loaded": loaded, "device": state.get("device"), "queue": queue_length}
        return JSONResponse(answer, 200 if loaded else 503)

    @app.get("/metrics")
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)


def _own_host(settings: Settings) -> str:
    """Where the server reaches itself."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host


async def _expire_regularly(page: gr.Blocks, older_than: float, on_expiry: Callable[[float], None]) -> None:
    """Removes what visitors gave when it has expired."""

    async def expire_uploads() -> None:
        # Gradio's own clean-up misses uploads that broke off.
        folder = gradio_patches.upload_folder()
        if is_private(folder):
            kept = gradio_patches.example_files(page)
            removed = await anyio.to_thread.run_sync(expire_files, folder, kept, older_than)
            gradio_patches.forget_files(page, removed)
            await anyio.to_thread.run_sync(expire_files, folder.parent / "work", (), older_than)

    async def expire_others() -> None:
        await anyio.to_thread.run_sync(on_expiry, older_than)

    while True:
        await asyncio.sleep(EXPIRY_INTERVAL)
        for expire in (expire_uploads, expire_others):
            try:
                await expire()
            except Exception as error:  # a file that can't be removed now may be next time
                log_event("fault", level="error", **error_fields(error))
