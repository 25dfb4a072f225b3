"""Everything inside Gradio that the demo replaces, sets or reads; no other module touches names that are not public.

Gradio fetches addresses that visitors give, opens their photos itself, prints tracebacks and names files of the machine
in errors; a page that is mounted in another application doesn't check that files were uploaded; uploads that break off
are taken or left behind; and the queue has no hooks. None of this can be configured, so it is patched. ``REPLACED`` and
``USED`` list what the patches rely on: ``apply`` checks the first against the Gradio that is installed, the tests check
both.
"""

import importlib
import inspect
import pkgutil
import re
import secrets
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
from gradio.data_classes import FileData
from gradio.server_messages import ProcessCompletedMessage, UnexpectedErrorMessage
from gradio.utils import LRUCache
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
from space_core.web.logs import log_event
from space_core.web.visitor_limits import visitor_address

SESSION = re.compile("[!-~]{1,200}")  # a session's name, which visitors choose
MOST_FILES = 20  # of one upload
MOST_PROGRESS = 200  # uploads of which Gradio keeps how far they are
MOST_RESULTS = 500  # visitors whose messages wait to be fetched; Gradio's 2000 take 20 MB
FAULT = "fault"  # key of a fault's reason in the answer to a visitor

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
    "gradio.queueing.Queue.push": ("self", "body", "request", "username"),
    "gradio.queueing.Queue.send_message": ("self", "event", "event_message"),
    "gradio.queueing.Queue.clean_events": ("self", "session_hash", "event_id"),
    "gradio.queueing.Queue.compute_analytics_summary": ("self", "records"),
}
# Modules whose ``traceback`` is replaced.
PRINTING = ("gradio.queueing", "gradio.routes", "gradio.route_utils")
# Modules whose ``DEFAULT_TEMP_DIR``, where they write to, is replaced.
WRITING = ("gradio.routes", "gradio.route_utils", "gradio.screen_recording_utils")
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
    "gradio.blocks.BlockFunction": ("api_name", "collects_event_data", "concurrency_id", "fn"),
    "gradio.queueing.Queue": (
        "active_jobs",
        "close",
        "event_ids_to_events",
        "event_queue_per_concurrency_id",
        "pending_event_ids_session",
        "pending_messages_per_session",
    ),
    "gradio.queueing.EventQueue": ("queue",),
    "gradio.queueing.Event": ("_id", "alive", "concurrency_id", "fn", "request", "session_hash"),
    "gradio.route_utils.FileUploadProgress": ("_signals", "_statuses"),
    "gradio.route_utils.GradioMultiPartParser": ("_files_to_close_on_error", "items", "max_files"),
    "gradio.routes.App": ("state_holder", "stop_event"),
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
    _refuse_wrong_requests()
    _refuse_broken_uploads()
    _forget_progress()
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
        payload = error_payload(visitor_message(error), show_error=True)
        # Faults are counted where the payload is sent; see ``observe_queue``.
        return payload if isinstance(error, AppError) else {**payload, FAULT: fault_reason(error or RuntimeError())}

    class RestartMessage(UnexpectedErrorMessage):
        """What a stream ends with that the end of the server breaks off."""

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
    """Has requests for unknown functions and with unknown arguments fail with exceptions of their own types."""
    get_fn, construct_args = gradio.route_utils.get_fn, gradio_client.utils.construct_args

    def find_function(blocks: gr.Blocks, api_name: str | None, body: Any) -> Any:
        if body.session_hash is not None and not SESSION.fullmatch(body.session_hash):
            raise fastapi.HTTPException(400, WRONG_SESSION)
        try:
            function = get_fn(blocks, api_name, body)
        except KeyError:
            raise gradio.route_utils.FnIndexInferError from None
        if not function.fn:  # one that the page carries out itself, in JavaScript
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
    """Takes an upload only if it is complete and has files; of any other, nothing is left on the disk.

    Gradio names the folder of a file by its contents; who had the same file could ask whether others uploaded it.
    """
    parser = gradio.route_utils.GradioMultiPartParser
    parse, on_end = parser.parse, parser.on_end

    def note_end(self: Any) -> None:
        self.is_complete = True
        on_end(self)

    async def parse_whole(self: Any) -> Any:
        self.max_files = MOST_FILES
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
    """Keeps nothing of uploads that never come but whose progress is asked for, and of finished ones only the latest.

    Gradio remembers every name that it was asked for.
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
        while len(self._statuses) > MOST_PROGRESS:
            forget(self, next(iter(self._statuses)))

    _replace("gradio.route_utils.FileUploadProgress.is_tracked", wait_for_upload)
    _replace("gradio.route_utils.FileUploadProgress.stop_tracking", forget)
    _replace("gradio.route_utils.FileUploadProgress.track", track_few)


# The queue and the server


@dataclass(frozen=True)
class Place:
    """A request that waits or runs: the visitor's session and address, see ``visitor_address``."""

    session: str
    address: str
    waits: bool


def queue_length(page: gr.Blocks) -> int:
    """How many visitors wait."""
    return len(page._queue)


def running_jobs(page: gr.Blocks) -> int:
    """How many requests run."""
    return len(_running(page._queue))


