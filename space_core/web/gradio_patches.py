"""What the demo replaces inside Gradio; ``gradio_page`` has what it sets and reads there.

Gradio fetches addresses that visitors give, opens their photos itself, prints tracebacks, and names files of the
machine in errors. It accepts incomplete uploads or leaves them on the disk, never forgets the progress of uploads,
never closes some event loops, and shows half of the page in the language of the browser. None of this can be
configured, so it is patched. ``REPLACED`` lists the functions that the patches rely on; ``apply`` checks them against
the installed Gradio.
"""

import asyncio
import importlib
import inspect
import pkgutil
import re
import secrets
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import unquote

import fastapi
import gradio as gr
import gradio.blocks
import gradio.components
import gradio.queueing
import gradio.route_utils
import gradio.routes
import gradio.utils
import gradio_client.utils
import jinja2
from gradio.data_classes import FileData
from gradio.server_messages import UnexpectedErrorMessage
from gradio_client.exceptions import AppError
from starlette.formparsers import MultiPartException

from space_core.errors import SpaceError
from space_core.fault_reasons import fault_reason
from space_core.web.error_handlers import (
    RESTARTING,
    WRONG_CLICK,
    WRONG_SESSION,
    WrongArguments,
    fetching_refused,
    log_current_error,
    visitor_message,
    wrong_input,
)
from space_core.web.gradio_page import FAULT, upload_folder
from space_core.web.logs import log_event

SESSION = re.compile("[!-~]{1,200}")  # a session's name, which visitors choose
MAX_FILES = 20  # of one upload
MAX_PROGRESS = 200  # uploads whose progress Gradio keeps

PAGE_TEMPLATE = "frontend/index.html"
# Tags in the head of the page from which other sites build previews of links to it; Gradio's describe Gradio.
LINK_PREVIEW = re.compile(r'<meta\s+(property="og:|name="twitter:)[^>]*>\s*')
DESCRIPTION = "One photo and one recording in, a video of that person saying it out."
# The script: Gradio takes the language of its own labels, and the page's ``lang``, from the browser. Ours are English.
OWN_HEAD = f"""<meta name="description" content="{DESCRIPTION}" />
        <meta property="og:title" content="SPACE" />
        <meta property="og:description" content="{DESCRIPTION}" />
        <meta property="og:type" content="website" />
        <script>Object.defineProperty(navigator, "language", {{value: "en"}});</script>
    </head>"""

VERSIONS = ("6.31.0",)  # of Gradio, for which the tests have passed

