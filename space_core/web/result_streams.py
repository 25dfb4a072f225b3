"""Streams of the results of requests: one listener each, and an end in every case."""

import re
from urllib.parse import parse_qs

import gradio as gr
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from space_core.web import gradio_page
from space_core.web.faults import log_fault
from space_core.web.listeners import Listeners

NO_RESULT = "There is no such request, or its result has already been fetched."
LISTENED_TO = "This result is already being waited for by another connection."

_OF_SESSION = re.compile(r"/gradio_api/queue/data/?")
_OF_EVENT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)/?")


class ResultStreamGuard:
    """ASGI middleware: Gradio lets listeners take each other's messages, and those wait forever who come too late."""

    def __init__(self, app: ASGIApp, page: gr.Blocks, listeners: Listeners) -> None:
        self._app = app
        self._page = page
        self._listeners = listeners
        self._listened: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        event = _OF_EVENT.fullmatch(path)
        if scope["type"] != "http" or scope["method"] != "GET" or not (event or _OF_SESSION.fullmatch(path)):
            await self._app(scope, receive, send)
            return
        named = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        session = gradio_page.stream_session(self._page, event[1] if event else None, named)
        if session is None:
            await JSONResponse({"detail": NO_RESULT}, 404)(scope, receive, send)
        elif session in self._listened:
            await JSONResponse({"detail": LISTENED_TO}, 409)(scope, receive, send)
        else:
            self._listened.add(session)
            try:
                with self._listeners.listening(session):
                    await self._stream(scope, receive, send)
            finally:
                self._listened.discard(session)
                gradio_page.forget_delivered(self._page, session)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a stream on, and ends it as a stream ends even if Gradio fails."""
        is_open = False

        async def send_and_note(message: Message) -> None:
            nonlocal is_open
            is_open = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if not is_open:
                raise
            log_fault(error, endpoint="stream")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
