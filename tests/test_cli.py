"""What the command line promises: every option, quick answers, clean ends."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import EXAMPLES, another_value

import space_core.pipeline
from space_core.cli import main
from space_core.options import AnimationOptions, option_field, option_names

# Torch, and what else takes long to import.
HEAVY = ("torch", "numpy", "scipy", "librosa", "gradio", "matplotlib", "accelerate")


@pytest.fixture
def stub(monkeypatch):
    """A pipeline in the place of the real one, which keeps the options that it is given."""
    stub = SimpleNamespace(options=None, num_faces=1, seconds=1.0, notes=(), photo_notes=("The face is dark.",))

    def animate_to_file(photo, speech, path, options, *_, **__):
        stub.options = options
        return stub

    stub.animate_to_file = animate_to_file
    monkeypatch.setattr(space_core.pipeline, "SpacePipeline", lambda *_: stub)
    return stub


@pytest.mark.parametrize("name", option_names())
def test_every_option_is_a_flag(stub, name):
    value = another_value(name)
    flag = f"--{name.replace('_', '-')}={value}"
    assert main(["animate", "photo.jpg", "speech.wav", "-o", "out.mp4", "--quiet", flag]) == 0
    assert stub.options == AnimationOptions(**{name: value})


def test_help_describes_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["animate", "--help"])
    assert ended.value.code == 0
    text = "".join(capsys.readouterr().out.split())
    for name in option_names():
        assert f"--{name.replace('_', '-')}" in text
        assert "".join(option_field(name).description.split()) in text


@pytest.mark.parametrize(
    "statement",
    [
        "import space_core",
        "from space_core import AnimationOptions, SpaceError; AnimationOptions(emotion='happy')",
        "import space_core.cli; space_core.cli.main(['animate', 'a.jpg', 'b.wav', '-o', 'c.mp4', '--seed', 'none'])",
        "import space_core.cli, contextlib\nwith contextlib.suppress(SystemExit): space_core.cli.main(['--help'])",
    ],
)
def test_what_needs_no_network_is_answered_without_loading_torch(statement):
    program = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_the_package_has_what_it_lists():
    for name in space_core.__all__:
        assert getattr(space_core, name).__module__.startswith("space_core.")
    with pytest.raises(AttributeError, match="no attribute 'Pipeline'"):
        space_core.Pipeline  # noqa: B018


def test_a_mistake_prints_a_few_lines_without_a_progress_bar(tmp_path):
    def errors(*arguments):
        command = [sys.executable, "-m", "space_core", "animate", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    missing = errors("photo.jpg", EXAMPLES / "english_starlight.flac", "-o", tmp_path / "film.mp4")
    assert missing == "space_core: There is no photo 'photo.jpg'. Check the path.\n"
    usage, mistake = errors("photo.jpg", "speech.wav").splitlines()
    assert usage == "usage: python -m space_core animate PHOTO [SPEECH] -o OUT.mp4 [OPTIONS, see --help]"
    assert mistake.endswith("the following arguments are required: -o/--out")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_leaves_nothing_behind(number, tmp_path):
    program = """
import signal, sys, time, types
import space_core.pipeline
from space_core.cli import main

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which has it ignored

def animate_to_file(photo, speech, outputs, *_, **__):
    outputs.video.touch()
    try:
        print("started", flush=True)
        time.sleep(60)
    finally:
        outputs.video.unlink()

