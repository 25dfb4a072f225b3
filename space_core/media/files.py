"""Checks of the paths that users give, before files are read or written; temporary files."""

import errno
import importlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from space_core.errors import ServerFault, SpaceError
from space_core.media.run_folder import temporary_run_folder

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

ADDRESS = re.compile("[a-z]{2,}:/", re.IGNORECASE)  # in a Path, of which one slash is left; C:/ is a folder
UNFINISHED = ".space-*.part"  # a file that is being written
# An unfinished file without a lock that has not been written for so long was left by a killed run. Not earlier: some
# network file systems show a lock only to the machine that holds it. The slowest generator writes every two minutes.
ABANDONED_SECONDS = 600.0


def shown_name(path: str | Path) -> str:
    """The file name of a path in quotes, at most 60 printable characters; messages must not show folders."""
    name = "".join(c if c.isprintable() else "?" for c in Path(path).name or os.fspath(path))
    return f"'{name if len(name) <= 60 else name[:40] + '…' + name[-15:]}'"


def named_kind(start: bytes, kinds: Mapping[str, bytes]) -> str | None:
    """The first of ``kinds``, whose values are regular expressions, that matches the beginning of a file; or None."""
    return next((kind for kind, signature in kinds.items() if re.match(signature, start, re.DOTALL)), None)


def existing_file(path: str | Path, kind: str) -> Path:
    """The absolute path of a readable file that is not empty.

    Args:
        path: what the user gave; always read as a file path, never as a URL or an option of a program.
        kind: the noun for it in the message: "photo", "recording", "video".

    Raises:
        SpaceError: there is no path, or the file does not exist, is a folder or a device, is not readable, or is empty.
    """
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise SpaceError(f"A {kind} is given as the path of its file, not as a value of type {type(path).__name__}.")
    if not path or not os.fspath(path):
        raise SpaceError(f"No {kind} was given. Choose a file.")
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise SpaceError(f"{shown_name(path)} is a folder. Give the {kind}'s file itself.")
        if not stat.S_ISREG(status.st_mode):
            raise SpaceError(f"{shown_name(path)} is not an ordinary file. Save the {kind} to a file first.")
        if status.st_size == 0:
            raise SpaceError(f"The {kind} {shown_name(path)} is empty (0 bytes). Save or upload it again.")
        with Path(path).open("rb"):
            return Path(path).absolute()
    except PermissionError:
        raise SpaceError(f"The {kind} {shown_name(path)} may not be read. Change its permissions or copy it.") from None
    except (OSError, ValueError):  # ValueError: a zero byte inside the path
        is_address = ADDRESS.match(os.fspath(path))
        advice = "Other addresses are never fetched: download it first." if is_address else "Check the path."
        raise SpaceError(f"There is no {kind} {shown_name(path)}. {advice}") from None


def check_output(path: str | Path, suffix: str, inputs: tuple[str | Path, ...] = ()) -> Path:
    """The absolute path of a file that can be written; checked before long computations start.

    Args:
        path: the output; an existing file will be replaced. A symbolic link stays, and the file that it leads to is
            written: that one's path is returned.
        suffix: the required suffix, such as ".mp4".
        inputs: the user's input files, which must not be replaced.

    Raises:
        SpaceError: the suffix is wrong, the folder does not exist or is not writable, or the path is a folder or one
            of the inputs.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise SpaceError(f"No output file was given. Name a file that ends in {suffix}.")
    if Path(path).suffix.lower() != suffix:
        raise SpaceError(f"The output {shown_name(path)} must end in {suffix}.")
    folder = shown_name(Path(path).absolute().parent)
    try:
        target = Path(os.path.realpath(path))
        folder = shown_name(target.parent)
        if not target.parent.is_dir():
            raise SpaceError(f"There is no folder {folder} to write the output to. Create it or choose another.")
        if target.exists() or target.is_symlink():  # a link in a circle
            if not target.is_file():
                raise SpaceError(f"{shown_name(path)} is not a file that can be replaced. Choose another output.")
            if any(Path(source).exists() and target.samefile(source) for source in inputs):
                raise SpaceError(f"The output {shown_name(path)} would replace an input. Choose another name.")
        # Permission bits do not show read-only disks and do not apply to root, so a file is created.
        trial = hidden_sibling(target)
        try:
            trial.touch(exist_ok=False)
        finally:
            trial.unlink(missing_ok=True)
    except OSError as failure:
        if failure.errno == errno.ENAMETOOLONG:
            raise SpaceError(f"The name of the output {shown_name(path)} is too long. Choose a shorter one.") from None
        if is_disk_full(failure):
            raise disk_full() from failure
        raise SpaceError(
            f"The folder {folder} can't be written to. Choose another or change its permissions."
        ) from None
    except ValueError:  # a zero byte inside the path
        raise SpaceError(f"{shown_name(path)} is not a valid file name. Choose another output.") from None
    return target


def hidden_sibling(path: Path) -> Path:
    """A new hidden name in the folder of ``path``: on the same disk, so that the finished file can be renamed to it."""
    return path.with_name(f".space-{os.urandom(6).hex()}{path.suffix}.part")


@contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """A new empty file at a ``hidden_sibling``, which is removed when the context ends, unless it was renamed.

    If this process is killed, it is removed by a later one that writes into the same folder.

    Raises:
        OSError: it can't be created.
    """
    _remove_abandoned(path.parent)
    name = hidden_sibling(path)
    try:
        if fcntl is None:  # an open file could not be renamed
            name.touch(exist_ok=False)
            yield name
            return
        with name.open("xb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends, however it does
            yield name
    finally:
        with suppress(PermissionError):  # of Windows, for a file that is still being written
            name.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Removes the unfinished files of processes that were killed."""
    for path in folder.glob(UNFINISHED):
        with suppress(OSError):  # it is locked, another user's, or gone
            if not stat.S_ISREG(path.lstat().st_mode) or time.time() < path.lstat().st_mtime + ABANDONED_SECONDS:
                continue
            if fcntl is not None:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def temporary_file() -> IO[bytes]:
    """A new file, with a name, that is removed when it is closed or no longer referred to; see ``run_folder``, too.

    Raises:
        ServerFault: there is no folder for it, or the disk is full.
    """
    try:
        return tempfile.NamedTemporaryFile(dir=temporary_run_folder())
    except OSError as failure:
        raise temporary_fault() from failure


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, which is removed with what it contains when the context ends; see ``run_folder``, too.

    Raises:
        ServerFault: there is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory(dir=temporary_run_folder(), ignore_cleanup_errors=True)
    except OSError as failure:
        raise temporary_fault() from failure
    with folder as name:
        yield Path(name)


def is_disk_full(failure: OSError) -> bool:
    """Whether writing failed because the disk, or the user's part of it, is full."""
    return failure.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full() -> ServerFault:
    """The fault for a full disk."""
    return ServerFault("The disk is full; the video could not be written. Free some space and try again.", "disk_full")


def temporary_fault() -> ServerFault:
    """The fault for temporary files that can't be written."""
    return ServerFault(
        "The folder for temporary files is full or can't be written to. Free some space, or set TMPDIR to another one.",
        "disk_full",
    )
