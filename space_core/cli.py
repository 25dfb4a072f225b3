"""The command line: ``python -m space_core animate photo.jpg speech.wav -o out.mp4 …``.

Each command imports what it needs when it runs: ``--help`` and a wrong option are answered without loading torch.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from space_core.errors import ServerFault, SpaceError
from space_core.options import DEVICES, AnimationOptions, option_field, option_help, option_names, parse_setting
from space_core.processes.configuration import configure_process
from space_core.processes.garbage_collection import exempt_from_collection
from space_core.processes.memory import out_of_memory_as_fault
from space_core.terminal import (
    library_messages,
    open_stderr,
    print_message,
    progress_bar,
    signals_as_interrupt,
    stdout_for_film,
)
from space_core.version import __version__

if TYPE_CHECKING:
    from space_core.frame_iterator import FrameIterator
    from space_core.pipeline import SpacePipeline

FAULT = 1  # exit codes
BAD_INPUT = 2  # the same as for a wrong argument
INTERRUPTED = 130
STREAM = "-"  # in place of a file: the film is written to stdout while it is drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: of the command line; None for this program's own.

    Returns:
        The exit code: 0 on success; 2 for an input or option that can't be used and 1 for a fault of the machine, each
        with one sentence on stderr; 130 after Ctrl-C, SIGTERM or SIGHUP, which leave no unfinished files.
    """
    open_stderr()
    configure_process()
    parsed = _parser().parse_args(arguments)
    try:
        with signals_as_interrupt(), library_messages(parsed.quiet), out_of_memory_as_fault():
            parsed.run(parsed)
    except SpaceError as error:
        print_message(f"space_core: {error}")
        return FAULT if isinstance(error, ServerFault) else BAD_INPUT
    except KeyboardInterrupt as stop:
        print_message(f"space_core: {str(stop) or 'stopped; nothing was written.'}")
        return INTERRUPTED
    return 0


def _animate(parsed: argparse.Namespace) -> None:
    given = {name: getattr(parsed, name) for name in option_names()}
    options = AnimationOptions(**{name: value for name, value in given.items() if value is not None})
    if parsed.text is None:
        _animate_recording(parsed, options)
        return
    if parsed.speech is not None or parsed.landmarks is not None:
        other = "a recording" if parsed.speech is not None else "--landmarks"
        raise SpaceError(f"There are two sources of speech. Give {other} or --text, not both.")
    from space_core.media.files import temporary_folder
    from space_core.media.text_to_speech import write_speech

    with temporary_folder() as folder:
        parsed.speech = folder / "speech.wav"
        write_speech(parsed.text, parsed.speech)
        _animate_recording(parsed, options)


def _animate_recording(parsed: argparse.Namespace, options: AnimationOptions) -> None:
    with exempt_from_collection():
        from space_core.media.files import check_output
        from space_core.motion.motion_file import load_motion
        from space_core.output import Outputs

    speech, sound = parsed.speech, None
    if parsed.landmarks is not None:
        video = None if str(parsed.out) == STREAM else parsed.out
        for path, suffix in ((video, ".mp4"), (parsed.inside, ".mp4"), (parsed.save_landmarks, ".npz")):
            if path is not None:
                check_output(path, suffix, inputs=(parsed.landmarks,))
        speech, sound = load_motion(parsed.landmarks, options.max_seconds), parsed.speech
    elif speech is None:
        raise SpaceError("There is no speech. Give a recording, --text, or --landmarks with a file of saved landmarks.")
    with ExitStack() as context:
        video, stream = _destination(parsed, context)
        outputs = Outputs(video, sound, parsed.inside, parsed.save_landmarks, stream)
        pipeline = _load_pipeline(parsed)
        show = context.enter_context(progress_bar(parsed.quiet))
        animation = pipeline.animate_to_file(parsed.photo, speech, outputs, options, show)
    if not parsed.quiet:
        if animation.num_faces > 1 and options.face == 1:
            print_message(f"The photo shows {animation.num_faces} faces; the largest speaks, or --face 2 …")
        _print_summary(animation, video)


def _print_summary(film: "FrameIterator", path: str | Path | None) -> None:
    for note in (*film.photo_notes, *film.notes):
        print_message(note)
    print_message(f"{'stream' if path is None else path}: {film.seconds:.2f} s")


