"""The web server: serves the page until a signal ends it, and lets running jobs finish."""

import asyncio
import logging
import signal
import socket
import time
from contextlib import ExitStack
from types import FrameType
from typing import Any

import fastapi
import gradio as gr
import uvicorn

from space_core.web import gradio_page
from space_core.web.admission import Admission
from space_core.web.application import Callbacks, build_app
from space_core.web.connections import allow_many_files, limited_connections
from space_core.web.error_handlers import RESTARTING
from space_core.web.live_messages import MESSAGE_BYTES
from space_core.web.logs import log_event
from space_core.web.metrics import Metrics
from space_core.web.private_files import exit_within
from space_core.web.settings import Settings

SHUTDOWN_SECONDS = 3  # for open connections when the server ends
DELIVERY_SECONDS = 2.0  # for last messages and films to reach their visitors
BACKLOG = 2048  # connections that wait to be accepted
# Messages of uvicorn with which any client could fill the log. The first two are about WebSockets that are refused with
# a sentence and streams that end in the middle of a film, which uvicorn takes for errors of the application; the others
# are about malformed requests and messages.
NOT_LOGGED = (
    "ASGI callable returned without completing handshake.",
    "ASGI callable returned without completing response.",
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "Invalid UTF-8 sequence received from client.",
)


def serve(
    page: gr.Blocks,
    settings: Settings,
    metrics: Metrics,
    callbacks: Callbacks,
    **arguments: Any,
) -> None:
    """Serves the page until SIGINT or SIGTERM, and then ends the program; other arguments as for ``build_app``.

    After SIGTERM, jobs and live sessions that run have the settings' ``grace_seconds`` to finish.

    Raises:
        SystemExit: with one sentence, if the address is taken.
    """
    allow_many_files()
    admission = Admission(settings, metrics)
    app = build_app(page, settings, metrics, callbacks, admission=admission, **arguments)
    config = uvicorn.Config(
        app,
        # Of h11, also where httptools is installed, which reads headers without an end until the memory is full.
        http=limited_connections(settings.trusted_proxies),
        log_config=None,
        access_log=False,  # it would hold visitors' addresses
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        ws_max_size=2 * MESSAGE_BYTES,  # a message that is a little too large is answered
        ws_per_message_deflate=False,  # pictures and sound are as small as they get
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg not in NOT_LOGGED)
    with ExitStack() as sockets:
        listeners = [sockets.enter_context(_listen(settings.host, settings.port))]
        if settings.monitoring_port is not None:
            host = settings.monitoring_host or settings.host
            listeners.append(sockets.enter_context(_listen(host, settings.monitoring_port)))
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"* Running on local URL:  http://{shown}:{settings.port}", flush=True)
        log_event("serving", device=callbacks.health().get("device"))
        try:
            _Server(config, page, app, admission, callbacks, settings.grace_seconds).run(listeners)
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
        callbacks: Callbacks,
        grace_seconds: float,
    ) -> None:
        super().__init__(config)
        self._page = page
        self._mounted = gradio_page.mounted_app(app)
        self._admission = admission
        self._callbacks = callbacks
        self._grace_seconds = grace_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:  # from a terminal, where a quick end is expected
            self._grace_seconds = 0.0
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._finish_jobs()
        gradio_page.close(self._page, self._mounted)
        await super().shutdown(sockets)

    async def _finish_jobs(self) -> None:
        """Waits for running jobs as long as they may take; visitors whose jobs do not finish get a message."""
        self._admission.close()
        is_anybody_there = bool(gradio_page.queue_length(self._page)) or self._is_anything_running()
        gradio_page.end_waiting(self._page, RESTARTING)
        if self._grace_seconds:
            self._callbacks.on_grace(self._grace_seconds)
        until = time.monotonic() + self._grace_seconds
        while self._is_anything_running() and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.1)
        gradio_page.end_running(self._page, RESTARTING)
        self._callbacks.on_end()
        if is_anybody_there:
            await asyncio.sleep(DELIVERY_SECONDS)

    def _is_anything_running(self) -> bool:
        return bool(gradio_page.running_jobs(self._page) or self._callbacks.num_live())
