"""The web demo: widgets and wiring, no computing. ``python app.py`` starts it and prints its address."""

import argparse
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: nothing here calls home

import gradio as gr

from space_core import AnimationOptions, SpaceError, SpacePipeline
from space_core.motion.emotion import EMOTIONS
from space_core.options import option_choices, option_field, option_names, option_range
from space_core.pipeline import DEVICES

EXAMPLES = Path(__file__).parent / "examples"
QUEUE_SIZE = 20  # visitors waiting; there is one worker
KEPT_SECONDS = 3600  # a visitor's files are removed after that
CHECKED_SECONDS = 600

# The sliders under "Advanced", by option: label and step.
SLIDERS = {
    "head_motion": ("Head motion", 0.05),
    "blinks_per_minute": ("Blinks per minute", 1),
    "gaze_yaw": ("Gaze to the side, degrees (positive: to the image's right)", 1),
    "gaze_pitch": ("Gaze up, degrees", 1),
    "saccades": ("Small eye movements", 0.05),
    "eyes_on_viewer": ("Eyes stay on the viewer while the head turns", 0.05),
}

INTRODUCTION = """# SPACE
One photo and one recording in, a video of that person saying it out. Use faces and voices only of people who agreed."""


# Gradio would open a photo itself and fail in words of its own; the pipeline opens it and says what is wrong. Not by a
# subclass: Gradio writes a stub file beside each module that defines a component.
gr.Image.preprocess = lambda self, payload: payload.path if payload else None


class Stopped(Exception):  # noqa: N818 – not an error
    """The visitor does not want the video any more."""


