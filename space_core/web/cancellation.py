"""The route by which programs and the page cancel a request; a film that is being made for it ends at once."""

from collections.abc import Callable

import fastapi
import gradio as gr
from fastapi.responses import JSONResponse
from gradio.data_classes import CancelBody
from pydantic import ValidationError

from space_core.web import gradio_page
from space_core.web.error_handlers import stopped

WRONG_CANCEL = "Cancel a request by its session_hash, fn_index and event_id, as JSON."


def add_cancellation(app: fastapi.FastAPI, page: gr.Blocks, on_cancel: Callable[[str], None]) -> None:
    """Adds the route in place of Gradio's own, which answers only when the job yields its next result: the film.

    Args:
        app: the route comes before the page that is mounted later.
        page: whose requests are cancelled.
        on_cancel: called with the visitor's session if the request runs; on the event loop, so it must be quick.
    """

    @app.post("/gradio_api/cancel")
    async def cancel(request: fastapi.Request) -> JSONResponse:
        try:
            body = CancelBody.model_validate_json(await request.body())
        except ValidationError:
            return JSONResponse({"detail": WRONG_CANCEL}, 422)
        if gradio_page.session_of(page, body.event_id) == body.session_hash:
            await gradio_page.end_request(page, body.event_id, stopped(), on_cancel)
        return JSONResponse({"success": True})
