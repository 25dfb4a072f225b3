"""What a visitor is told, and what the log holds, when something fails: plain words here, type and place there."""

import sys
from types import SimpleNamespace
from typing import Any

import gradio as gr
import gradio.queueing
import gradio.route_utils
import gradio.routes
import gradio.utils
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from gradio.exceptions import ComponentProcessingError, InvalidPathError
from gradio.route_utils import FnIndexInferError
from gradio_client.exceptions import AppError
from pydantic import ValidationError

from space_core.service.logs import event, fault

WRONG_INPUT = "An input is not of the kind that belongs there. A file has to be uploaded here before it is used."
OUR_FAULT = "That failed, and the fault is ours. It was noted; please try again."
NO_ENDPOINT = "There is no such endpoint. /gradio_api/info tells which there are."

# How Gradio fails on values that its page never sends.
_INPUT_ERRORS = (InvalidPathError, ComponentProcessingError, ValidationError)

_error_payload = gradio.utils.error_payload


def tell_faults_plainly() -> None:
    """Gradio would print tracebacks, with messages that may quote visitors, and tell visitors "Error" or nothing."""
    gradio.queueing.error_payload = gradio.utils.error_payload = _plain_payload
    for module in (gradio.queueing, gradio.routes, gradio.route_utils):
        module.traceback = SimpleNamespace(print_exc=_log_fault)


def tell_unknown_endpoints(mounted: FastAPI) -> None:
    """Has the page's application answer 404 for an endpoint that it doesn't know; Gradio fails on it."""

    def unknown(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": NO_ENDPOINT}, 404)

    mounted.add_exception_handler(FnIndexInferError, unknown)


def _plain_payload(error: BaseException | None, _: bool) -> dict[str, Any]:
    if not isinstance(error, AppError):
        error = gr.Error(WRONG_INPUT if isinstance(error, _INPUT_ERRORS) else OUR_FAULT, title="This didn't work")
    return _error_payload(error, show_error=True)


def _log_fault() -> None:
    error = sys.exc_info()[1]
    if isinstance(error, _INPUT_ERRORS):
        event("refused", reason="input", error=type(error).__name__)
    else:
        event("fault", level="error", **fault(error))
