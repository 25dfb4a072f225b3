"""Takes on which Landmarks2Latents is trained, from a user's videos."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from space_core.errors import SpaceError
from space_core.face.detector import Detector
from space_core.face.normalization import normalize
from space_core.generator.liveportrait.face_crop import face_crop
from space_core.generator.liveportrait.networks import LivePortraitNetworks
from space_core.latents.fitting import Examples
from space_core.latents.landmarks2latents import NUM_SPEECH, context_frames, pose_features
from space_core.media.audio import load_speech
from space_core.media.files import shown_name
from space_core.media.video_reader import read_frames
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.planner import MotionPlanner
from space_core.neural.drawn_takes import FRAMES_OF_TAKE
from space_core.neural.latent_reading import read_latents

MAX_SECONDS, STEP = 60.0, 5  # of a video; the frames of it that are read, one in so many


def video_takes(
    path: Path, networks: LivePortraitNetworks, planner: MotionPlanner, detector: Detector, first: int
) -> Iterator[Examples]:
    """Takes of a video, numbered from ``first`` on; its most usual face is taken for the portrait.

    Raises:
        SpaceError: it is no video, or shows no face.
    """
    frames, landmarks = _tracked(path, detector)
    normalized, pose = normalize(landmarks)
    seen = list(frames)
    apart = np.abs(normalized[seen] - np.median(normalized[seen], axis=0)).mean((1, 2))
    usual = seen[int(apart.argmin())]
    crop, features = face_crop(landmarks[usual]), _speech_features(path, planner, len(landmarks))
    own, own_angles = read_latents(networks, frames[usual][None], crop)
    motion = (normalized - normalized[usual]).reshape(len(landmarks), -1)
    turns = pose_features(pose[usual : usual + 1], pose)
    around = context_frames(0, len(landmarks), len(landmarks))
    for take, start in enumerate(range(0, len(seen), FRAMES_OF_TAKE), first):
        chosen = seen[start : start + FRAMES_OF_TAKE]
        latents, angles = read_latents(networks, np.stack([frames[number] for number in chosen]), crop)
        yield Examples(
            motion=motion[around[chosen]].astype(np.float16),
            pose=turns[around[chosen]],
            speech=features[around[chosen]],
            emotion=np.zeros((len(chosen), len(EMOTIONS)), np.float32),
            own=np.repeat(own, len(chosen), 0),
            latents=latents,
            angles=angles - own_angles,
            take=np.full(len(chosen), take),
        )


def _tracked(path: Path, detector: Detector) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """One in ``STEP`` frames (H, W, 3) of a video by number, if it shows a face; and the landmarks (T, 478, 3) of all.

    A frame without a face has the landmarks of the nearest of those.
    """
    kept: dict[int, np.ndarray] = {}

    def frames() -> Iterator[np.ndarray]:
        for number, frame in enumerate(read_frames(path, max_seconds=MAX_SECONDS)):
            if number % STEP == 0:
                kept[number] = frame
            yield frame

    found = list(detector.track(frames()))
    seen = [number for number in kept if found[number] is not None]
    if not seen:
        raise SpaceError(f"{shown_name(path)} shows no face. Take it out of the folder.")
    nearest = np.interp(np.arange(len(found)), seen, np.arange(len(seen))).round().astype(int)
    landmarks = [face if face is not None else found[seen[near]] for face, near in zip(found, nearest, strict=True)]
    return {number: kept[number] for number in seen}, np.stack(landmarks)


def _speech_features(path: Path, planner: MotionPlanner, num_frames: int) -> np.ndarray:
    """(T, 256) features of the speech in a video of ``num_frames``; 0 where it has no sound."""
    features = np.zeros((num_frames, NUM_SPEECH), np.float16)
    with suppress(SpaceError):  # a video without sound
        windows = planner.analyse(load_speech(path, MAX_SECONDS))
        spoken = np.concatenate([window.features for window in windows])[:num_frames]
        features[: len(spoken)] = spoken
    return features
