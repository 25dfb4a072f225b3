"""The pipeline: one photo and one recording in, the frames of a talking portrait out. Load, plan, render."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from space_core.animation import Animation
from space_core.comparison import Comparison, check_settings
from space_core.device import pick_device
from space_core.errors import SpaceError
from space_core.face.preview import FacePreview
from space_core.inputs import Inputs, Photo, Speech
from space_core.live.control import LiveControl
from space_core.live.stream import LiveStream
from space_core.media import decoding_pool
from space_core.media.content_credentials import ContentCredentials
from space_core.media.video_writer import write_video
from space_core.motion.motion import Motion
from space_core.options import AnimationOptions
from space_core.output import Outputs, write_animation
from space_core.portrait_cache import CACHE_BYTES
from space_core.processes.memory import out_of_memory_as_fault
from space_core.progress import Progress, ignore_progress, without_frames
from space_core.stages import Stages


class SpacePipeline:
    """All networks, loaded once for any number of animations; may be called from several threads."""

    def __init__(
        self, device: str = "auto", credentials: ContentCredentials | None = None, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """Loads the networks.

        Args:
            device: where they compute: "cpu", "cuda", or "auto" for the best there is.
            credentials: sign every video that is written; None leaves them unsigned.
            cache_bytes: how much memory prepared portraits may take. One for a square film takes about 20 MB, one for a
                whole photo up to 20 bytes a pixel; the latest one is always kept.
        """
        decoding_pool.warm_up()
        self.device = pick_device(device)
        self._credentials = credentials
        self._stages = Stages(self.device, cache_bytes)

    def warm_up(self) -> None:
        """Starts the processes that help to draw, so that the first long film need not: on a CPU one to five.

        Each takes 0.3 GB. Returns when they are ready, after about two seconds.
        """
        self._stages.warm_up()

    @out_of_memory_as_fault()
    def preview(self, photo: Photo, options: AnimationOptions | None = None) -> FacePreview:
        """The faces of a photo, the frame around the chosen one, and warnings; takes a fraction of a second.

        Args:
            photo: see ``animate``.
            options: only ``face``, ``detector`` and ``framing`` matter.

        Raises:
            SpaceError: where ``animate`` does for this photo.
        """
        return self._stages.portraits.preview(photo, options or AnimationOptions())

    @out_of_memory_as_fault()
    def prepare(self, photo: Photo, options: AnimationOptions | None = None) -> None:
        """Prepares a photo's portrait and caches it, so that films of it begin sooner.

        Does nothing if the options' generator was not used before, as building it may take long.

        Args:
            photo: see ``animate``.
            options: only the rendering options matter.

        Raises:
            SpaceError: where ``animate`` does for this photo.
        """
        self._stages.prepare_ahead(photo, (options or AnimationOptions()).rendering)

    @out_of_memory_as_fault()
    def animate(
        self,
        photo: Photo,
        speech: Speech,
        options: AnimationOptions | None = None,
        progress: Progress = ignore_progress,
    ) -> Animation:
        """Animates the portrait in a photo with speech.

        Args:
            photo: path, PIL image, or (H, W, 3) uint8 RGB array.
            speech: path of a recording, or of a video with sound; or a motion, which is shown unchanged. A motion of
                another portrait is retargeted to this one.
            options: see ``AnimationOptions``; the same inputs and options give the same frames.
            progress: called as the work goes on, see ``Progress``.

        Raises:
            SpaceError: an input can't be used, or ``speech`` is a motion and a motion option differs from its default.
                Raised by this call, not by the first frame.
        """
        options = options or AnimationOptions()
        return self._animate(self._stages.load(photo, speech, [options], progress), options, progress)

    @out_of_memory_as_fault()
    def motion(
        self,
        photo: Photo,
        speech: Speech,
        options: AnimationOptions | None = None,
        progress: Progress = ignore_progress,
    ) -> Motion:
        """Plans how the face in a photo moves with speech, to inspect or edit it before it is rendered.

        Arguments and errors are those of ``animate``; ``animate(photo, motion(photo, speech))`` gives the same frames
        as ``animate(photo, speech)``. A motion takes about 6 KB a frame.
        """
        options = options or AnimationOptions()
        inputs = self._stages.load(photo, speech, [options], progress)
        cached = self._stages.prepare(inputs.photo, options.rendering, progress)
        return self._stages.plan_whole(inputs, cached.portrait, options, progress)

    @out_of_memory_as_fault()
    def animate_to_file(
        self,
        photo: Photo,
        speech: Speech,
        outputs: str | Path | Outputs,
        options: AnimationOptions | None = None,
        progress: Progress = ignore_progress,
    ) -> Animation:
        """Like ``animate``, written with its sound to an MP4; returns the finished animation.

        Args:
            photo, speech, options, progress: see ``animate``.
            outputs: the MP4 to write, or several files; see ``Outputs``.

        Raises:
            SpaceError: an input can't be used or a file can't be written. No incomplete file is left behind then.
            ServerFault: the machine failed: no disk space, no memory, an encoder that ended or hung.
        """
        options = options or AnimationOptions()
        outputs = outputs if isinstance(outputs, Outputs) else Outputs(outputs)
        outputs.check((photo, speech, options.pose_video))
        soundtrack = outputs.load_sound(options.max_seconds, progress)
        inputs = self._stages.load(photo, speech, [options], progress)
        animation = self._animate(inputs, options, progress)
        write_animation(animation, outputs, inputs.sound, soundtrack, self._credentials, progress)
        return animation

    @out_of_memory_as_fault()
    def compare(
        self,
        photo: Photo,
        speech: Speech,
        settings: Sequence[AnimationOptions],
        captions: Sequence[str] | None = None,
        progress: Progress = ignore_progress,
    ) -> Comparison:
        """Animates the portrait in a photo with the same recording and two to four settings, in one grid.

        Two are side by side, three or four in two rows; each is the crop with its caption below.

        Args:
            photo, speech, progress: see ``animate``.
            settings: the options of each, in reading order; all of one size.
            captions: one for each, cut where it is too long; by default the options in which the settings differ.

        Raises:
            SpaceError: see ``animate``; or settings that can't be compared.
        """
        captions = check_settings(settings, captions)
        return self._compare(self._stages.load(photo, speech, settings, progress), settings, captions, progress)

    @out_of_memory_as_fault()
    def compare_to_file(
        self,
        photo: Photo,
        speech: Speech,
        settings: Sequence[AnimationOptions],
        outputs: str | Path | Outputs,
        captions: Sequence[str] | None = None,
        progress: Progress = ignore_progress,
    ) -> Comparison:
        """Like ``compare``, written with its sound to an MP4; returns the finished comparison.

        Args:
            photo, speech, settings, captions, progress: see ``compare``.
            outputs: the MP4 to write, or ``Outputs`` with a video, a stream or both.

        Raises:
            SpaceError: see ``compare``; or the file can't be written. No incomplete file is left behind then.
        """
        outputs = outputs if isinstance(outputs, Outputs) else Outputs(outputs)
        if outputs.sound or outputs.landmark_video or outputs.motion_file:
            raise SpaceError("A comparison is a video or a stream, with the sound of its speech. Leave out the others.")
        outputs.check((photo, speech, *(options.pose_video for options in settings)))
        captions = check_settings(settings, captions)
        inputs = self._stages.load(photo, speech, settings, progress)
        comparison = self._compare(inputs, settings, captions, progress)
        write_video(comparison, outputs.video, inputs.sound, comparison.num_frames, self._credentials, outputs.stream)
        return comparison

    @out_of_memory_as_fault()
    def stream(
        self,
        photo: Photo,
        chunks: Iterable[np.ndarray],
        options: AnimationOptions | None = None,
        control: LiveControl | None = None,
        skip_after: float = math.inf,
        progress: Progress = ignore_progress,
    ) -> LiveStream:
        """Animates the portrait in a photo with speech that is still arriving, with a bounded look-ahead.

        Args:
            photo: see ``animate``.
            chunks: the sound, of a microphone, text to speech or a voice agent: 1-D float32 arrays of any length,
                16 kHz mono, -1 … 1. See ``fill_gaps`` for sources that are silent at times.
            options: see ``AnimationOptions``; ``pose_video`` and ``max_seconds`` don't apply.
            control: changes motion options while the stream runs. At the start its motion options replace those of
                ``options``.
            skip_after: seconds by which drawing may lag behind the sound. If it lags further, pictures are skipped, see
                ``LiveFrame.is_skipped``: the delay stays below ``skip_after`` plus the time of one picture, which has
                to be less than four seconds. By default no picture is skipped, and sound waits until it is drawn.
            progress: called while the portrait is prepared, see ``Progress``.

        Raises:
            SpaceError: the photo or an option can't be used. Raised by this call, not by the first frame.
        """
        options = options or (control.options if control else AnimationOptions())
        control = control or LiveControl(options)
        if control.options.pose_video or options.pose_video:
            raise SpaceError("A live stream has no pose video: leave it out, or animate a recording.")
        return self._stages.stream(photo, chunks, options.rendering, control, skip_after, progress)

    def forget_portraits(self, older_than_seconds: float = 0.0) -> None:
        """Removes prepared portraits, which hold whole photos, that were not used for that long."""
        self._stages.portraits.forget(older_than_seconds)

    def _compare(
        self, inputs: Inputs, settings: Sequence[AnimationOptions], captions: tuple[str, ...], progress: Progress
    ) -> Comparison:
        # The comparison reports its own frames.
        animations = [self._animate(inputs, options, without_frames(progress)) for options in settings]
        return Comparison(animations, captions, progress)

    def _animate(self, inputs: Inputs, options: AnimationOptions, progress: Progress) -> Animation:
        cached, plan = self._stages.prepare_and_plan(inputs, options, progress)
        frames = self._stages.render(cached, plan.segments, inputs.num_frames, options.rendering, progress)
        return Animation(cached.portrait, inputs.num_frames, options.rendering, frames, plan.notes)
