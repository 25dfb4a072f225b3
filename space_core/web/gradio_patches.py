"""Everything inside Gradio that the demo replaces, sets or reads; no other module touches names that are not public.

Gradio fetches addresses that visitors give, opens their photos itself, prints tracebacks and names files of the machine
in errors; a page that is mounted in another application doesn't check that files were uploaded; and the queue has no
hooks. None of this can be configured, so it is patched. ``REPLACED`` and ``USED`` list what the patches rely on:
``apply`` checks the first against the Gradio that is installed, the tests check both.
"""

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import unquote

import fastapi
import gradio as gr
import gradio.blocks
import gradio.queueing
import gradio.route_utils
import gradio.routes
import gradio.utils
from gradio.data_classes import FileData

from space_core.errors import SpaceError
from space_core.web.error_handlers import fetching_refused, log_current_error, visitor_message, wrong_input
from space_core.web.logs import log_event

VERSIONS = ("6.31.0",)  # of Gradio, for which the tests have passed

# Functions that are replaced, with the parameters that the replacements rely on.
REPLACED = {
    "gradio.components.Image.preprocess": ("self", "payload"),
    "gradio.components.Slider.preprocess": ("self", "payload"),
    "gradio.components.Dropdown.preprocess": ("self", "payload"),
    "gradio.components.Radio.preprocess": ("self", "payload"),
    "gradio.components.Number.preprocess": ("self", "payload"),
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
    "gradio.queueing.Queue.push": ("self", "body", "request", "username"),
    "gradio.queueing.Queue.clean_events": ("self", "session_hash", "event_id"),
}
# Modules whose ``traceback`` is replaced.
PRINTING = ("gradio.queueing", "gradio.routes", "gradio.route_utils")
# Attributes of Gradio's objects that are set or read.
USED = {
    "gradio.Blocks": (
        "_queue",
        "blocks",
        "fns",
        "has_launched",
        "mcp_server_obj",
        "state_session_capacity",
        "temp_file_sets",
    ),
    "gradio.Image": ("data_model", "keep_in_cache"),
    "gradio.blocks.BlockFunction": ("api_name",),
    "gradio.queueing.Queue": ("active_jobs", "close", "event_queue_per_concurrency_id"),
    "gradio.queueing.EventQueue": ("queue",),
    "gradio.queueing.Event": ("_id", "fn", "session_hash"),
    "gradio.routes.App": ("stop_event",),
    "gradio.mcp.GradioMCPServer": ("_local_url",),
}

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
    """Passes values and photos to the endpoints unchecked: Gradio's own messages about wrong ones are not for visitors.

    By assignment, not by subclasses: Gradio writes a stub file beside each module that defines a component.
    """
    _replace("gradio.components.Image.preprocess", lambda self, payload: payload.path if payload else None)
    for component in ("Slider", "Dropdown", "Radio", "Number"):
        _replace(f"gradio.components.{component}.preprocess", lambda self, payload: payload)
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
        """The path of a file of this page whose address an agent gave; nothing is fetched for that."""
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


def require_uploads(page: gr.Blocks) -> None:
    """Has Gradio check that the files that visitors name are uploads; a mounted page doesn't without this."""
    page.has_launched = True


def upload_folder() -> Path:
    """The folder of uploads and of files made for visitors."""
    return Path(gradio.utils.get_upload_folder())


def example_files(page: gr.Blocks) -> set[str]:
    """The paths in the upload folder that belong to the page itself."""
    return {path for block in page.blocks.values() for path in getattr(block, "keep_in_cache", ())}


def forget_files(page: gr.Blocks, paths: Iterable[str]) -> None:
    """Drops removed files from Gradio's own records of what it has to remove."""
    for recorded in page.temp_file_sets:
        recorded.difference_update(paths)


def limit_sessions(page: gr.Blocks, most: int) -> None:
    """Limits for how many visitors Gradio keeps state in memory."""
    page.state_session_capacity = most


# Errors


