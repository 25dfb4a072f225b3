"""The job table of a batch: CSV, JSON lines or Parquet, one row for each film."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from space_core.cluster.status_table import FilmStatus
from space_core.cluster.storage import download, is_address, place
from space_core.errors import SpaceError
from space_core.media.files import shown_name, temporary_folder
from space_core.options import AnimationOptions, option_names, parse_setting
from space_core.shallow_json import parse_shallow

INPUTS = ("id", "photo", "speech", "text", "settings")  # columns that are no options
SEPARATOR = "|"  # between the settings of a comparison in one text
MAX_ID = 100  # characters
MAX_ID_BYTES = 240  # in UTF-8: names of files have 255, and suffixes are added
# Names that Windows keeps for devices.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class FilmJob:
    """A row of the table whose values are valid.

    Attributes:
        row: its number, from 1.
        id: the name of the film, without suffix.
        photo: a path or an address, as are ``speech`` and ``pose_video``.
        speech: a recording; None where there is a text.
        text: to be spoken; None where there is a recording.
        pose_video: whose head motion is transferred; None for none. It is not among the options of ``settings``.
        settings: one for a film, two to four for a comparison.
        request: all that the film is made from, as JSON: paths as they are in the table, and options that are not the
            defaults. Rows with the same request give the same film, as long as the files stay the same.
    """

    row: int
    id: str
    photo: str
    speech: str | None
    text: str | None
    pose_video: str | None
    settings: tuple[AnimationOptions, ...]
    request: str

    @property
    def portrait(self) -> tuple[Any, ...]:
        """What films that share a prepared portrait have in common."""
        return (self.photo, *self.settings[0].preparation)


def read_job_table(address: str) -> list[FilmJob | FilmStatus]:
    """The rows of a table: jobs, and for rows that can't be used the status that says why.

    Args:
        address: a path, or an address that fsspec can open, that ends in .csv, .jsonl, .ndjson or .parquet. Relative
            paths in the table are relative to its folder.

    Raises:
        SpaceError: the table can't be read, is empty, or has a column that is neither an input nor an option.
    """
    suffix = PurePosixPath(address).suffix.lower()
    if suffix not in _READERS:
        raise SpaceError(f"The job table {shown_name(address)} must end in {', '.join(_READERS)}.")
    with temporary_folder() as folder:
        path = download(address, "table", folder)
        try:
            rows = list(_READERS[suffix](path))
        except FileNotFoundError:
            raise SpaceError(f"There is no job table {shown_name(address)}. Check the path.") from None
        except SpaceError:
            raise
        except UnicodeDecodeError:
            raise SpaceError(f"The job table {shown_name(address)} is not in UTF-8. Save it in UTF-8.") from None
        except Exception as failure:  # of the three libraries
            raise SpaceError(f"The job table {shown_name(address)} can't be read: {_line(failure)}") from None
    if not rows:
        raise SpaceError(f"The job table {shown_name(address)} has no rows.")
    base = address if is_address(address) else str(Path(address).absolute())
    parse = _Parser(base.rpartition("/")[0])
    return [parse(number, row) for number, row in enumerate(rows, 1)]


def _line(failure: Exception) -> str:
    return f"{' '.join(str(failure).split())[:120].rstrip('.')}."


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="", strict=True)
        _check_columns(reader.fieldnames or ())
        for number, row in enumerate(reader, 1):
            if "" in row:
                raise SpaceError(f"Row {number} of the job table has more values than the table has columns.")
            yield row


def _read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    rows = []
    for number, line in enumerate(io.StringIO(path.read_text(encoding="utf-8-sig")), 1):
        if line.strip():
            row = _without_surrogates(parse_shallow(line))
            if not isinstance(row, dict):
                raise SpaceError(f'Line {number} of the job table is no object such as {{"id": …, "photo": …}}.')
            rows.append(row)
    _check_columns(tuple(dict.fromkeys(name for row in rows for name in row)))
    yield from rows


def _without_surrogates(value: Any) -> Any:
    """A value of JSON with "?" for each lone surrogate in its texts: JSON can escape these, UTF-8 can't encode them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        _check_columns(file.schema_arrow.names)
        for batch in file.iter_batches():
            yield from batch.to_pylist()


_READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}


def _check_columns(names: Any) -> None:
    known = (*INPUTS, *option_names())
    read: set[str] = set()
    for column in names:
        name = _option_name(column)
        if name not in known:
            raise SpaceError(f"The job table has a column {column[:40]!r}; columns are {', '.join(known)}.")
        if name in read:
            raise SpaceError(f"The job table has two columns {name!r}. Remove one of them.")
        read.add(name)
    for name in ("id", "photo"):
        if name not in read:
            raise SpaceError(f"The job table has no column {name!r}.")


