"""Talking-face clips to train on: frames cut around the face, and the head's angles in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from space_core.errors import SpaceError
from space_core.face.detector import Detector, build_detector
from space_core.face.normalization import normalize
from space_core.generator.liveportrait.face_crop import cut_faces, face_crop
from space_core.media.video_reader import read_frames

MAX_SECONDS, MAX_FRAMES = 60.0, 100  # of a video: what is read, and how many frames of it are kept, evenly spread
MIN_FRAMES = 10  # with a face
MAX_SIDE = 1024  # pixels, of a video
HELD_OUT = 10  # one clip in so many is held out


@dataclass(frozen=True)
class Clip:
    """Frames of one person, all cut out by one square.

    Attributes:
        frames: (T, size, size, 3) uint8 RGB, read from the disk when they are used.
        angles: (T, 3) pitch, yaw and roll of the head as ``rotation_matrix`` has them, degrees.
    """

    frames: np.ndarray
    angles: np.ndarray


@dataclass(frozen=True)
class Batch:
    """B pairs of frames.

    Attributes:
        source, driving: (B, 3, size, size) 0…1.
        source_angles, driving_angles: (B, 3) degrees, see ``Clip``.
    """

    source: torch.Tensor
    driving: torch.Tensor
    source_angles: torch.Tensor
    driving_angles: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def read_clips(videos: Path, size: int, cache: Path) -> Iterator[Clip]:
    """The clips of all videos in a folder, in order; what can't be used is named and left out.

    Args:
        videos: the folder.
        size: side of the frames, pixels.
        cache: folder in which cut frames are kept.

    Raises:
        SpaceError: there is no such folder.
    """
    if not videos.is_dir():
        raise SpaceError(f"There is no folder {videos} with videos.")
    cache.mkdir(parents=True, exist_ok=True)
    detector = build_detector("mediapipe")
    for path in sorted(path for path in videos.iterdir() if path.is_file()):
        frames, angles = (cache / f"{path.name}-{size}-{kind}.npy" for kind in ("frames", "angles"))
        if not frames.exists():
            try:
                clip = _cut(path, size, detector)
            except SpaceError as error:
                print(f"{path.name} is left out: {error}", flush=True)
                continue
            np.save(angles, clip.angles)
            unfinished = frames.with_suffix(".part.npy")
            np.save(unfinished, clip.frames)
            unfinished.replace(frames)
        yield Clip(np.load(frames, mmap_mode="r"), np.load(angles))


def split(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on and those to measure on: one in ten, at least one; a single clip is both."""
    if len(clips) < 2:
        return clips, clips
    return [clip for number, clip in enumerate(clips) if number % HELD_OUT], clips[::HELD_OUT]


def pick_pairs(clips: list[Clip], count: int, seed: int, mirrored: bool = True) -> Batch:
    """Random pairs of different frames, each of one clip; half of them are mirrored unless that is switched off."""
    random = np.random.default_rng(seed)
    pictures, angles = [], []
    for _ in range(count):
        clip = clips[random.integers(len(clips))]
        pair = random.choice(len(clip.angles), 2, replace=False)
        frames, turns = np.stack([clip.frames[number] for number in pair]), clip.angles[pair]
        if mirrored and random.uniform() < 0.5:
            frames, turns = frames[:, :, ::-1], turns * [1, -1, -1]
        pictures.append(frames)
        angles.append(turns)
    both = torch.from_numpy(np.stack(pictures)).permute(1, 0, 4, 2, 3).float() / 255  # (2, B, 3, size, size)
    turned = torch.from_numpy(np.stack(angles)).transpose(0, 1).float()
    return Batch(*both, *turned)


def _cut(path: Path, size: int, detector: Detector) -> Clip:
    found = list(detector.track(read_frames(path, MAX_SIDE, MAX_SECONDS)))
    seen = {number: face for number, face in enumerate(found) if face is not None}
    if len(seen) < MIN_FRAMES:
        raise SpaceError("it shows no face, or too briefly.")
    landmarks = np.stack(list(seen.values()))
    crop = face_crop(np.median(landmarks, axis=0))
    places = np.unique(np.linspace(0, len(seen) - 1, MAX_FRAMES).round().astype(int))
    numbers = list(seen)
    wanted = {numbers[place] for place in places}
    cut = [
        cut_faces(frame[None], crop, size)[0]
        for number, frame in enumerate(read_frames(path, MAX_SIDE, MAX_SECONDS))
        if number in wanted
    ]
    frames = torch.stack(cut).permute(0, 2, 3, 1).mul(255).round().byte().numpy()
    # In the upright crop, whose x and y the landmarks have after this rotation.
    upright = np.eye(3)
    upright[:2, :2] = np.stack([crop.right, crop.down])
    matrices = normalize(landmarks[places] @ upright.T)[1].matrices
    return Clip(frames, Rotation.from_matrix(matrices).as_euler("xyz", degrees=True).astype(np.float32))
