"""Limits on requests before they reach Gradio: routes, origins, sizes, times; and the security headers of answers."""

import math
import re
import secrets
import time
from asyncio import sleep
from collections.abc import Callable

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from space_core.fault_reasons import fault_reason
from space_core.web.error_handlers import NO_ENDPOINT, NO_FETCHING, WRONG_RANGE
from space_core.web.faults import log_fault
from space_core.web.logs import log_event
from space_core.web.metrics import Metrics
from space_core.web.origins import Origins
from space_core.web.private_files import UPLOADS_THAT_FIT, free_uploads
from space_core.web.request_body import RequestBody
from space_core.web.request_nesting import without_deep_nesting
from space_core.web.settings import Settings, on_a_space
from space_core.web.visitor_limits import RateLimit, UploadLimits, visitor_address

MAX_REQUEST_BYTES = 256 * 1024  # of any request but an upload: JSON of a page's values
DROPPED_UPLOADS = 8  # so many of the largest uploads are read and dropped of a request that is too large
DISK_CHECK_BYTES = 1 << 20  # of an upload, after which it is looked again whether the disk has room
# A visitor may send the requests of so many seconds at once: a page takes 115, and a class may share one address.
REQUESTS_AT_ONCE = 200.0
HEAVY_REQUEST = 10  # requests as which one counts that takes about 10 ms of the processor, others 1 ms
LONGEST_WAIT = 5.0  # seconds that a request is held up; those that would have to wait longer are refused
REFUSAL_SECONDS = 1.0  # after which these are answered, so that who sends them has to wait as well
LOG_SECONDS = 60.0  # between two lines of the log about such refusals
MAX_NAME_BYTES = 255  # of a file or folder in a path: beyond, file systems fail

NO_ROOM = "There is no room for uploads at the moment. Try again in ten minutes."
AMBIGUOUS = "A request has either Content-Length or Transfer-Encoding. Send it with one of them."
FOREIGN = "Pages of other sites may not use this demo. Open it in a window of its own."
OTHER_NAME = (
    "This demo is on the computer that you ask from. Open it as http://127.0.0.1:{port}, or start it with --root-path "
    "and the whole address under which it is to be opened."
)

