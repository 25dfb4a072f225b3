"""Films that are sent while they are drawn: ``GET /stream/TOKEN.mp4``."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = re.compile(r"/stream/([\w-]{43})\.mp4")
TOKEN_BYTES = 32
CHUNK_BYTES = 1 << 18
GROWTH_SECONDS = 0.02  # between two looks at a file that grows
READER_SECONDS = 60.0  # in which a reader must take the next chunk, once all buffers are full
MOST_READERS = 4  # of one film at a time

NO_STREAM = "There is no such stream, or its film is finished. The result has its file."
TOO_MANY = "This stream is being read by several connections. Close one of them."


@dataclass(eq=False)
class GrowingFilm:
    """A fragmented MP4 that is being written, for those who know its token.

    Attributes:
        path: the file.
        token: 43 letters, digits, "-" and "_" that nobody can guess.
        has_ended: whether nothing more is written.
        is_whole: whether it has ended with the end of the film.
        num_readers: how many read it.
    """

    path: Path
    token: str
    has_ended: bool = False
    is_whole: bool = False
    num_readers: int = 0

    @property
    def address(self) -> str:
        """Its address, relative to that of the page."""
        return f"stream/{self.token}.mp4"


class FilmStreams:
    """The films that are being drawn. May be used from several threads."""

    def __init__(self) -> None:
        self._films: dict[str, GrowingFilm] = {}

    @contextmanager
    def publish(self, path: Path) -> Iterator[GrowingFilm]:
        """A film that can be asked for within this context; set ``is_whole`` when all of it has been written.

        Whoever reads it then is sent the rest, even if the file is removed afterwards.
        """
        film = GrowingFilm(path, secrets.token_urlsafe(TOKEN_BYTES))
        self._films[film.token] = film
        try:
            yield film
        finally:
            del self._films[film.token]
            film.has_ended = True

    def find(self, token: str) -> GrowingFilm | None:
        """The film of a token; None where there is none, or none any more."""
        return self._films.get(token)


class FilmStreaming:
    """ASGI middleware that answers requests for streams. A film that is broken off breaks off the connection, too."""

    def __init__(self, app: ASGIApp, streams: FilmStreams) -> None:
        self._app = app
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        asked = PATH.fullmatch(path) if scope["type"] == "http" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        film = self._streams.find(asked[1])
        if film is None:
            await JSONResponse({"detail": NO_STREAM}, 404)(scope, receive, send)
        elif film.num_readers >= MOST_READERS:
            await JSONResponse({"detail": TOO_MANY}, 429)(scope, receive, send)
        else:
            film.num_readers += 1
            leaving = asyncio.ensure_future(_disconnection(receive))
            sending = asyncio.ensure_future(_send(film, send, headers_only=scope["method"] == "HEAD"))
            try:
                await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                film.num_readers -= 1
                leaving.cancel()
                sending.cancel()


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(film: GrowingFilm, send: Send, headers_only: bool) -> None:
    """Sends a film from its beginning, as it grows, until it ends."""
    headers = [(b"content-type", b"video/mp4"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    with film.path.open("rb") as file:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not headers_only:
            has_ended = film.has_ended  # before reading: what is there then is all
            if chunk := file.read(CHUNK_BYTES):
                sent = send({"type": "http.response.body", "body": chunk, "more_body": True})
                await asyncio.wait_for(sent, READER_SECONDS)
            elif has_ended:
                break
            else:
                await asyncio.sleep(GROWTH_SECONDS)
        if headers_only or film.is_whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
