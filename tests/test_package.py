"""The installed package: the wheel has the weights and the command "space", and works without the repository."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from safetensors import safe_open

from space_core.neural.drawn_takes import PORTRAITS, RECORDINGS

REPOSITORY = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The standard output of a command that succeeds."""
    result = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    run(sys.executable, "-m", "pip", "wheel", *options, REPOSITORY, cwd=folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel and nothing else; dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel, cwd=folder)
    return folder


def test_the_wheel_has_all_weights_with_their_cards_and_no_other_folder(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"space_core/weights/{path.name}" for path in (REPOSITORY / "weights").iterdir()}
    assert {name for name in names if name.startswith("space_core/weights/")} == shipped
    assert {name.split("/")[0].split("-")[0] for name in names} == {"space_core"}  # the package and its metadata


def test_every_file_of_weights_has_a_model_card():
    weights, cards = (
        {path.stem for path in (REPOSITORY / "weights").glob(f"*.{kind}")} for kind in ("safetensors", "md")
    )
    assert weights == cards


def stated_shapes(card: Path) -> dict[str, list[str]]:
    """The sides of each array in the tables of a model card: numbers, or letters for what depends on the array."""
    stated = {}
    for names, cell in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", card.read_text("utf-8"), re.MULTILINE):
        names, shapes = re.findall(r"`(\w+)`", names), re.findall(r"\(([\w, ]*)\)", cell)
        shapes = shapes * len(names) if len(shapes) == 1 else shapes
        stated |= {name: re.findall(r"\w+", shape) for name, shape in zip(names, shapes, strict=False)}
    return stated


def test_arrays_have_the_shapes_that_their_card_states():
    checked = set()
    for path in (REPOSITORY / "weights").glob("*.safetensors"):
        stated = stated_shapes(path.with_suffix(".md"))
        with safe_open(path, "np") as file:
            shapes = {name: [str(side) for side in file.get_slice(name).get_shape()] for name in file.keys()}  # noqa: SIM118
        for name in stated.keys() & shapes.keys():
            sides = [real if side.isalpha() else side for side, real in zip(stated[name], shapes[name], strict=True)]
            assert sides == shapes[name], f"{name} in {path.name}"
            checked.add((path.name, name))
    assert len(checked) > 30


def test_the_wheel_has_the_portraits_and_recordings_that_latents_are_learnt_from(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (*PORTRAITS, *RECORDINGS, "README.md"):
        assert f"space_core/examples/{name}" in names


def test_the_version_is_the_package_s(wheel, installed):
    version = run(sys.executable, "-c", "import space_core.version as v; print(v.__version__)", cwd=installed).strip()
    assert wheel.name == f"space_core-{version}-py3-none-any.whl"
    assert f"## [{version}]" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_the_installed_package_loads_its_own_weights(installed, tmp_path):
    script = (
        "from space_core import SpacePipeline; from space_core.assets import weights_path; SpacePipeline('cpu'); "
        "print(weights_path('emotion.safetensors'))"
    )
    path = run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(installed)).strip()
    assert Path(path) == installed / "space_core/weights/emotion.safetensors"


def test_the_command_space_is_installed(installed, tmp_path):
    command = installed / "bin" / "space"
    assert "animate" in run(command, "--help", cwd=tmp_path, PYTHONPATH=str(installed))


def test_the_pins_of_requirements_txt_are_in_the_ranges_of_the_package(wheel):
    from packaging.requirements import Requirement

    metadata = zipfile.ZipFile(wheel).read(next(n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("METADATA")))
    lines = [line.removeprefix("Requires-Dist: ") for line in metadata.decode().splitlines() if line.startswith("Req")]
    ranges = {
        Requirement(line).name: Requirement(line).specifier for line in lines if not line.startswith("Requires-P")
    }
    files = [REPOSITORY / "requirements.txt", REPOSITORY / "tests" / "requirements.txt"]
    pinned = [
        Requirement(line) for file in files for line in file.read_text().splitlines() if line[:1] not in ("", "#")
    ]
    for pin in pinned:
        (version,) = pin.specifier
        assert ranges[pin.name].contains(version.version), pin
