"""The messages that a page and a replica exchange."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from space_core.errors import FaultReason, ServerFault, SpaceError
from space_core.live.frames import LiveFrame
from space_core.options import AnimationOptions

NO_PICTURE = np.empty((0, 0, 3), np.uint8)  # of a frame that was skipped


@dataclass(frozen=True)
class File:
    """An input file: its name, which error messages show, and its content."""

    name: str
    content: bytes

    def write(self, folder: Path) -> Path:
        """Writes it under its name to a folder, which is created, and returns its path."""
        folder.mkdir()
        path = folder / self.name
        path.write_bytes(self.content)
        return path


def read_file(path: str | Path) -> File:
    """A file of this machine."""
    return File(Path(path).name, Path(path).read_bytes())


@dataclass(frozen=True)
class FilmRequest:
    """A film that a replica is asked for, or a comparison where there are several settings."""

    photo: File
    speech: File
    pose_videos: tuple[File | None, ...]  # one for each setting
    settings: tuple[AnimationOptions, ...]
    outputs: tuple[str, ...]  # names of files of ``Outputs``


@dataclass(frozen=True)
class LiveRequest:
    """A live stream that a replica is asked for; see ``SpacePipeline.stream``."""

    photo: File
    options: AnimationOptions
    skip_after: float


@dataclass(frozen=True)
class Ready:
    """The portrait of a live stream is prepared."""


@dataclass(frozen=True)
class Step:
    """Progress, see ``Progress``."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Chunk:
    """A part of an output; the parts of one follow each other."""

    output: str
    content: bytes
    is_last: bool


@dataclass(frozen=True)
class FilmResult:
    """The last message about a film that was made."""

    num_frames: int
    num_faces: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """The last message about a film that could not be made. Not an exception: Ray adds tracebacks to exceptions."""

    sentence: str
    reason: FaultReason | None

    def error(self) -> SpaceError:
        """The exception that the caller gets."""
        return SpaceError(self.sentence) if self.reason is None else ServerFault(self.sentence, self.reason)


Event = Step | Chunk | FilmResult | Failure | Ready | LiveFrame
