"""What makes the demo's films: a pipeline in this process, or replicas on other machines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from space_core.face.preview import FacePreview
from space_core.options import AnimationOptions
from space_core.output import Outputs
from space_core.progress import Progress


class FilmResult(Protocol):
    """A film that was made."""

    @property
    def num_frames(self) -> int: ...

    @property
    def num_faces(self) -> int: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


class Backend(Protocol):
    """Makes films of files. ``SpacePipeline`` is one, ``space_core.cluster.serving.RemotePipeline`` another.

    An exception that ``progress`` raises ends the work within a second.
    """

    @property
    def device(self) -> object: ...

    def warm_up(self) -> None: ...

    def preview(self, photo: str, options: AnimationOptions) -> FacePreview: ...

    def prepare(self, photo: str, options: AnimationOptions) -> None: ...

    def animate_to_file(
        self, photo: str, speech: str | Path, outputs: Outputs, options: AnimationOptions, progress: Progress
    ) -> FilmResult: ...

    def compare_to_file(
        self,
        photo: str,
        speech: str | Path,
        settings: Sequence[AnimationOptions],
        outputs: Outputs,
        *,
        progress: Progress,
    ) -> FilmResult: ...

    def forget_portraits(self, older_than_seconds: float) -> None: ...
