"""Every knob a user has, with its range: the page, the command line and the API all take these."""

import math
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, MultipleOf
from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs, PydanticCustomError

from space_core.errors import SpaceError
from space_core.face.detector import DETECTORS
from space_core.face.portrait import SIZE
from space_core.motion.emotion import EMOTIONS, MAX_INTENSITY, check_emotion

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=CONFIG)
class MotionOptions:
    """How the face moves: what planning reads."""

    emotion: str = Field(
        "neutral",
        description=f"the emotion of the face: {', '.join(EMOTIONS)}; a blend as '0.7 happy + 0.3 sad'; or a timeline "
        "as '0:neutral, 2.5:happy@0.8, 6:surprised' with seconds before each colon and a strength after an @",
    )
    intensity: float = Field(
        1.0, ge=0, le=MAX_INTENSITY, description="strength of the emotion: 0 none, 1 full, 1.5 exaggerated"
    )
    pose_video: Path | None = Field(
        None,
        description="a video whose head motion is borrowed, instead of generated; turns of up to 25 degrees from the "
        "photo's pose look best",
    )
    head_motion: float = Field(1.0, ge=0, le=1.5, description="amount of head motion: 0 still, 1 natural")
    blinks_per_minute: float = Field(17.0, ge=0, le=60, description="how often the eyes blink; 0 never")
    gaze_yaw: float = Field(
        0.0, ge=-25, le=25, description="where the eyes look, degrees: positive to the image's right"
    )
    gaze_pitch: float = Field(0.0, ge=-20, le=20, description="where the eyes look, degrees: positive upwards")
    saccades: float = Field(1.0, ge=0, le=1.5, description="amount of small eye movements: 0 none, 1 natural")
    eyes_on_viewer: float = Field(
        0.5, ge=0, le=1, description="how far the eyes stay on the viewer while the head turns: 0 not, 1 wholly"
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="another seed gives other head motion, blinks and saccades")

    @field_validator("emotion")
    @classmethod
    def _understood(cls, emotion: str) -> str:
        try:
            return check_emotion(emotion)
        except SpaceError as refusal:
            raise PydanticCustomError("emotion", "{sentence}", {"sentence": str(refusal)}) from None


@dataclass(frozen=True, config=CONFIG)
class RenderingOptions:
    """What is shown of it, and how: what preparing a portrait and drawing frames read."""

    framing: Literal["crop", "photo"] = Field(
        "crop", description="what the film shows: a square crop around the head, or the whole photo with the head in it"
    )
    refine: Literal["network", "none"] = Field(
        "network", description="what makes a drawn mouth look photographed: a small network, or nothing"
    )
    size: int = Field(
        SIZE, ge=256, le=1024, multiple_of=2, description="side of the crop in pixels; a whole photo keeps its own size"
    )
    face: int = Field(
        1, ge=1, le=16, description="who speaks where the photo shows several people: 1 the largest face, 2 the next"
    )
    detector: Literal[DETECTORS] = Field(
        "mediapipe", description="what finds the face; face-alignment downloads its weights on first use"
    )
    mark: Literal["none", "visible"] = Field(
        "none", description="a small label in a corner of the picture that says it is AI-generated: visible, or none"
    )
    max_seconds: float = Field(600.0, ge=0.3, le=3600, description="the longest recording that is taken, in seconds")

    @model_validator(mode="after")
    def _agree(self) -> "RenderingOptions":
        if self.framing == "photo" and self.size != SIZE:
            raise PydanticCustomError("contradiction", "A whole photo keeps its own size: leave out size, or framing.")
        return self


@dataclass(frozen=True, config=CONFIG)
class AnimationOptions(RenderingOptions, MotionOptions):
    """How the portrait is to speak. Every option has a default; a value out of range raises ``SpaceError``."""

    @property
    def motion(self) -> MotionOptions:
        return MotionOptions(**_values(self, MotionOptions))

    @property
    def rendering(self) -> RenderingOptions:
        return RenderingOptions(**_values(self, RenderingOptions))

    @model_validator(mode="wrap")
    @classmethod
    def _in_plain_words(cls, values: ArgsKwargs, handler: ModelWrapValidatorHandler["AnimationOptions"]) -> Any:
        try:
            return handler(values)
        except ValidationError as failure:
            # from None: a user who meets this in a traceback should not read pydantic's report first.
            sentences = dict.fromkeys(_sentence(error) for error in failure.errors(include_url=False))
            raise SpaceError(" ".join(sentences)) from None


def option_field(name: str) -> FieldInfo:
    """An option's ``default`` and ``description``, for interfaces that show it."""
    return AnimationOptions.__pydantic_fields__[name]


def option_names() -> tuple[str, ...]:
    """The names of all options, in the order in which an interface should show them."""
    return tuple(AnimationOptions.__pydantic_fields__)


def option_choices(name: str) -> tuple[str, ...] | None:
    """The possible values of an option that is one of a list; None for any other option."""
    annotation = option_field(name).annotation
    return get_args(annotation) if get_origin(annotation) is Literal else None


def option_range(name: str) -> tuple[float, float] | None:
    """The least and the greatest value of an option that is a number; None for any other option."""
    metadata = option_field(name).metadata
    least = next((limit.ge for limit in metadata if isinstance(limit, Ge)), None)
    greatest = next((limit.le for limit in metadata if isinstance(limit, Le)), None)
    return None if least is None or greatest is None else (least, greatest)


def _sentence(error: dict[str, Any]) -> str:
    """What is wrong with one option, and what it may be."""
    if error["type"] == "contradiction":
        return error["msg"]
    name = str(error["loc"][0]) if error["loc"] else ""
    if name not in option_names():
        if error["type"] == "unexpected_keyword_argument":
            return f"There is no option {_shown(name)}; the options are {', '.join(option_names())}."
        return "Options are given by name, such as emotion='happy'."
    got = f"got {_shown(error['input'])}."
    if name == "emotion":
        return error["msg"] if error["type"] == "emotion" else f"emotion must be a text such as 'happy'; {got}"
    if choices := option_choices(name):
        return f"{name} must be one of {', '.join(choices)}; {got}"
    if limits := option_range(name):
        even = any(isinstance(rule, MultipleOf) for rule in option_field(name).metadata)
        number = "an even number " if even else "a whole number " if option_field(name).annotation is int else ""
        return f"{name} must be {number}between {limits[0]} and {limits[1]}; {got}"
    return f"{name} must be the path of a video, or None; {got}"


def _shown(value: Any) -> str:
    """A short, printable form of what the user gave."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _values(options: AnimationOptions, group: type) -> dict[str, Any]:
    return {name: getattr(options, name) for name in group.__pydantic_fields__}
