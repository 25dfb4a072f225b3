"""The widgets of options, made from their metadata, and of the few parameters that stand beside an option."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import gradio as gr
from gradio.components import Component

from space_core.motion.emotion_labels import EMOTIONS
from space_core.option_fields import Widget
from space_core.options import option_choices, option_field, option_range
from space_core.web.parameters import ANIMATE, BLEND, KEEP_SEED, NEW_SEED, VARIATION, WIDGETS

# Of options, and of parameters that are no options; see ``parameters.AFTER_OPTION``.
_METADATA = {
    **WIDGETS,
    BLEND.name: Widget(
        "Blend or timeline of emotions",
        "instead of the emotion above; seconds before each colon, a strength after an @",
    ),
    VARIATION.name: Widget("Next time", "keep the seed, or draw another one", row="seed"),
}


def widget_rows(section: str) -> Iterator[list[str]]:
    """The parameters that a section of the page shows, row by row, in the order of the API."""
    names = (name for name in ANIMATE.names if name in _METADATA and _METADATA[name].section == section)
    for _, row in groupby(names, lambda name: _METADATA[name].row or name):
        yield list(row)


def build_widgets(section: str, changes: dict[str, dict[str, Any]]) -> dict[str, Component]:
    """The widgets of a section, laid out in rows; by parameter.

    Args:
        section: "main" or "advanced".
        changes: by parameter, arguments of its component that differ from what the metadata say.
    """
    widgets = {}
    for names in widget_rows(section):
        with gr.Row() if len(names) > 1 else nullcontext():
            for name in names:
                widgets[name] = build_widget(name, elem_id=name.replace("_", "-"), **changes.get(name, {}))
    return widgets


def build_widget(name: str, **changes: Any) -> Component:
    """The widget of one parameter; ``changes`` are arguments of its component."""
    metadata = _METADATA[name]
    given: dict[str, Any] = {"label": metadata.label, "info": metadata.info}
    if name == BLEND.name:
        example = "0.7 happy + 0.3 sad; or 0:neutral, 2.5:happy@0.8, 6:surprised"
        return gr.Textbox(**{**given, "placeholder": example, **changes})
    if name == VARIATION.name:
        return gr.Radio(**{**given, "choices": [KEEP_SEED, NEW_SEED], "value": KEEP_SEED, **changes})
    return _build_option_widget(name, metadata, {**given, "value": option_field(name).default}, changes)


def _build_option_widget(name: str, metadata: Widget, given: dict[str, Any], changes: dict[str, Any]) -> Component:
    choices = option_choices(name) or ()
    match metadata.kind:
        case "slider":
            minimum, maximum = option_range(name) or (None, None)
            return gr.Slider(**{**given, "minimum": minimum, "maximum": maximum, "step": metadata.step, **changes})
        case "number":
            return gr.Number(**{**given, "precision": 0, **changes})
        case "radio":
            labelled = [(metadata.choice_labels.get(choice, choice), choice) for choice in choices]
            return gr.Radio(**{**given, "choices": labelled, **changes})
        case "checkbox":
            return gr.Checkbox(**{**given, "value": given["value"] == choices[1], **changes})
        case "emotion":
            return gr.Dropdown(**{**given, "choices": list(EMOTIONS), **changes})
        case "text":
            return gr.Textbox(**{**given, **changes})
        case "video":
            return gr.Video(label=metadata.label, sources=["upload"], height=200, **changes)
    raise ValueError(f"option {name} has a widget of the unknown kind {metadata.kind!r}")
