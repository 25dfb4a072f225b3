"""Fields of options: they hold default, range, choices, description and widget."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, MultipleOf
from pydantic import Field
from pydantic.fields import FieldInfo

WidgetKind = Literal["slider", "number", "radio", "checkbox", "emotion", "text", "video"]


@dataclass(frozen=True)
class Widget:
    """How the page shows an option.

    Attributes:
        label: the option's name on the page.
        info: a hint of a few words, without the range, which the widget shows.
        section: "main" is always visible, "advanced" is folded away.
        row: consecutive options of the same row stand side by side; None for a row of its own.
        kind: the input element; None for the one that follows from the type, range and step.
        step: of a slider.
        choice_labels: by value, the choices that are shown under another name.
        comparison: "each" where every setting of a comparison has a value of its own, "shared" where all have the
            widget's, None where a comparison leaves the default.
    """

    label: str
    info: str | None = None
    section: Literal["main", "advanced"] = "advanced"
    row: str | None = None
    kind: WidgetKind | None = None
    step: float | None = None
    choice_labels: dict[str, str] = field(default_factory=dict)
    comparison: Literal["each", "shared"] | None = None


def build_field(default: Any, description: str, widget: Widget | None = None, **limits: Any) -> Any:
    """The field of an option.

    Args:
        default: its default.
        description: for users, without a full stop at the end.
        widget: how the page shows it; None for an option of Python and the command line only.
        limits: as ``pydantic.Field`` takes them, such as ``ge`` and ``le``.

    Returns:
        A default for a class attribute; typed as Any, like that of ``pydantic.Field``, so that it fits every attribute.
    """
    extra: Any = None if widget is None else {"widget": asdict(widget)}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def field_choices(field: FieldInfo) -> tuple[str, ...] | None:
    """The values of a ``Literal``; None for any other type."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else None


def field_range(field: FieldInfo) -> tuple[float, float] | None:
    """The minimum and maximum of a number; None for any other type."""
    limits: list[Any] = field.metadata
    minimum: Any = next((limit.ge for limit in limits if isinstance(limit, Ge)), None)
    maximum: Any = next((limit.le for limit in limits if isinstance(limit, Le)), None)
    return None if minimum is None or maximum is None else (minimum, maximum)


def field_widget(field: FieldInfo, choices: tuple[str, ...] | None) -> Widget | None:
    """The widget of an option with these choices, its ``kind`` filled in; None if the page does not show it."""
    extra: Any = field.json_schema_extra
    if not extra:
        return None
    widget = Widget(**extra["widget"])
    return replace(widget, kind=widget.kind or _widget_kind(field, choices, widget.step))


def _widget_kind(field: FieldInfo, choices: tuple[str, ...] | None, step: float | None) -> WidgetKind:
    if choices:
        return "radio"
    if field_range(field):
        return "number" if step is None else "slider"
    return "video"


def describe_values(field: FieldInfo, choices: tuple[str, ...] | None) -> str:
    """The possible values of an option for its help, such as "256 to 1024"; "" if it has neither choices nor range."""
    if choices:
        return f"one of {', '.join(choices)}"
    if limits := field_range(field):
        return f"{'an even number, ' if _is_even(field) else ''}{limits[0]} to {limits[1]}"
    return ""


def describe_condition(field: FieldInfo, choices: tuple[str, ...] | None) -> str:
    """The possible values of an option for a refusal, such as "a whole number between 1 and 16"."""
    if choices:
        return f"one of {', '.join(choices)}"
    if limits := field_range(field):
        whole = "a whole number " if field.annotation is int else ""
        return f"{'an even number ' if _is_even(field) else whole}between {limits[0]} and {limits[1]}"
    return "the path of a video, or None"


def show_value(value: Any) -> str:
    """A short, printable form of what the user gave."""
    if isinstance(value, float) and math.isfinite(value) and float(f"{value:g}") == value:
        return f"{value:g}"  # "2" instead of "2.0"; 1.5000001 keeps all its digits
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_even(field: FieldInfo) -> bool:
    return any(isinstance(rule, MultipleOf) for rule in field.metadata)
