"""The functions behind the page, the HTTP API and MCP."""

import re
import secrets
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from space_core.comparison import MAX_SETTINGS, MIN_SETTINGS
from space_core.errors import ServerFault, SpaceError
from space_core.face.preview import FacePreview
from space_core.face.preview_drawing import draw_preview, drawn_size
from space_core.generators import GENERATORS, available_generators
from space_core.motion.curves import curves
from space_core.motion.motion_file import load_motion
from space_core.options import AnimationOptions
from space_core.timing import FPS, duration
from space_core.web.error_handlers import stopped
from space_core.web.film_streams import GrowingFilm
from space_core.web.jobs import Film, Report, SpeechSource, Step, Stream
from space_core.web.parameters import (
    ANIMATE,
    COMPARE,
    KEEP_SEED,
    LOOK,
    NEW_SEED,
    SPEECH_SOURCES,
    WIDGETS,
    option_value,
    options_compared,
    switch_value,
)
from space_core.web.service import AnimationService
from space_core.web.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The pipeline's stages as the page names them.
STAGES = {
    "live": "Waiting for a live session to end",
    "learning": "Learning to drive the generator, once",
    "voice": "Speaking the text",
    "portrait": "Finding the face",
    "pose video": "Following the head in the video",
    "landmarks": "Deciding how the face moves",
    "frames": "Drawing",
}
MAX_SHOWN = 100  # characters of an emotion in a summary
MARKDOWN = re.compile(r"[\\`*\[<$~]")  # what would be read as formatting in the names of files
SHOWN_SECONDS = 30.0  # for which the page shows why something did not work


