"""The options of an animation: type, default, range, description and widget of each.

The page's widgets, the parameters of the HTTP and MCP endpoints and the flags of the command line are made from the
fields below. This module imports neither NumPy nor torch, so that ``python -m space_core --help`` answers at once.
"""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs, ErrorDetails, PydanticCustomError

from space_core.errors import SpaceError
from space_core.face.crop_size import SIZE
from space_core.face.detector import DetectorName
from space_core.generators import DEFAULT_GENERATOR, GENERATORS
from space_core.motion.action_unit_labels import check_action_units
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY, check_emotion
from space_core.option_fields import (
    Widget,
    build_field,
    describe_condition,
    describe_values,
    field_choices,
    field_range,
    field_widget,
    show_value,
)

DEVICES = ("auto", "cpu", "cuda")

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=CONFIG)
class MotionOptions:
    """How the face moves: the options that planning reads."""

    emotion: str = build_field(
        "neutral",
        f"the emotion of the face: {', '.join(EMOTIONS)}; a blend as '0.7 happy + 0.3 sad'; or a timeline "
        "as '0:neutral, 2.5:happy@0.8, 6:surprised' with seconds before each colon and a strength after an @",
        Widget("Emotion", section="main", row="emotion", kind="emotion", comparison="each"),
    )
    intensity: float = build_field(
        1.0,
        "strength of the emotion: 0 none, 1 full, 1.5 exaggerated",
        Widget("Intensity", section="main", row="emotion", step=0.05, comparison="each"),
        ge=0,
        le=MAX_INTENSITY,
    )
    articulation: float = build_field(
        1.0,
        "how far speech moves lips and jaw: 0 not at all, 1 as people were recorded, 1.5 exaggerated",
        Widget("Articulation", "of lips and jaw: 0 still, 1 natural", step=0.05, comparison="shared"),
        ge=0,
        le=1.5,
    )
    action_units: str = build_field(
        "",
        "action units of FACS, added to the emotion, with strengths from 0 to 1.5: '1:0.5, 12:0.8'; L or R after a "
        "number is the person's own left or right side alone, as in '12L:1'",
        Widget("Action units", "of FACS with their strengths, such as 1:0.5, 12L:0.8", kind="text"),
    )
    expressiveness: float = build_field(
        1.0,
        "how far brows, lids and cheeks accompany the speech: 0 not at all, 1 as people were recorded",
        Widget("Expressiveness", "of brows, lids and cheeks: 0 still, 1 natural", step=0.05, comparison="shared"),
        ge=0,
        le=1.5,
    )
    pose_video: Path | None = build_field(
        None,
        "a video whose head motion is transferred, instead of generating it; turns of up to 35 degrees from the "
        "photo's pose look best",
        Widget("Pose-source video: its head motion is used"),
    )
    head_motion: float = build_field(
        1.0,
        "amount of head motion: 0 still, 1 natural",
        Widget("Head motion", "0 still, 1 natural", step=0.05, comparison="shared"),
        ge=0,
        le=1.5,
    )
    hair_motion: float = build_field(
        1.0,
        "how far long hair lags behind the head and swings: 0 rigid, 1 natural",
        Widget("Hair motion", "of long hair: 0 rigid, 1 natural", step=0.05, comparison="shared"),
        ge=0,
        le=1.5,
    )
    blinks_per_minute: float = build_field(
        17.0,
        "how often the eyes blink; 0 never",
        Widget("Blinks per minute", "0 never", step=1, comparison="shared"),
        ge=0,
        le=60,
    )
    gaze_yaw: float = build_field(
        0.0,
        "direction of gaze, degrees: positive to the image's right",
        Widget("Gaze to the side", "degrees; positive: to the image's right", row="gaze", step=1),
        ge=-25,
        le=25,
    )
    gaze_pitch: float = build_field(
        0.0,
        "direction of gaze, degrees: positive upwards",
        Widget("Gaze up", "degrees", row="gaze", step=1),
        ge=-20,
        le=20,
    )
    saccades: float = build_field(
        1.0,
        "amount of small eye movements: 0 none, 1 natural",
        Widget("Small eye movements", "0 none, 1 natural", row="eyes", step=0.05),
        ge=0,
        le=1.5,
    )
    eyes_on_viewer: float = build_field(
        0.5,
        "how far the eyes stay on the viewer while the head turns: 0 not at all, 1 completely",
        Widget("Eyes on the viewer", "while the head turns", row="eyes", step=0.05),
        ge=0,
        le=1,
    )
    seed: int = build_field(
        0,
        "seed of head motion, upper face, blinks, saccades and variations of the lips' motion",
        Widget(
            "Seed",
            "the same seed gives the same head motion, lips, blinks and eye movements",
            row="seed",
            comparison="each",
        ),
        ge=0,
        le=2**32 - 1,
    )

    @field_validator("pose_video", mode="before")
    @classmethod
    def _validate_pose_video(cls, path: Any) -> Any:
        if path == "":  # which would become the path of the working directory
            raise PydanticCustomError("empty", "empty")
        return path

    @field_validator("emotion")
    @classmethod
    def _validate_emotion(cls, emotion: str) -> str:
        try:
            return check_emotion(emotion)
        except SpaceError as refusal:
            raise PydanticCustomError("grammar", "{sentence}", {"sentence": str(refusal)}) from None

    @field_validator("action_units")
    @classmethod
    def _validate_action_units(cls, text: str) -> str:
        try:
            return check_action_units(text)
        except SpaceError as refusal:
            raise PydanticCustomError("grammar", "{sentence}", {"sentence": str(refusal)}) from None


