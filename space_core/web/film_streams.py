"""Films that are sent while they are drawn: ``GET /stream/TOKEN.mp4``, or ``.m3u8`` with segments (HLS)."""

import asyncio
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from space_core.web.hls_playlist import HlsPlaylist

PATH = re.compile(r"/stream/([\w-]{43})\.(mp4|m3u8|init\.mp4|(\d{1,6})\.m4s)")
TOKEN_BYTES = 32
CHUNK_BYTES = 1 << 18
GROWTH_SECONDS = 0.02  # between two looks at a file that grows
MAX_READERS = 4  # of one film at a time
KEPT_SECONDS = 60.0  # and the length of the film: for those who read its segments, after it has been drawn

NO_STREAM = "There is no such stream, or its video is finished. The result has its file."
TOO_MANY = "This stream is being read by several connections. Close one of them."
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


@dataclass(eq=False)
class GrowingFilm:
    """A fragmented MP4 that is being written, for readers with its token.

    Attributes:
        path: the file.
        seconds: how long it will be.
        token: 43 random letters, digits, "-" and "_".
        has_ended: whether nothing more is written.
        is_whole: whether it has ended with the end of the film.
        num_readers: how many read it.
        playlist: its segments, once they have been asked for.
    """

    path: Path
    seconds: float
    token: str
    has_ended: bool = False
    is_whole: bool = False
    num_readers: int = 0
    playlist: HlsPlaylist | None = None

    @property
    def address(self) -> str:
        """Its address, relative to that of the page."""
        return f"stream/{self.token}.mp4"


class FilmStreams:
    """The films that are being drawn. May be used from several threads."""

    def __init__(self) -> None:
        self._films: dict[str, GrowingFilm] = {}

    @contextmanager
    def publish(self, path: Path, seconds: float) -> Iterator[GrowingFilm]:
        """A film of that length that can be asked for within this context; set ``is_whole`` when all of it is written.

        A reader at that time is sent the rest, even if the file is removed afterwards. Players of segments ask for
        each by itself, so a whole film for which a playlist was asked for can be found for some time longer.
        """
        film = GrowingFilm(path, seconds, secrets.token_urlsafe(TOKEN_BYTES))
        self._films[film.token] = film
        try:
            yield film
        finally:
            film.has_ended = True
            if film.is_whole and film.playlist is not None:
                kept = threading.Timer(seconds + KEPT_SECONDS, self._drop, (film,))
                kept.daemon = True
                kept.start()
            else:
                self._drop(film)

    def find(self, token: str) -> GrowingFilm | None:
        """The film of a token; None where there is none, or none any more."""
        return self._films.get(token)

    def _drop(self, film: GrowingFilm) -> None:
        del self._films[film.token]
        if film.playlist is not None:
            film.playlist.close()


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
        elif film.num_readers >= MAX_READERS:
            await JSONResponse({"detail": TOO_MANY}, 429)(scope, receive, send)
        else:
            film.num_readers += 1
            leaving = asyncio.ensure_future(_disconnection(receive))
            if asked[2] == "mp4":
                answer = _send(film, send, headers_only=scope["method"] == "HEAD")
            else:
                answer = _send_part(film, asked[2], asked[3], scope, receive, send)
            answering = asyncio.ensure_future(answer)
            try:
                await asyncio.wait((leaving, answering), return_when=asyncio.FIRST_COMPLETED)
                if answering.done():
                    answering.result()
            except FileNotFoundError:  # it has ended at this moment
                await JSONResponse({"detail": NO_STREAM}, 404)(scope, receive, send)
            finally:
                film.num_readers -= 1
                leaving.cancel()
                answering.cancel()


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(film: GrowingFilm, send: Send, headers_only: bool) -> None:
    """Sends a film from its beginning, as it grows, until it ends."""
    headers = [(name.encode(), value.encode()) for name, value in {"content-type": "video/mp4", **HEADERS}.items()]
    with film.path.open("rb") as file:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not headers_only:
            has_ended = film.has_ended  # before reading: what is there then is all
            if chunk := file.read(CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            elif has_ended:
                break
            else:
                await asyncio.sleep(GROWTH_SECONDS)
        if headers_only or film.is_whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_part(
    film: GrowingFilm, kind: str, number: str | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Sends the playlist of a film as it is now, its header, or the segment of a number."""
    try:
        playlist = film.playlist = film.playlist or HlsPlaylist(film.path)
    except FileNotFoundError:  # it has ended at this moment
        await JSONResponse({"detail": NO_STREAM}, 404)(scope, receive, send)
        return
    playlist.update(film.has_ended)
    while not playlist.is_begun:  # players take a playlist without segments for a broken one
        await asyncio.sleep(GROWTH_SECONDS)
        playlist.update(film.has_ended)
    content: bytes | None
    if kind == "m3u8":
        content, media_type = playlist.text(film.token).encode(), "application/vnd.apple.mpegurl"
    else:
        content, media_type = playlist.header() if number is None else playlist.segment(int(number)), "video/mp4"
    if content is None:
        await JSONResponse({"detail": NO_STREAM}, 404)(scope, receive, send)
        return
    await Response(content, headers=HEADERS, media_type=media_type)(scope, receive, send)