class Endpoints:
    """Endpoints around a service, with an operator's settings. A ``gr.Error`` holds a sentence for the visitor."""

    def __init__(self, service: AnimationService, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    @ANIMATE.describe
    def animate(self, *arguments: Any) -> Iterator[tuple]:
        values = ANIMATE.values(arguments)
        with _refusals_shown():
            options = self._animation_options(values)
            photo, speech = _photo(values), _speech_source(values)
            visitor, details = _visitor(values["request"]), switch_value("look_inside", values["look_inside"])
            reports = self._service.animate(visitor, photo, speech, options, intermediate_results=details)
            with closing(self._shown(reports, values["progress"])) as shown:
                for film in shown:
                    if isinstance(film, str):
                        yield None, "", None, None, gr.skip(), film
                    else:
                        more = (str(file) if file else None for file in (film.landmark_video, film.motion_file))
                        yield str(film.video), _summary(film, options), *more, options.seed, None

    @COMPARE.describe
    def compare(self, *arguments: Any) -> Iterator[tuple]:
        values = COMPARE.values(arguments)
        with _refusals_shown():
            settings = self._compared_options(values)
            photo, speech = _photo(values), _speech_source(values)
            reports = self._service.compare(_visitor(values["request"]), photo, speech, settings)
            with closing(self._shown(reports, values["progress"])) as shown:
                for film in shown:
                    yield (None, "", film) if isinstance(film, str) else (str(film.video), _summary(film), None)

    @LOOK.describe
    def look(self, *arguments: Any) -> tuple[np.ndarray | None, str]:
        values = LOOK.values(arguments)
        if not values["photo"]:
            return None, ""
        try:
            preview = self._preview(**values)
        except ServerFault as fault:
            return None, f"**This didn't work.** {fault}"
        except SpaceError as error:
            sentence = MARKDOWN.sub(r"\\\g<0>", str(error))
            return None, f"**This photo won't do.** {sentence}"
        notes = "This is how it will be framed.", *_choice_of_face(preview), *preview.notes
        return draw_preview(preview), "\n\n".join(notes)

    def choose_face(self, photo: str, face: float, detector: str, framing: str, click: gr.SelectData) -> float:
        """The number of the face that was clicked."""
        try:
            preview = self._preview(photo, face, detector, framing)
        except SpaceError:
            return face
        scale = max(preview.photo.shape) / max(drawn_size(preview))
        return preview.face_at(*(coordinate * scale for coordinate in click.index))

    def say(self, text: str | None, request: gr.Request | None = None) -> Iterator[str]:
        """Speaks an English text with a built-in voice.

        Args:
            text: What is to be said.

        Returns:
            The recording.
        """
        with _refusals_shown(), tempfile.TemporaryDirectory() as folder:
            recording = Path(folder) / "speech.wav"
            spoken = _text("text", text)
            if self._service.say(_visitor(request), spoken, recording, self._settings.max_seconds):
                yield str(recording)  # Gradio has copied it to its own cache when the folder is removed after this
            else:
                raise stopped()

    def stop(self, request: gr.Request) -> None:
        """Stops what is being made for the visitor."""
        self._service.cancel(_visitor(request))

    def plot_motion(self, motion_file: str | None) -> "Figure | None":
        """The curves of a motion file over time."""
        from space_core.web.curve_plot import plot_curves  # with Matplotlib, which takes 0.4 s to import

        with _refusals_shown():
            return plot_curves(curves(load_motion(motion_file, self._settings.max_seconds))) if motion_file else None

    def _shown(
        self, reports: Generator[Report, None, None], progress: gr.Progress
    ) -> Generator[str | Film, None, None]:
        """Shows the progress of a film; yields the address of its stream when drawing begins, and then the film.

        Raises:
            gr.Error: it was stopped.
        """
        with closing(reports), ExitStack() as published:
            stream: GrowingFilm | None = None
            is_made = False
            for report in reports:
                if isinstance(report, Stream):
                    stream = published.enter_context(self._service.streams.publish(report.video, report.seconds))
                    # A media fragment says how long it will be.
                    yield f"{stream.address}#t=0,{report.seconds:.2f}"
                elif isinstance(report, Film):
                    if stream:
                        stream.is_whole = True
                    is_made = True
                    yield report
                else:
                    _show(progress, report)
            if not is_made:
                raise stopped()

    def _preview(self, photo: str, face: Any, detector: Any, framing: Any) -> FacePreview:
        self._settings.check_detector(detector)
        return self._service.preview(photo, AnimationOptions(face=face, detector=detector, framing=framing))

    def _animation_options(self, values: dict[str, Any]) -> AnimationOptions:
        if values["variation"] not in (KEEP_SEED, NEW_SEED):
            raise SpaceError(f'variation must be "{KEEP_SEED}" or "{NEW_SEED}".')
        given = {name: values[name] for name in WIDGETS}
        if values["variation"] == NEW_SEED:
            given["seed"] = secrets.randbelow(2**32)
        if blend := _text("blend", values["blend"]):
            given["emotion"] = blend
        return self._options(given)

    def _compared_options(self, values: dict[str, Any]) -> list[AnimationOptions]:
        """The options of every setting of a comparison."""
        number = values["number"]
        if str(number) not in map(str, range(MIN_SETTINGS, MAX_SETTINGS + 1)):
            raise SpaceError("Two, three or four settings can be compared; number must be 2, 3 or 4.")
        shared = {name: values[name] for name in options_compared("shared")}
        return [
            self._options({**shared, **{name: values[f"{name}_{setting}"] for name in options_compared("each")}})
            for setting in range(1, int(number) + 1)
        ]

    def _options(self, given: dict[str, Any]) -> AnimationOptions:
        """The options of values of the API, within the operator's settings."""
        self._settings.check_detector(given["detector"])
        if given["generator"] in tuple(GENERATORS) and given["generator"] not in available_generators():
            raise SpaceError(f"The generator {given['generator']} is not offered here: its weights are missing.")
        given["mark"] = switch_value("mark", given["mark"]) or self._settings.force_visible_mark
        options = {name: option_value(name, value) for name, value in given.items()}
        return AnimationOptions(**options, max_seconds=self._settings.max_seconds)


@contextmanager
def _refusals_shown() -> Iterator[None]:
    """Shows ``SpaceError`` to the visitor as a message; Gradio does not print it."""
    refusal, title = None, ""
    try:
        yield
    except SpaceError as error:
        refusal = str(error)
        title = "This didn't work" if isinstance(error, ServerFault) else "This can't be animated"
    if refusal is not None:
        # Outside the except block: the context of this error would keep what the job held until garbage collection.
        raise gr.Error(refusal, duration=SHOWN_SECONDS, title=title, print_exception=False)


def _photo(values: dict[str, Any]) -> str:
    if not values["photo"]:
        raise SpaceError("There is no photo yet. Give one, or pick an example.")
    return values["photo"]


def _text(name: str, value: Any) -> str:
    """The text of a parameter without spaces around it; "" where there is none."""
    if value is not None and not isinstance(value, str):
        raise SpaceError(f"{name} must be a text.")
    return (value or "").strip()


def _speech_source(values: dict[str, Any]) -> SpeechSource:
    """The source that the visitor selected last if it is given, else the first one that is."""
    given = (
        SpeechSource(values["speech"]),
        SpeechSource(text=_text("text", values["text"])),
        SpeechSource(values["speech_video"]),
    )
    by_name = dict(zip(SPEECH_SOURCES, given, strict=True))
    for name in (values["source"], *by_name):
        if by_name.get(name, SpeechSource()) != SpeechSource():
            return by_name[name]
    raise SpaceError("There is no speech yet. Give a recording, record one and stop it, or type a text.")


def _visitor(request: gr.Request | None) -> str:
    """The session of an open page or of a program."""
    return getattr(request, "session_hash", None) or ""


def _show(progress: gr.Progress, step: Step) -> None:
    if step.stage == "estimate":
        progress((0, 1), desc=f"Drawing will take {duration(step.total)}", unit="steps")
        return
    left = "" if step.seconds_left is None else f", about {max(1, round(step.seconds_left))} s left"
    unit = "frames" if step.stage in ("frames", "pose video") else "steps"
    progress((step.done, step.total), desc=STAGES.get(step.stage, step.stage) + left, unit=unit)


def _choice_of_face(preview: FacePreview) -> Iterator[str]:
    """If there are several faces, which one is chosen and how to choose another one."""
    if len(preview.faces) > 1:
        chosen = "the largest" if preview.chosen.number == 1 else f"number {preview.chosen.number}"
        yield (
            f"The photo shows {len(preview.faces)} faces; {chosen} will speak. Click another one to choose it, or give "
            "its number under Advanced."
        )


def _summary(film: Film, options: AnimationOptions | None = None) -> str:
    """What was made, in words."""
    summary = f"{film.num_frames / FPS:.1f} s of video, made in {film.seconds:.1f} s."
    if options:
        emotion = shorten(options.emotion, MAX_SHOWN, placeholder=" …")
        intensity = "" if emotion == "neutral" else f", intensity {options.intensity:g}"
        summary += f" Emotion: {emotion}{intensity}. Seed: {options.seed}."
    if options and film.num_faces > 1 and options.face == 1:
        summary += f" The photo shows {film.num_faces} faces; the largest speaks. Click another one to change that."
    return " ".join((summary, *film.notes))
