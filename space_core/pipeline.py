"""The whole way, once through: one photo and one recording in, the frames of a talking portrait out."""

import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image

from space_core.errors import SpaceError
from space_core.face.canvas import Canvas, crop_canvas, photo_canvas
from space_core.face.detector import Detector, build_detector
from space_core.face.drawing import draw_normalized, draw_posed
from space_core.face.portrait import SIZE, Portrait, cut, prepare_portrait
from space_core.generator.generator import Generator
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.media.audio import load_speech
from space_core.media.files import check_output
from space_core.media.images import load_photo
from space_core.media.video import VideoWriter, read_frames
from space_core.motion.blink import blink_curve
from space_core.motion.emotion import emotion_curve
from space_core.motion.gaze import counter_gaze, saccades
from space_core.motion.head_pose import follow_head_pose, generate_head_pose, transfer_head_pose
from space_core.motion.motion import Motion, join, single_precision
from space_core.motion.motion_file import save_motion
from space_core.motion.speech2landmarks import load_speech2landmarks, resting_face
from space_core.options import AnimationOptions, option_field, option_names
from space_core.timing import FPS, SAMPLES_PER_FRAME, number_of_frames

Photo = str | Path | np.ndarray | Image.Image
# Called with the stage at work ("portrait", "pose video", "landmarks", "frames"), the steps done and the steps in all.
# What it raises ends the work.
Progress = Callable[[str, int, int], None]

