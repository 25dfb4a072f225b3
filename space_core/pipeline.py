"""The whole way, once through: one photo and one recording in, the frames of a talking portrait out."""

import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image

from space_core.comparison import Comparison, check_settings, grid
from space_core.errors import SpaceError
from space_core.face.canvas import Canvas, crop_canvas, photo_canvas
from space_core.face.detector import Detector, build_detector
from space_core.face.drawing import draw_normalized, draw_posed
from space_core.face.normalization import HeadPose
from space_core.face.portrait import SIZE, Portrait, cut, prepare_portrait
from space_core.face.preview import FacePreview, preview_face
from space_core.generator.generator import Generator
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.media.audio import load_speech
from space_core.media.content_credentials import ContentCredentials
from space_core.media.files import check_output
from space_core.media.images import load_photo
from space_core.media.video import Sound, VideoWriter, read_frames
from space_core.media.visible_mark import marked
from space_core.motion.blink import blink_curve
from space_core.motion.emotion import emotion_curve
from space_core.motion.gaze import counter_gaze, saccades
from space_core.motion.head_pose import follow_head_pose, generate_head_pose, transfer_head_pose
from space_core.motion.motion import Motion, join, single_precision
from space_core.motion.motion_file import save_motion
from space_core.motion.speech2landmarks import load_speech2landmarks, resting_face
from space_core.options import DEVICES, AnimationOptions, option_field, option_names
from space_core.progress import run_with_progress
from space_core.timing import FPS, SAMPLES_PER_FRAME, number_of_frames

Photo = str | Path | np.ndarray | Image.Image
# Called several times a second with the stage at work ("portrait", "pose video", "landmarks", "frames"), the steps done
# and the steps in all; and with ("opening", 1, 1) when the opening can be played. What it raises ends the work.
Progress = Callable[[str, int, int], None]

POSE_VIDEO_SIDE = 960  # pixels of the longer side: a head in a wide picture is still one to follow
# The options that still matter when the motion is decided.
RENDERING_OPTIONS = ("framing", "refine", "size", "face", "detector", "mark", "max_seconds")
# A film's opening is there to be played while the rest is made; a short film has none.
OPENING_SECONDS, LEAST_SECONDS_WITH_OPENING = 3, 5
# Prepared portraits are kept, least recently used first out; each takes about 60 MB and 20 bytes a pixel of its film.
PORTRAITS_KEPT, PIXELS_KEPT = 8, 20_000_000


@dataclass
class Animation:
    """A talking portrait: an iterator of ``num_frames`` frames (H, W, 3) uint8 RGB, made as they are asked for.

    Without ``framing`` and ``size`` in the options they are 512 × 512.

    Attributes:
        portrait: the prepared photo.
        num_frames: how many frames there will be, 25 a second.
        num_faces: how many faces the photo shows.
        framing: what the frames show, "crop" or "photo".
        mark: "visible" where every frame is labelled as AI-generated, or "none".
        motion: what the face does in the frame given last, a ``Motion`` of one frame; None before the first.
    """

    portrait: Portrait
    num_frames: int
    framing: str
    mark: str
    _moments: Iterator[tuple[np.ndarray, Motion]]
    motion: Motion | None = None
    _unmarked: np.ndarray | None = None

    @property
    def num_faces(self) -> int:
        return self.portrait.num_faces

    @property
    def seconds(self) -> float:
        return self.num_frames / FPS

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """(512, 512, 3) uint8 RGB, the portrait's crop out of a frame."""
        if self.framing == "photo":
            return cut(frame, self.portrait.crop, margin=0)
        return np.asarray(Image.fromarray(frame).resize((SIZE, SIZE), Image.Resampling.LANCZOS))

    def __iter__(self) -> "Animation":
        return self

    def __next__(self) -> np.ndarray:
        self._unmarked, self.motion = next(self._moments)
        return self._labelled(self._unmarked)

    def inside(self) -> np.ndarray:
        """(512, 1536, 3) uint8 RGB, the stages of the frame given last; see ``look_inside``."""
        # The whole photo's label may lie outside of the crop, which then needs one of its own.
        return look_inside(self._labelled(self.crop(self._unmarked)), self.motion)

    def _labelled(self, picture: np.ndarray) -> np.ndarray:
        return marked(picture) if self.mark == "visible" else picture


@dataclass
class _Performance:
    """A portrait and what its face will do: ``segments`` of motion, ``num_frames`` frames altogether."""

    portrait: Portrait
    prepared: Any
    num_frames: int
    segments: Iterator[Motion]


