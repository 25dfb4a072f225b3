"""The whole way, once through: one photo and one recording in, the frames of a talking portrait out."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image

from space_core.errors import SpaceError
from space_core.face.detector import Detector, build_detector
from space_core.face.normalization import pose_landmarks
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.generator.generator import Generator
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.media.audio import load_speech
from space_core.media.images import load_photo
from space_core.media.video import check_writable, read_frames, write_video
from space_core.motion.blink import apply_blink, blink_curve
from space_core.motion.emotion import emotion_curve
from space_core.motion.gaze import apply_gaze, counter_gaze, saccades
from space_core.motion.head_pose import follow_head_pose, generate_head_pose, transfer_head_pose
from space_core.motion.speech2landmarks import load_speech2landmarks
from space_core.options import AnimationOptions
from space_core.timing import FPS, number_of_frames

Photo = str | Path | np.ndarray | Image.Image
# Called with the stage at work ("portrait", "pose video", "frames"), the steps done and the steps in all. What it
# raises ends the work.
Progress = Callable[[str, int, int], None]

DEVICES = ("auto", "cpu", "cuda")
POSE_VIDEO_SIDE = 960  # pixels of the longer side: a head in a wide picture is still one to follow
PORTRAITS_KEPT = 8  # prepared portraits, least recently used first out; about 60 MB each


@dataclass
class Animation:
    """A talking portrait: an iterator of ``num_frames`` frames (512, 512, 3) uint8 RGB, made as they are asked for.

    Attributes:
        portrait: the prepared photo.
        num_frames: how many frames there will be, 25 a second.
        num_faces: how many faces the photo shows; the largest one speaks.
    """

    portrait: Portrait
    num_frames: int
    _frames: Iterator[np.ndarray]

    @property
    def num_faces(self) -> int:
        return self.portrait.num_faces

    @property
    def seconds(self) -> float:
        return self.num_frames / FPS

    def __iter__(self) -> "Animation":
        return self

    def __next__(self) -> np.ndarray:
        return next(self._frames)


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
        speech: str | Path,
        options: AnimationOptions | None = None,
        progress: Progress | None = None,
    ) -> Animation:
        """Lets the portrait in a photo say a recording.

        Args:
            photo: path, PIL image, or (H, W, 3) uint8 RGB array.
            speech: path of a recording, or of a video with sound.
            options: see ``AnimationOptions``; the same inputs and options give the same frames.
            progress: called as the work goes on.

        Raises:
            SpaceError: an input can't be used; raised here, before the first frame.
        """
        options = options or AnimationOptions()
        progress = progress or _no_progress

        # 1. The inputs, all opened before any work is done.
        sound = load_speech(speech, options.max_seconds)
        num_frames = number_of_frames(len(sound))
        picture = load_photo(photo)
        # More of the pose video than the speech is long is never shown.
        driving = options.pose_video and read_frames(options.pose_video, POSE_VIDEO_SIDE, num_frames / FPS)
        progress("portrait", 0, 1)
        portrait, prepared = self._prepared(picture, options.detector)
        progress("portrait", 1, 1)

        # 2. What runs through the whole film: head pose, gaze, blinks.
        if driving is None:
            pose = generate_head_pose(sound, num_frames, portrait.pose, options.head_motion, options.seed)
        else:
            faces = _counted(self._detectors[options.detector].track(driving), num_frames, progress)
            pose = transfer_head_pose(follow_head_pose(faces), num_frames, portrait.pose, options.head_motion)
        gaze = saccades(num_frames, options.seed, amount=1.0) + counter_gaze(portrait.pose, pose)
        gaze += [options.gaze_yaw, options.gaze_pitch]
        closure = blink_curve(sound, num_frames, options.blinks_per_minute, options.seed)
        emotion = emotion_curve(options.emotion, options.intensity, num_frames)

        # 3. Chunk by chunk: what the speech does to the face, the eyes, the head, and the picture of it all.
        def posed_landmarks() -> Iterator[np.ndarray]:
            first = 0
            for chunk in self._speech2landmarks.speak(sound, portrait.normalized, emotion):
                now = slice(first, first + len(chunk))
                normalized = apply_gaze(chunk, gaze[now, 0], gaze[now, 1])
                normalized = apply_blink(normalized, closure[now])
                yield pose_landmarks(normalized, pose[now])
                first += len(chunk)

        def frames() -> Iterator[np.ndarray]:
            for done, frame in enumerate(self._generator.render(prepared, posed_landmarks())):
                progress("frames", done, num_frames)
                yield frame
            progress("frames", num_frames, num_frames)

        return Animation(portrait, num_frames, frames())

    def animate_to_file(
        self,
        photo: Photo,
        speech: str | Path,
        path: str | Path,
        options: AnimationOptions | None = None,
        progress: Progress | None = None,
    ) -> Animation:
        """Like ``animate``, written with the recording's own sound to an MP4; returns the finished animation.

        Raises:
            SpaceError: an input can't be used or the file can't be written. Nothing is left behind then.
        """
        pose_video = options and options.pose_video
        inputs = tuple(file for file in (photo, speech, pose_video) if isinstance(file, str | Path))
        check_writable(path, inputs)
        animation = self.animate(photo, speech, options, progress)
        write_video(animation, path, speech, animation.num_frames)
        return animation

    def _prepared(self, photo: np.ndarray, detector: str) -> tuple[Portrait, Any]:
        """The portrait of a photo and the generator's preparation of it, from the cache where it is there."""
        key = (hashlib.blake2b(photo.tobytes(), digest_size=16).digest(), photo.shape, detector)
        with self._lock:
            if key not in self._portraits:
                if detector not in self._detectors:
                    self._detectors[detector] = build_detector(detector, self.device)
                portrait = prepare_portrait(photo, self._detectors[detector])
                self._portraits[key] = portrait, self._generator.prepare(portrait)
            self._portraits.move_to_end(key)
            if len(self._portraits) > PORTRAITS_KEPT:
                self._portraits.popitem(last=False)
            return self._portraits[key]


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


def _no_progress(stage: str, done: int, total: int) -> None:
    """Says nothing."""
