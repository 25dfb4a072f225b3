"""Serving the page: with health and figures beside it, and with what Gradio leaves open shut."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import fastapi
import gradio as gr
import gradio.routes
import uvicorn
from fastapi.responses import JSONResponse, Response
from gradio.data_classes import PredictBodyInternal
from gradio.utils import get_upload_folder

from space_core.web.error_handlers import tell_faults_plainly, tell_wrong_requests
from space_core.web.logs import event, fault
from space_core.web.metrics import Metrics
from space_core.web.middleware import RequestGuard, forbid_fetching
from space_core.web.private_files import forget_files, is_private, leave_within
from space_core.web.settings import Settings

GOODBYE_SECONDS = 3  # how long open connections may take when the server ends
LOOKED_SECONDS = 60  # how often old files are looked for


def build_app(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    ready: Callable[[], dict[str, Any]],
    hung_up: Callable[[str], None],
    **look: Any,
) -> fastapi.FastAPI:
    """The page at "/", with ``/healthz`` and ``/metrics`` beside it.

    Args:
        page: its queue is set up here, from ``settings``
        settings: what the operator wants
        metrics: counts uploads that are too large, and visitors whom the queue has no place for or who leave it
        ready: how the work goes: ``{"loaded": bool, "device": str}``
        hung_up: told the session of a visitor who hung up or cancelled while something is made for them; a page that
            is closed is told by its own ``unload``, a program only so
        look: theme, css, js, head, favicon_path and i18n, as ``gr.mount_gradio_app`` takes them
    """
    page.analytics_enabled = False
    forbid_fetching()
    tell_faults_plainly()
    # api_open: or a request to /run would be served without waiting in the queue.
    page.queue(max_size=settings.queue_size, default_concurrency_limit=settings.concurrency, api_open=False)
    _answer_for_queue(page, settings, metrics, hung_up)
    metrics.queue(lambda: len(page._queue))

    @asynccontextmanager
    async def forgetting(_: fastapi.FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_forget(page, settings.kept_minutes * 60))
        try:
            yield
        finally:
            task.cancel()

    app = fastapi.FastAPI(lifespan=forgetting, openapi_url=None)

    # Both on the event loop, so that they answer even when all threads are at work.
    @app.get("/healthz")
    async def health() -> JSONResponse:
        told = ready()
        loaded = bool(told.get("loaded"))
        status = "ready" if loaded else "loading"
        answer = {"status": status, "loaded": loaded, "device": told.get("device"), "queue": len(page._queue)}
        return JSONResponse(answer, 200 if loaded else 503)

    @app.get("/metrics")
    async def figures() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)

    gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        root_path=settings.root_path or None,
        max_file_size=settings.max_upload_bytes,
        show_error=False,  # a fault's message may name our files; gr.Error is shown all the same
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=settings.mcp,
        **look,
    )
    tell_wrong_requests(_mounted(app))
    # Only then does Gradio check that the files a visitor names are uploads; mounting leaves it out.
    page.has_launched = True
    if settings.mcp:
        # Or Gradio would send what agents ask for to the host that the first of them says we are.
        page.mcp_server_obj._local_url = f"http://{_own_address(settings)}:{settings.port}/"
    app.add_middleware(RequestGuard, settings=settings, metrics=metrics)
    return app


def serve(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    ready: Callable[[], dict[str, Any]],
    hung_up: Callable[[str], None],
    **look: Any,
) -> None:
    """Serves the page until the program is told to end, and then ends it; arguments as for ``build_app``.

    Raises:
        SystemExit: with one sentence, if the address is taken
    """
    app = build_app(page, settings, metrics, ready, hung_up, **look)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would hold visitors' addresses
        server_header=False,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
    )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((settings.host, settings.port))
        except OSError as error:
            raise SystemExit(
                f"space: can't listen on port {settings.port} of {settings.host} ({error.strerror}). "
                "Choose others with --host and --port."
            ) from None
        door.listen(config.backlog)
        shown = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
        print(f"* Running on local URL:  http://{shown}:{settings.port}", flush=True)
        event("serving", device=ready().get("device"))
        try:
            _Server(config, page, _mounted(app)).run([door])
        except KeyboardInterrupt:
            pass
        finally:
            event("ended")
            leave_within(GOODBYE_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn's server, which tells Gradio first that it ends: else open pages would hold it up."""

    def __init__(self, config: uvicorn.Config, page: gr.Blocks, mounted: gradio.routes.App) -> None:
        super().__init__(config)
        self._page = page
        self._mounted = mounted

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._page._queue.close()
        self._mounted.stop_event.set()  # every visitor leaves, so work that is under way stops
        await super().shutdown(sockets)


def _mounted(app: fastapi.FastAPI) -> gradio.routes.App:
    return app.routes[-1].app


def _own_address(settings: Settings) -> str:
    """Where the server reaches itself."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host


def _answer_for_queue(page: gr.Blocks, settings: Settings, metrics: Metrics, hung_up: Callable[[str], None]) -> None:
    """A full queue is told in plain words; who finds it full, or leaves it, is counted; who hangs up is told of."""
    queue = page._queue
    push, clean_events = queue.push, queue.clean_events

    async def push_or_say(body: PredictBodyInternal, request: fastapi.Request, username: str | None) -> tuple:
        success, answer, state = await push(body=body, request=request, username=username)
        if state == "queue_full":
            _failed(metrics, page.fns.get(body.fn_index), "full")
            # Not Gradio's 503: for that, its page shows a sentence of its own.
            raise fastapi.HTTPException(
                429, f"All places in the queue are taken ({settings.queue_size}). Try again in a few minutes."
            )
        return success, answer, state

    async def clean_and_count(*, session_hash: str | None = None, event_id: str | None = None) -> None:
        waiting = [
            waiter.fn
            for line in queue.event_queue_per_concurrency_id.values()
            for waiter in line.queue
            if waiter.session_hash == session_hash or waiter._id == event_id
        ]
        # Gradio itself would notice only when the work gives its next result.
        for job in [job for jobs in queue.active_jobs for job in jobs or ()]:
            if job.session_hash == session_hash or job._id == event_id:
                hung_up(job.session_hash)
        await clean_events(session_hash=session_hash, event_id=event_id)
        for function in waiting:
            _failed(metrics, function, "left")

    queue.push, queue.clean_events = push_or_say, clean_and_count


def _failed(metrics: Metrics, function: Any, reason: str) -> None:
    endpoint = str(getattr(function, "api_name", None) or "unnamed")
    metrics.failed(endpoint, reason)
    event("refused" if reason == "full" else "left", reason=reason, endpoint=endpoint)


async def _forget(page: gr.Blocks, older_than: float) -> None:
    """Removes visitors' files when their time is over: Gradio's own clean-up misses uploads that broke off."""
    folder = Path(get_upload_folder())
    while is_private(folder):
        await asyncio.sleep(LOOKED_SECONDS)
        kept = {path for block in page.blocks.values() for path in getattr(block, "keep_in_cache", ())}
        try:
            forgotten: Iterable[str] = await anyio.to_thread.run_sync(forget_files, folder, kept, older_than)
            await anyio.to_thread.run_sync(forget_files, folder.parent / "work", (), older_than)
        except OSError as error:  # a file that can't be removed now may be next time
            event("fault", level="error", **fault(error))
            continue
        for paths in page.temp_file_sets:
            paths.difference_update(forgotten)
