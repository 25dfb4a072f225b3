"""The web server: the page, with health and metrics beside it."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from types import FrameType
from typing import Any

import anyio
import fastapi
import gradio as gr
import uvicorn
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response

from space_core.web import gradio_patches
from space_core.web.admission import Admission
from space_core.web.error_handlers import RESTARTING, add_exception_handlers
from space_core.web.faults import log_fault
from space_core.web.film_streams import FilmStreaming, FilmStreams
from space_core.web.heartbeat import add_heartbeat
from space_core.web.live_session import MESSAGE_BYTES
from space_core.web.logs import log_event
from space_core.web.metrics import REPLICAS, Metrics
from space_core.web.middleware import RequestGuard
from space_core.web.private_files import exit_within, expire_files, is_private
from space_core.web.settings import Settings
from space_core.web.streams import StreamGuard

SHUTDOWN_SECONDS = 3  # for open connections when the server ends
DELIVERY_SECONDS = 2.0  # for last messages and films to reach their visitors
BACKLOG = 2048  # connections that wait to be accepted
EXPIRY_INTERVAL = 60  # seconds between two searches for what has expired


def build_app(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    *,
    health: Callable[[], dict[str, Any]],
    on_disconnect: Callable[[str], None],
    on_expiry: Callable[[float], None],
    on_fault: Callable[[str], None] = lambda reason: None,
    admission: Admission | None = None,
    streams: FilmStreams | None = None,
    add_routes: Callable[[fastapi.FastAPI], None] | None = None,
    **appearance: Any,
) -> fastapi.FastAPI:
    """The page at "/", with ``/healthz`` and ``/metrics`` beside it.

    Args:
        page: its queue is set up here, from the settings.
        settings: the operator's.
        metrics: counts uploads that are too large, and visitors who find the queue full or leave it.
        health: returns ``{"loaded": bool, "device": str}``, and may add ``"degraded"``, the reason of a fault, and
            ``"stuck"``, the number of jobs that can't be ended, and the numbers of ``REPLICAS``.
        on_disconnect: called with the session of a visitor who disconnects or cancels while a job of theirs runs, or
            who closes the page.
        on_expiry: called once a minute with the age in seconds from which on what visitors gave must be removed.
        on_fault: called with the reason of a fault of the server outside of the endpoints, as when a result is copied.
        admission: who may join the queue; by default as the settings say.
        streams: the films that can be asked for while they are drawn; None for a page that has none.
        add_routes: adds routes beside the page, such as those of live sessions.
        appearance: theme, css, js, head, favicon_path and i18n, as ``gr.mount_gradio_app`` takes them.
    """
    gradio_patches.apply()
    gradio_patches.write_to_upload_folder()
    page.analytics_enabled = False
    # max_size: places are counted by ``Admission``. api_open: or a request to /run would be served without waiting.
    page.queue(max_size=None, default_concurrency_limit=settings.num_lines, api_open=False)

    def on_queue_failure(endpoint: str, reason: str) -> None:
        metrics.count_failure(endpoint, reason)
        if reason == "left":
            log_event("left", reason=reason, endpoint=endpoint)
        else:  # a fault, which has been logged
            on_fault(reason)

    def on_close(session: str) -> None:
        on_disconnect(session)
        gradio_patches.close_session(gradio_patches.mounted_app(app), session)

    admission = admission or Admission(settings, metrics)
    gradio_patches.observe_queue(page, admission.admit, on_queue_failure, on_disconnect)
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
    add_heartbeat(app, lambda: gradio_patches.mounted_app(app).stop_event, on_close)
    if add_routes is not None:
        add_routes(app)
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
    add_exception_handlers(gradio_patches.mounted_app(app))
    gradio_patches.require_uploads(page)
    if settings.mcp:
        gradio_patches.set_mcp_address(page, f"http://{_own_host(settings)}:{settings.port}/")
    app.add_middleware(StreamGuard, page=page)
    app.add_middleware(FilmStreaming, streams=streams or FilmStreams())
    api_names = gradio_patches.api_names(page)
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics, api_names=api_names, on_fault=on_fault)
    return app


def serve(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    *,
    on_grace: Callable[[float], None] = lambda seconds: None,
    on_end: Callable[[], None] = lambda: None,
    num_live: Callable[[], int] = lambda: 0,
    **arguments: Any,
) -> None:
    """Serves the page until SIGINT or SIGTERM, and then ends the program; other arguments as for ``build_app``.

    After SIGTERM, jobs and live sessions that run, of which ``num_live`` returns the number, have the settings'
    ``grace_seconds`` to finish. ``on_grace`` is called before, with these seconds, and tells sessions that they will be
    ended; ``on_end`` is called afterwards, and ends those that have not finished.

    Raises:
        SystemExit: with one sentence, if the address is taken.
    """
    admission = Admission(settings, metrics)
    app = build_app(page, settings, metrics, admission=admission, **arguments)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would hold visitors' addresses
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        ws_max_size=2 * MESSAGE_BYTES,  # a message that is a little too large is answered
        ws_per_message_deflate=False,  # pictures and sound are as small as they get
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with ExitStack() as sockets:
        listeners = [sockets.enter_context(_listen(settings.host, settings.port))]
        if settings.monitoring_port is not None:
            host = settings.monitoring_host or settings.host
            listeners.append(sockets.enter_context(_listen(host, settings.monitoring_port)))
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"* Running on local URL:  http://{shown}:{settings.port}", flush=True)
        log_event("serving", device=arguments["health"]().get("device"))
        try:
            _Server(config, page, app, admission, settings.grace_seconds, on_grace, on_end, num_live).run(listeners)
        except KeyboardInterrupt:
            pass
        finally:
            log_event("ended")
            exit_within(SHUTDOWN_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SystemExit(
            f"space: can't listen on port {port} of {host} ({error.strerror}). Choose others with --host and --port."
        ) from None
    listener.listen(BACKLOG)
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, which lets jobs finish, and closes the connections of open pages, before it ends."""

    def __init__(
        self,
        config: uvicorn.Config,
        page: gr.Blocks,
        app: fastapi.FastAPI,
        admission: Admission,
        grace_seconds: float,
        on_grace: Callable[[float], None],
        on_end: Callable[[], None],
        num_live: Callable[[], int],
    ) -> None:
        super().__init__(config)
        self._page = page
        self._mounted = gradio_patches.mounted_app(app)
        self._admission = admission
        self._grace_seconds = grace_seconds
        self._on_grace = on_grace
        self._on_end = on_end
        self._num_live = num_live

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:  # from a terminal, where nobody wants to wait
            self._grace_seconds = 0.0
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._finish_jobs()
        gradio_patches.close(self._page, self._mounted)
        await super().shutdown(sockets)

    async def _finish_jobs(self) -> None:
        """Waits for running jobs as long as they may take; tells those visitors that it ends who get nothing."""
        self._admission.close()
        is_anybody_there = bool(gradio_patches.queue_length(self._page)) or self._is_anything_running()
        gradio_patches.end_waiting(self._page, RESTARTING)
        if self._grace_seconds:
            self._on_grace(self._grace_seconds)
        until = time.monotonic() + self._grace_seconds
        while self._is_anything_running() and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.1)
        gradio_patches.end_running(self._page, RESTARTING)
        self._on_end()
        if is_anybody_there:
            await asyncio.sleep(DELIVERY_SECONDS)

    def _is_anything_running(self) -> bool:
        return bool(gradio_patches.running_jobs(self._page) or self._num_live())


def _add_health_and_metrics(
    app: fastapi.FastAPI, page: gr.Blocks, metrics: Metrics, health: Callable[[], dict[str, Any]]
) -> None:
    # Both on the event loop, so that they answer even when all threads are at work.
    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> JSONResponse:
        state = health()
        loaded, stuck = bool(state.get("loaded")), int(state.get("stuck", 0))
        answer = {
            "status": "ready",
            "loaded": loaded,
            "device": state.get("device"),
            "queue": gradio_patches.queue_length(page),
            **{name: state[name] for name in REPLICAS if name in state},
        }
        if state.get("degraded"):
            answer |= {"status": "degraded", "reason": state["degraded"]}
        if stuck:
            answer |= {"status": "stuck", "stuck": stuck}
        if not loaded:
            answer["status"] = "loading"
        return JSONResponse(answer, 200 if loaded and not stuck else 503)

    @app.api_route("/metrics", methods=["GET", "HEAD"])
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
                log_fault(error)
