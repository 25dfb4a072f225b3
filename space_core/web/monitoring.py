"""``/healthz`` and ``/metrics`` beside the page."""

from collections.abc import Callable
from typing import Any

import fastapi
import gradio as gr
from fastapi.responses import JSONResponse, Response

from space_core.web import gradio_page
from space_core.web.metrics import REPLICAS, Metrics


def add_monitoring(
    app: fastapi.FastAPI, page: gr.Blocks, metrics: Metrics, health: Callable[[], dict[str, Any]]
) -> None:
    """Adds both; for ``health`` see ``Callbacks``."""

    # Both on the event loop, so that they answer even when all threads are at work.
    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> JSONResponse:
        state = health()
        loaded, stuck = bool(state.get("loaded")), int(state.get("stuck", 0))
        answer = {
            "status": "ready",
            "loaded": loaded,
            "device": state.get("device"),
            "queue": gradio_page.queue_length(page),
            **{name: state[name] for name in REPLICAS if name in state},
        }
        if state.get("degraded"):
            answer |= {"status": "degraded", "reason": state["degraded"]}
        if stuck:
            answer |= {"status": "stuck", "stuck": stuck}
        if not loaded:
            answer["status"] = "loading"
        return JSONResponse(answer, 200 if loaded and not stuck else 503)

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)
