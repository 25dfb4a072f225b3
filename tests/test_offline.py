"""That the demo sends nothing to anybody and writes nothing into the home folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def unshare():
    """The command that gives a program a network of its own."""
    for options in (["--net"], ["--net", "--map-root-user"]):
        command = ["unshare", *options]
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return None


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_the_demo_calls_nobody_and_leaves_nothing_behind(tmp_path):
    command = unshare()
    if command is None:
        pytest.skip("SKIPPED: this machine gives no network namespaces (unshare)")
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    (home / "letter.txt").write_text("Dear aunt Mary")
    before = files_in(home)
    kept = ("PATH", "LANG", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    given |= {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent))),
    }
    run = subprocess.run([*command, sys.executable, TESTS / "offline.py"], env=given, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == []
    assert files_in(home) == before
    assert list(temporary.iterdir()) == []
