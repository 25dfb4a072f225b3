"""The stages of the pipeline: preparing a portrait, planning its motion, rendering its frames."""

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch

from space_core.animation import Frame, render_frames
from space_core.face.detector import Detector
from space_core.face.portrait import Portrait
from space_core.generator import generator
from space_core.generators import DEFAULT_GENERATOR, build_generator
from space_core.inputs import Inputs, Photo, Speech, load_inputs
from space_core.live.control import LiveControl
from space_core.live.frames import render_segment
from space_core.live.stream import LiveStream
from space_core.media.images import load_photo
from space_core.motion.motion import Motion, join
from space_core.motion.planner import MotionPlanner
from space_core.options import AnimationOptions, RenderingOptions
from space_core.portrait_cache import CachedPortrait, PortraitCache
from space_core.progress import Progress, ignore_progress, run_with_progress, start

Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """What stage 1 returns.

    Attributes:
        segments: the motion of a film, in consecutive segments.
        notes: see ``Timelines``.
    """

    segments: Iterator[Motion]
    notes: tuple[str, ...] = ()


class Stages:
    """The stages with their networks and generators, each loaded once; may be used from several threads.

    Attributes:
        portraits: the prepared portraits.
    """

    def __init__(self, device: torch.device, cache_bytes: int) -> None:
        """Loads the networks; for ``cache_bytes`` see ``SpacePipeline``."""
        self.portraits = PortraitCache(device, cache_bytes)
        self._device = device
        self._planner = MotionPlanner(device)
        self._generators = {DEFAULT_GENERATOR: build_generator(DEFAULT_GENERATOR, device, ignore_progress)}
        self._building = threading.Lock()

    def warm_up(self) -> None:
        """See ``SpacePipeline.warm_up``."""
        self._generators[DEFAULT_GENERATOR].warm_up()

    def detector(self, options: AnimationOptions) -> Detector:
        """The detector that options ask for."""
        return self.portraits.detector(options.detector)

    def load(self, photo: Photo, speech: Speech, settings: Sequence[AnimationOptions], progress: Progress) -> Inputs:
        """The inputs of films with these settings. Analysis and preparation start as soon as each input is there.

        A failure of the preparation is raised later, by ``prepare``.
        """
        rendering = settings[0].rendering
        renderer = self._generators.get(rendering.generator)

        def prepare(picture: np.ndarray) -> None:
            if renderer is not None:
                start(lambda: self.portraits.get(picture, rendering, renderer))

        return load_inputs(photo, speech, settings, progress, prepare, self._planner.analyse)

    def prepare(self, photo: np.ndarray, options: RenderingOptions, progress: Progress) -> CachedPortrait:
        """The prepared portrait of a photo, from the cache if it is there."""
        renderer = self._generator(options.generator, progress)
        cached = run_with_progress(
            lambda: self.portraits.get(photo, options, renderer), lambda: progress("portrait", 0, 1)
        )
        progress("portrait", 1, 1)
        return cached

    def prepare_ahead(self, photo: Photo, options: RenderingOptions) -> None:
        """Prepares a portrait for later films; does nothing if its generator is not built, as that may take long."""
        if options.generator in self._generators:
            self.prepare(load_photo(photo), options, ignore_progress)

    def prepare_and_plan(
        self, inputs: Inputs, options: AnimationOptions, progress: Progress
    ) -> tuple[CachedPortrait, Plan]:
        """``prepare`` and ``plan`` at the same time: planning needs the face, which is found first."""
        if options.pose_video is not None:  # tracking it reports its own progress
            cached = self.prepare(inputs.photo, options.rendering, progress)
            return cached, self.plan(inputs, cached.portrait, options, progress)
        planned = start(
            lambda: self.plan(
                inputs, self.portraits.portrait(inputs.photo, options.rendering), options, ignore_progress
            )
        )
        cached = self.prepare(inputs.photo, options.rendering, progress)
        return cached, run_with_progress(planned.result, lambda: progress("landmarks", 0, inputs.num_frames))

    def plan(self, inputs: Inputs, portrait: Portrait, options: AnimationOptions, progress: Progress) -> Plan:
        """Stage 1: the motion of a film, of which the first segment is planned before this returns."""

        def run(task: Callable[[], Result]) -> Result:
            return run_with_progress(task, lambda: progress("landmarks", 0, inputs.num_frames))

        speech = inputs.speech
        if isinstance(speech, Motion):
            return Plan(_planned_ahead(run(lambda: self._planner.retarget(speech, portrait)).segments()))
        driving = inputs.driving_pose(options, self.detector(options), progress)
        timelines = run(lambda: self._planner.timelines(portrait, speech, options.motion, driving))
        segments = self._planner.segments(portrait, speech, inputs.windows, timelines)
        first = run(lambda: next(segments))
        return Plan(_planned_ahead(chain([first], segments)), timelines.notes)

    def plan_whole(self, inputs: Inputs, portrait: Portrait, options: AnimationOptions, progress: Progress) -> Motion:
        """Stage 1: the motion of a whole film."""
        segments: list[Motion] = []
        for segment in self.plan(inputs, portrait, options, progress).segments:
            progress("landmarks", sum(map(len, segments)), inputs.num_frames)
            segments.append(segment)
        progress("landmarks", inputs.num_frames, inputs.num_frames)
        return join(segments)

    def render(
        self,
        cached: CachedPortrait,
        segments: Iterator[Motion],
        num_frames: int,
        options: RenderingOptions,
        progress: Progress,
    ) -> Generator[Frame, None, None]:
        """Stages 2 and 3: the frames of a film. For a slow generator an estimate of the time is reported first."""
        renderer = self._generator(options.generator, progress)
        seconds = renderer.seconds_per_frame(cached.prepared)
        if seconds is not None:
            progress("estimate", 0, math.ceil(seconds * num_frames))
        return render_frames(renderer, cached.prepared, segments, num_frames, progress)

    def stream(
        self,
        photo: Photo,
        chunks: Iterable[np.ndarray],
        options: RenderingOptions,
        control: LiveControl,
        skip_after: float,
        progress: Progress,
    ) -> LiveStream:
        """All stages for speech that is still arriving."""
        cached = self.prepare(load_photo(photo), options, progress)
        renderer = self._generator(options.generator, progress)
        planner = self._planner.live(cached.portrait, control.options.motion)
        # A GPU draws one batch at a time, four frames in hardly more time than two.
        num_parts = 1 if self._device.type == "cuda" else 2
        draw = partial(render_segment, renderer, cached.prepared, options, num_parts)
        return LiveStream(planner, draw, chunks, control, skip_after)

    def _generator(self, name: str, progress: Progress) -> generator.Generator[Any]:
        """The generator of a name, built when it is first asked for."""
        if (built := self._generators.get(name)) is not None:
            return built
        with self._building:
            if name not in self._generators:
                self._generators[name] = build_generator(name, self._device, progress)
            return self._generators[name]


def _planned_ahead(segments: Iterator[Motion]) -> Iterator[Motion]:
    """Segments of a film's motion, each planned while the one before is drawn.

    The first frame is a segment of its own, and nothing is planned beside it, so that it is shown as soon as possible.
    """
    segment = next(segments, None)
    if segment is not None and len(segment) > 1:
        yield segment[:1]
        segment = segment[1:]
    while segment is not None:
        following = start(lambda: next(segments, None))
        yield segment
        segment = following.result()
