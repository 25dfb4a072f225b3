"""Faults of the server: the number under which an error is in the log, and words for the visitor."""

import secrets

from space_core.errors import MACHINE_LOST, FaultReason
from space_core.fault_reasons import fault_reason
from space_core.web.logs import error_fields, log_event

SENTENCES: dict[FaultReason, str] = {
    "disk_full": "The disk of this server is full, so that could not be made. Try again in ten minutes.",
    "encoder_died": "The video could not be written, which is the server's fault. Try again.",
    "machine_lost": MACHINE_LOST,
    "out_of_memory": "This server has no memory left for that. Try again in a few minutes.",
    "timeout": "That took longer than this server allows, so it was ended. Try again later, or with a shorter speech.",
    "internal": "Something went wrong on our side. Please try again.",
}
_NUMBER = "_space_fault_number"  # an attribute of exceptions


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