class SpacePipeline:
    """Everything loaded once, for any number of animations; may be called from several threads."""

    def __init__(self, device: str = "auto", credentials: ContentCredentials | None = None) -> None:
        """Loads the networks onto a device: "cpu", "cuda", or "auto" for the best there is.

        ``credentials`` sign every video that is written; None leaves them unsigned.
        """
        self._credentials = credentials
        self.device = _pick_device(device)
        self._speech2landmarks = load_speech2landmarks(self.device)
        self._generator: Generator = MeshWarpGenerator(self.device)
        self._detectors: dict[str, Detector] = {}
        self._portraits: OrderedDict[tuple, tuple[Portrait, Any]] = OrderedDict()
        self._lock = threading.Lock()
        # Looking at a photo has a detector of its own, as it must not wait for a portrait in preparation.
        self._looking_detectors: dict[str, Detector] = {}
        self._looking_lock = threading.Lock()

    def preview(self, photo: Photo, options: AnimationOptions | None = None) -> FacePreview:
        """Which faces a photo shows, how the chosen one would be framed and what to beware of, within moments.

        Args:
            photo: see ``animate``.
            options: of these, ``face`` and ``detector`` matter.

        Raises:
            SpaceError: where ``animate`` does for this photo.
        """
        options = options or AnimationOptions()
        with self._looking_lock:
            picture = load_photo(photo)  # in here, as a large one takes half a gigabyte
            return preview_face(picture, self._detector(options.detector, self._looking_detectors), options.face)

    def animate(
        self,
        photo: Photo,
        speech: str | Path | Motion,
        options: AnimationOptions | None = None,
        progress: Progress | None = None,
    ) -> Animation:
        """Lets the portrait in a photo say a recording.

        Args:
            photo: path, PIL image, or (H, W, 3) uint8 RGB array.
            speech: path of a recording, or of a video with sound; or a motion, which is shown as it is. One that was
                made for another portrait is moved to this one.
            options: see ``AnimationOptions``; the same inputs and options give the same frames.
            progress: called as the work goes on.

        Raises:
            SpaceError: an input can't be used, or an option says how a face should move whose motion is given; raised
                here, before the first frame.
        """
        progress = progress or _no_progress
        options = options or AnimationOptions()
        return self._animation(self._perform(photo, speech, options, progress), options, progress)

    def motion(
        self,
        photo: Photo,
        speech: str | Path | Motion,
        options: AnimationOptions | None = None,
        progress: Progress | None = None,
    ) -> Motion:
        """What the face in a photo does as it says a recording: all of the film but the picture, to look at or to edit.

        Takes what ``animate`` takes, which shows the result: ``animate(photo, speech)`` is
        ``animate(photo, motion(photo, speech))``. About 6 KB a frame.
        """
        progress = progress or _no_progress
        performance = self._perform(photo, speech, options or AnimationOptions(), progress)
        segments, done = [], 0
        for segment in performance.segments:
            progress("landmarks", done, performance.num_frames)
            segments.append(segment)
            done += len(segment)
        progress("landmarks", done, performance.num_frames)
        return join(segments)

    def animate_to_file(
        self,
        photo: Photo,
        speech: str | Path | Motion,
        path: str | Path,
        options: AnimationOptions | None = None,
        progress: Progress | None = None,
        *,
        sound: str | Path | None = None,
        inside: str | Path | None = None,
        landmarks: str | Path | None = None,
        opening: str | Path | None = None,
    ) -> Animation:
        """Like ``animate``, written with its sound to an MP4; returns the finished animation.

        Args:
            photo, speech, options, progress: see ``animate``.
            path: the MP4 to write.
            sound: a recording to be heard instead of the speech or of a motion's own sound.
            inside: another MP4 to write, 1536 × 512: normalized landmarks, posed landmarks and the result side by side.
            landmarks: a motion file (.npz) to write; see ``space_core.motion.motion_file``.
            opening: another MP4 to write, the first three seconds, to be played while the rest is made: it is complete
                when ``progress("opening", 1, 1)`` is called. A film of up to five seconds has none.

        Raises:
            SpaceError: an input can't be used or a file can't be written. Nothing half-made is left behind then.
        """
        # 1. Where everything goes, found out before any work is done.
        progress = progress or _no_progress
        options = options or AnimationOptions()
        inputs = tuple(file for file in (photo, speech, sound, options.pose_video) if isinstance(file, str | Path))
        outputs = [(path, ".mp4"), *((file, ".mp4") for file in (inside, opening) if file is not None)]
        outputs += [(landmarks, ".npz")] if landmarks is not None else []
        targets = [check_output(file, suffix, inputs).resolve() for file, suffix in outputs]
        if len(set(targets)) < len(targets):
            raise SpaceError("Two of the outputs would be one file. Choose another name for one of them.")

        # 2. What is to be saved is decided as a whole; otherwise it is decided as it is shown.
        shown, showing = speech, options
        if landmarks is not None:
            shown = self.motion(photo, speech, options, progress)
            showing = AnimationOptions(**{name: getattr(options, name) for name in RENDERING_OPTIONS})
        if isinstance(shown, Motion) and sound is not None:
            heard = run_with_progress(
                lambda: load_speech(sound, options.max_seconds), lambda: progress("landmarks", 0, len(shown))
            )
            shown = replace(shown, speech=heard[: len(shown) * SAMPLES_PER_FRAME])
        if sound is None:
            sound = speech.speech if isinstance(speech, Motion) else speech

        # 3. Every frame, once, into every file.
        animation = self.animate(photo, shown, showing, progress)
        opening_frames = OPENING_SECONDS * FPS if opening and animation.seconds > LEAST_SECONDS_WITH_OPENING else 0
        finished: list[str | Path] = []
        with ExitStack() as files:
            files.enter_context(_removed_on_failure(finished))
            video = files.enter_context(self._writer(path, sound, animation.num_frames))
            inside_video = inside and files.enter_context(self._writer(inside, sound, animation.num_frames))
            beginning = files.enter_context(ExitStack())
            if opening_frames:
                opening_video = beginning.enter_context(self._writer(opening, sound, opening_frames))
            for number, frame in enumerate(animation, 1):
                video.write(frame)
                if inside_video:
                    inside_video.write(animation.inside())
                if number <= opening_frames:
                    opening_video.write(frame)
                if number == opening_frames:
                    beginning.close()
                    finished.append(opening)
                    progress("opening", 1, 1)
            if landmarks is not None:
                _save_with_progress(landmarks, shown, lambda: progress("frames", len(shown), len(shown)))
                finished.append(landmarks)
        return animation

    def compare(
        self,
        photo: Photo,
        speech: str | Path | Motion,
        settings: Sequence[AnimationOptions],
        captions: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Comparison:
        """Lets the portrait in a photo say the same recording with two to four settings, in one grid.

        Two stand side by side, three or four in two rows; each is the crop with its caption below.

        Args:
            photo, speech, progress: see ``animate``.
            settings: the options of each, in the order of reading; all of one size.
            captions: one for each, cut where it is too long; by default what sets the settings apart.

        Raises:
            SpaceError: see ``animate``; or settings that can't stand side by side.
        """
        progress = progress or _no_progress
        captions = check_settings(settings, captions)
        picture = load_photo(photo)
        performances = [self._perform(picture, speech, options, progress) for options in settings]
        animations = [
            self._animation(performance, options, _no_progress)
            for performance, options in zip(performances, settings, strict=True)
        ]
        num_frames = animations[0].num_frames

        def frames() -> Iterator[np.ndarray]:
            # In step, so that no more than a few frames of each wait for the others.
            for done, pictures in enumerate(zip(*animations, strict=True)):
                progress("frames", done, num_frames)
                yield grid(pictures, captions)
            progress("frames", num_frames, num_frames)

        return Comparison(animations[0].portrait, num_frames, captions, frames())

    def compare_to_file(
        self,
        photo: Photo,
        speech: str | Path | Motion,
        settings: Sequence[AnimationOptions],
        path: str | Path,
        captions: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Comparison:
        """Like ``compare``, written with its sound to an MP4; returns the finished comparison.

        Raises:
            SpaceError: see ``compare``; or the file can't be written. Nothing half-made is left behind then.
        """
        inputs = (photo, speech, *(options.pose_video for options in settings))
        check_output(path, ".mp4", tuple(file for file in inputs if isinstance(file, str | Path)))
        comparison = self.compare(photo, speech, settings, captions, progress)
        sound = speech.speech if isinstance(speech, Motion) else speech
        with self._writer(path, sound, comparison.num_frames) as video:
            for frame in comparison:
                video.write(frame)
        return comparison

    def _detector(self, name: str, built: dict[str, Detector]) -> Detector:
        """The detector of that name among those built so far, to which it is added; under the lock that guards them."""
        if name not in built:
            built[name] = build_detector(name, self.device)
        return built[name]

    def _animation(self, performance: _Performance, options: AnimationOptions, progress: Progress) -> Animation:
        moments = self._pictured(performance, progress)
        return Animation(performance.portrait, performance.num_frames, options.framing, options.mark, moments)

    def _writer(self, path: str | Path, sound: Sound, num_frames: int) -> VideoWriter:
        return VideoWriter(path, sound, num_frames, self._credentials)

    def _perform(
        self, photo: Photo, speech: str | Path | Motion, options: AnimationOptions, progress: Progress
    ) -> _Performance:
        """Stage 1: what the face will do, decided segment by segment."""
        if isinstance(speech, Motion):
            return self._perform_again(photo, speech, options, progress)

        # 1. The inputs, all opened before any work is done.
        def inputs() -> tuple[np.ndarray, np.ndarray, Iterator[np.ndarray] | None]:
            sound = load_speech(speech, options.max_seconds)
            picture = load_photo(photo)
            # More of the pose video than the speech is long is never shown.
            seconds = number_of_frames(len(sound)) / FPS
            return sound, picture, options.pose_video and read_frames(options.pose_video, POSE_VIDEO_SIDE, seconds)

        sound, picture, driving = run_with_progress(inputs, lambda: progress("portrait", 0, 1))
        num_frames = number_of_frames(len(sound))
        portrait, prepared = self._prepared(picture, options, progress)
        rest = resting_face(portrait.normalized, self._speech2landmarks.basis).astype(np.float32)

        # 2. What runs through the whole film: head pose, gaze, blinks, emotion.
        with closing(driving) if driving else nullcontext():
            faces = driving and _counted(self._detectors[options.detector].track(driving), num_frames, progress)
            driving_pose = faces and follow_head_pose(faces)

        def whole_film() -> tuple[HeadPose, np.ndarray, np.ndarray, np.ndarray]:
            if driving_pose is None:
                pose = generate_head_pose(sound, num_frames, portrait.pose, options.head_motion, options.seed)
            else:
                pose = transfer_head_pose(driving_pose, num_frames, portrait.pose, options.head_motion)
            gaze = saccades(num_frames, options.seed, options.saccades)
            gaze += counter_gaze(portrait.pose, pose, options.eyes_on_viewer)
            gaze += [options.gaze_yaw, options.gaze_pitch]
            blink = blink_curve(sound, num_frames, options.blinks_per_minute, options.seed)
            return pose, gaze, blink, emotion_curve(options.emotion, options.intensity, num_frames)

        pose, gaze, blink, emotion = run_with_progress(whole_film, lambda: progress("landmarks", 0, num_frames))

        # 3. Chunk by chunk: what the speech does to the face.
        def segments() -> Iterator[Motion]:
            first = 0
            for chunk in self._speech2landmarks.predict(sound, portrait.normalized, emotion):
                now = slice(first, first + len(chunk))
                yield Motion(
                    normalized=chunk,
                    said_emotion=emotion[now],
                    emotion=emotion[now],
                    gaze=gaze[now].astype(np.float32),
                    blink=blink[now],
                    head_pose=single_precision(pose[now]),
                    rest=rest,
                    photo_pose=single_precision(portrait.pose),
                    speech=sound[now.start * SAMPLES_PER_FRAME : now.stop * SAMPLES_PER_FRAME],
                )
                first = now.stop

        following = segments()
        # The first one takes a look at the whole speech.
        first = run_with_progress(lambda: next(following), lambda: progress("landmarks", 0, num_frames))
        others = iter(lambda: run_with_progress(lambda: next(following, None), lambda: None), None)
        return _Performance(portrait, prepared, num_frames, chain([first], others))

    def _perform_again(
        self, photo: Photo, motion: Motion, options: AnimationOptions, progress: Progress
    ) -> _Performance:
        """A motion that is decided already, moved to the portrait."""
        if said := [name for name in option_names() if name not in RENDERING_OPTIONS and _is_set(options, name)]:
            raise SpaceError(
                f"The landmarks say already how the face moves, so {' and '.join(said)} would change nothing. "
                "Leave the option out and edit the landmarks."
            )
        picture = run_with_progress(lambda: load_photo(photo), lambda: progress("portrait", 0, 1))
        portrait, prepared = self._prepared(picture, options, progress)
        rest = resting_face(portrait.normalized, self._speech2landmarks.basis)
        moved = run_with_progress(
            lambda: motion.moved_to(rest, portrait.pose), lambda: progress("landmarks", 0, len(motion))
        )
        return _Performance(portrait, prepared, len(motion), moved.segments())

    def _pictured(self, performance: _Performance, progress: Progress) -> Iterator[tuple[np.ndarray, Motion]]:
        """Stage 3: each frame with the motion it shows."""
        moments: deque[Motion] = deque()  # decided, not pictured yet
        done = 0

        def posed_landmarks() -> Iterator[np.ndarray]:
            for segment in performance.segments:
                moments.extend(segment[frame : frame + 1] for frame in range(len(segment)))
                yield segment.posed
                progress("frames", done, performance.num_frames)

        progress("frames", 0, performance.num_frames)
        for frame in self._generator.render(performance.prepared, posed_landmarks()):
            progress("frames", done, performance.num_frames)
            yield frame, moments.popleft()
            done += 1
        progress("frames", performance.num_frames, performance.num_frames)

    def _prepared(self, photo: np.ndarray, options: AnimationOptions, progress: Progress) -> tuple[Portrait, Any]:
        """The portrait of a photo and the generator's preparation of it, from the cache where it is there."""

        def prepared() -> tuple[Portrait, Any]:
            picture = (hashlib.blake2b(photo.tobytes(), digest_size=16).digest(), photo.shape)
            key = (*picture, options.detector, options.face, options.refine, options.framing, options.size)
            with self._lock:
                if key not in self._portraits:
                    detector = self._detector(options.detector, self._detectors)
                    portrait = prepare_portrait(photo, detector, options.face)
                    canvas, refined = _canvas(portrait, options), options.refine == "network"
                    self._portraits[key] = portrait, self._generator.prepare(portrait, canvas, refined)
                self._portraits.move_to_end(key)
                while len(self._portraits) > PORTRAITS_KEPT or (
                    len(self._portraits) > 1 and sum(map(_num_pixels, self._portraits)) > PIXELS_KEPT
                ):
                    self._portraits.popitem(last=False)
                return self._portraits[key]

        # Attended from outside the lock: another visitor's portrait may be in preparation.
        result = run_with_progress(prepared, lambda: progress("portrait", 0, 1))
        progress("portrait", 1, 1)
        return result


def look_inside(crop: np.ndarray, motion: Motion) -> np.ndarray:
    """The stages of one moment side by side: normalized landmarks, posed landmarks, the crop; (512, 1536, 3) uint8."""
    return np.concatenate([draw_normalized(motion.edited[0]), draw_posed(motion.posed[0]), crop], axis=1)


def _canvas(portrait: Portrait, options: AnimationOptions) -> Canvas | None:
    """What the film shows; None for the crop at its own size."""
    if options.framing == "photo":
        return photo_canvas(portrait)
    return None if options.size == SIZE else crop_canvas(portrait, options.size)


def _num_pixels(key: tuple) -> int:
    """Of the canvas of a prepared portrait."""
    _, (height, width, _), *_, framing, size = key
    return height * width if framing == "photo" else size * size


def _save_with_progress(path: str | Path, motion: Motion, report: Callable[[], None]) -> None:
    """Writes a motion file like ``save_motion``. Nothing of it appears if ``report`` raises meanwhile."""
    # What is given up goes on writing, into a folder that is gone.
    with TemporaryDirectory(prefix=".space-", dir=Path(path).absolute().parent, ignore_cleanup_errors=True) as folder:
        unfinished = Path(folder) / "landmarks.npz"
        run_with_progress(lambda: save_motion(unfinished, motion), report)
        unfinished.replace(path)


def _counted(faces: Iterator[np.ndarray | None], num_frames: int, progress: Progress) -> Iterator[np.ndarray | None]:
    """The faces of a pose video, of at most ``num_frames`` frames, with progress."""
    for done, face in enumerate(faces):
        progress("pose video", done, num_frames)
        yield face
    progress("pose video", num_frames, num_frames)


def _pick_device(name: str) -> torch.device:
    if name not in DEVICES:
        raise SpaceError(f"There is no device called {name!r}; choose one of: {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise SpaceError("There is no CUDA device here, or torch was installed without CUDA; use --device cpu.")
    best = PartialState().default_device
    # What else there is (MPS, XPU) lacks some of the operations used here.
    return best if name != "cpu" and best.type == "cuda" else torch.device("cpu")


@contextmanager
def _removed_on_failure(finished: list[str | Path]) -> Iterator[None]:
    """Takes finished files away again if what follows fails."""
    try:
        yield
    except BaseException:
        for path in finished:
            Path(path).unlink(missing_ok=True)
        raise


def _is_set(options: AnimationOptions, name: str) -> bool:
    return getattr(options, name) != option_field(name).default


def _no_progress(stage: str, done: int, total: int) -> None:
    """Says nothing."""