DEVICES = ("auto", "cpu", "cuda")
POSE_VIDEO_SIDE = 960  # pixels of the longer side: a head in a wide picture is still one to follow
# The options that still matter when the motion is decided.
RENDERING_OPTIONS = ("framing", "refine", "size", "face", "detector", "max_seconds")
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
        motion: what the face does in the frame given last, a ``Motion`` of one frame; None before the first.
    """

    portrait: Portrait
    num_frames: int
    framing: str
    _moments: Iterator[tuple[np.ndarray, Motion]]
    motion: Motion | None = None

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
        frame, self.motion = next(self._moments)
        return frame


@dataclass
class _Performance:
    """A portrait and what its face will do: ``stretches`` of motion, ``num_frames`` frames altogether."""

    portrait: Portrait
    prepared: Any
    num_frames: int
    stretches: Iterator[Motion]


class SpacePipeline:
    """Everything loaded once, for any number of animations; may be called from several threads."""

    def __init__(self, device: str = "auto") -> None:
        """Loads the networks onto a device: "cpu", "cuda", or "auto" for the best there is."""
        self.device = _pick_device(device)
        self._speech2landmarks = load_speech2landmarks(self.device)
        self._generator: Generator = MeshWarpGenerator(self.device)
        self._detectors: dict[str, Detector] = {}
        self._portraits: OrderedDict[tuple, tuple[Portrait, Any]] = OrderedDict()
        self._lock = threading.Lock()

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
        performance = self._perform(photo, speech, options, progress)
        moments = self._pictured(performance, progress)
        return Animation(performance.portrait, performance.num_frames, options.framing, moments)

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
        stretches, done = [], 0
        for stretch in performance.stretches:
            progress("landmarks", done, performance.num_frames)
            stretches.append(stretch)
            done += len(stretch)
        progress("landmarks", done, performance.num_frames)
        return join(stretches)

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
    ) -> Animation:
        """Like ``animate``, written with its sound to an MP4; returns the finished animation.

        Args:
            photo, speech, options, progress: see ``animate``.
            path: the MP4 to write.
            sound: a recording to be heard instead of the speech or of a motion's own sound.
            inside: another MP4 to write, 1536 × 512: normalized landmarks, posed landmarks and the result side by side.
            landmarks: a motion file (.npz) to write; see ``space_core.motion.motion_file``.

        Raises:
            SpaceError: an input can't be used or a file can't be written. Nothing half-made is left behind then.
        """
        # 1. Where everything goes, found out before any work is done.
        options = options or AnimationOptions()
        inputs = tuple(file for file in (photo, speech, sound, options.pose_video) if isinstance(file, str | Path))
        targets = [check_output(path, ".mp4", inputs)]
        targets += [check_output(inside, ".mp4", inputs)] if inside is not None else []
        targets += [check_output(landmarks, ".npz", inputs)] if landmarks is not None else []
        if len({target.resolve() for target in targets}) < len(targets):
            raise SpaceError("The video and the look inside would be one file. Choose another name for one of them.")

        # 2. What is to be saved is decided as a whole; otherwise it is decided as it is shown.
        shown, showing = speech, options
        if landmarks is not None:
            shown = self.motion(photo, speech, options, progress)
            showing = AnimationOptions(**{name: getattr(options, name) for name in RENDERING_OPTIONS})
        if isinstance(shown, Motion) and sound is not None:
            heard = load_speech(sound, options.max_seconds)
            shown = replace(shown, speech=heard[: len(shown) * SAMPLES_PER_FRAME])
        if sound is None:
            sound = speech.speech if isinstance(speech, Motion) else speech

        # 3. Every frame, once, into every file.
        animation = self.animate(photo, shown, showing, progress)
        with ExitStack() as files:
            video = files.enter_context(VideoWriter(path, sound, animation.num_frames))
            inside_video = inside and files.enter_context(VideoWriter(inside, sound, animation.num_frames))
            for frame in animation:
                video.write(frame)
                if inside_video:
                    inside_video.write(look_inside(animation.crop(frame), animation.motion))
        if landmarks is not None:
            save_motion(landmarks, shown)
        return animation

    def _perform(
        self, photo: Photo, speech: str | Path | Motion, options: AnimationOptions, progress: Progress
    ) -> _Performance:
        """Stage 1: what the face will do, decided stretch by stretch."""
        if isinstance(speech, Motion):
            return self._perform_again(photo, speech, options, progress)

        # 1. The inputs, all opened before any work is done.
        sound = load_speech(speech, options.max_seconds)
        num_frames = number_of_frames(len(sound))
        picture = load_photo(photo)
        # More of the pose video than the speech is long is never shown.
        driving = options.pose_video and read_frames(options.pose_video, POSE_VIDEO_SIDE, num_frames / FPS)
        portrait, prepared = self._prepared(picture, options, progress)
        rest = resting_face(portrait.normalized, self._speech2landmarks.basis).astype(np.float32)

        # 2. What runs through the whole film: head pose, gaze, blinks, emotion.
        if driving is None:
            pose = generate_head_pose(sound, num_frames, portrait.pose, options.head_motion, options.seed)
        else:
            faces = _counted(self._detectors[options.detector].track(driving), num_frames, progress)
            pose = transfer_head_pose(follow_head_pose(faces), num_frames, portrait.pose, options.head_motion)
        gaze = saccades(num_frames, options.seed, options.saccades)
        gaze += counter_gaze(portrait.pose, pose, options.eyes_on_viewer)
        gaze += [options.gaze_yaw, options.gaze_pitch]
        blink = blink_curve(sound, num_frames, options.blinks_per_minute, options.seed)
        emotion = emotion_curve(options.emotion, options.intensity, num_frames)

        # 3. Chunk by chunk: what the speech does to the face.
        def stretches() -> Iterator[Motion]:
            first = 0
            for chunk in self._speech2landmarks.speak(sound, portrait.normalized, emotion):
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

        return _Performance(portrait, prepared, num_frames, stretches())

    def _perform_again(
        self, photo: Photo, motion: Motion, options: AnimationOptions, progress: Progress
    ) -> _Performance:
        """A motion that is decided already, moved to the portrait."""
        if said := [name for name in option_names() if name not in RENDERING_OPTIONS and _is_set(options, name)]:
            raise SpaceError(
                f"The landmarks say already how the face moves, so {' and '.join(said)} would change nothing. "
                "Leave the option out and edit the landmarks."
            )
        portrait, prepared = self._prepared(load_photo(photo), options, progress)
        rest = resting_face(portrait.normalized, self._speech2landmarks.basis)
        return _Performance(portrait, prepared, len(motion), motion.moved_to(rest, portrait.pose).stretches())

    def _pictured(self, performance: _Performance, progress: Progress) -> Iterator[tuple[np.ndarray, Motion]]:
        """Stage 3: each frame with the motion it shows."""
        moments: deque[Motion] = deque()  # decided, not pictured yet

        def posed_landmarks() -> Iterator[np.ndarray]:
            for stretch in performance.stretches:
                moments.extend(stretch[frame : frame + 1] for frame in range(len(stretch)))
                yield stretch.posed

        for done, frame in enumerate(self._generator.render(performance.prepared, posed_landmarks())):
            progress("frames", done, performance.num_frames)
            yield frame, moments.popleft()
        progress("frames", performance.num_frames, performance.num_frames)

    def _prepared(self, photo: np.ndarray, options: AnimationOptions, progress: Progress) -> tuple[Portrait, Any]:
        """The portrait of a photo and the generator's preparation of it, from the cache where it is there."""
        progress("portrait", 0, 1)
        picture = (hashlib.blake2b(photo.tobytes(), digest_size=16).digest(), photo.shape)
        key = (*picture, options.detector, options.face, options.refine, options.framing, options.size)
        with self._lock:
            if key not in self._portraits:
                if options.detector not in self._detectors:
                    self._detectors[options.detector] = build_detector(options.detector, self.device)
                portrait = prepare_portrait(photo, self._detectors[options.detector], options.face)
                refined = options.refine == "network"
                self._portraits[key] = portrait, self._generator.prepare(portrait, _canvas(portrait, options), refined)
            self._portraits.move_to_end(key)
            while len(self._portraits) > PORTRAITS_KEPT or (
                len(self._portraits) > 1 and sum(map(_num_pixels, self._portraits)) > PIXELS_KEPT
            ):
                self._portraits.popitem(last=False)
            portrait, prepared = self._portraits[key]
        progress("portrait", 1, 1)
        return portrait, prepared


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


def _is_set(options: AnimationOptions, name: str) -> bool:
    return getattr(options, name) != option_field(name).default


def _no_progress(stage: str, done: int, total: int) -> None:
    """Says nothing."""