def _destination(parsed: argparse.Namespace, context: ExitStack) -> tuple[str | Path | None, IO[bytes] | None]:
    """Where to write the film: the path of a file, or stdout, open as a stream until the context ends."""
    if str(parsed.out) != STREAM:
        return parsed.out, None
    if parsed.content_credentials is not None:
        raise SpaceError("A stream can't be signed. Write a file, or leave out --content-credentials.")
    return None, context.enter_context(stdout_for_film())


def _compare(parsed: argparse.Namespace) -> None:
    from space_core.output import Outputs

    settings = [parse_setting(text) for text in parsed.setting]
    with ExitStack() as context:
        path, stream = _destination(parsed, context)
        pipeline = _load_pipeline(parsed)
        show = context.enter_context(progress_bar(parsed.quiet))
        outputs = Outputs(path, stream=stream)
        comparison = pipeline.compare_to_file(parsed.photo, parsed.speech, settings, outputs, progress=show)
    if not parsed.quiet:
        _print_summary(comparison, path)


def _batch(parsed: argparse.Namespace) -> None:
    from space_core.cluster.batch import Workers, make_films

    workers = Workers(parsed.workers, parsed.cpus_per_worker, parsed.gpus_per_worker, parsed.content_credentials)
    try:
        counts = make_films(
            parsed.jobs, parsed.out, workers, address=parsed.address, resume=parsed.resume, quiet=parsed.quiet
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; finished films are kept, and --resume makes the others.") from None
    if without := counts["failed"] + counts["refused"]:
        rows = f"{without} of {counts.total()} rows have no film; the status table says why."
        raise ServerFault(rows, "internal") if counts["failed"] else SpaceError(rows)
    if not parsed.quiet:
        print_message(f"{parsed.out}: {counts['done']} films")


def _get_weights(parsed: argparse.Namespace) -> None:
    from space_core.published_weights import get_weights

    def confirm(question: str) -> bool:
        print(question, file=sys.stderr)
        if parsed.yes:
            return True
        if not sys.stdin.isatty():
            raise SpaceError("Nothing was downloaded: stdin is no terminal, so you can't be asked. Add --yes to agree.")
        return input("y or n: ").strip().lower() in ("y", "yes")

    folder = get_weights(parsed.name, confirm, parsed.source, parsed.revision)
    print(f"The weights are in {folder}.", file=sys.stderr)


def _load_pipeline(parsed: argparse.Namespace) -> "SpacePipeline":
    with exempt_from_collection():
        from space_core.pipeline import SpacePipeline

        credentials = None
        if parsed.content_credentials is not None:
            from space_core.media.content_credentials import ContentCredentials

            credentials = ContentCredentials(parsed.content_credentials)
        return SpacePipeline(parsed.device, credentials)


def _path(text: str) -> Path | str:
    """A path; an empty text stays empty, as ``Path("")`` would be the working directory."""
    return Path(text) if text else text


def _parser() -> argparse.ArgumentParser:
    # Started as a module, argv[0] is a path that users do not type.
    program = "python -m space_core" if Path(sys.argv[0]).name == "__main__.py" else None
    parser = argparse.ArgumentParser(prog=program, description="Speech-driven portrait animation.")
    parser.add_argument("--version", action="version", version=f"SPACE {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    animate = "let the portrait in a photo say a recording"
    # argparse prints the usage with every error; its own, with all options, would fill the screen.
    usage = f"{parser.prog} animate PHOTO [SPEECH] -o OUT.mp4 [OPTIONS, see --help]"
    _add_animate_arguments(commands.add_parser("animate", help=animate, usage=usage))
    _add_compare_arguments(
        commands.add_parser("compare", help="say the same words with two to four settings, in one grid")
    )
    _add_batch_arguments(commands.add_parser("batch", help="make a film for each row of a table, on many machines"))
    _add_weights_arguments(
        commands.add_parser("get-weights", help="download weights that others have published, or take a folder")
    )
    return parser


def _add_film_arguments(command: argparse.ArgumentParser, **speech: Any) -> None:
    """Adds photo, speech and output; ``speech`` are the settings of that argument."""
    command.add_argument("photo", type=_path, metavar="PHOTO", help="an image with a face: JPEG, PNG, WebP, …")
    command.add_argument("speech", type=_path, metavar="SPEECH", **speech)
    command.add_argument(
        "-o",
        "--out",
        type=_path,
        required=True,
        metavar="OUT.mp4",
        help="the video to write; - for a stream to stdout, which can be played while the film is drawn",
    )


def _add_program_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments that do not change what a film shows."""
    command.add_argument(
        "--content-credentials",
        type=_path,
        metavar="FOLDER",
        help="sign the video as generated (C2PA), with a certificate that is made in this folder and kept there",
    )
    command.add_argument("--device", choices=DEVICES, default="auto", help="where to compute (default: %(default)s)")
    command.add_argument("--quiet", action="store_true", help="no progress bar and no messages but errors")


def _add_animate_arguments(animate: argparse.ArgumentParser) -> None:
    _add_film_arguments(
        animate,
        nargs="?",
        help="a recording, or a video with sound; with --landmarks it is only the sound, and may be left out",
    )
    animate.add_argument("--text", metavar="TEXT", help="say this English text instead of a recording")
    animate.add_argument(
        "--landmarks", type=_path, metavar="FILE.npz", help="show these landmarks, saved and edited before"
    )
    animate.add_argument(
        "--save-landmarks",
        type=_path,
        metavar="OUT.npz",
        help="also write the landmarks, head pose, emotion and blinks",
    )
    animate.add_argument(
        "--inside", type=_path, metavar="OUT.mp4", help="also write normalized and posed landmarks beside the result"
    )
    for name in option_names():
        field = option_field(name)
        default = field.default
        # Without a type: ``AnimationOptions`` checks every value, with the same sentences for all interfaces.
        animate.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="X" if field.annotation is float else name.split("_")[-1].upper(),
            help=(option_help(name) + ("" if default in (None, "") else f" (default: {default})")).replace("%", "%%"),
        )
    _add_program_arguments(animate)
    animate.set_defaults(run=_animate)


def _add_compare_arguments(compare: argparse.ArgumentParser) -> None:
    _add_film_arguments(compare, help="a recording, or a video with sound")
    compare.add_argument(
        "--setting",
        action="append",
        required=True,
        metavar="OPTIONS",
        help="two to four times: options of 'animate' as 'emotion=happy,intensity=0.7'; '' for the defaults",
    )
    _add_program_arguments(compare)
    compare.set_defaults(run=_compare)


def _add_batch_arguments(batch: argparse.ArgumentParser) -> None:
    batch.add_argument(
        "jobs",
        metavar="JOBS",
        help="a table, CSV, JSON lines or Parquet: columns id, photo, speech or text, and options of 'animate' by name",
    )
    batch.add_argument("-o", "--out", required=True, metavar="FOLDER", help="for the films, ID.mp4, and status.parquet")
    batch.add_argument(
        "--address",
        default="local",
        help="of a Ray cluster: 'auto' for the one of this machine (default: a new one on this machine)",
    )
    batch.add_argument(
        "--resume", action="store_true", help="make only the films that are missing, or whose rows have changed"
    )
    batch.add_argument("--workers", type=int, metavar="N", help="pipelines (default: as many as there is room for)")
    batch.add_argument(
        "--cpus-per-worker", type=float, default=1.0, metavar="X", help="processors of each (default: %(default)s)"
    )
    batch.add_argument(
        "--gpus-per-worker",
        type=float,
        default=0.0,
        metavar="X",
        help="GPUs of each, or a fraction (default: %(default)s, computes on processors)",
    )
    batch.add_argument(
        "--content-credentials",
        type=_path,
        metavar="FOLDER",
        help="sign the films (C2PA) with the certificate in this folder, which all machines share",
    )
    batch.add_argument("--quiet", action="store_true", help="no progress bar and no messages but errors")
    batch.set_defaults(run=_batch)


def _add_weights_arguments(weights: argparse.ArgumentParser) -> None:
    weights.add_argument("name", choices=["liveportrait"], help="whose weights")
    weights.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER", help="take the files from this folder, without network"
    )
    weights.add_argument("--revision", metavar="COMMIT", help="of the publisher's repository (default: the newest)")
    weights.add_argument("--yes", action="store_true", help="agree to the download without being asked")
    weights.set_defaults(run=_get_weights, quiet=False)
