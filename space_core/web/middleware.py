"""The door: which of Gradio's routes a visitor reaches, how much may be sent, and what browsers are told."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import gradio as gr
import gradio.routes
import safehttpx
from fastapi import HTTPException
from gradio import processing_utils
from gradio.utils import get_upload_folder
from starlette.datastructures import MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from space_core.web.logs import event, fault
from space_core.web.metrics import Metrics
from space_core.web.settings import Settings, on_a_space

MAX_QUESTION_BYTES = 4 * 1024 * 1024  # any request but an upload: JSON of a page's values
FREE_UPLOADS = 3  # so many of the largest uploads have to fit on the disk

NO_FETCHING = "Files at other addresses are never fetched. Download the file and upload it."

# Everything else that Gradio offers is shut: its proxy, its editor for developers (which writes files), links to
# saved states, histories, monitoring, recordings of the screen.
_READ = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|healthz|metrics)?/?"
    r"|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info|openapi\.json|theme\.css|app_id|queue/data|upload_progress)/?"
    r"|/gradio_api/(heartbeat/|call/|stream/|file=).+",
    re.DOTALL,
)
_ASK = re.compile(
    r"/gradio_api/(queue/join|upload|cancel|reset)/?|/gradio_api/(call|run|api|stream)/.+",
    re.DOTALL,
)
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_AGENTS = re.compile(r"/gradio_api/mcp(/.*)?")
_OTHER_ADDRESS = re.compile(r"/gradio_api/file=\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)

_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; "
    # Gradio configures its page in inline scripts and makes functions of event listeners' JavaScript.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


class RequestGuard:
    """ASGI middleware in front of the page; Starlette's own way, a function, would hide it when a visitor leaves."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": _CONTENT_SECURITY_POLICY + (" https://huggingface.co" if on_a_space() else ""),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if _path(scope).startswith("/gradio_api/file="):
                    headers["Cache-Control"] = "private"  # faces don't belong in the caches of proxies
            await send(message)

        if refusal := self._refusal(scope):
            await refusal(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, self._limited(scope, receive), send_with_headers)
        except ClientDisconnect:
            event("left", reason="left", endpoint="upload" if _UPLOAD.fullmatch(_path(scope)) else "question")
        except Exception as error:  # has been answered with status 500; the server would log it once more, and hang up
            event("fault", level="error", **fault(error))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        method, path = scope["method"], _path(scope)
        if _OTHER_ADDRESS.match(path):
            return PlainTextResponse(NO_FETCHING, 403)
        if self._settings.mcp and _AGENTS.fullmatch(path):
            return None
        if method == "POST" and _UPLOAD.fullmatch(path) and self._disk_is_full():
            event("refused", level="error", reason="disk")
            return PlainTextResponse("There is no room for uploads at the moment. Try again in an hour.", 507)
        routes = {"GET": _READ, "HEAD": _READ, "POST": _ASK}.get(method)
        if routes and routes.fullmatch(path):
            return None
        return PlainTextResponse("There is nothing here.", 404)

    def _disk_is_full(self) -> bool:
        return shutil.disk_usage(tempfile.gettempdir()).free < FREE_UPLOADS * self._settings.max_upload_bytes

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """``receive``, until more comes than may be sent."""
        upload = _UPLOAD.fullmatch(_path(scope))
        limit = self._settings.max_upload_bytes if upload else MAX_QUESTION_BYTES
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received <= limit:
                return message
            # The rest is let by, for a browser reads no answer before it has sent all.
            while message.get("more_body"):
                message = await receive()
            self._metrics.failed("upload" if upload else "question", "input")
            event("refused", reason="input", endpoint="upload" if upload else "question")
            if upload:
                # Gradio removes what it has written so far, and answers 413 because of "maximum allowed size".
                raise MultiPartException(
                    f"The upload is larger than the maximum allowed size of {self._settings.max_upload_mb} MB. "
                    "Give a smaller file."
                )
            raise HTTPException(413, f"A request may be {MAX_QUESTION_BYTES // 2**20} MB; upload files instead.")

        return limited


def _path(scope: Scope) -> str:
    """What is asked for, below the path under which a proxy may show the page."""
    return scope["path"].removeprefix(scope.get("root_path", ""))


def forbid_fetching() -> None:
    """From now on, Gradio refuses wherever it would fetch an address that a visitor gave in place of a file."""

    async def refuse_later(*_: object, **__: object) -> NoReturn:
        _refuse()

    processing_utils.async_ssrf_protected_get = refuse_later
    processing_utils.async_ssrf_protected_download = _own_file
    processing_utils.ssrf_protected_download = processing_utils.save_url_to_cache = _refuse
    processing_utils.unsafe_download = _refuse
    gradio.routes.secure_url_stream_response = refuse_later
    gradio.routes.App.build_proxy_request = _refuse
    safehttpx.get = refuse_later


def _refuse(*_: object, **__: object) -> NoReturn:
    raise gr.Error(NO_FETCHING, title="This file can't be used", print_exception=False)


async def _own_file(url: str, *_: object, **__: object) -> str:
    """The path of a file of this page, named by its address as agents do; nothing is fetched for that."""
    _, ours, path = unquote(url).partition("/gradio_api/file=")
    file = Path(path).resolve()
    if not ours or not file.is_relative_to(Path(get_upload_folder()).resolve()) or not file.is_file():
        _refuse()
    return str(file)
