"""Writes films: MP4, stream, landmark video, motion file."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from space_core.animation import Animation
from space_core.errors import SpaceError
from space_core.media.audio import Recording, load_recording
from space_core.media.content_credentials import ContentCredentials
from space_core.media.files import check_output
from space_core.media.video_writer import Sound, VideoWriter
from space_core.motion.motion import Motion, join
from space_core.motion.motion_file import save_motion
from space_core.progress import Progress, run_with_progress
from space_core.timing import SAMPLES_PER_FRAME


@dataclass(frozen=True)
class Outputs:
    """The files of a film.

    Attributes:
        video: the MP4 to write; None for a stream alone.
        sound: a recording that replaces the speech, or a motion's own sound, in the video.
        landmark_video: another MP4 to write, 1536 × 512: normalized landmarks, posed landmarks and the result.
        motion_file: a motion file (.npz) to write; see ``space_core.motion.motion_file``.
        stream: a file or pipe that the film is also written to while it is drawn, as a fragmented MP4 that can be
            played meanwhile. It needs a descriptor, is left open, and holds an incomplete film if the work fails.
    """

    video: str | Path | None
    sound: str | Path | None = None
    landmark_video: str | Path | None = None
    motion_file: str | Path | None = None
    stream: IO[bytes] | None = None

    def check(self, inputs: Iterable[object]) -> None:
        """Checks that every file can be written, and that all of them and the inputs are different files.

        Raises:
            SpaceError: one of these does not hold.
        """
        sources = tuple(file for file in (*inputs, self.sound) if isinstance(file, str | Path))
        files = [
            (self.video, ".mp4"),
            (self.landmark_video, ".mp4"),
            (self.motion_file, ".npz"),
        ]
        targets = [check_output(file, suffix, sources) for file, suffix in files if file is not None]
        if len(set(targets)) < len(targets):
            raise SpaceError("Two of the outputs would be one file. Choose another name for one of them.")

    def load_sound(self, max_seconds: float, progress: Progress) -> Recording | None:
        """The recording ``sound``, decoded; None if there is none.

        Raises:
            SpaceError: it can't be used, or is longer than ``max_seconds``.
        """
        path = self.sound
        if path is None:
            return None
        return run_with_progress(lambda: load_recording(path, max_seconds), lambda: progress("portrait", 0, 1))


def write_animation(
    animation: Animation,
    outputs: Outputs,
    sound: Sound,
    soundtrack: Recording | None,
    credentials: ContentCredentials | None,
    progress: Progress,
) -> None:
    """Draws an animation once and writes it into every file of ``outputs``; closes it.

    Args:
        sound: of the videos.
        soundtrack: a recording that replaces it, in the motion file as well; None keeps ``sound``.
        credentials: sign the videos; None leaves them unsigned.

    Raises:
        SpaceError: a file can't be written. No incomplete file is left behind.
    """
    num_frames, sound = animation.num_frames, soundtrack or sound
    finished: list[Path] = []
    motions: list[Motion] = []
    with ExitStack() as files:
        files.enter_context(animation)
        files.enter_context(_removed_on_failure(finished))
        video = files.enter_context(VideoWriter(outputs.video, sound, num_frames, credentials, stream=outputs.stream))
        landmark_video = outputs.landmark_video and files.enter_context(
            VideoWriter(outputs.landmark_video, sound, num_frames, credentials)
        )
        for frame in animation.frames():
            picture = animation.shown(frame)
            video.write(picture)
            if landmark_video:
                landmark_video.write(animation.stages(frame))
            if outputs.motion_file is not None:
                motions.append(frame.motion)
            del frame, picture  # so that their memory is used again for the next frame
        if outputs.motion_file is not None:
            motion = join(motions)
            if soundtrack is not None:
                motion = replace(motion, speech=soundtrack.speech[: len(motion) * SAMPLES_PER_FRAME])
            motion_file = check_output(outputs.motion_file, ".npz")
            save_motion(motion_file, motion, lambda: progress("frames", num_frames, num_frames))
            finished.append(motion_file)


@contextmanager
def _removed_on_failure(finished: list[Path]) -> Iterator[None]:
    """Removes finished files again if what follows fails."""
    try:
        yield
    except BaseException:
        for path in finished:
            path.unlink(missing_ok=True)
        raise