@dataclass(frozen=True, config=CONFIG)
class RenderingOptions:
    """How the video looks: the options that preparing a portrait and rendering frames read."""

    framing: Literal["crop", "photo"] = build_field(
        "crop",
        "what the film shows: a square crop around the head, or the whole photo with the head in it",
        Widget(
            "Framing",
            "a square around the head, or the whole photo with the head in it",
            row="picture",
            choice_labels={"crop": "square", "photo": "whole photo"},
        ),
    )
    refine: Literal["network", "none"] = build_field(
        "network",
        "refinement of the rendered mouth: by a small network, or none",
    )
    size: int = build_field(
        SIZE,
        "side of the crop in pixels; a whole photo keeps its own size",
        Widget("Size", "side of the square, pixels", row="picture", step=2),
        ge=256,
        le=1024,
        multiple_of=2,
    )
    face: int = build_field(
        1,
        "who speaks if the photo shows several people: 1 the largest face, 2 the next",
        Widget(
            "Face",
            "who speaks if the photo shows several people: 1 the largest face",
            row="face",
            comparison="shared",
        ),
        ge=1,
        le=16,
    )
    detector: DetectorName = build_field(
        "mediapipe",
        "face detector; face-alignment downloads its weights on first use",
        Widget("Detector", "of faces in the photo", row="face", comparison="shared"),
    )
    generator: str = build_field(
        DEFAULT_GENERATOR,
        "what draws the film: the mesh warp, or a neural generator, whose weights 'get-weights' downloads and which "
        "takes seconds a frame without a GPU",
        Widget(
            "Generator",
            "what draws the film; liveportrait takes seconds a frame without a GPU",
            kind="radio",
            choice_labels={"mesh-warp": "mesh warp"},
            comparison="shared",
        ),
    )
    mark: Literal["none", "visible"] = build_field(
        "none",
        "a small label in a corner of the picture: AI-generated",
        Widget(
            "Visible mark",
            "a small label in the corner: AI-generated",
            kind="checkbox",
            comparison="shared",
        ),
    )
    max_seconds: float = build_field(
        600.0,
        "the longest accepted recording, in seconds",
        ge=0.3,
        le=3600,
    )

    @property
    def shows_whole_photo(self) -> bool:
        """Whether the film shows the whole photo, not a square crop of it."""
        return self.framing == "photo"

    @property
    def preparation(self) -> tuple[Any, ...]:
        """The values on which the preparation of a portrait depends; films with equal values can share one."""
        return (self.generator, self.detector, self.face, self.refine, self.framing, self.size)

    @field_validator("generator")
    @classmethod
    def _validate_generator(cls, name: str) -> str:
        if name not in GENERATORS:
            raise PydanticCustomError("unknown", "unknown")  # ``_sentence`` lists the choices
        return name

    @model_validator(mode="after")
    def _validate_size(self) -> "RenderingOptions":
        if self.shows_whole_photo and self.size != SIZE:
            raise PydanticCustomError("contradiction", "A whole photo keeps its own size: leave out size or framing.")
        return self


