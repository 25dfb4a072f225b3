"""What the demo sets and reads in a page of Gradio, its queue and its server, by names that are not public.

No module but this one and ``gradio_patches`` touches such names. ``USED`` lists those of both; the tests check that the
installed Gradio has them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import gradio.routes
import gradio.utils
from gradio.server_messages import ProcessCompletedMessage
from gradio_client.exceptions import AppError

from space_core.web.error_handlers import refusal
from space_core.web.visitor_limits import visitor_address

MAX_RESULTS = 500  # visitors whose messages wait to be fetched; Gradio's 2000 take 20 MB
FAULT = "fault"  # key of a fault's reason in the answer to a visitor

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


@dataclass(frozen=True)
class Place:
    """A request that waits or runs: the visitor's session and address, see ``visitor_address``."""

    session: str
    address: str
    waits: bool


# Files


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


# The queue


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
    on_push: Callable[[str, str], None],
) -> None:
    """Has a page's queue ask before it takes a request, and call back when it loses one.

    Args:
        page: whose queue was set up with ``page.queue``.
        admit: called with the endpoint, the places that are taken in its line (endpoints with one ``concurrency_id``
            stand in one line), and the place that is asked for; raises ``fastapi.HTTPException`` to refuse.
        on_failure: called with the endpoint and "left", for a visitor who leaves the queue, or the reason of a fault.
        on_disconnect: called with the session of a visitor who disconnects or cancels while a job of theirs runs.
            Gradio itself would notice only when the job yields its next result.
        on_push: called with the session and the id of a request that the queue has taken.
    """
    queue: Any = page._queue
    queue.pending_messages_per_session = _Messages(queue)
    push, clean_events, send_message = queue.push, queue.clean_events, queue.send_message

    async def push_or_refuse(body: Any, request: fastapi.Request, username: str | None) -> tuple:
        function = page.fns.get(body.fn_index)
        if function is not None:
            place = Place(body.session_hash or "", visitor_address(request.scope), waits=True)
            admit(_endpoint(function), _places(queue, function.concurrency_id), place)
        success, answer, *more = await push(body=body, request=request, username=username)
        if success and (session := session_of(page, answer)) is not None:
            on_push(session, answer)
        return success, answer, *more

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
        _refuse(page, event, refusal(sentence))


def end_running(page: gr.Blocks, sentence: str) -> None:
    """Answers all requests that run with a sentence; nothing else is sent to them any more."""
    for event in _running(page._queue):
        _refuse(page, event, refusal(sentence))


def session_of(page: gr.Blocks, event_id: str) -> str | None:
    """The session of a request that waits or runs; None if there is no such one."""
    event = page._queue.event_ids_to_events.get(event_id)
    return None if event is None else event.session_hash


async def end_request(
    page: gr.Blocks, event_id: str, message: AppError, on_cancel: Callable[[str], None] = lambda session: None
) -> bool:
    """Ends a request; whether it was there.

    Its listener gets the message, ``on_cancel`` and then ``on_disconnect`` of ``observe_queue`` the session if the
    request runs, and its place in the queue is free.
    """
    queue: Any = page._queue
    event = queue.event_ids_to_events.get(event_id)
    if event is None:
        return False
    _refuse(page, event, message)
    if event in _running(queue):
        on_cancel(event.session_hash)
    await queue.clean_events(event_id=event_id)
    return True


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


# The server


def close_session(mounted: gradio.routes.App, session: str) -> None:
    """Marks the state of a visitor whose page was closed for removal."""
    if session in mounted.state_holder:
        mounted.state_holder.session_data[session].is_closed = True


def api_names(page: gr.Blocks) -> set[str]:
    """The names of the endpoints that are called by the names of their parameters."""
    return {name.removeprefix("/") for name in page.get_api_info()["named_endpoints"]}


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


# Requests and messages


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


def _refuse(page: gr.Blocks, event: Any, message: AppError) -> None:
    """The last message of an event."""
    payload = gradio.utils.error_payload(message, show_error=True)
    page._queue.send_message(event, ProcessCompletedMessage(output=payload, success=False, title=message.title))
    event.alive = False
    page._queue.event_ids_to_events.pop(event._id, None)


class _Messages(dict[str, Any]):
    """Gradio's messages to each session, which it drops when there are many of newer sessions, fetched or not.

    Here those of sessions that wait for a job are kept, however many they are: the queue's places limit them.
    """

    def __init__(self, queue: Any) -> None:
        super().__init__()
        self._queue = queue

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= MAX_RESULTS:
            waiting = {event.session_hash for event in (*_waiting(self._queue), *_running(self._queue))}
            delivered = [name for name in self if name not in waiting]
            for name in delivered[: len(self) - MAX_RESULTS + 1]:
                del self[name]
        super().__setitem__(session, messages)

    def __delitem__(self, session: str) -> None:
        super().__delitem__(session)
        self._queue.pending_event_ids_session.pop(session, None)


def _endpoint(function: Any) -> str:
    return str(getattr(function, "api_name", None) or "unnamed")