space_core.pipeline.SpacePipeline = lambda *_: types.SimpleNamespace(animate_to_file=animate_to_file)
sys.exit(main(["animate", "photo.jpg", "speech.wav", "-o", sys.argv[1], "--quiet"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "out.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        errors = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "space_core: stopped; nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


STUB = """
import logging, os, sys, types, warnings
import space_core.pipeline
from space_core.cli import main

def animate_to_file(photo, speech, path, options, progress):
    progress("frames", 0, 1)
    warnings.warn("a library's warning")
    logging.getLogger("library").error("a library's log")
    os.write(2, b"native code's message")
    progress("frames", 1, 1)
    return types.SimpleNamespace(num_faces=1, seconds=1.0, notes=(), photo_notes=())

pipeline = types.SimpleNamespace(animate_to_file=animate_to_file)
space_core.pipeline.SpacePipeline = lambda *_: pipeline
sys.exit(main(["animate", "photo.jpg", "speech.wav", "-o", "out.mp4", *sys.argv[1:]]))
"""


def run_stub(*arguments: str, shell: str = 'exec "$0" "$@"') -> subprocess.CompletedProcess:
    """A command line whose pipeline is replaced by one that does nothing and whose libraries are talkative."""
    command = ["sh", "-c", shell, sys.executable, "-c", STUB, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_quiet_is_quiet():
    assert "native code's message" in run_stub().stderr
    done = run_stub("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("command", ["animate", "compare"])
def test_what_the_photo_and_the_film_do_not_show_as_they_should_is_said(stub, capsys, command):
    stub.notes = ("Turns were reduced.",)
    stub.compare_to_file = lambda *_, **__: stub
    settings = ["--setting", "seed=1", "--setting", "seed=2"] if command == "compare" else []
    assert main([command, "photo.jpg", "speech.wav", "-o", "out.mp4", *settings]) == 0
    said = capsys.readouterr().err
    assert "The face is dark.\n" in said
    assert "Turns were reduced.\n" in said
    assert main([command, "photo.jpg", "speech.wav", "-o", "out.mp4", "--quiet", *settings]) == 0
    assert capsys.readouterr().err == ""


def test_a_closed_stderr_is_no_failure():
    assert run_stub(shell='exec "$0" "$@" 2>&-').returncode == 0
    assert run_stub("--quiet", shell='exec "$0" "$@" 2>&-').returncode == 0
    assert run_stub("--seed=none", shell='exec "$0" "$@" 2>&-').returncode == 2


STREAMING = """
import os, sys, types
import space_core.pipeline
from space_core.cli import main

def animate_to_file(photo, speech, outputs, options, progress):
    return write(outputs.video, outputs.stream, progress)

def compare_to_file(photo, speech, settings, outputs, progress):
    return write(outputs.video, outputs.stream, progress)

def write(path, stream, progress):
    assert path is None
    progress("frames", 0, 1)
    print("a library's message")
    os.write(1, b"native code's message")
    os.write(stream.fileno(), b"film")
    return types.SimpleNamespace(num_faces=1, seconds=1.0, notes=(), photo_notes=())

pipeline = types.SimpleNamespace(animate_to_file=animate_to_file, compare_to_file=compare_to_file)
space_core.pipeline.SpacePipeline = lambda *_: pipeline
command, *more = sys.argv[1:]
sys.exit(main([command, "photo.jpg", "speech.wav", "-o", "-", *more]))
"""


@pytest.mark.parametrize("arguments", [["animate"], ["compare", "--setting", "seed=1", "--setting", "seed=2"]])
def test_nothing_but_the_film_is_written_to_stdout(arguments):
    command = [sys.executable, "-c", STREAMING, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "film")
    assert "a library's message" in done.stderr and "native code's message" in done.stderr


def test_a_stream_that_cannot_be_written_is_refused():
    command = [sys.executable, "-c", STREAMING, "animate"]
    signed = subprocess.run([*command, "--content-credentials=here"], capture_output=True, text=True, check=False)
    assert signed.returncode == 2 and "A stream can't be signed." in signed.stderr
    closed = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', *command], capture_output=True, text=True, check=False)
    assert closed.returncode == 2 and "no stdout" in closed.stderr


def test_an_empty_path_is_no_folder(command_line, capsys):
    assert command_line("animate", "", "speech.wav", "-o", "out.mp4") == 2
    assert capsys.readouterr().err == "space_core: There is no recording 'speech.wav'. Check the path.\n"
    assert command_line("animate", "photo.jpg", "", "-o", "out.mp4") == 2
    assert capsys.readouterr().err == "space_core: No recording was given. Choose a file.\n"
    assert command_line("animate", "", EXAMPLES / "spanish_stars.flac", "-o", "out.mp4") == 2
    assert capsys.readouterr().err == "space_core: No photo was given. Choose a file.\n"
    assert command_line("animate", "photo.jpg", "speech.wav", "-o", "out.mp4", "--pose-video", "") == 2
    assert "pose_video must be the path of a video" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux'")
def test_a_lack_of_memory_is_one_sentence():
    program = """
import resource, sys
import numpy  # before the limit: OpenBLAS ends the process or waits without end where it finds no memory to start
from space_core.cli import main
resource.setrlimit(resource.RLIMIT_AS, (400_000_000, 400_000_000))
sys.exit(main(["animate", "photo.jpg", "speech.wav", "-o", "out.mp4"]))
"""
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each takes address space
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=one_thread, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "space_core: There is not enough memory for this. Try again later, or with a smaller photo.\n"
    )


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"SPACE {space_core.__version__}\n"
