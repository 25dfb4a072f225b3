"""The inputs of one or several films, read and decoded once: photo, recording, pose videos."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from space_core.errors import SpaceError
from space_core.face.detector import Detector
from space_core.face.normalization import HeadPose
from space_core.media.audio import Recording, load_recording
from space_core.media.images import load_photo
from space_core.media.video_reader import read_frames
from space_core.motion.head_pose_transfer import follow_head_pose
from space_core.motion.motion import Motion
from space_core.motion.speech_window import SpeechWindow
from space_core.options import AnimationOptions, changed_motion_options
from space_core.progress import Progress, run_with_progress
from space_core.timing import FPS, number_of_frames

Photo = str | Path | np.ndarray | Image.Image  # a path, or (H, W, 3) uint8 RGB
Speech = str | Path | Motion  # a recording or a video with sound, or a motion that is shown as it is

POSE_VIDEO_SIDE = 960  # pixels of the longer side: a head in a wide picture is still one to follow


@dataclass
class Inputs:
    """What was read.

    Attributes:
        photo: (H, W, 3) uint8 RGB.
        speech: (N,) float32, 16 kHz mono, or a motion.
        sound: of the film: the recording with this speech, or the motion's own samples; None for silence.
        pose_videos: by path, the frames (H, W, 3) of each pose video, opened and not yet decoded.
        windows: stage 1's analysis of the speech, window by window; it does not depend on the portrait.
    """

    photo: np.ndarray
    speech: np.ndarray | Motion
    sound: Recording | np.ndarray | None
    pose_videos: dict[Path, Generator[np.ndarray, None, None]]
    windows: Iterable[SpeechWindow] = ()
    _head_poses: dict[tuple[Path, str], HeadPose] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        """How many frames the film has."""
        return len(self.speech) if isinstance(self.speech, Motion) else number_of_frames(len(self.speech))

    def driving_pose(self, options: AnimationOptions, detector: Detector, progress: Progress) -> HeadPose | None:
        """The head poses of the options' pose video, tracked once for all settings; None without one."""
        if options.pose_video is None:
            return None
        key = options.pose_video, options.detector
        if key not in self._head_poses:
            with closing(self.pose_videos[options.pose_video]) as frames:
                faces = _counted(detector.track(frames), self.num_frames, progress)
                self._head_poses[key] = follow_head_pose(faces)
        return self._head_poses[key]


def load_inputs(
    photo: Photo,
    speech: Speech,
    settings: Sequence[AnimationOptions],
    progress: Progress,
    on_photo: Callable[[np.ndarray], None],
    analyse: Callable[[np.ndarray], Iterable[SpeechWindow]],
) -> Inputs:
    """Reads the inputs of films with these settings.

    Args:
        photo, speech, settings, progress: see ``SpacePipeline.compare``.
        on_photo: called with the photo as soon as it is there, while the recording may still be decoded.
        analyse: starts the analysis of speech, likewise; see ``Inputs.windows``.

    Raises:
        SpaceError: an input can't be used, or ``speech`` is a motion and a motion option differs from its default.
    """
    if isinstance(speech, Motion):
        _check_motion_is_kept(settings)

    def load() -> np.ndarray:
        picture = load_photo(photo)
        on_photo(picture)
        return picture

    def read() -> Inputs:
        with ThreadPoolExecutor(1) as executor:  # other processes decode the photo and the recording
            loading = executor.submit(load)
            if isinstance(speech, Motion):
                inputs = Inputs(loading.result(), speech, speech.speech, {})
            else:
                sound = load_recording(speech, min(options.max_seconds for options in settings))
                windows = analyse(sound.speech)
                inputs = Inputs(loading.result(), sound.speech, sound, {}, windows)
        seconds = inputs.num_frames / FPS  # more of a pose video is never shown
        for path in {options.pose_video for options in settings if options.pose_video is not None}:
            inputs.pose_videos[path] = read_frames(path, POSE_VIDEO_SIDE, seconds)
        return inputs

    return run_with_progress(read, lambda: progress("portrait", 0, 1))


def _check_motion_is_kept(settings: Sequence[AnimationOptions]) -> None:
    """Raises ``SpaceError`` for motion options that differ from their defaults: a given motion would ignore them."""
    for options in settings:
        if changed := changed_motion_options(options):
            raise SpaceError(
                f"The landmarks already determine how the face moves, so {' and '.join(changed)} would have no effect. "
                "Leave the option out and edit the landmarks."
            )


def _counted(faces: Iterator[np.ndarray | None], num_frames: int, progress: Progress) -> Iterator[np.ndarray | None]:
    """The faces of a pose video, of at most ``num_frames`` frames, with progress."""
    for done, face in enumerate(faces):
        progress("pose video", done, num_frames)
        yield face
    progress("pose video", num_frames, num_frames)
