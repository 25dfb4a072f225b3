"""What a visitor is told, and what the log holds, when something fails: plain words here, type and place there."""

import sys
from types import SimpleNamespace
from typing import Any

import gradio as gr
import gradio.blocks
import gradio.queueing
import gradio.route_utils
import gradio.routes
import gradio.utils
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from gradio_client.exceptions import AppError

from space_core.web.logs import event, fault

WRONG_INPUT = (
    "An input is missing or not of the kind that belongs there. A file has to be uploaded here before it is used."
)
WRONG_REQUEST = 'A request is JSON like {"data": [...]}. /gradio_api/info tells what each endpoint takes.'
OUR_FAULT = "That failed, and the fault is ours. It was noted; please try again."
NO_ENDPOINT = "There is no such endpoint. /gradio_api/info tells which there are."

_error_payload = gradio.utils.error_payload
_preprocess_data = gradio.blocks.Blocks.preprocess_data


def tell_faults_plainly() -> None:
    """Gradio would print tracebacks, with messages that may quote visitors, and tell visitors "Error" or nothing."""
    gradio.blocks.Blocks.preprocess_data = _preprocess_or_refuse
    gradio.queueing.error_payload = gradio.utils.error_payload = _plain_payload
    for module in (gradio.queueing, gradio.routes, gradio.route_utils):
        module.traceback = SimpleNamespace(print_exc=_log_fault)


def tell_wrong_requests(mounted: FastAPI) -> None:
    """Has the page's application say in words what is wrong with a request that reaches no endpoint of its."""

    def unknown(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": NO_ENDPOINT}, 404)

    def malformed(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": WRONG_REQUEST}, 422)

    mounted.add_exception_handler(FnIndexInferError, unknown)
    mounted.add_exception_handler(RequestValidationError, malformed)


async def _preprocess_or_refuse(*arguments: Any, **more: Any) -> list[Any]:
    """What Gradio makes of a request's values; where it can't, the values are to blame, however it fails."""
    try:
        return await _preprocess_data(*arguments, **more)
    except AppError:
        raise
    except Exception as error:
        event("refused", reason="input", error=type(error).__name__)
        raise gr.Error(WRONG_INPUT, title="This didn't work", print_exception=False) from error


def _plain_payload(error: BaseException | None, _: bool) -> dict[str, Any]:
    if not isinstance(error, AppError):
        error = gr.Error(OUR_FAULT, title="This didn't work")
    return _error_payload(error, show_error=True)


def _log_fault() -> None:
    event("fault", level="error", **fault(sys.exc_info()[1]))
