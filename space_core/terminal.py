"""A command's terminal: messages on stderr, signals, the progress bar, stdout for a film."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from space_core.errors import SpaceError
from space_core.timing import duration

if TYPE_CHECKING:
    from space_core.progress import Progress

STDOUT, STDERR = 1, 2  # file descriptors


def open_stderr() -> None:
    """Replaces a stderr that was closed, so that no other file is opened in its place and written to."""
    if sys.stderr is None:
        null = os.open(os.devnull, os.O_RDWR)
        if null != STDERR:
            os.dup2(null, STDERR)
            os.close(null)
        sys.stderr = os.fdopen(os.dup(STDERR), "w")


def print_message(message: str) -> None:
    """Writes a line to stderr."""
    with suppress(OSError):  # a closed pipe or a full disk; the exit code still reports the outcome
        print(message, file=sys.stderr, flush=True)


@contextmanager
def library_messages(quiet: bool) -> Iterator[None]:
    """With ``quiet``, drops warnings, logs and what native code writes to stderr within this context."""
    if not quiet:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(STDERR)
    with warnings.catch_warnings(), Path(os.devnull).open("wb") as null:
        warnings.simplefilter("ignore")
        logging.disable()
        os.dup2(null.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, STDERR)
            os.close(stderr)
            logging.disable(logging.NOTSET)


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise ``KeyboardInterrupt`` within this context, so that unfinished files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Ignored signals stay ignored: nohup ignores SIGHUP.
    previous = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(quiet: bool) -> Iterator["Progress"]:
    """A progress callback that shows the current stage as a bar if stderr is a terminal; an error removes the bar."""
    from tqdm import tqdm

    with tqdm(unit="frame", disable=quiet or None, leave=False) as bar:
        current_stage = None

        def show(stage: str, done: int, total: int) -> None:
            nonlocal current_stage
            if stage == "estimate":
                if not quiet:
                    bar.write(f"Drawing will take {duration(total)} on this machine.", file=sys.stderr)
                return
            if stage != current_stage:
                current_stage = stage
                bar.reset(total)
                bar.set_description(stage)
            bar.update(done - bar.n)

        yield show
        bar.leave = True


@contextmanager
def stdout_for_film() -> Iterator[IO[bytes]]:
    """The real stdout, for a film; whatever else is written to stdout within this context goes to stderr."""
    if sys.stdout is None or sys.stdout.closed:
        raise SpaceError("There is no stdout to write the stream to. Give it to a program or a file: … -o - | ffplay -")
    sys.stdout.flush()
    if os.isatty(STDOUT):
        raise SpaceError("A film can't be shown in a terminal. Give it to a program or a file: … -o - | ffplay -")
    with os.fdopen(os.dup(STDOUT), "wb") as stdout:
        os.dup2(STDERR, STDOUT)
        try:
            yield stdout
        finally:
            sys.stdout.flush()
            os.dup2(stdout.fileno(), STDOUT)
