"""The page on which a portrait says what its visitor says, ``/live``, and the WebSocket of the same name behind it."""

from pathlib import Path

import fastapi
from fastapi.responses import FileResponse, HTMLResponse
from starlette.websockets import WebSocket

from space_core.motion.emotion_labels import EMOTIONS
from space_core.web.live_session import LivePipeline, LiveSession
from space_core.web.service import AnimationService
from space_core.web.settings import Settings

FOLDER = Path(__file__).parent
SCRIPTS = ("live.js", "live_microphone.js")


def add_live(
    app: fastapi.FastAPI,
    pipeline: LivePipeline,
    service: AnimationService,
    settings: Settings,
    example: Path | None = None,
) -> None:
    """Adds the page, its scripts and its WebSocket; before Gradio's page is mounted, which would answer instead.

    Args:
        example: a JPEG that visitors without a photo can choose.
    """
    choices = "".join(f"<option>{emotion}</option>" for emotion in EMOTIONS)
    mark = ("checked " if settings.visible_mark or settings.force_visible_mark else "") + (
        "disabled" if settings.force_visible_mark else ""
    )
    page = (FOLDER / "live.html").read_text(encoding="utf-8")
    for name, value in (("EMOTIONS", choices), ("MARK", mark), ("EXAMPLE", "" if example else " hidden")):
        page = page.replace(f"{{{name}}}", value)

    @app.api_route("/live", methods=["GET", "HEAD"])
    async def live_page() -> HTMLResponse:
        return HTMLResponse(page)

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await LiveSession(socket, pipeline, service, settings).run()

    for name in SCRIPTS:
        app.add_api_route(
            f"/{name}",
            lambda name=name: FileResponse(FOLDER / name, media_type="text/javascript"),
            methods=["GET", "HEAD"],
        )
    if example is not None:

        @app.api_route("/live_example.jpg", methods=["GET", "HEAD"])
        async def live_example() -> FileResponse:
            return FileResponse(example)
