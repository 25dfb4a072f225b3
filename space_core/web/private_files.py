"""Visitors' files: in a folder that only this run can read, and that is removed when the run ends."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path

from space_core.media.run_folder import create_run_folder

PREFIX = "space-visitors-"
UPLOADS_THAT_FIT = 3  # of the largest ones; if fewer have room on the disk, it is nearly full
TERMINATED = 128 + signal.SIGTERM  # exit code, as shells report it


def create_private_folder() -> Path:
    """Creates a folder for this run's files, makes all packages write there, and removes it when the run ends.

    To be called once, before Gradio and Matplotlib are imported, which look up their folders then. Folders of earlier
    runs that were killed are removed.

    Returns:
        The folder, readable by this user only (0700); Gradio serves what lies in its subfolder "page" alone.
    """
    folder = create_run_folder(PREFIX, Path(tempfile.gettempdir()).resolve())
    for name in ("page", "work", "caches"):
        (folder / name).mkdir(mode=0o700)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "page")
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "page" / "examples")  # else served from the working directory
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "work")
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "caches"))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _exit)  # by default, the program would end without calling atexit functions
    return folder


def free_uploads(max_upload_bytes: int) -> float:
    """How many of the largest uploads have room on the disk that visitors' files are on."""
    return shutil.disk_usage(tempfile.gettempdir()).free / max_upload_bytes


def is_private(folder: Path) -> bool:
    """Whether a folder of visitors' files lies in one that ``create_private_folder`` made."""
    return folder.parent.name.startswith(PREFIX)


def exit_within(seconds: float) -> None:
    """Ends the program after so long even if threads are still at work, and removes the folder all the same."""

    def exit_now() -> None:
        time.sleep(seconds)
        folder = Path(os.environ.get("GRADIO_TEMP_DIR", "."))
        if is_private(folder):
            shutil.rmtree(folder.parent, ignore_errors=True)
        os._exit(TERMINATED)

    threading.Thread(target=exit_now, daemon=True).start()


def expire_files(folder: Path, kept: Collection[str], older_than: float) -> set[str]:
    """Removes the files in a folder that are older than so many seconds, but not the paths in ``kept``.

    Their age is the time since the inode's last change, which Gradio renews when a file is served again.

    Returns:
        The paths that were removed.
    """
    oldest = time.time() - older_than
    removed = set()
    for parent, folders, names in os.walk(folder, topdown=False):
        for path in (Path(parent) / name for name in names):
            if str(path) not in kept and _changed(path) < oldest:
                path.unlink(missing_ok=True)
                removed.add(str(path))
        for path in (Path(parent) / name for name in folders):
            if _changed(path) < oldest:
                _remove_if_empty(path)
    return removed


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_ctime
    except FileNotFoundError:
        return float("inf")


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return


def _exit(*_: object) -> None:
    raise SystemExit(TERMINATED)
