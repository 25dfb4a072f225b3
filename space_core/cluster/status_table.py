"""The status table of a batch: one row for each film, with its figures or the sentence that says why there is none."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import pyarrow
import pyarrow.parquet

from space_core.cluster.storage import Place, download, upload
from space_core.media.files import temporary_folder

NAME = "status.parquet"


@dataclass(frozen=True)
class FilmStatus:
    """The outcome of a row of the job table.

    Attributes:
        row: its number, from 1.
        id: as it is in the job table; None if there is none.
        status: "done"; "refused": an input or option can't be used; "failed": a fault of a machine, try again.
        sentence: why there is no film, or the notes on one, see ``Animation.notes``; None if there is nothing to say.
        reason: the kind of a fault, see ``ServerFault``.
        cause: the exception behind a fault, for its diagnosis.
        seconds: that the film took on its worker, downloads included.
        frames: of the film.
        faces: that the photo shows.
        attempts: how often it was started: more than once if a worker was lost.
        path: of the film.
        request: what was asked for, see ``FilmJob``; None for a row that can't be used.
    """

    row: int
    id: str | None
    status: Literal["done", "refused", "failed"]
    sentence: str | None = None
    reason: str | None = None
    cause: str | None = None
    seconds: float | None = None
    frames: int | None = None
    faces: int | None = None
    attempts: int | None = None
    path: str | None = None
    request: str | None = None


_TYPES = {"row": pyarrow.int64(), "seconds": pyarrow.float64(), "frames": pyarrow.int64()}
_TYPES |= {"faces": pyarrow.int64(), "attempts": pyarrow.int64()}
SCHEMA = pyarrow.schema([(field.name, _TYPES.get(field.name, pyarrow.string())) for field in fields(FilmStatus)])


def to_table(statuses: Iterable[FilmStatus]) -> pyarrow.Table:
    """A table with these rows."""
    return pyarrow.Table.from_pylist([asdict(status) for status in statuses], SCHEMA)


def from_table(table: pyarrow.Table) -> list[FilmStatus]:
    """The rows of a table with the columns of ``SCHEMA``."""
    return [FilmStatus(**row) for row in table.select(SCHEMA.names).to_pylist()]


def write_status_table(statuses: Iterable[FilmStatus], folder: Place) -> None:
    """Writes the table of a batch, in the order of its rows, into the folder of its films; see ``upload``."""
    with temporary_folder() as local:
        pyarrow.parquet.write_table(to_table(sorted(statuses, key=lambda status: status.row)), local / NAME)
        upload(local / NAME, folder / NAME, "table")


def read_status_table(folder: Place) -> list[FilmStatus]:
    """The table of an earlier run; an empty list where it can't be read, as films count and not the table."""
    with temporary_folder() as local:
        try:
            path: Path = download((folder / NAME).shown(), "table", local)
            return from_table(pyarrow.parquet.read_table(path))
        except Exception:
            return []
