"""The command line: ``python -m space_core animate photo.jpg speech.wav -o out.mp4 …``."""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from space_core.errors import SpaceError
from space_core.media.content_credentials import ContentCredentials
from space_core.media.files import check_output
from space_core.media.text_to_speech import write_speech
from space_core.motion.motion_file import load_motion
from space_core.options import AnimationOptions, option_choices, option_field, option_names, option_range
from space_core.pipeline import DEVICES, Progress, SpacePipeline

BAD_INPUT = 2  # exit code, the same as for a wrong argument
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, or 2 with one sentence for an input that can't be used."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except SpaceError as error:
        print(f"space_core: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("space_core: stopped; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _animate(parsed: argparse.Namespace) -> None:
    if parsed.text is None:
        _animate_recording(parsed)
        return
    if parsed.speech is not None or parsed.landmarks is not None:
        other = "a recording" if parsed.speech is not None else "--landmarks"
        raise SpaceError(f"There are two things to say. Give {other} or --text, not both.")
    with tempfile.TemporaryDirectory() as folder:
        parsed.speech = Path(folder) / "speech.wav"
        write_speech(parsed.text, parsed.speech)
        _animate_recording(parsed)


def _animate_recording(parsed: argparse.Namespace) -> None:
    given = {name: getattr(parsed, name) for name in option_names()}
    options = AnimationOptions(**{name: value for name, value in given.items() if value is not None})
    speech, sound = parsed.speech, None
    if parsed.landmarks is not None:
        for path, suffix in ((parsed.out, ".mp4"), (parsed.inside, ".mp4"), (parsed.save_landmarks, ".npz")):
            if path is not None:
                check_output(path, suffix, inputs=(parsed.landmarks,))
        speech, sound = load_motion(parsed.landmarks, options.max_seconds), parsed.speech
    elif speech is None:
        raise SpaceError("There is no speech. Give a recording, --text, or --landmarks with a file of saved landmarks.")
    pipeline = _pipeline(parsed)
    with _progress_bar(parsed.quiet) as show:
        animation = pipeline.animate_to_file(
            parsed.photo,
            speech,
            parsed.out,
            options,
            show,
            sound=sound,
            inside=parsed.inside,
            landmarks=parsed.save_landmarks,
        )
    if animation.num_faces > 1 and options.face == 1:
        print(f"The photo shows {animation.num_faces} faces; the largest speaks, or --face 2 …", file=sys.stderr)
    if not parsed.quiet:
        print(f"{parsed.out}: {animation.seconds:.2f} s", file=sys.stderr)


def _compare(parsed: argparse.Namespace) -> None:
    settings = [_setting(text) for text in parsed.setting]
    pipeline = _pipeline(parsed)
    with _progress_bar(parsed.quiet) as show:
        comparison = pipeline.compare_to_file(parsed.photo, parsed.speech, settings, parsed.out, progress=show)
    if not parsed.quiet:
        print(f"{parsed.out}: {comparison.seconds:.2f} s", file=sys.stderr)


def _setting(text: str) -> AnimationOptions:
    """Options from "emotion=happy,intensity=0.7"; an empty text stands for the defaults."""
    given = {}
    # A comma ends a value only where another option follows: emotions have commas of their own.
    for part in re.split(r",(?=[^,=]+=)", text) if text.strip() else ():
        name, equals, value = part.partition("=")
        if not equals:
            raise SpaceError(f"A setting is written as 'emotion=happy,intensity=0.7'; got {text[:60]!r}.")
        given[name.strip().replace("-", "_")] = value.strip()
    return AnimationOptions(**given)


def _pipeline(parsed: argparse.Namespace) -> SpacePipeline:
    credentials = parsed.content_credentials and ContentCredentials(parsed.content_credentials)
    return SpacePipeline(parsed.device, credentials)


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[Progress]:
    """A bar on the terminal for as long as something is in the making; an error clears it away."""
    with tqdm(unit="frame", disable=quiet, leave=False) as bar:
        at_work = None

        def show(stage: str, done: int, total: int) -> None:
            nonlocal at_work
            if stage != at_work:
                at_work = stage
                bar.reset(total)
                bar.set_description(stage)
            bar.update(done - bar.n)

        yield show
        bar.leave = True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m space_core", description="Speech-driven portrait animation.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    animate = commands.add_parser("animate", help="let the portrait in a photo say a recording")
    compare = commands.add_parser("compare", help="say the same words with two to four settings, in one grid")
    for command in (animate, compare):
        command.add_argument("photo", type=Path, metavar="PHOTO", help="an image with a face: JPEG, PNG, WebP, …")
        command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.mp4", help="the video to write")

    animate.add_argument(
        "speech",
        type=Path,
        nargs="?",
        metavar="SPEECH",
        help="a recording, or a video with sound; with --landmarks it is only heard, and may be left out",
    )
    animate.add_argument("--text", metavar="TEXT", help="say this English text instead of a recording")
    animate.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE.npz",
        help="show these landmarks, saved and edited before",
    )
    animate.add_argument(
        "--save-landmarks", type=Path, metavar="OUT.npz", help="also write the landmarks, head pose, emotion and blinks"
    )
    animate.add_argument(
        "--inside", type=Path, metavar="OUT.mp4", help="also write normalized and posed landmarks beside the result"
    )
    for name in option_names():
        animate.add_argument(f"--{name.replace('_', '-')}", **_argument(name))
    animate.set_defaults(run=_animate)

    compare.add_argument("speech", type=Path, metavar="SPEECH", help="a recording, or a video with sound")
    compare.add_argument(
        "--setting",
        action="append",
        required=True,
        metavar="OPTIONS",
        help="two to four times: options of 'animate' as 'emotion=happy,intensity=0.7'; '' for the defaults",
    )
    compare.set_defaults(run=_compare)

    for command in (animate, compare):
        command.add_argument(
            "--content-credentials",
            type=Path,
            metavar="FOLDER",
            help="sign the video as generated (C2PA), with a certificate that is made in this folder and kept there",
        )
        command.add_argument(
            "--device", choices=DEVICES, default="auto", help="where to compute (default: %(default)s)"
        )
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _argument(name: str) -> dict:
    """How an option looks on the command line; ``AnimationOptions`` checks its value, in the same words everywhere."""
    field, choices, limits = option_field(name), option_choices(name), option_range(name)
    possible = f"; one of {', '.join(choices)}" if choices else f"; {limits[0]} to {limits[1]}" if limits else ""
    default = "" if field.default is None else f" (default: {field.default})"
    return {"help": f"{field.description}{possible}{default}", "metavar": name.split("_")[-1].upper()}
