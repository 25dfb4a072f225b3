"""Jobs: requests of visitors, reports of their progress, time limits."""

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from space_core.motion.emotion_labels import EMOTIONS
from space_core.options import AnimationOptions


@dataclass(frozen=True)
class SpeechSource:
    """The path of a recording or of a video with sound, or a text to be spoken."""

    recording: str | None = None
    text: str = ""


@dataclass(frozen=True)
class JobRequest:
    """A visitor's request: one setting for an animation, two to four for a comparison."""

    photo: str
    speech: SpeechSource
    settings: tuple[AnimationOptions, ...]
    intermediate_results: bool = False  # the landmark video and the motion file, too

    @property
    def name(self) -> str:
        """The name of its files without suffix: that of the photo with the emotion, or with "compared"."""
        photo, emotion = re.sub(r"\W+", "_", Path(self.photo).stem)[:40], self.settings[0].emotion
        if len(self.settings) > 1:
            return f"{photo}-compared"
        return f"{photo}-{emotion if emotion in EMOTIONS else 'emotions'}"


@dataclass(frozen=True)
class Step:
    """Progress: ``done`` of ``total`` steps of a stage, seconds left (None: can't be estimated yet)."""

    stage: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Stream:
    """A film that is being drawn: a fragmented MP4 that grows, and its length in seconds."""

    video: Path
    seconds: float


@dataclass(frozen=True)
class Film:
    """A finished film. Its files exist until the iterator that yielded it is resumed.

    Attributes:
        video: an MP4 with sound.
        landmark_video: landmarks and result side by side, another MP4; None if it was not asked for.
        motion_file: an .npz; None if it was not asked for.
        num_frames: of the video.
        num_faces: how many faces the photo shows.
        notes: sentences for the visitor, see ``Animation``.
        seconds: that it took.
    """

    video: Path
    landmark_video: Path | None
    motion_file: Path | None
    num_frames: int
    num_faces: int
    notes: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class Job:
    """A request that is being carried out.

    Attributes:
        cancelled: why it is to end: "stopped", "left" or "restarting"; "" while it goes on.
        number: identifies it in the log.
    """

    cancelled: str = ""
    number: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True)
class TimeLimit:
    """How long a job may take: ``seconds``, and ``per_speech_second`` more for each second of speech."""

    seconds: float = 120.0
    per_speech_second: float = 20.0

    def of(self, speech_seconds: float) -> float:
        """The limit of a job with so many seconds of speech, of all its settings together."""
        return self.seconds + self.per_speech_second * speech_seconds


class JobCancelled(Exception):  # noqa: N818 – not an error
    """Raised by the progress callback, in the thread of a job that was cancelled."""


Report = Step | Stream | Film
