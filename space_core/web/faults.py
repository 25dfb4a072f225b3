"""Faults of the server: which kind an error is, the number under which it is in the log, and words for the visitor."""

import errno
import secrets

from space_core.errors import FaultReason, ServerFault
from space_core.media.files import is_disk_full
from space_core.memory import is_out_of_memory
from space_core.web.logs import error_fields, log_event

SENTENCES: dict[FaultReason, str] = {
    "disk_full": "The disk of this server is full, so that could not be made. Try again in an hour.",
    "encoder_died": "The video could not be written, which is the server's fault. Try again.",
    "out_of_memory": "This server has no memory left for that. Try again in a few minutes.",
    "timeout": "That took longer than this server allows, so it was ended. Try again later, or with a shorter speech.",
    "internal": "Something went wrong on our side. Please try again.",
}
_NUMBER = "_space_fault_number"  # an attribute of exceptions


def fault_reason(error: BaseException) -> FaultReason:
    """Which kind of fault of the server an error is; "internal" where nothing more is known."""
    if isinstance(error, ServerFault):
        return error.reason
    if is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, OSError) and (is_disk_full(error) or error.errno == errno.EFBIG):
        return "disk_full"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "internal"


def fault_number(error: BaseException) -> str:
    """Eight digits for an error, always the same: they are shown to the visitor and are in the log."""
    if not hasattr(error, _NUMBER):
        setattr(error, _NUMBER, secrets.token_hex(4))
    return getattr(error, _NUMBER)


def fault_sentence(error: BaseException) -> str:
    """What a visitor reads about an error that is the server's fault."""
    return f"{SENTENCES[fault_reason(error)]} It is in the log as fault {fault_number(error)}."


def log_fault(error: BaseException, **fields: str) -> None:
    """Logs an error that is the server's fault: ``fields``, its kind and number, and what ``error_fields`` says."""
    numbered = {"reason": fault_reason(error), "fault": fault_number(error)}
    log_event("fault", level="error", **fields, **numbered, **error_fields(error))