# Every other route of Gradio's answers 404: its proxy, its editor for developers (which writes files), links to saved
# states, histories, monitoring, recordings of the screen.
_GET = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|live|live\.js|live_microphone\.js|live_example\.jpg)?/?"
    r"|/(assets|static|svelte)/.+"
    r"|/stream/[^/]+"
    r"|/gradio_api/(info|openapi\.json|theme\.css|app_id|queue/data|upload_progress)/?"
    r"|/gradio_api/(heartbeat/|call/|stream/|file=).+",
    re.DOTALL,
)
_POST = re.compile(
    r"/gradio_api/(queue/join|upload|cancel|reset)/?|/gradio_api/(call|run|api|stream)/.+",
    re.DOTALL,
)
_MONITORING = re.compile(r"/(healthz|metrics)/?")
_PAGE = re.compile(r"/?|/config/?|/gradio_api/(info|openapi\.json)/?")  # built anew for each request
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_MCP = re.compile(r"/gradio_api/mcp(/.*)?")
_NAMED_CALL = re.compile(r"/gradio_api/call/v2/([^/]*)/?")
_OTHER_ADDRESS = re.compile(r"/gradio_api/file=\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
_ONE_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")

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
    """ASGI middleware around the page. Not a ``BaseHTTPMiddleware``: that hides that a client disconnects.

    Args:
        api_names: the endpoints that are called by the names of their parameters.
        on_fault: called with the reason of a fault of the server while it answers a request.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        api_names: set[str],
        on_fault: Callable[[str], None],
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._api_names = api_names
        self._on_fault = on_fault
        self._uploads = UploadLimits(
            settings.visitor_uploads, settings.visitor_mb * 1024 * 1024, settings.kept_minutes * 60
        )
        self._requests = RateLimit(
            settings.visitor_requests, REQUESTS_AT_ONCE * settings.visitor_requests, LONGEST_WAIT
        )
        metrics.track_addresses("requests", lambda: self._requests.num_addresses)
        metrics.track_addresses("uploads", lambda: self._uploads.num_addresses)
        self._logged = -LOG_SECONDS  # when refusals of too many requests were logged
        framing = [*settings.allow_embedding, *(["https://huggingface.co"] if on_a_space() else [])]
        self._origins = Origins(settings)
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": " ".join((_CONTENT_SECURITY_POLICY, *framing)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal: Response | None = await self._hold_up(scope)
        if scope["type"] == "websocket":
            if refusal := refusal or self._socket_refusal(scope):
                await refusal(scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return

        body = RequestBody(receive)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if caching := _caching(_path(scope), message["status"]):
                    headers["Cache-Control"] = caching
                if body.is_given_up:
                    headers["Connection"] = "close"  # or the rest would be read and dropped, however long it is
            await send(message)

        if refusal := refusal or self._refusal(scope):
            await refusal(scope, receive, send_with_headers)
            return
        try:
            if scope["method"] == "POST" and _UPLOAD.fullmatch(_path(scope)):
                await self._upload(scope, body, send_with_headers)
            else:
                limited = self._limited(scope, body, MAX_REQUEST_BYTES)
                await self._app(scope, without_deep_nesting(limited), send_with_headers)
        except ClientDisconnect:
            log_event("left", reason="left", endpoint=_endpoint(scope))
        except Exception as error:  # has been answered with status 500; uvicorn would log it and close the connection
            self._metrics.count_failure(_endpoint(scope), fault_reason(error))
            log_fault(error, endpoint=_endpoint(scope))
            self._on_fault(fault_reason(error))

    async def _hold_up(self, scope: Scope) -> Response | None:
        """Waits until the visitor may send this request; a refusal where that takes too long."""
        is_heavy = scope.get("method") not in ("GET", "HEAD") or _PAGE.fullmatch(_path(scope))
        seconds = self._requests.reserve(visitor_address(scope), HEAVY_REQUEST if is_heavy else 1)
        if seconds <= LONGEST_WAIT:
            if seconds:
                await sleep(seconds)
            return None
        self._metrics.count_failure(_endpoint(scope), "limit")
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            log_event("flooded", level="warning", reason="limit", endpoint=_endpoint(scope))
        await sleep(REFUSAL_SECONDS)
        wait = math.ceil(seconds)
        sentence = f"You have sent more requests than one visitor may. Try again in {wait} s."
        return JSONResponse({"detail": sentence}, 429, {"Retry-After": str(wait)})

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        method, path, headers = scope["method"], _path(scope), Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy that reads the length instead takes what follows for another visitor's request.
            return PlainTextResponse(AMBIGUOUS, 400, {"Connection": "close"})
        if self._origins.is_rebound(headers):
            return PlainTextResponse(OTHER_NAME.format(port=self._origins.asked_host(headers)[1]), 403)
        if self._settings.monitoring_port is not None:
            is_monitoring_port = scope["server"][1] == self._settings.monitoring_port
            if is_monitoring_port != bool(_MONITORING.fullmatch(path)):
                return PlainTextResponse("There is nothing here.", 404)
        if _MONITORING.fullmatch(path) and method in ("GET", "HEAD"):
            return None if self._may_monitor(scope) else _unauthorized()
        if _OTHER_ADDRESS.match(path):
            return PlainTextResponse(NO_FETCHING, 403)
        if any(len(name.encode()) > MAX_NAME_BYTES for name in path.split("/")) or _asks_for_other_page(scope):
            return PlainTextResponse("There is nothing here.", 404)
        if method == "OPTIONS" and headers.get("origin") in self._settings.allow_embedding:
            return None  # a browser asks whether a page may send a request
        if method == "POST" and self._origins.is_foreign(headers):
            return PlainTextResponse(FOREIGN, 403)
        if self._settings.mcp and _MCP.fullmatch(path):
            return None
        if path.startswith("/gradio_api/file=") and not _is_one_range(headers.get("range")):
            return PlainTextResponse(WRONG_RANGE, 416)
        if method == "POST" and (call := _NAMED_CALL.fullmatch(path)) and call[1] not in self._api_names:
            return PlainTextResponse(NO_ENDPOINT, 404)
        routes = {"GET": _GET, "HEAD": _GET, "POST": _POST}.get(method)
        if routes and routes.fullmatch(path):
            return None
        return PlainTextResponse("There is nothing here.", 404)

    def _socket_refusal(self, scope: Scope) -> PlainTextResponse | None:
        if _path(scope) != "/live" or scope["server"][1] == self._settings.monitoring_port:
            return PlainTextResponse("There is nothing here.", 404)
        headers = Headers(scope=scope)
        refused = self._origins.is_foreign(headers) or self._origins.is_rebound(headers)
        return PlainTextResponse(FOREIGN, 403) if refused else None

    def _may_monitor(self, scope: Scope) -> bool:
        token = self._settings.monitoring_token
        if token is None:
            return True
        given = Headers(scope=scope).get("authorization", "")
        return secrets.compare_digest(given.encode(), f"Bearer {token.get_secret_value()}".encode())

    async def _upload(self, scope: Scope, body: RequestBody, send: Send) -> None:
        """Passes an upload on as far as the visitor and the disk have room for it."""
        address = visitor_address(scope)
        length = Headers(scope=scope).get("content-length", "")
        sentence = self._uploads.begin(address, int(length) if length.isdecimal() else 0)
        if sentence is not None:
            await self._refuse_upload("limit", PlainTextResponse(sentence, 429), scope, body, send)
            return
        try:
            if free_uploads(self._settings.max_upload_bytes) < UPLOADS_THAT_FIT:
                await self._refuse_upload("disk_full", PlainTextResponse(NO_ROOM, 507), scope, body, send)
                return
            limit = min(self._settings.max_upload_bytes, self._uploads.bytes_left(address))
            await self._app(scope, self._limited(scope, body, limit), send)
        finally:
            self._uploads.end(address, body.num_bytes)

    async def _refuse_upload(
        self, reason: str, answer: PlainTextResponse, scope: Scope, body: RequestBody, send: Send
    ) -> None:
        self._metrics.count_failure("upload", reason)
        log_event("refused", level="error" if reason == "disk_full" else "info", reason=reason, endpoint="upload")
        await answer(scope, body.receive, send)

    def _limited(self, scope: Scope, body: RequestBody, limit: int) -> Receive:
        """Receives a request; raises once it is larger than it may be, fills the disk, or comes too slowly."""
        checked = 0  # bytes

        async def limited() -> Message:
            nonlocal checked
            try:
                message = await body.receive()
            except TimeoutError:
                self._metrics.count_failure(_endpoint(scope), "left")
                log_event("left", reason="left", endpoint=_endpoint(scope))
                raise HTTPException(408, "The rest of the request did not come. Send it again.") from None
            if body.num_bytes >= checked + DISK_CHECK_BYTES:
                checked = body.num_bytes
                # However many uploads began while there was room, they leave some for the films.
                if free_uploads(self._settings.max_upload_bytes) < UPLOADS_THAT_FIT - 1:
                    self._metrics.count_failure("upload", "disk_full")
                    log_event("refused", level="error", reason="disk_full", endpoint="upload")
                    body.is_given_up = True
                    raise HTTPException(507, NO_ROOM)
            if body.num_bytes <= limit:
                return message
            # The rest is read and dropped, as a browser reads no answer before it has sent all.
            most = DROPPED_UPLOADS * self._settings.max_upload_bytes
            while message.get("more_body") and body.num_bytes < most:
                message = await body.receive()
            body.is_given_up = bool(message.get("more_body"))
            self._metrics.count_failure(_endpoint(scope), "input")
            log_event("refused", reason="input", endpoint=_endpoint(scope))
            if _UPLOAD.fullmatch(_path(scope)):
                # Gradio removes what it has written so far, and answers 413 because of "maximum allowed size".
                raise MultiPartException(
                    f"The upload is larger than the maximum allowed size of {limit // 2**20} MB. Give a smaller file."
                )
            raise HTTPException(413, f"A request may be {MAX_REQUEST_BYTES // 2**10} KB; upload files instead.")

        return limited


def _caching(path: str, status: int) -> str | None:
    """What browsers and proxies may keep of an answer; None where nothing is said about it."""
    if path.startswith("/gradio_api/file="):
        return "private"  # proxies must not cache visitors' faces
    if path.startswith("/assets/") and status == 200:
        return "public, max-age=31536000, immutable"  # their names have hashes of their contents
    if _PAGE.fullmatch(path):
        return "private, no-cache"  # it has the address under which it was asked for, which a visitor can choose
    return None


def _unauthorized() -> PlainTextResponse:
    return PlainTextResponse("Authorization: Bearer TOKEN is needed here.", 401, {"WWW-Authenticate": "Bearer"})


def _is_one_range(header: str | None) -> bool:
    """Whether a request asks for all of a file, or for one range of its bytes that has an end after its beginning."""
    if header is None:
        return True
    asked = _ONE_RANGE.fullmatch(header.replace(" ", ""))
    if asked is None or asked[0] == "bytes=-":
        return False
    return not (asked[1] and asked[2]) or int(asked[1]) <= int(asked[2])


def _asks_for_other_page(scope: Scope) -> bool:
    """Whether a request is for one of several pages, which Gradio looks up without a check; there is one only."""
    return _path(scope) in ("", "/") and bool(QueryParams(scope["query_string"]).get("page"))


def _endpoint(scope: Scope) -> str:
    """The name of a request in metrics and log."""
    return "upload" if _UPLOAD.fullmatch(_path(scope)) else "question"


def _path(scope: Scope) -> str:
    """The path below the one under which a proxy may show the page."""
    return scope["path"].removeprefix(scope.get("root_path", ""))
