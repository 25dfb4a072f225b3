"""How fast SPACE is and how much memory it takes.

    python -m space_core.evaluation.benchmark [--device cuda] [--seconds 10 60] [--size 512] [--megapixels 12]
        [--generator liveportrait]
    python -m space_core.evaluation.benchmark --live [--device cuda] [--seconds 30] [--size 512]
    python -m space_core.evaluation.benchmark --liveportrait [--device cuda] [--batch 8] [--compile]

For each length, in a process of its own, with the networks loaded but the photo not seen before: the whole way from
photo and recording on disk to MP4 on disk, the seconds of every stage on its own, and the same frames encoded by x264
alone, which is the limit of any generator on this machine. With ``--megapixels`` also a whole photo of that size. With
``--live`` instead a live stream: its delay when sound arrives in real time, from a frame's last sample in to the frame
out, and how fast it is when all sound is there. With ``--liveportrait`` instead the milliseconds a frame of each
network of LivePortrait, with random weights.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import psutil
import soundfile
import torch
from PIL import Image

from space_core import AnimationOptions, SpacePipeline
from space_core.assets import example_path
from space_core.device import pick_device
from space_core.face.canvas import crop_canvas
from space_core.face.crop_size import SIZE
from space_core.face.detector import build_detector
from space_core.face.portrait import prepare_portrait
from space_core.generator.liveportrait.random_weights import random_networks
from space_core.generators import build_generator
from space_core.measures.rendering import add_generator_argument
from space_core.media.audio import load_recording
from space_core.media.images import load_photo
from space_core.media.video_writer import write_video
from space_core.motion.live.speech import LOOK_AHEAD_FRAMES
from space_core.motion.motion import join
from space_core.motion.planner import MotionPlanner
from space_core.options import DEVICES, MotionOptions
from space_core.processes.configuration import configure_process
from space_core.progress import ignore_progress
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

PHOTO, OTHER_PHOTO = example_path("astronaut.jpg"), example_path("grace_hopper.jpg")
SPEECH = example_path("english_starlight.flac")
LIVE_CHUNK = SAMPLE_RATE // 50  # 20 ms, as microphones give it
NETWORK_RUNS = 20  # on a GPU, where one is too short to be timed
HELD_FRAMES = 100  # rendered and encoded on their own; stages are extrapolated from these

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0])
    parser.add_argument("--size", type=int, default=SIZE, help="side of the film in pixels (default: %(default)s)")
    parser.add_argument("--megapixels", type=float, help="also a whole photo of that size, for the first length")
    add_generator_argument(parser)
    parser.add_argument("--live", action="store_true", help="only the delay of a live stream")
    parser.add_argument("--liveportrait", action="store_true", help="only the networks of LivePortrait")
    parser.add_argument("--batch", type=int, default=1, help="frames at once, of these networks (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile those of them that run for every frame")
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    if arguments.liveportrait:
        _measure_liveportrait(pick_device(arguments.device), arguments.batch, arguments.compile)
        return
    options = AnimationOptions(size=arguments.size, generator=arguments.generator)
    if arguments.live:
        for seconds in arguments.seconds:
            _in_own_process(_measure_live, seconds, options, arguments.device)
        return
    for seconds in arguments.seconds:
        _in_own_process(_measure_crop, seconds, options, arguments.device)
    if arguments.megapixels:
        options = AnimationOptions(framing="photo", generator=arguments.generator)
        _in_own_process(_measure_photo, arguments.seconds[0], arguments.megapixels, options, arguments.device)


def _in_own_process(measure: Callable[..., object], *arguments: object) -> None:
    """Runs a measurement where nothing else was loaded: the peak of memory is one figure per process."""
    process = multiprocessing.get_context("spawn").Process(target=_measure_as_program, args=(measure, *arguments))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


def _measure_as_program(measure: Callable[..., object], *arguments: object) -> None:
    configure_process()  # as the command line and the web demo do
    measure(*arguments)


def _measure_crop(seconds: float, options: AnimationOptions, device: str) -> None:
    with _folder_with_speech(seconds) as (folder, speech):
        pipeline = _measure_film(folder, PHOTO, speech, options, device)
        _measure_stages(folder, speech, options, pipeline.device)


def _measure_photo(seconds: float, megapixels: float, options: AnimationOptions, device: str) -> None:
    with _folder_with_speech(seconds) as (folder, speech):
        photo = Image.open(OTHER_PHOTO).convert("RGB")
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        path = folder / "photo.jpg"
        photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS).save(path)
        _measure_film(folder, path, speech, options, device)


def _measure_film(folder: Path, photo: Path, speech: Path, options: AnimationOptions, device: str) -> SpacePipeline:
    """Prints the figures of a film; returns the pipeline."""
    video = folder / "out.mp4"
    pipeline = SpacePipeline(device)
    pipeline.warm_up()
    warming = AnimationOptions(generator=options.generator)
    with pipeline.animate(OTHER_PHOTO, SPEECH, warming) as animation:  # whatever is loaded on first use
        next(animation)
    pipeline.forget_portraits()
    start = time.perf_counter()
    with pipeline.animate(photo, speech, options) as animation:
        height, width, _ = next(animation).shape
    to_first_frame = time.perf_counter() - start

    pipeline.forget_portraits()
    start = time.perf_counter()
    with PeakMemory() as memory:
        animation = pipeline.animate_to_file(photo, speech, video, options)
    whole = time.perf_counter() - start
    size = f"{width} x {height}"
    print(f"\n{animation.seconds:g} s of speech on {pipeline.device}: {animation.num_frames} frames, {size}")
    print(f"  whole way       {whole:8.2f} s   {animation.num_frames / whole:6.1f} frames/s")
    print(f"  first frame     {to_first_frame:8.2f} s")
    print(f"  peak memory     {memory.peak / 2**30:8.2f} GiB, ffmpeg included")
    return pipeline


def _measure_live(seconds: float, options: AnimationOptions, device: str) -> None:
    """Prints the delay of a live stream of that much speech, as from a microphone, and its speed."""
    pipeline = SpacePipeline(device)
    sound = np.resize(load_recording(SPEECH).speech, round(seconds * SAMPLE_RATE))
    chunks = [sound[first : first + LIVE_CHUNK] for first in range(0, len(sound), LIVE_CHUNK)]
    with pipeline.stream(PHOTO, iter(chunks), options) as stream:  # whatever is loaded on first use
        next(stream)
    arrivals: list[float] = []

    def microphone() -> Iterator[np.ndarray]:
        begun = time.perf_counter()
        for index, chunk in enumerate(chunks, 1):
            time.sleep(max(begun + index * LIVE_CHUNK / SAMPLE_RATE - time.perf_counter(), 0))
            arrivals.append(time.perf_counter())
            yield chunk

    begun = time.perf_counter()
    with PeakMemory() as memory, pipeline.stream(PHOTO, microphone(), options) as stream:
        shown = [time.perf_counter() for _ in stream]
    ends = np.minimum((np.arange(len(shown)) + 1) * SAMPLES_PER_FRAME, len(sound)) - 1  # each frame's last sample
    delays = np.array(shown) - np.array(arrivals)[ends // LIVE_CHUNK]
    start, computed = time.perf_counter(), time.process_time()
    count = sum(1 for _ in pipeline.stream(PHOTO, iter(chunks), options))
    whole, computed = time.perf_counter() - start, time.process_time() - computed
    minute = 60 * FPS
    print(f"\n{seconds:g} s of live speech on {pipeline.device}, {options.size} x {options.size}")
    print(f"  look-ahead      {LOOK_AHEAD_FRAMES / FPS:8.2f} s of sound after a frame, at most")
    print(f"  first frame     {shown[0] - begun:8.2f} s after the first sound")
    print(f"  delay           {np.percentile(delays, 50):8.2f} s p50, {np.percentile(delays, 95):.2f} p95, ", end="")
    print(f"{delays.max():.2f} greatest")
    print(f"  … at the end    {np.median(delays[-minute:]):8.2f} s median of the last minute at most")
    print(f"  sound           {len(shown) - len(sound) / SAMPLES_PER_FRAME:+8.2f} frames more than sound")
    print(f"  real-time factor{whole * FPS / count:8.2f}   {count / whole:6.1f} frames/s when all sound is there")
    print(f"  processor time  {computed * FPS / count:8.2f} s for a second of speech, of all cores")
    print(f"  peak memory     {memory.peak / 2**30:8.2f} GiB")


class PeakMemory:
    """The most memory (bytes resident) that this process and its children hold at a time within a ``with`` block."""

    def __enter__(self) -> Self:
        self.peak = 0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        own, processes = psutil.Process(), []
        for number in itertools.count():
            if self._over.wait(0.05):
                return
            if number % 10 == 0:  # looks at every process of the machine, which takes milliseconds
                processes = [own, *_programs_of(own)]
            held = 0
            for one in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    held += one.memory_info().rss
            self.peak = max(self.peak, held)


def _programs_of(process: psutil.Process) -> Iterator[psutil.Process]:
    """The children of a process but those between fork and exec, whose memory is still the parent's."""
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline() != process.cmdline():
                yield child


