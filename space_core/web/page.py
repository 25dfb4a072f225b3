"""The page: its screens, wired to the endpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from space_core.web import gradio_page, gradio_patches
from space_core.web.appearance import DROP_MESSAGES, player_script
from space_core.web.endpoints import Endpoints
from space_core.web.parameters import ANIMATE, COMPARE, LOOK
from space_core.web.screens import (
    INSTANT,
    PRIVATE,
    CompareScreen,
    FilmScreen,
    InputScreen,
    InsideScreen,
    build_about,
    build_comparison,
    build_examples,
    build_film_screen,
    build_header,
    build_inputs,
    build_inside,
)
from space_core.web.service import AnimationService
from space_core.web.settings import Settings

SESSIONS_KEPT = 300  # Gradio keeps 0.2 MB in memory for every visitor, and for every request of a program

# JavaScript that resets the chosen face, its preview and the notes when the photo changes.
RESET_PREVIEW = "(photo) => [1, null, photo ? 'Looking for faces …' : '']"
# JavaScript that fills the notes after a preview that failed or was refused.
NO_PREVIEW = "() => 'There is no preview this time. Animate all the same, or give the photo again.'"


@dataclass(frozen=True)
class Screens:
    """All of the page; ``tabs`` hold the film that is made, the intermediate results and the comparison."""

    inputs: InputScreen
    tabs: gr.Tabs
    result: FilmScreen
    inside: InsideScreen
    comparison: CompareScreen


def build_page(service: AnimationService, settings: Settings, examples: Path) -> gr.Blocks:
    """Builds the page.

    Args:
        service: makes the films of all visitors.
        settings: the operator's.
        examples: the folder with the files of ``EXAMPLE_ROWS``.
    """
    gradio_patches.apply()
    endpoints = Endpoints(service, settings)
    with gr.Blocks(title="SPACE", analytics_enabled=False) as page:
        build_header(settings)
        with gr.Row():
            with gr.Column():
                inputs = build_inputs(settings)
            with gr.Column(), gr.Tabs() as tabs:
                with gr.Tab("Video", id="video"):
                    result = build_film_screen("result")
                    build_examples(inputs, result, examples)
                with gr.Tab("Inside"):
                    inside = build_inside()
                with gr.Tab("Compare"):
                    comparison = build_comparison()
        build_about(settings)
        _wire_jobs(endpoints, Screens(inputs, tabs, result, inside, comparison), settings.num_slots)
        _wire_photo(endpoints, inputs)
        given = [inputs.parameters[name].change for name in ("photo", "speech", "speech_video")]
        for new_input in (*given, inputs.say.click):
            new_input(None, js=DROP_MESSAGES, **PRIVATE)
        inputs.say.click(
            endpoints.say, inputs.parameters["text"], inputs.spoken, concurrency_limit=1, concurrency_id="say"
        )
    gradio_page.limit_sessions(page, SESSIONS_KEPT)
    return page


def _wire_jobs(endpoints: Endpoints, screens: Screens, num_slots: int) -> None:
    """Wires the buttons that start and stop jobs, of which ``num_slots`` run at a time, to their results."""
    inputs, result, inside, comparison = screens.inputs, screens.result, screens.inside, screens.comparison
    inputs.animate.click(lambda: gr.Tabs(selected="video"), None, screens.tabs, show_progress="hidden", **INSTANT)
    # Wired before the jobs: Gradio runs the listeners of a button in this order, each after the end of the one before.
    for film, button in ((result, inputs.animate), (comparison.film, comparison.compare)):
        button.click(None, js=player_script(film.player, "begin"), **PRIVATE)
    job_queue: dict[str, Any] = {"concurrency_limit": num_slots, "concurrency_id": "service"}
    parameters = {**inputs.parameters, "look_inside": inside.look_inside}
    animating = inputs.animate.click(
        endpoints.animate,
        [parameters[name] for name in ANIMATE.names],
        [result.video, result.summary, inside.video, inside.motion_file, inputs.parameters["seed"], result.stream],
        show_progress_on=result.summary,  # by default it would cover the player
        **job_queue,
    )
    parameters = {**inputs.parameters, **comparison.parameters}
    comparing = comparison.compare.click(
        endpoints.compare,
        [parameters[name] for name in COMPARE.names],
        [comparison.film.video, comparison.film.summary, comparison.film.stream],
        show_progress_on=comparison.film.summary,
        **job_queue,
    )
    stops = [inputs.stop.click, comparison.stop.click]
    for film, making in ((result, animating), (comparison.film, comparing)):
        gr.on(stops, None, js=player_script(film.player, "stop"), **PRIVATE)
        film.stream.change(None, film.stream, js=player_script(film.player, "play"), **PRIVATE)
        making.then(None, [film.video, film.summary], js=player_script(film.player, "finish"), **PRIVATE)
        making.failure(None, js=player_script(film.player, "fail"), **PRIVATE)
    # Both the job that runs and those that wait in the queue.
    cancels = [animating, comparing]
    gr.on(stops, endpoints.stop, cancels=cancels, queue=False, api_name="stop", api_visibility="undocumented")
    inside.motion_file.change(endpoints.plot_motion, inside.motion_file, inside.plot, show_progress="hidden", **PRIVATE)


def _wire_photo(endpoints: Endpoints, inputs: InputScreen) -> None:
    """Wires the preview: a new photo is previewed at once; a click on a face chooses it."""
    photo, face, detector, framing = previewed = [inputs.parameters[name] for name in LOOK.names]
    shown = [inputs.preview, inputs.notes]
    latest: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
    latest |= {"concurrency_limit": 2, "concurrency_id": "look"}
    reset = photo.change(None, photo, [face, *shown], js=RESET_PREVIEW, **PRIVATE)
    previews = [reset.then(endpoints.look, previewed, shown, api_name="look", **latest)]
    previews += [
        changed.change(endpoints.look, previewed, shown, **latest, **PRIVATE) for changed in (face, detector, framing)
    ]
    for preview in previews:
        preview.failure(None, None, inputs.notes, js=NO_PREVIEW, **PRIVATE)
    inputs.preview.select(endpoints.choose_face, previewed, face, **latest, **PRIVATE)