# Functions that are replaced, with the parameters that the replacements rely on.
REPLACED = {
    "gradio.components.Image.preprocess": ("self", "payload"),
    "gradio.components.Slider.preprocess": ("self", "payload"),
    "gradio.components.Dropdown.preprocess": ("self", "payload"),
    "gradio.components.Radio.preprocess": ("self", "payload"),
    "gradio.components.Number.preprocess": ("self", "payload"),
    "gradio.components.Textbox.preprocess": ("self", "payload"),
    "gradio.components.Dataset.preprocess": ("self", "payload"),
    "gradio.processing_utils.async_ssrf_protected_get": ("url",),
    "gradio.processing_utils.async_ssrf_protected_download": ("url", "cache_dir"),
    "gradio.processing_utils.ssrf_protected_download": ("url", "cache_dir"),
    "gradio.processing_utils.save_url_to_cache": ("url", "cache_dir"),
    "gradio.processing_utils.unsafe_download": ("url", "cache_dir"),
    "gradio.routes.secure_url_stream_response": ("url", "request"),
    "gradio.routes.App.build_proxy_request": ("self", "url_path"),
    "safehttpx.get": ("url", "domain_whitelist", "_transport", "kwargs"),
    "gradio.blocks.Blocks.preprocess_data": ("self", "block_fn", "inputs", "state", "explicit_call"),
    "gradio.utils.error_payload": ("error", "show_error"),
    "gradio.queueing.error_payload": ("error", "show_error"),
    "gradio.route_utils.get_fn": ("blocks", "api_name", "body"),
    "gradio_client.utils.construct_args": ("parameters_info", "args", "kwargs"),
    "gradio.routes.UnexpectedErrorMessage": ("msg", "event_id", "message", "session_not_found", "success"),
    "gradio.route_utils.FileUploadProgress.is_tracked": ("self", "upload_id"),
    "gradio.route_utils.FileUploadProgress.stop_tracking": ("self", "upload_id"),
    "gradio.route_utils.FileUploadProgress.track": ("self", "upload_id"),
    "gradio.route_utils.GradioMultiPartParser.parse": ("self",),
    "gradio.route_utils.GradioMultiPartParser.on_end": ("self",),
    "gradio.queueing.safe_get_lock": (),
    "gradio.utils.safe_get_lock": (),
    "gradio.utils.safe_get_stop_event": (),
    "gradio.queueing.Queue.push": ("self", "body", "request", "username"),
    "gradio.queueing.Queue.send_message": ("self", "event", "event_message"),
    "gradio.queueing.Queue.clean_events": ("self", "session_hash", "event_id"),
    "gradio.queueing.Queue.compute_analytics_summary": ("self", "records"),
}
# Modules whose ``traceback`` is replaced.
PRINTING = ("gradio.queueing", "gradio.routes", "gradio.route_utils")
# Modules whose ``DEFAULT_TEMP_DIR``, where they write to, is replaced.
WRITING = ("gradio.routes", "gradio.route_utils", "gradio.screen_recording_utils")
_applied = False
_originals: dict[str, Callable] = {}  # by name, what was replaced


def apply() -> None:
    """Patches Gradio for this process; further calls do nothing. To be called before a page is built.

    Raises:
        SpaceError: the Gradio that is installed lacks something that the patches rely on.
    """
    global _applied
    if _applied:
        return
    if gr.__version__ not in VERSIONS:
        log_event("untested_gradio", level="warning", version=gr.__version__, tested=", ".join(VERSIONS))
    for name, expected in REPLACED.items():
        if parameters(name) != expected:
            raise SpaceError(
                f"Gradio {gr.__version__} can't be used, as its {name} has changed. Install gradio=={VERSIONS[-1]}."
            )
    _leave_checks_to_the_pipeline()
    _forbid_fetching()
    _replace_error_messages()
    _refuse_wrong_requests()
    _refuse_broken_uploads()
    _forget_progress()
    _replace_page_head()
    _open_no_event_loops()
    _applied = True


def parameters(name: str) -> tuple[str, ...] | None:
    """The names of the parameters of one of Gradio's own functions, patched or not; None where there is no such one."""
    try:
        owner, attribute = _find(name)
        function = _originals.get(name) or getattr(owner, attribute)
    except (ImportError, AttributeError):
        return None
    return tuple(inspect.signature(function).parameters)


# Values and files


def _leave_checks_to_the_pipeline() -> None:
    """Passes values and photos to the endpoints unchecked, as Gradio's messages about wrong ones are technical.

    Methods are replaced, not overridden: Gradio writes a stub file beside each module that subclasses a component.
    """
    _replace("gradio.components.Image.preprocess", lambda self, payload: payload.path if payload else None)
    for component in ("Slider", "Dropdown", "Radio", "Number", "Textbox"):
        _replace(f"gradio.components.{component}.preprocess", lambda self, payload: payload)
    choose_example = gradio.components.Dataset.preprocess

    def example(self: Any, payload: Any) -> Any:
        if not isinstance(payload, int):
            raise wrong_input(TypeError())
        return choose_example(self, payload)

    _replace("gradio.components.Dataset.preprocess", example)
    # The type of recordings and videos: Gradio refuses a path without the mark of an upload for this type only.
    image: Any = gr.Image
    image.data_model = FileData