def build_page(pipeline: SpacePipeline) -> gr.Blocks:
    """The page around a pipeline that all visitors share."""
    unwanted: dict[str, threading.Event] = {}  # by the session whose video is in the making

    def stop(request: gr.Request) -> None:
        if request.session_hash in unwanted:
            unwanted[request.session_hash].set()

    def animate(
        photo: str | None,
        speech: str | None,
        emotion: str,
        intensity: float,
        pose_video: str | None,
        head_motion: float,
        blinks_per_minute: float,
        gaze_yaw: float,
        gaze_pitch: float,
        saccades: float,
        eyes_on_viewer: float,
        seed: float,
        look_inside: bool,
        framing: str,
        size: float,
        face: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 – how Gradio asks for it
    ) -> Iterator[tuple[str | None, str | None, str | None]]:
        given = locals()
        if not photo:
            raise _refusal("There is no photo yet. Drop one, or pick an example.")
        if not speech:
            raise _refusal("There is no recording yet. Drop one, or record it with the microphone.")

        stopped = unwanted[request.session_hash] = threading.Event()

        def show(stage: str, done: int, total: int) -> None:
            if stopped.is_set():
                raise Stopped
            progress((done, total), desc=stage)

        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "space.mp4"
            extra = {"inside": Path(folder) / "inside.mp4", "landmarks": Path(folder) / "landmarks.npz"}
            extra = extra if look_inside else {}
            try:
                options = AnimationOptions(**{name: given[name] for name in option_names() if name in given})
                animation = pipeline.animate_to_file(photo, speech, video, options, show, **extra)
            except SpaceError as error:
                raise _refusal(str(error)) from error
            except Stopped:
                yield None, None, None
                return
            finally:
                del unwanted[request.session_hash]
            if animation.num_faces > 1 and options.face == 1:
                gr.Info(f"The photo shows {animation.num_faces} faces; the largest speaks. Advanced lets you choose.")
            # Gradio has copied the files to its own cache when this generator goes on and the folder vanishes.
            yield str(video), *(str(extra[name]) if look_inside else None for name in ("inside", "landmarks"))

    with gr.Blocks(title="SPACE", analytics_enabled=False, delete_cache=(CHECKED_SECONDS, KEPT_SECONDS)) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                photo = gr.Image(label="Photo", type="filepath", sources=["upload", "webcam", "clipboard"], height=320)
                speech = gr.Audio(label="Speech", type="filepath", sources=["upload", "microphone"])
                emotion = gr.Dropdown(
                    list(EMOTIONS),
                    value=option_field("emotion").default,
                    allow_custom_value=True,
                    label="Emotion",
                    info="or in words of your own: 0.7 happy + 0.3 sad; or 0:neutral, 2.5:happy@0.8, 6:surprised",
                )
                intensity = _slider("intensity", "Intensity of the emotion", 0.05)
                with gr.Accordion("Borrow head motion", open=False):
                    pose_video = gr.Video(label="Pose-source video (its head motion is used)", sources=["upload"])
                with gr.Accordion("Advanced", open=False):
                    sliders = [_slider(name, label, step) for name, (label, step) in SLIDERS.items()]
                    seed = gr.Number(option_field("seed").default, label="Seed", precision=0)
                    framing = gr.Radio(
                        option_choices("framing"),
                        value=option_field("framing").default,
                        label="Framing",
                        info=option_field("framing").description,
                    )
                    size = _slider("size", "Size of the crop, pixels a side", 2)
                    face = gr.Number(
                        option_field("face").default,
                        label="Face",
                        precision=0,
                        info="who speaks, where the photo shows several people: 1 the largest face, 2 the next",
                    )
                    look_inside = gr.Checkbox(
                        label="Look inside", info="the landmarks beside the result, and as a file to edit"
                    )
                with gr.Row():
                    button = gr.Button("Animate", variant="primary", scale=3)
                    stop_button = gr.Button("Stop", scale=1)
            with gr.Column():
                result = gr.Video(label="Talking portrait", autoplay=True, interactive=False)
                inside = gr.Video(
                    label="Normalized landmarks, posed landmarks, result", interactive=False, visible=False
                )
                landmarks = gr.File(label="Landmarks, head pose, emotion and blinks", interactive=False, visible=False)
        gr.Examples(
            [
                [str(EXAMPLES / "astronaut.jpg"), str(EXAMPLES / "english_starlight.flac"), "happy", 0.7],
                [str(EXAMPLES / "grace_hopper.jpg"), str(EXAMPLES / "english_portrait.flac"), "neutral", 1.0],
                [str(EXAMPLES / "mona_lisa.jpg"), str(EXAMPLES / "spanish_stars.flac"), "surprised", 0.8],
            ],
            [photo, speech, emotion, intensity],
        )
        look_inside.change(
            lambda wanted: (gr.update(visible=wanted), gr.update(visible=wanted)),
            look_inside,
            [inside, landmarks],
            queue=False,
            api_name=False,
        )
        work = button.click(
            animate,
            [photo, speech, emotion, intensity, pose_video, *sliders, seed, look_inside, framing, size, face],
            [result, inside, landmarks],
            concurrency_limit=1,
            api_name="animate",
        )
        # Both what is being made and what still waits in the queue; a visitor who leaves stops it, too.
        stop_button.click(stop, cancels=[work], queue=False, api_name="stop")
        page.unload(stop)
    return page.queue(max_size=QUEUE_SIZE)


def _slider(name: str, label: str, step: float) -> gr.Slider:
    """A slider of an option's range and default."""
    least, most = option_range(name)
    return gr.Slider(least, most, value=option_field(name).default, step=step, label=label)


def _refusal(sentence: str) -> gr.Error:
    """What the visitor reads; it is no failure of ours, so the log keeps quiet."""
    return gr.Error(sentence, title="This can't be animated", print_exception=False)


def main() -> None:
    """Loads the pipeline and serves the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", help="address to listen on (default: GRADIO_SERVER_NAME, else 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: GRADIO_SERVER_PORT, else from 7860 on)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute (default: %(default)s)")
    arguments = parser.parse_args()
    theme = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    build_page(SpacePipeline(arguments.device)).launch(
        server_name=arguments.host, server_port=arguments.port, theme=theme, max_file_size="200mb"
    )


if __name__ == "__main__":
    main()
