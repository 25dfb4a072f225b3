"""Files wherever fsspec reaches them: this machine's disks, object stores, web servers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from space_core.errors import ServerFault, SpaceError
from space_core.media.files import disk_full, is_disk_full, shown_name

# What is downloaded at most, by the noun for it in messages.
MAX_BYTES = {"photo": 100_000_000, "recording": 1_000_000_000, "video": 2_000_000_000, "table": 1_000_000_000}
CHUNK_BYTES = 1 << 20
UNFINISHED = ".space-*.part"  # a file that is being written


@dataclass(frozen=True)
class Place:
    """A file or a folder, and the file system that it is on."""

    system: Any  # an fsspec.AbstractFileSystem
    path: str

    @property
    def is_local(self) -> bool:
        """Whether it is in this machine's own file system."""
        return isinstance(self.system, LocalFileSystem)

    @property
    def is_in_bucket(self) -> bool:
        """Whether it is in an object store, whose paths begin with a bucket and whose folders are parts of names."""
        return not self.is_local and not self.path.startswith("/")

    def __truediv__(self, name: str) -> "Place":
        return Place(self.system, f"{self.path.rstrip('/')}/{name}")

    def shown(self) -> str:
        """The place as a user writes it."""
        return self.path if self.is_local else self.system.unstrip_protocol(self.path)


def is_address(text: str) -> bool:
    """Whether a text is an address such as s3://bucket/photo.jpg, and not a path."""
    return "://" in text or "::" in text


def place(address: str) -> Place:
    """The place of a path, or of an address that fsspec can open.

    Raises:
        SpaceError: no such file system, the package for it is missing, or a file within an archive that is not there.
        ServerFault: the storage of an archive does not answer.
    """
    try:
        system, path = fsspec.core.url_to_fs(address if is_address(address) else str(Path(address).absolute()))
    except (ImportError, ValueError) as failure:
        scheme = address.split("://")[0]
        raise SpaceError(
            f"Addresses that begin with {scheme[:20]}:// can't be read here: {str(failure).rstrip('.')}."
        ) from failure
    except Exception as failure:  # of archives, which are opened
        with _storage_errors("file", address):
            raise failure
    return Place(system, path)


@contextmanager
def _storage_errors(kind: str, name: str) -> Iterator[None]:
    """Raises exceptions of file systems as ``SpaceError`` or ``ServerFault``, with a sentence about the file."""
    try:
        yield
    except SpaceError:
        raise
    except (FileNotFoundError, NotADirectoryError) as failure:
        raise SpaceError(f"There is no {kind} {shown_name(name)}. Check the path.") from failure
    except PermissionError as failure:
        raise SpaceError(f"The {kind} {shown_name(name)} may not be read or written. Check the rights.") from failure
    except OSError as failure:
        if is_disk_full(failure):
            raise disk_full() from failure
        raise _no_answer(kind, name, failure) from failure
    except Exception as failure:  # object stores have exceptions of their own
        raise _no_answer(kind, name, failure) from failure


def _no_answer(kind: str, name: str, failure: Exception) -> ServerFault:
    cause = " ".join(str(failure).split())[:120].rstrip(".") or type(failure).__name__
    sentence = f"The storage of the {kind} {shown_name(name)} does not answer: {cause}. Try again later."
    return ServerFault(sentence, "internal")


def download(address: str, kind: str, folder: Path) -> Path:
    """A file on this machine's disk: itself if it is there already, else a copy in ``folder``.

    Args:
        address: a path, or an address that fsspec can open.
        kind: one of ``MAX_BYTES``.
        folder: for the copy, which keeps its suffix and has a name of its own.

    Raises:
        SpaceError: there is no such file, or it is too large.
        ServerFault: its storage does not answer, or the disk is full.
    """
    source = place(address)
    if source.is_local:
        return Path(source.path)
    limit, size = MAX_BYTES[kind], 0
    target = folder / f"{os.urandom(6).hex()}{PurePosixPath(source.path).suffix[:10]}"
    with _storage_errors(kind, address), source.system.open(source.path, "rb") as file, target.open("wb") as copy:
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)  # counted, as a server may say another size or none
            if size > limit:
                raise SpaceError(
                    f"The {kind} {shown_name(address)} is larger than {limit // 1_000_000} MB. Make it smaller."
                )
            copy.write(chunk)
    return target


def upload(file: Path, target: Place, kind: str = "video") -> None:
    """Uploads a file under a temporary name and renames it, so that readers find a complete file or none.

    Raises:
        SpaceError: it may not be written there, or there is no such folder or bucket.
        ServerFault: the disk is full, or the storage does not answer.
    """
    name = PurePosixPath(target.path)
    unfinished = str(name.with_name(f".space-{os.urandom(6).hex()}{name.suffix}.part"))
    with _storage_errors(kind, target.path):
        try:
            target.system.put_file(str(file), unfinished)
            target.system.mv(unfinished, target.path)
        except FileNotFoundError as failure:
            raise SpaceError(f"There is no folder for the {kind} {shown_name(target.path)}.") from failure
        except BaseException:
            _remove(target.system, unfinished)
            raise


def file_names(folder: Place) -> set[str]:
    """The names of the files in a folder, which is created if it is not there; buckets are not.

    Raises:
        SpaceError: it is none, or may not be written.
    """
    with _storage_errors("folder", folder.path):
        if not folder.is_in_bucket:
            folder.system.makedirs(folder.path, exist_ok=True)
        elif not folder.system.exists(folder.path):
            return set()
        return {PurePosixPath(path).name for path in folder.system.ls(folder.path, detail=False)}


def remove_unfinished(folder: Place) -> None:
    """Removes incomplete files that killed processes have left in a folder.

    Raises:
        SpaceError: there is no such folder or bucket.
    """
    with _storage_errors("folder", folder.path):
        unfinished = folder.system.glob(f"{folder.path.rstrip('/')}/{UNFINISHED}")
    for path in unfinished:
        _remove(folder.system, path)


def _remove(system: Any, path: str) -> None:
    try:
        system.rm_file(path)
    except Exception:  # it is not there, or the storage does not answer
        return