def _forbid_fetching() -> None:
    """Refuses wherever Gradio would fetch an address that a visitor gave in place of a file."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise fetching_refused()

    async def refuse_async(*_: object, **__: object) -> NoReturn:
        raise fetching_refused()

    async def own_file(url: str, cache_dir: str) -> str:
        """The path of one of this page's own files, for its address as agents give it; nothing is fetched."""
        _, is_ours, path = unquote(url).partition("/gradio_api/file=")
        file = Path(path).resolve()
        if not is_ours or not file.is_relative_to(upload_folder().resolve()) or not file.is_file():
            raise fetching_refused()
        return str(file)

    _replace("gradio.processing_utils.async_ssrf_protected_get", refuse_async)
    _replace("gradio.processing_utils.async_ssrf_protected_download", own_file)
    _replace("gradio.processing_utils.ssrf_protected_download", refuse)
    _replace("gradio.processing_utils.save_url_to_cache", refuse)
    _replace("gradio.processing_utils.unsafe_download", refuse)
    _replace("gradio.routes.secure_url_stream_response", refuse_async)
    _replace("gradio.routes.App.build_proxy_request", refuse)
    _replace("safehttpx.get", refuse_async)


def write_to_upload_folder() -> None:
    """Makes Gradio write to the upload folder, instead of the folder that it chose when it was imported."""
    for name in WRITING:
        module: Any = importlib.import_module(name)
        module.DEFAULT_TEMP_DIR = str(upload_folder())


# Errors


def _replace_error_messages() -> None:
    """Shows visitors plain sentences instead of "Error" or nothing; logs type and place instead of tracebacks."""
    preprocess_data, error_payload = gradio.blocks.Blocks.preprocess_data, gradio.utils.error_payload

    async def preprocess_or_refuse(self: Any, *arguments: Any, **named: Any) -> list[Any]:
        try:
            return await preprocess_data(self, *arguments, **named)
        except Exception as error:  # however it fails, the values are wrong
            refusal = wrong_input(error)
            raise refusal from (None if refusal is error else error)

    def plain_payload(error: BaseException | None, show_error: bool) -> dict[str, Any]:
        payload = error_payload(visitor_message(error), show_error=True)
        # Faults are counted where the payload is sent; see ``gradio_page.observe_queue``.
        return payload if isinstance(error, AppError) else {**payload, FAULT: fault_reason(error or RuntimeError())}

    class RestartMessage(UnexpectedErrorMessage):
        """The last message of a stream when the server ends."""

        def __init__(self, **values: Any) -> None:
            super().__init__(**{**values, "message": RESTARTING})

    _replace("gradio.blocks.Blocks.preprocess_data", preprocess_or_refuse)
    _replace("gradio.utils.error_payload", plain_payload)
    _replace("gradio.queueing.error_payload", plain_payload)
    _replace("gradio.routes.UnexpectedErrorMessage", RestartMessage)
    logging = SimpleNamespace(**{**vars(traceback), "print_exc": log_current_error})
    for name in PRINTING:
        module: Any = importlib.import_module(name)
        module.traceback = logging


def _refuse_wrong_requests() -> None:
    """Makes requests for unknown functions, or with unknown arguments, fail with exceptions of their own types."""
    get_fn, construct_args = gradio.route_utils.get_fn, gradio_client.utils.construct_args

    def find_function(blocks: gr.Blocks, api_name: str | None, body: Any) -> Any:
        if body.session_hash is not None and not SESSION.fullmatch(body.session_hash):
            raise fastapi.HTTPException(400, WRONG_SESSION)
        try:
            function = get_fn(blocks, api_name, body)
        except KeyError:
            raise gradio.route_utils.FnIndexInferError from None
        if not function.fn:  # a listener in JavaScript, which only the page can run
            raise gradio.route_utils.FnIndexInferError
        if function.collects_event_data and not _is_click(body.event_data):
            raise fastapi.HTTPException(422, WRONG_CLICK)
        return function

    def checked_arguments(parameters_info: Any, args: tuple, kwargs: dict) -> list:
        try:
            return construct_args(parameters_info, args, kwargs)
        except TypeError as error:
            raise WrongArguments(str(error)) from None

    _replace("gradio.route_utils.get_fn", find_function)
    _replace("gradio_client.utils.construct_args", checked_arguments)