def _replace_error_messages() -> None:
    """Plain sentences for visitors, where Gradio has "Error" or nothing; type and place in the log, not tracebacks."""
    preprocess_data, error_payload = gradio.blocks.Blocks.preprocess_data, gradio.utils.error_payload

    async def preprocess_or_refuse(self: Any, *arguments: Any, **named: Any) -> list[Any]:
        try:
            return await preprocess_data(self, *arguments, **named)
        except Exception as error:  # however it fails, the values are wrong
            refusal = wrong_input(error)
            raise refusal from (None if refusal is error else error)

    def plain_payload(error: BaseException | None, show_error: bool) -> dict[str, Any]:
        return error_payload(visitor_message(error), show_error=True)

    _replace("gradio.blocks.Blocks.preprocess_data", preprocess_or_refuse)
    _replace("gradio.utils.error_payload", plain_payload)
    _replace("gradio.queueing.error_payload", plain_payload)
    logging = SimpleNamespace(**{**vars(traceback), "print_exc": log_current_error})
    for name in PRINTING:
        module: Any = importlib.import_module(name)
        module.traceback = logging


# The queue and the server


def queue_length(page: gr.Blocks) -> int:
    """How many visitors wait."""
    return len(page._queue)


def observe_queue(
    page: gr.Blocks,
    full_message: str,
    on_failure: Callable[[str, str], None],
    on_disconnect: Callable[[str], None],
) -> None:
    """Calls back when the queue of a page refuses or loses a visitor.

    Args:
        page: whose queue was set up with ``page.queue``.
        full_message: what a visitor reads for whom the queue has no place, with status 429.
        on_failure: called with the endpoint and "full" or "left", for a visitor who is refused, or leaves the queue.
        on_disconnect: called with the session of a visitor who disconnects or cancels while a job of theirs runs.
            Gradio itself would notice only when the job yields its next result.
    """
    queue: Any = page._queue
    push, clean_events = queue.push, queue.clean_events

    async def push_or_refuse(body: Any, request: fastapi.Request, username: str | None) -> tuple:
        success, answer, state = await push(body=body, request=request, username=username)
        if state == "queue_full":
            on_failure(_endpoint(page.fns.get(body.fn_index)), "full")
            # Not Gradio's 503, for which its page shows another sentence.
            raise fastapi.HTTPException(429, full_message)
        return success, answer, state

    async def clean_and_call_back(*, session_hash: str | None = None, event_id: str | None = None) -> None:
        waiting = [
            event.fn
            for line in queue.event_queue_per_concurrency_id.values()
            for event in line.queue
            if event.session_hash == session_hash or event._id == event_id
        ]
        for event in [event for events in queue.active_jobs for event in events or ()]:
            if event.session_hash == session_hash or event._id == event_id:
                on_disconnect(event.session_hash)
        await clean_events(session_hash=session_hash, event_id=event_id)
        for function in waiting:
            on_failure(_endpoint(function), "left")

    queue.push, queue.clean_events = push_or_refuse, clean_and_call_back


def mounted_app(app: fastapi.FastAPI) -> gradio.routes.App:
    """Gradio's application within the one on which a page was mounted last."""
    route: Any = app.routes[-1]
    return route.app


def set_mcp_address(page: gr.Blocks, address: str) -> None:
    """Has the MCP server call this server at its own address, not at the host that its first client names."""
    server: Any = page.mcp_server_obj
    server._local_url = address


def close(page: gr.Blocks, mounted: gradio.routes.App) -> None:
    """Ends the queue and all connections of open pages, which would hold up the end of the server."""
    page._queue.close()
    mounted.stop_event.set()  # Gradio treats it as if every visitor left, so running jobs are cancelled


def _endpoint(function: Any) -> str:
    return str(getattr(function, "api_name", None) or "unnamed")


def _replace(name: str, replacement: Callable) -> None:
    """Puts a function in the place of one of ``REPLACED``."""
    owner, attribute = _find(name)
    _originals[name] = getattr(owner, attribute)
    setattr(owner, attribute, replacement)


def _find(name: str) -> tuple[Any, str]:
    """The module or class that holds a dotted name, and the name within it."""
    owner, _, attribute = name.rpartition(".")
    return pkgutil.resolve_name(owner), attribute
