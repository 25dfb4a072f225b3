"""Error responses: one plain sentence for the visitor; type and place of the error in the log."""

import re
import sys

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from gradio_client.exceptions import AppError
from starlette.exceptions import HTTPException

from space_core.fault_reasons import fault_reason
from space_core.web.faults import fault_sentence, log_fault
from space_core.web.logs import log_event

WRONG_INPUT = (
    "An input is missing or not of the kind that belongs there. A file has to be uploaded here before it is used."
)
WRONG_REQUEST = 'A request is JSON like {"data": [...]}. /gradio_api/info tells what each endpoint takes.'
WRONG_NAMED_REQUEST = (
    'A request is a JSON object with a value for each parameter, like {"photo": {...}, "text": "Hello!"}. '
    "/gradio_api/info tells what each endpoint takes."
)
WRONG_SESSION = "session_hash must have 1 to 200 characters of ASCII, no spaces among them."
WRONG_CLICK = 'event_data must say where the picture was clicked, like {"index": [120, 80]}.'
WRONG_RANGE = "That range of bytes is not in the file. Ask for one range that is, like bytes=0-999."
STOPPED = "This was stopped, so nothing was made."
NOT_FETCHED = "Nobody fetched this for a minute, so it was ended. Ask again, and read the answer's events at once."
RESTARTING = "The demo is restarting. Try again in a minute."
NO_ENDPOINT = "There is no such endpoint. /gradio_api/info tells which there are."
NO_FETCHING = "Files at other addresses are never fetched. Download the file and upload it."


class WrongArguments(TypeError):  # noqa: N818
    """A request with an argument too many or too few; the message names it."""


def add_exception_handlers(mounted: FastAPI) -> None:
    """Adds responses for requests that reach no endpoint, to Gradio's application as it is mounted."""

    def unknown_endpoint(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": NO_ENDPOINT}, 404)

    def malformed_request(request: Request, _: Exception) -> JSONResponse:
        sentence = WRONG_NAMED_REQUEST if "/call/v2/" in request.url.path else WRONG_REQUEST
        return JSONResponse({"detail": sentence}, 422)

    def wrong_arguments(_: Request, error: Exception) -> JSONResponse:
        name = next(iter(re.findall(r"`(\w{1,60})`|argument: (\w{1,60})$", str(error))), ("", ""))
        unknown, missing = name
        sentence = f"There is no parameter {unknown}. " if unknown else f"The parameter {missing} is missing. "
        return JSONResponse({"detail": (sentence if unknown or missing else "") + WRONG_NAMED_REQUEST}, 422)

    def http_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        detail = WRONG_RANGE if error.status_code == 416 else error.detail
        return JSONResponse({"detail": detail}, error.status_code, error.headers)

    def fault(_: Request, error: Exception) -> JSONResponse:
        """The answer only; the exception goes on to ``RequestGuard``, which logs it."""
        status = 507 if fault_reason(error) == "disk_full" else 500
        return JSONResponse({"detail": fault_sentence(error)}, status)

    mounted.add_exception_handler(FnIndexInferError, unknown_endpoint)
    mounted.add_exception_handler(RequestValidationError, malformed_request)
    mounted.add_exception_handler(WrongArguments, wrong_arguments)
    mounted.add_exception_handler(HTTPException, http_error)
    mounted.add_exception_handler(Exception, fault)


def wrong_input(error: Exception) -> AppError:
    """The message for values that Gradio can't convert, whatever the error; it is logged."""
    if isinstance(error, AppError):
        return error
    log_event("refused", reason="input", error=type(error).__name__)
    return refusal(WRONG_INPUT)


def visitor_message(error: BaseException | None) -> AppError:
    """The message for an error in an endpoint: its own if it was made for visitors, else that the server failed."""
    if isinstance(error, AppError):
        return error
    return gr.Error(fault_sentence(error or RuntimeError("no result")), title="This didn't work")


def refusal(sentence: str) -> AppError:
    """The message for a request that does not reach its endpoint."""
    return gr.Error(sentence, title="This didn't work", print_exception=False)


def fetching_refused() -> AppError:
    """The message for an address in place of a file."""
    return gr.Error(NO_FETCHING, title="This file can't be used", print_exception=False)


def stopped() -> AppError:
    """The message for programs whose job was stopped; hidden on the page, which shows that by itself."""
    return gr.Error(STOPPED, title="Stopped", visible=False, print_exception=False)


def not_fetched() -> AppError:
    """The message for programs that fetch a result so late that it was given up."""
    return refusal(NOT_FETCHED)


def log_current_error() -> None:
    """Logs the exception that is being handled; takes the place of ``traceback.print_exc``."""
    error = sys.exc_info()[1]
    if error is not None:
        log_fault(error)
