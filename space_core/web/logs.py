"""The service's log: one JSON object a line on stderr, without anything that a visitor gave."""

import errno
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger("space")


class _JsonFormatter(logging.Formatter):
    """A record as JSON. Of other packages' records only the place is kept: their messages quote names and text."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name == _LOGGER.name:
            line |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        else:
            line |= {"event": "library", "logger": record.name, "place": f"{record.module}:{record.lineno}"}
        if record.exc_info and record.exc_info[1] is not None:
            line |= error_fields(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str) -> None:
    """Writes every record of at least ``level`` ("debug" … "error") to stderr as JSON; other packages' from warning on.

    Meant for the start of a program, before native libraries are loaded. Except at "debug", what these write to stderr
    is dropped: no setting stops all of it, and it may name visitors' files.
    """
    if level != "debug" and sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8")
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), sys.__stderr__.fileno())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    _LOGGER.setLevel(level.upper())
    warnings.showwarning = _log_warning
    threading.excepthook = _log_uncaught


def log_event(name: str, level: str = "info", **fields: Any) -> None:
    """Logs an event; ``fields`` are numbers and words of this program, never a visitor's."""
    _LOGGER.log(getattr(logging, level.upper()), name, extra={"fields": fields})


def error_fields(error: BaseException) -> dict[str, str]:
    """The type and place of an error and of its cause, as fields of ``log_event``.

    Their messages are left out, as they may quote a visitor's input. At the level "debug" the whole traceback is added,
    messages included.
    """
    fields = {"error": type(error).__name__, "place": _place(error)}
    if isinstance(error, OSError) and error.errno is not None:
        fields["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        fields |= {f"cause_{name}": value for name, value in error_fields(cause).items() if name != "trace"}
    if _LOGGER.isEnabledFor(logging.DEBUG):
        fields["trace"] = "".join(traceback.format_exception(error))
    return fields


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    log_event("warning", level="warning", category=category.__name__, place=f"{Path(filename).name}:{lineno}")


def _log_uncaught(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_value is not None:
        log_event("fault", level="error", **error_fields(uncaught.exc_value))
