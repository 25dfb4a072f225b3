"""How fast SPACE is and how much memory it takes.

    python -m space_core.evaluation.benchmark [--device cuda] [--seconds 10 60]

For each length, in a process of its own: the seconds of every stage on its own, then the whole way from files to file,
with the models loaded but the photo not seen before.
"""

import argparse
import contextlib
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import soundfile
import torch

from space_core import AnimationOptions, SpacePipeline
from space_core.face.detector import build_detector
from space_core.face.normalization import pose_landmarks
from space_core.face.portrait import prepare_portrait
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.media.audio import load_speech
from space_core.media.images import load_photo
from space_core.media.video import write_video
from space_core.motion.emotion import emotion_curve
from space_core.motion.head_pose import generate_head_pose
from space_core.motion.speech2landmarks import load_speech2landmarks
from space_core.pipeline import DEVICES
from space_core.timing import number_of_frames

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, OTHER_PHOTO = EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg"
SPEECH = EXAMPLES / "english_starlight.flac"

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0])
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for seconds in arguments.seconds:
        # A process of its own, because the peak of memory is one figure per process.
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(seconds, arguments.device))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)


def _measure(seconds: float, device: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        speech, video = Path(folder) / "speech.wav", Path(folder) / "out.mp4"
        _write_speech(speech, seconds)
        pipeline = SpacePipeline(device)
        pipeline.animate_to_file(OTHER_PHOTO, SPEECH, video)  # whatever is loaded on first use

        start = time.perf_counter()
        next(pipeline.animate(PHOTO, speech, AnimationOptions(seed=1)))
        to_first_frame = time.perf_counter() - start

        pipeline = SpacePipeline(device)  # its portraits forgotten, the networks still loaded
        start = time.perf_counter()
        with PeakMemory() as memory:
            animation = pipeline.animate_to_file(PHOTO, speech, video)
        whole = time.perf_counter() - start
        print(f"\n{seconds:g} s of speech on {pipeline.device}: {animation.num_frames} frames")
        print(f"  whole way       {whole:8.2f} s   {animation.num_frames / whole:6.1f} frames/s")
        print(f"  first frame     {to_first_frame:8.2f} s")
        print(f"  peak memory     {memory.peak / 2**30:8.2f} GiB, ffmpeg included")
        _measure_stages(speech, video, pipeline.device)


class PeakMemory:
    """The most memory (bytes resident) that this process and its children hold at a time within a ``with`` block."""

    def __enter__(self) -> "PeakMemory":
        self.peak = 0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._over.wait(0.05):
            held = 0
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    held += one.memory_info().rss
            self.peak = max(self.peak, held)


def _measure_stages(speech: Path, video: Path, device: torch.device) -> None:
    """Every stage once, alone, in the order of the way."""
    speech2landmarks, generator = load_speech2landmarks(device), MeshWarpGenerator(device)
    sound = _timed("read speech", lambda: load_speech(speech))
    portrait = _timed("portrait", lambda: prepare_portrait(load_photo(PHOTO), build_detector("mediapipe")))
    prepared = _timed("prepare", lambda: generator.prepare(portrait))
    emotion = emotion_curve("neutral", 0, number_of_frames(len(sound)))
    chunks = _timed("landmarks", lambda: list(speech2landmarks.speak(sound, portrait.normalized, emotion)))
    num_frames = sum(map(len, chunks))
    pose = _timed("head pose", lambda: generate_head_pose(sound, num_frames, portrait.pose, 1.0, seed=0))
    posed = pose_landmarks(np.concatenate(chunks)[:100], pose[:100])
    # Only the first frames, so that they can be held: the stage's time is per frame.
    frames = _timed("frames", lambda: list(generator.render(prepared, [posed])), num_frames / len(posed))
    _timed("encode", lambda: write_video(frames, video, speech, len(frames)), num_frames / len(posed))


def _timed(stage: str, work: Callable[[], Result], times: float = 1.0) -> Result:
    start = time.perf_counter()
    result = work()
    print(f"  {stage:14}  {(time.perf_counter() - start) * times:8.2f} s")
    return result


def _write_speech(path: Path, seconds: float) -> None:
    """The example's speech over and over, of that length."""
    sound, rate = soundfile.read(SPEECH)
    soundfile.write(path, np.resize(sound, round(seconds * rate)), rate)


if __name__ == "__main__":
    main()