def _measure_stages(folder: Path, speech: Path, options: AnimationOptions, device: torch.device) -> None:
    """Every stage once, alone, in order; and how fast the frames are drawn and encoded."""
    planner, detector = MotionPlanner(device), build_detector("mediapipe")
    generator = build_generator(options.generator, device, ignore_progress)
    recording = _timed("read speech", lambda: load_recording(speech))
    sound = recording.speech
    portrait = _timed("portrait", lambda: prepare_portrait(load_photo(PHOTO), detector))
    prepared = _timed("prepare", lambda: generator.prepare(portrait, crop_canvas(portrait, options.size)))
    timelines = _timed("timelines", lambda: planner.timelines(portrait, sound, MotionOptions()))
    motion = join(
        _timed("landmarks", lambda: list(planner.segments(portrait, sound, planner.analyse(sound), timelines)))
    )
    face = motion[:HELD_FRAMES].face
    count = generator.batch_size(prepared)
    batches = [face[first : first + count] for first in range(0, len(face), count)]
    times = len(motion) / len(face)
    frames = np.concatenate(_timed("frames", lambda: list(generator.render(prepared, batches)), times))
    start = time.perf_counter()
    _timed("encode", lambda: write_video(frames, folder / "encoded.mp4", recording, len(frames)), times)
    encoding = len(frames) / (time.perf_counter() - start)
    start = time.perf_counter()
    drawn = generator.render(prepared, batches)
    write_video((frame for batch in drawn for frame in batch), folder / "both.mp4", recording, len(frames))
    both = len(frames) / (time.perf_counter() - start)
    print(f"  x264 alone      {encoding:8.1f} frames/s; drawing and encoding {both:.1f}, {both / encoding:.0%} of that")


