"""Limits on requests before they reach Gradio: its routes, their size, and the security headers of responses."""

import re
import shutil
import tempfile

from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from space_core.web.error_handlers import NO_FETCHING
from space_core.web.logs import error_fields, log_event
from space_core.web.metrics import Metrics
from space_core.web.settings import Settings, on_a_space

MAX_REQUEST_BYTES = 4 * 1024 * 1024  # of any request but an upload: JSON of a page's values
FREE_UPLOADS = 3  # so many of the largest uploads have to fit on the disk

# Every other route of Gradio's answers 404: its proxy, its editor for developers (which writes files), links to saved
# states, histories, monitoring, recordings of the screen.
_GET = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|healthz|metrics)?/?"
    r"|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info|openapi\.json|theme\.css|app_id|queue/data|upload_progress)/?"
    r"|/gradio_api/(heartbeat/|call/|stream/|file=).+",
    re.DOTALL,
)
_POST = re.compile(
    r"/gradio_api/(queue/join|upload|cancel|reset)/?|/gradio_api/(call|run|api|stream)/.+",
    re.DOTALL,
)
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_MCP = re.compile(r"/gradio_api/mcp(/.*)?")
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
    """ASGI middleware around the page. Not a ``BaseHTTPMiddleware``: that hides that a client disconnects."""

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
                    headers["Cache-Control"] = "private"  # proxies must not cache visitors' faces
            await send(message)

        if refusal := self._refusal(scope):
            await refusal(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, self._limited(scope, receive), send_with_headers)
        except ClientDisconnect:
            log_event("left", reason="left", endpoint=_endpoint(scope))
        except Exception as error:  # has been answered with status 500; uvicorn would log it and close the connection
            log_event("fault", level="error", **error_fields(error))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        method, path = scope["method"], _path(scope)
        if _OTHER_ADDRESS.match(path):
            return PlainTextResponse(NO_FETCHING, 403)
        if self._settings.mcp and _MCP.fullmatch(path):
            return None
        if method == "POST" and _UPLOAD.fullmatch(path) and self._disk_is_full():
            log_event("refused", level="error", reason="disk")
            return PlainTextResponse("There is no room for uploads at the moment. Try again in an hour.", 507)
        routes = {"GET": _GET, "HEAD": _GET, "POST": _POST}.get(method)
        if routes and routes.fullmatch(path):
            return None
        return PlainTextResponse("There is nothing here.", 404)

    def _disk_is_full(self) -> bool:
        return shutil.disk_usage(tempfile.gettempdir()).free < FREE_UPLOADS * self._settings.max_upload_bytes

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """``receive``, which raises once the request is larger than it may be."""
        upload = _UPLOAD.fullmatch(_path(scope))
        limit = self._settings.max_upload_bytes if upload else MAX_REQUEST_BYTES
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received <= limit:
                return message
            # The rest is read and dropped, as a browser reads no answer before it has sent all.
            while message.get("more_body"):
                message = await receive()
            self._metrics.count_failure(_endpoint(scope), "input")
            log_event("refused", reason="input", endpoint=_endpoint(scope))
            if upload:
                # Gradio removes what it has written so far, and answers 413 because of "maximum allowed size".
                raise MultiPartException(
                    f"The upload is larger than the maximum allowed size of {self._settings.max_upload_mb} MB. "
                    "Give a smaller file."
                )
            raise HTTPException(413, f"A request may be {MAX_REQUEST_BYTES // 2**20} MB; upload files instead.")

        return limited


def _endpoint(scope: Scope) -> str:
    """The name of a request in metrics and log."""
    return "upload" if _UPLOAD.fullmatch(_path(scope)) else "question"


def _path(scope: Scope) -> str:
    """The path below the one under which a proxy may show the page."""
    return scope["path"].removeprefix(scope.get("root_path", ""))
