"""Worker processes, which run a module of this package: the command that starts one, and the pipe for its answers."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

# Without the garbage collector a process that draws is ready 0.3 s sooner.
PROGRAM = """
import sys
sys.path[:] = sys.argv[1:]
from importlib import import_module
from space_core.processes.garbage_collection import exempt_from_collection
with exempt_from_collection():
    main = import_module({!r}).main
main(*{!r})
"""


def worker_command(module: str, *arguments: float | str) -> list[str]:
    """The command that calls ``main(*arguments)`` of a module of this package, with this process's module path."""
    return [sys.executable, "-c", PROGRAM.format(module, arguments), *sys.path]


def open_answers() -> BinaryIO:
    """Called in a worker process: returns its standard output, for its answers alone.

    Afterwards all other output is dropped, and on Linux the process can't write files.
    """
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    return answers