def _refuse_broken_uploads() -> None:
    """Accepts an upload only if it is complete and has files; of any other, nothing is left on the disk.

    Gradio names the folder of a file by the hash of its contents, so that anybody with the same file could find out
    whether somebody else has uploaded it. Random bytes are added to the hash.
    """
    parser = gradio.route_utils.GradioMultiPartParser
    parse, on_end = parser.parse, parser.on_end

    def note_end(self: Any) -> None:
        self.is_complete = True
        on_end(self)

    async def parse_whole(self: Any) -> Any:
        self.max_files = MAX_FILES
        try:
            form: Any = await parse(self)
            if not getattr(self, "is_complete", False):
                raise MultiPartException("The upload is not complete. Send it again.")
            if not self.items or any(isinstance(value, str) for name, value in self.items if name == "files"):
                raise MultiPartException('An upload has parts named "files", each with a file name. There is none.')
        except BaseException:  # a disconnection, too
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            raise
        for file in form.getlist("files"):
            file.sha.update(secrets.token_bytes(16))
        return form

    _replace("gradio.route_utils.GradioMultiPartParser.parse", parse_whole)
    _replace("gradio.route_utils.GradioMultiPartParser.on_end", note_end)


def _forget_progress() -> None:
    """Forgets the progress of uploads that never arrive, and of all but the latest that have finished.

    Gradio keeps every upload id that was asked for.
    """
    progress = gradio.route_utils.FileUploadProgress
    is_tracked, stop_tracking, track = progress.is_tracked, progress.stop_tracking, progress.track

    async def wait_for_upload(self: Any, upload_id: str) -> bool:
        try:
            return await is_tracked(self, upload_id)
        finally:
            if upload_id not in self._statuses:
                self._signals.pop(upload_id, None)

    def forget(self: Any, upload_id: str) -> None:
        stop_tracking(self, upload_id)
        self._signals.pop(upload_id, None)

    def track_few(self: Any, upload_id: str) -> None:
        track(self, upload_id)
        while len(self._statuses) > MAX_PROGRESS:
            forget(self, next(iter(self._statuses)))

    _replace("gradio.route_utils.FileUploadProgress.is_tracked", wait_for_upload)
    _replace("gradio.route_utils.FileUploadProgress.stop_tracking", forget)
    _replace("gradio.route_utils.FileUploadProgress.track", track_few)


def _replace_page_head() -> None:
    """Puts ``OWN_HEAD`` into Gradio's page."""
    environment = gradio.routes.templates.env
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, PAGE_TEMPLATE)
    page = jinja2.DictLoader({PAGE_TEMPLATE: LINK_PREVIEW.sub("", source).replace("</head>", OWN_HEAD, 1)})
    environment.loader = jinja2.ChoiceLoader([page, environment.loader])


def _open_no_event_loops() -> None:
    """Makes locks without an event loop; Gradio opens one for each lock and never closes it."""
    _replace("gradio.queueing.safe_get_lock", asyncio.Lock)
    _replace("gradio.utils.safe_get_lock", asyncio.Lock)
    _replace("gradio.utils.safe_get_stop_event", asyncio.Event)


def _is_click(event_data: Any) -> bool:
    """Whether the data of an event say where a picture was clicked."""
    index = event_data.get("index") if isinstance(event_data, dict) else None
    return (
        isinstance(index, list)
        and len(index) == 2
        and all(type(value) in (int, float) and abs(value) < 1e6 for value in index)
    )


def _replace(name: str, replacement: Callable) -> None:
    """Puts a function in the place of one of ``REPLACED``."""
    owner, attribute = _find(name)
    _originals[name] = getattr(owner, attribute)
    setattr(owner, attribute, replacement)


def _find(name: str) -> tuple[Any, str]:
    """The module or class that holds a dotted name, and the name within it."""
    owner, _, attribute = name.rpartition(".")
    return pkgutil.resolve_name(owner), attribute
