"""The parameters of the endpoints, and the signatures and docstrings that Gradio and its MCP server read.

Parameters of options are made from the fields of ``space_core.options``; their order is the order of the API.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from space_core.comparison import MAX_SETTINGS, MIN_SETTINGS
from space_core.errors import SpaceError
from space_core.options import option_choices, option_field, option_help, option_widgets

SPEECH_SOURCES = ("recording", "text", "video")
KEEP_SEED, NEW_SEED = "same again", "surprise me"
REQUIRED = inspect.Parameter.empty
WIDGETS = option_widgets()


@dataclass(frozen=True)
class Parameter:
    """One parameter of an endpoint. The default of the API is the widget's value; None says that it may be left out."""

    name: str
    annotation: Any
    description: str
    default: Any = None


class Endpoint:
    """An endpoint as programs see it: its parameters in order, and what it does and returns, in words.

    The method of one with a ``session`` gets ``request`` (``gr.Request``) and ``progress`` (``gr.Progress``) as well,
    which Gradio fills in.
    """

    def __init__(self, summary: str, parameters: Sequence[Parameter], returns: str, *, session: bool = True) -> None:
        self.names = tuple(parameter.name for parameter in parameters)
        self._parameters = tuple(parameters)
        self._summary = summary
        self._returns = returns
        self._session = session

    def describe(self, method: Any) -> Any:
        """Gives a method that takes ``*arguments`` the signature and docstring of this endpoint."""
        positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
        given = [
            inspect.Parameter(parameter.name, positional, default=parameter.default, annotation=parameter.annotation)
            for parameter in self._parameters
        ]
        if self._session:
            given.append(inspect.Parameter("request", positional, default=None, annotation=gr.Request | None))
            given.append(inspect.Parameter("progress", positional, default=gr.Progress()))
        parameters = [inspect.Parameter("self", positional), *given]
        method.__signature__ = inspect.Signature(parameters)
        method.__annotations__ = {
            parameter.name: parameter.annotation
            for parameter in parameters
            if parameter.annotation is not inspect.Parameter.empty
        }
        lines = (f"    {parameter.name}: {parameter.description}" for parameter in self._parameters)
        method.__doc__ = "\n".join((self._summary, "", "Args:", *lines, "", "Returns:", f"    {self._returns}"))
        return method

    def values(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """The arguments that Gradio gives a method, by name."""
        names = (*self.names, "request", "progress") if self._session else self.names
        return dict(zip(names, arguments, strict=True))


def switch_value(name: str, value: Any) -> bool:
    """The value of a parameter that is on or off; off where it is left out.

    Raises:
        SpaceError: it is something else, of which Python would say that it is true.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    raise SpaceError(f"{name} must be true or false.")


def option_value(name: str, value: Any) -> Any:
    """The value of an option for the value of its API parameter: a ticked checkbox means the second of two choices."""
    choices = option_choices(name)
    return choices[switch_value(name, value)] if choices and WIDGETS[name].kind == "checkbox" else value


def options_compared(share: str) -> tuple[str, ...]:
    """The options of which a comparison has one value for "each" setting, or which are "shared"."""
    return tuple(name for name, widget in WIDGETS.items() if widget.comparison == share)


def _option_parameter(name: str, suffix: str = "", description: str | None = None) -> Parameter:
    field, kind = option_field(name), WIDGETS[name].kind
    help_text = str(field.description) if kind == "checkbox" else option_help(name)
    description = description or f"{help_text[0].upper()}{help_text[1:]}."
    if kind == "checkbox":
        return Parameter(name + suffix, bool, description, False)
    return Parameter(name + suffix, str | None if kind == "video" else field.annotation, description, field.default)


PHOTO = Parameter("photo", str | None, "An image with one human face, seen roughly from the front.", REQUIRED)
SPEECH = (
    Parameter("speech", str | None, "A recording of speech. Give this, or a text, or a video with sound."),
    Parameter("text", str | None, "English text to be spoken by a built-in voice, instead of a recording."),
    Parameter("speech_video", str | None, "A video whose sound is the speech, instead of a recording."),
    # Kept by the page, and no parameter of the API.
    Parameter("source", str, "Which of the three was selected last.", SPEECH_SOURCES[0]),
)
BLEND = Parameter(
    "blend",
    str | None,
    'Overrides the emotion: a blend, "0.7 happy + 0.3 sad", or a timeline, "0:neutral, 2.5:happy@0.8".',
)
VARIATION = Parameter("variation", str, f'"{KEEP_SEED}" keeps the seed, "{NEW_SEED}" draws another one.', KEEP_SEED)
LOOK_INSIDE = Parameter(
    "look_inside", bool, "Whether to make the video of the landmarks and the file of the motion, too.", False
)
# Parameters that are no options, by the option that they follow.
AFTER_OPTION = {"intensity": BLEND, "seed": VARIATION}


def _animation_parameters() -> Iterator[Parameter]:
    yield from (PHOTO, *SPEECH)
    for name in WIDGETS:
        yield _option_parameter(name)
        if name in AFTER_OPTION:
            yield AFTER_OPTION[name]
    yield LOOK_INSIDE


def _comparison_parameters() -> Iterator[Parameter]:
    yield from (PHOTO, *SPEECH)
    yield Parameter("number", float, f"How many settings are compared, {MIN_SETTINGS} to {MAX_SETTINGS}.", MIN_SETTINGS)
    for setting in range(1, MAX_SETTINGS + 1):
        for name in options_compared("each"):
            description = f"{WIDGETS[name].label} of setting {setting}; values as for animate."
            yield _option_parameter(name, f"_{setting}", description)
    for name in options_compared("shared"):
        yield _option_parameter(name)


STREAM_RETURNED = (
    "the address of the stream (fragmented MP4) that the video can be fetched as while it is drawn, relative to the "
    "page's"
)
ANIMATE = Endpoint(
    "Lets the portrait in a photo say a recording, a typed text or the sound of a video.",
    tuple(_animation_parameters()),
    f"The video, what was made in words, the look inside, the motion file, the seed used, and {STREAM_RETURNED}.",
)
COMPARE = Endpoint(
    "Lets a photo say the same words with two to four settings, side by side in one video.",
    tuple(_comparison_parameters()),
    f"The video, what was made in words, and {STREAM_RETURNED}.",
)
LOOK = Endpoint(
    "Shows which faces a photo shows and how the chosen one is framed, or says why the photo won't do.",
    (
        Parameter("photo", str | None, "An image.", REQUIRED),
        *map(_option_parameter, ("face", "detector", "framing")),
    ),
    "The photo with the frame drawn on it, and notes in words.",
    session=False,
)