@dataclass(frozen=True, config=CONFIG)
class AnimationOptions(RenderingOptions, MotionOptions):
    """All options of an animation. Every option has a default; a value out of range raises ``SpaceError``."""

    @property
    def motion(self) -> MotionOptions:
        """The motion options alone."""
        return MotionOptions(**_values(self, MotionOptions))

    @property
    def rendering(self) -> RenderingOptions:
        """The rendering options alone."""
        return RenderingOptions(**_values(self, RenderingOptions))

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_values(cls, value: Any) -> Any:
        if isinstance(value, bool):  # which would be read as 0 or 1
            raise PydanticCustomError("truth value", "truth value")  # the sentence says what the option must be
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _raise_space_error(cls, values: ArgsKwargs, handler: ModelWrapValidatorHandler["AnimationOptions"]) -> Any:
        try:
            return handler(values)
        except ValidationError as failure:
            # from None: a traceback should show this sentence alone, without pydantic's report above it.
            sentences = dict.fromkeys(_sentence(error) for error in failure.errors(include_url=False))
            raise SpaceError(" ".join(sentences)) from None


_TEXT_EXAMPLES = {"emotion": "'happy'", "action_units": "'12:0.8'"}
_FIELDS: dict[str, FieldInfo] = vars(AnimationOptions)["__pydantic_fields__"]


def parse_setting(text: str) -> AnimationOptions:
    """Options from "emotion=happy,intensity=0.7"; an empty text gives the defaults.

    Raises:
        SpaceError: it is not written like that, or ``AnimationOptions`` refuses it.
    """
    given: dict[str, Any] = {}
    # A comma ends a value only where another option follows: emotions have commas of their own.
    for part in re.split(r",(?=[^,=]+=)", text) if text.strip() else ():
        name, equals, value = part.partition("=")
        if not equals:
            raise SpaceError(f"A setting is written as 'emotion=happy,intensity=0.7'; got {text[:60]!r}.")
        given[name.strip().replace("-", "_")] = value.strip()
    return AnimationOptions(**given)


def option_names() -> tuple[str, ...]:
    """The names of all options, in the order in which interfaces show them."""
    return tuple(_FIELDS)


def changed_motion_options(options: AnimationOptions) -> tuple[str, ...]:
    """The names of the motion options that differ from their defaults."""
    default = MotionOptions()
    return tuple(name for name in vars(default) if getattr(options, name) != getattr(default, name))


def option_field(name: str) -> FieldInfo:
    """An option's ``default``, ``annotation`` and ``description``."""
    return _FIELDS[name]


def option_choices(name: str) -> tuple[str, ...] | None:
    """The choices of an option that has some; None for any other option."""
    return tuple(GENERATORS) if name == "generator" else field_choices(option_field(name))


def option_range(name: str) -> tuple[float, float] | None:
    """The minimum and maximum of an option that is a number; None for any other option."""
    return field_range(option_field(name))


def option_widgets() -> dict[str, Widget]:
    """The widgets of the page and its API, by option and in order; the ``kind`` of each is filled in."""
    widgets = {name: field_widget(field, option_choices(name)) for name, field in _FIELDS.items()}
    return {name: widget for name, widget in widgets.items() if widget}


def option_help(name: str) -> str:
    """What an option does and its possible values, in one line without a full stop at the end."""
    field = option_field(name)
    return "; ".join(filter(None, (field.description, describe_values(field, option_choices(name)))))


def _sentence(error: ErrorDetails) -> str:
    """One wrong option, in a sentence for the user that says which values are possible."""
    if error["type"] == "contradiction":
        return error["msg"]
    name = str(error["loc"][0]) if error["loc"] else ""
    if name not in option_names():
        if error["type"] == "unexpected_keyword_argument":
            return f"There is no option {show_value(name)}; the options are {', '.join(option_names())}."
        return "Options are given by name, such as emotion='happy'."
    if error["type"] == "grammar":
        return error["msg"]
    if name in _TEXT_EXAMPLES:
        condition = f"a text such as {_TEXT_EXAMPLES[name]}"
    else:
        condition = describe_condition(option_field(name), option_choices(name))
    return f"{name} must be {condition}; got {show_value(error['input'])}."


def _values(options: AnimationOptions, group: type) -> dict[str, Any]:
    """The options of ``MotionOptions`` or ``RenderingOptions``, by name."""
    return {field.name: getattr(options, field.name) for field in fields(group)}
