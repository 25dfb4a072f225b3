"""Folders for the files of one run of a program: removed when it ends, or by a later run where it was killed."""

import atexit
import gc
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where folders are created: processes that decode photos take 4 MB less without it
    from filelock import FileLock

PREFIX = "space-run-"
LOCK = "lock"
NEW_SECONDS = 60.0  # within which a run locks the folder that it has created

_folders: dict[str, Path] = {}  # by the folder in which they are
_creating = threading.Lock()


def temporary_run_folder() -> Path:
    """This run's folder in the one for temporary files; created when it is asked for first.

    Raises:
        OSError: it can't be created.
    """
    parent = tempfile.gettempdir()
    with _creating:
        if parent not in _folders or not _folders[parent].is_dir():  # some systems remove what is days old
            _folders[parent] = create_run_folder(PREFIX, Path(parent))
        return _folders[parent]


def create_run_folder(prefix: str, parent: Path) -> Path:
    """Creates a folder that only this user can read (0700), and removes those of runs that were killed.

    Args:
        prefix: what the names of such folders begin with.
        parent: the folder in which they are.
    """
    from filelock import FileLock

    _remove_leftovers(prefix, parent)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = FileLock(folder / LOCK, thread_local=False)  # released by the system when this process ends, however it does
    with suppress(NotImplementedError):  # a file system without locks
        lock.acquire()
    atexit.register(_remove, folder, lock, os.getpid())
    return folder


def _remove_leftovers(prefix: str, parent: Path) -> None:
    from filelock import FileLock, Timeout

    for folder in parent.glob(f"{prefix}*"):
        try:
            if folder.is_symlink():  # somebody else's, to a folder that is none of ours
                continue
            if not any(folder.iterdir()) and time.time() < folder.stat().st_mtime + NEW_SECONDS:
                continue
            with FileLock(folder / LOCK, timeout=0):
                pass
        except (Timeout, OSError, NotImplementedError):  # of a run that goes on, or of another user
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path, lock: "FileLock", owner: int) -> None:
    if os.getpid() == owner:  # not when a process ends that was forked from ours
        gc.collect()  # temporary files that are still open are removed when they are closed: now, rather than later
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)