def _measure_liveportrait(device: torch.device, batch: int, compiled: bool) -> None:
    """Prints the milliseconds a frame of each network, in batches of that size."""
    networks = random_networks(seed=0).ready(device)
    if compiled:
        networks.compile_rendering()
    side = networks.layout.input_size
    image = torch.rand(batch, 3, side, side, device=device)
    volume, motion = networks.extract_appearance(image), networks.extract_motion(image)
    keypoints = networks.transform_keypoints(motion)
    features = networks.warp(volume, keypoints, keypoints)
    print(f"\nLivePortrait's networks on {device}, random weights, batches of {batch}; milliseconds a frame:")
    tasks: dict[str, Callable[[], object]] = {
        "appearance": lambda: networks.extract_appearance(image),
        "motion": lambda: networks.extract_motion(image),
        "stitching": lambda: networks.stitch(keypoints, keypoints),
        "warping": lambda: networks.warp(volume, keypoints, keypoints),
        "decoder": lambda: networks.decode(features),
    }
    for name, task in tasks.items():
        task()  # whatever is chosen or compiled on first use
        runs = NETWORK_RUNS if device.type == "cuda" else 1
        start = time.perf_counter()
        for _ in range(runs):
            task()
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(f"  {name:14}  {(time.perf_counter() - start) / (runs * batch) * 1000:10.2f} ms")


def _timed(stage: str, task: Callable[[], Result], times: float = 1.0) -> Result:
    start = time.perf_counter()
    result = task()
    print(f"  {stage:14}  {(time.perf_counter() - start) * times:8.2f} s")
    return result


@contextlib.contextmanager
def _folder_with_speech(seconds: float) -> Iterator[tuple[Path, Path]]:
    """A temporary folder and in it a recording of that length: the example's speech over and over."""
    with tempfile.TemporaryDirectory() as name:
        sound, rate = soundfile.read(SPEECH)
        path = Path(name) / "speech.wav"
        soundfile.write(path, np.resize(sound, round(seconds * rate)), rate)
        yield Path(name), path


if __name__ == "__main__":
    main()
