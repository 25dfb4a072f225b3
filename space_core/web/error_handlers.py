"""Error responses: one plain sentence for the visitor; type and place of the error in the log."""

import sys

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from gradio_client.exceptions import AppError

from space_core.web.logs import error_fields, log_event

WRONG_INPUT = (
    "An input is missing or not of the kind that belongs there. A file has to be uploaded here before it is used."
)
WRONG_REQUEST = 'A request is JSON like {"data": [...]}. /gradio_api/info tells what each endpoint takes.'
OUR_FAULT = "That failed, and the fault is ours. It was noted; please try again."
NO_ENDPOINT = "There is no such endpoint. /gradio_api/info tells which there are."
NO_FETCHING = "Files at other addresses are never fetched. Download the file and upload it."


def add_exception_handlers(mounted: FastAPI) -> None:
    """Adds responses for requests that reach no endpoint, to Gradio's application as it is mounted."""

    def unknown_endpoint(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": NO_ENDPOINT}, 404)

    def malformed_request(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": WRONG_REQUEST}, 422)

    mounted.add_exception_handler(FnIndexInferError, unknown_endpoint)
    mounted.add_exception_handler(RequestValidationError, malformed_request)


def wrong_input(error: Exception) -> AppError:
    """The message for values that Gradio can't convert, whatever the error; it is logged."""
    if isinstance(error, AppError):
        return error
    log_event("refused", reason="input", error=type(error).__name__)
    return gr.Error(WRONG_INPUT, title="This didn't work", print_exception=False)


def visitor_message(error: BaseException | None) -> AppError:
    """The message for an error in an endpoint: its own where it was made for visitors, else that the fault is ours."""
    return error if isinstance(error, AppError) else gr.Error(OUR_FAULT, title="This didn't work")


def fetching_refused() -> AppError:
    """The message for an address in place of a file."""
    return gr.Error(NO_FETCHING, title="This file can't be used", print_exception=False)


def log_current_error() -> None:
    """Logs the exception that is being handled; takes the place of ``traceback.print_exc``."""
    error = sys.exc_info()[1]
    if error is not None:
        log_event("fault", level="error", **error_fields(error))