def observe_queue(
    page: gr.Blocks,
    admit: Callable[[str, list[Place], Place], None],
    on_failure: Callable[[str, str], None],
    on_disconnect: Callable[[str], None],
) -> None:
    """Has a page's queue ask before it takes a request, and call back when it loses one.

    Args:
        page: whose queue was set up with ``page.queue``.
        admit: called with the endpoint, the places that are taken in its line (endpoints with one ``concurrency_id``
            stand in one line), and the place that is asked for; raises ``fastapi.HTTPException`` to refuse.
        on_failure: called with the endpoint and "left", for a visitor who leaves the queue, or the reason of a fault.
        on_disconnect: called with the session of a visitor who disconnects or cancels while a job of theirs runs.
            Gradio itself would notice only when the job yields its next result.
    """
    queue: Any = page._queue
    queue.pending_messages_per_session = _Messages(queue)
    push, clean_events, send_message = queue.push, queue.clean_events, queue.send_message

    async def push_or_refuse(body: Any, request: fastapi.Request, username: str | None) -> tuple:
        function = page.fns.get(body.fn_index)
        if function is not None:
            place = Place(body.session_hash or "", visitor_address(request.scope), waits=True)
            admit(_endpoint(function), _places(queue, function.concurrency_id), place)
        return await push(body=body, request=request, username=username)

    async def clean_and_call_back(*, session_hash: str | None = None, event_id: str | None = None) -> None:
        def is_meant(event: Any) -> bool:
            return event.session_hash == session_hash or event._id == event_id

        waiting = [event.fn for event in _waiting(queue) if is_meant(event)]
        for event in _running(queue):
            if is_meant(event):
                on_disconnect(event.session_hash)
        await clean_events(session_hash=session_hash, event_id=event_id)
        for function in waiting:
            on_failure(_endpoint(function), "left")

    def send_and_count(event: Any, event_message: Any) -> None:
        if isinstance(event_message, ProcessCompletedMessage) and (reason := event_message.output.get(FAULT)):
            on_failure(_endpoint(event.fn), str(reason))
        send_message(event, event_message)

    queue.push, queue.clean_events, queue.send_message = push_or_refuse, clean_and_call_back, send_and_count
    # For Gradio's own page for operators, which is closed: a table of the last 10,000 requests, anew for each of them.
    queue.compute_analytics_summary = lambda records: {}


def end_waiting(page: gr.Blocks, sentence: str) -> None:
    """Takes all requests that wait out of the queue, and answers them with a sentence."""
    for event in _waiting(page._queue):
        page._queue.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        _refuse(page, event, sentence)


def end_running(page: gr.Blocks, sentence: str) -> None:
    """Answers all requests that run with a sentence; nothing else is sent to them any more."""
    for event in _running(page._queue):
        _refuse(page, event, sentence)


def stream_session(page: gr.Blocks, event: str | None, session: str | None) -> str | None:
    """The session whose results a stream would hold that is asked for by an event or a session; None if there are none.

    There are none once they have been delivered; Gradio keeps the event itself a little longer.
    """
    queue: Any = page._queue
    if event is None:
        return session if queue.pending_event_ids_session.get(session) else None
    return next((name for name, events in queue.pending_event_ids_session.items() if event in events), None)


def forget_delivered(page: gr.Blocks, session: str) -> None:
    """Drops what Gradio keeps to deliver results of a session, once they all have been."""
    queue: Any = page._queue
    if not queue.pending_event_ids_session.get(session):
        queue.pending_event_ids_session.pop(session, None)
        queue.pending_messages_per_session.pop(session, None)


def close_session(mounted: gradio.routes.App, session: str) -> None:
    """Marks the state of a visitor whose page was closed for removal."""
    if session in mounted.state_holder:
        mounted.state_holder.session_data[session].is_closed = True


def api_names(page: gr.Blocks) -> set[str]:
    """The names of the endpoints that are called by the names of their parameters."""
    return {name.removeprefix("/") for name in page.get_api_info()["named_endpoints"]}


def write_to_upload_folder() -> None:
    """Has Gradio write into the upload folder what it would write into one of its own, chosen when it is imported."""
    for name in WRITING:
        module: Any = importlib.import_module(name)
        module.DEFAULT_TEMP_DIR = str(upload_folder())


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


def _is_click(event_data: Any) -> bool:
    """Whether the data of an event say where a picture was clicked."""
    index = event_data.get("index") if isinstance(event_data, dict) else None
    return (
        isinstance(index, list)
        and len(index) == 2
        and all(type(value) in (int, float) and abs(value) < 1e6 for value in index)
    )


def _waiting(queue: Any) -> list[Any]:
    return [event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue]


def _running(queue: Any) -> list[Any]:
    return [event for events in queue.active_jobs for event in events or ()]


def _places(queue: Any, concurrency_id: str) -> list[Place]:
    """The places in a line, of requests that wait and that run."""
    return [
        Place(event.session_hash, visitor_address(event.request.scope), waits)
        for events, waits in ((_waiting(queue), True), (_running(queue), False))
        for event in events
        if event.concurrency_id == concurrency_id
    ]


def _refuse(page: gr.Blocks, event: Any, sentence: str) -> None:
    """The last message of an event."""
    refusal = gr.Error(sentence, title="This didn't work", print_exception=False)
    payload = gradio.utils.error_payload(refusal, show_error=True)
    page._queue.send_message(event, ProcessCompletedMessage(output=payload, success=False, title="This didn't work"))
    event.alive = False
    page._queue.event_ids_to_events.pop(event._id, None)


class _Messages(LRUCache):
    """Gradio's messages to each session, which it drops when there are many of newer sessions, fetched or not.

    Here those that wait for a job are kept, however many results of others are left unfetched.
    """

    def __init__(self, queue: Any) -> None:
        super().__init__(MOST_RESULTS)
        self._queue = queue

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= self.max_size:
            waiting = {event.session_hash for event in (*_waiting(self._queue), *_running(self._queue))}
            dropped = next((name for name in self if name not in waiting), None)
            if dropped is not None:
                del self[dropped]
        super().__setitem__(session, messages)

    def __delitem__(self, session: str) -> None:
        super().__delitem__(session)
        self._queue.pending_event_ids_session.pop(session, None)


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