def _option_name(column: str) -> str:
    return column.strip().replace("-", "_")


class _Parser:
    """Checks rows, one after the other; no two may have the same id."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._ids: set[str] = set()

    def __call__(self, number: int, row: dict[str, Any]) -> FilmJob | FilmStatus:
        # What is empty is not given: a CSV has a value in every column.
        given = {_option_name(name): value for name, value in row.items() if not _is_empty(value)}
        name = given.pop("id", None)
        try:
            return self._job(number, self._checked_id(name, number), given)
        except SpaceError as refusal:
            shown = None if name is None else str(name)[: 2 * MAX_ID]
            return FilmStatus(number, shown, "refused", str(refusal))

    def _checked_id(self, name: Any, number: int) -> str:
        """An id, which becomes the name of a file on any system."""
        if name is None:
            raise SpaceError(f"Row {number} has no id. Give each row its own.")
        text = unicodedata.normalize("NFC", str(name))
        if len(text) > MAX_ID or not re.fullmatch(r"\w[\w.-]*", text) or text.endswith(".") or RESERVED.match(text):
            raise SpaceError(
                f"The id {text[:40]!r} is no file name: up to {MAX_ID} letters, digits and . _ - are, which begin with "
                "a letter or digit."
            )
        if len(text.encode()) > MAX_ID_BYTES:
            raise SpaceError(f"The id {text[:40]!r} … is too long for the name of a file. Shorten it.")
        if (folded := text.casefold()) in self._ids:  # some file systems ignore case
            raise SpaceError(f"The id {text!r} is that of an earlier row. Give each row its own.")
        self._ids.add(folded)
        return text

    def _job(self, number: int, name: str, given: dict[str, Any]) -> FilmJob:
        inputs = {column: given[column] for column in ("photo", "speech", "text", "pose_video") if column in given}
        photo = self._address(given.pop("photo", None), "photo")
        if photo is None:
            raise SpaceError("No photo was given. Choose a file.")
        speech, text = self._address(given.pop("speech", None), "recording"), given.pop("text", None)
        if speech is not None and text is not None:
            raise SpaceError("There are two sources of speech. Give speech or text, not both.")
        if speech is None and text is None:
            raise SpaceError("There is no speech. Give speech or text.")
        if isinstance(text, bool) or not isinstance(text, str | int | float | None):
            raise SpaceError(f"The text must be a text; got {str(text)[:40]!r}.")
        pose_video = self._address(given.pop("pose_video", None), "video")
        settings = given.pop("settings", None)
        options = (AnimationOptions(**given),) if settings is None else _settings(settings, given)
        request = json.dumps([inputs, *map(_changed, options)], ensure_ascii=False, default=str, sort_keys=True)
        return FilmJob(number, name, photo, speech, None if text is None else str(text), pose_video, options, request)

    def _address(self, value: Any, kind: str) -> str | None:
        """A path or an address, from the folder of the table."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise SpaceError(f"The {kind} must be a path or an address; got {str(value)[:40]!r}.")
        if is_address(value):
            place(value)  # refused here if its file system is unknown
            return value
        return value if Path(value).is_absolute() else f"{self._folder}/{value}"


def _settings(settings: Any, given: dict[str, Any]) -> tuple[AnimationOptions, ...]:
    """The settings of a comparison: a list of texts, or one text."""
    if given:
        raise SpaceError(f"A row with settings has its options there: leave out {', '.join(given)}.")
    texts = settings.split(SEPARATOR) if isinstance(settings, str) else settings
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SpaceError(f"settings must be texts such as 'emotion=happy {SEPARATOR} emotion=sad'.")
    parsed = tuple(map(parse_setting, texts))
    if any(setting.pose_video is not None for setting in parsed):
        raise SpaceError("A comparison has one pose video: give it in the column pose_video.")
    return parsed


def _changed(options: AnimationOptions) -> dict[str, Any]:
    """The options that are not the defaults."""
    defaults = asdict(AnimationOptions())
    return {name: value for name, value in asdict(options).items() if value != defaults[name]}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == [] or value != value  # NaN


def with_pose_video(settings: tuple[AnimationOptions, ...], path: Path | None) -> tuple[AnimationOptions, ...]:
    """The same settings with a pose video, if there is one."""
    return settings if path is None else tuple(replace(setting, pose_video=path) for setting in settings)
