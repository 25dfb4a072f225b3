"""What batches on many machines promise: job tables, storage, one film a row, survival of lost workers and drivers."""

import ast
import csv
import errno
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import psutil
import pyarrow
import pyarrow.parquet
import pytest
from conftest import EXAMPLES, Visitor, free_port, speech_of, until, uploaded
from fsspec.implementations.memory import MemoryFileSystem
from ray.exceptions import ActorDiedError
from websockets.sync.client import connect

from space_core.cli import main
from space_core.cluster import film_maker, storage
from space_core.cluster.batch import MAX_GROUP, grouped
from space_core.cluster.film_maker import FilmMaker
from space_core.cluster.job_table import FilmJob, read_job_table
from space_core.cluster.messages import NO_PICTURE, Chunk, FilmRequest, FilmResult, LiveRequest, Ready
from space_core.cluster.ray_session import LOCAL, ray_session
from space_core.cluster.remote_stream import MAX_UNREAD
from space_core.cluster.serving import RemotePipeline
from space_core.cluster.shared_application import shared_application
from space_core.cluster.status_table import FilmStatus, read_status_table, write_status_table
from space_core.cluster.storage import download, file_names, place, remove_unfinished, upload
from space_core.errors import MACHINE_LOST, ServerFault, SpaceError
from space_core.live.control import LiveControl
from space_core.live.frames import LiveFrame
from space_core.media.video_reader import read_frames
from space_core.options import AnimationOptions
from space_core.progress import ignore_progress
from space_core.web.jobs import Film, SpeechSource
from space_core.web.metrics import Metrics
from space_core.web.service import AnimationService

PACKAGE = Path(__file__).parents[1] / "space_core"
ROWS = [
    {"id": "one", "photo": "a.jpg", "speech": "a.wav", "emotion": "0.7 happy + 0.3 sad", "gaze_yaw": -5, "seed": 7},
    {"id": "007", "photo": "/photos/b.jpg", "text": "Hello, “there”!", "pose_video": "nod.mp4"},
    {"id": "grid", "photo": "s3", "speech": "c.wav", "settings": "emotion=sad | emotion=0:sad, 1:happy,seed=2"},
]


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """fsspec's file system in memory, in the place of an object store."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def write_table(rows: list[dict], path: Path) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in rows), "utf-8")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict.fromkeys(names) | row for row in rows]), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_of_any_format_gives_the_same_jobs(suffix, tmp_path):
    one, seven, grid = read_job_table(str(write_table(ROWS, tmp_path / f"jobs{suffix}")))
    options = AnimationOptions(emotion="0.7 happy + 0.3 sad", gaze_yaw=-5, seed=7)
    request = '[{"photo": "a.jpg", "speech": "a.wav"}, {"emotion": "0.7 happy + 0.3 sad", "gaze_yaw": -5.0, "seed": 7}]'
    assert one == FilmJob(1, "one", f"{tmp_path}/a.jpg", f"{tmp_path}/a.wav", None, None, (options,), request)
    assert (seven.id, seven.photo, seven.text) == ("007", "/photos/b.jpg", "Hello, “there”!")
    assert (seven.pose_video, seven.settings) == (f"{tmp_path}/nod.mp4", (AnimationOptions(),))
    assert grid.settings == (AnimationOptions(emotion="sad"), AnimationOptions(emotion="0:sad, 1:happy", seed=2))


def test_a_table_in_an_object_store_has_its_paths_there(memory):
    memory.pipe_file("/jobs/jobs.csv", b"id,photo,speech\none,photos/a.jpg,memory://other/b.wav\n")
    (job,) = read_job_table("memory://jobs/jobs.csv")
    assert (job.photo, job.speech) == ("memory://jobs/photos/a.jpg", "memory://other/b.wav")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"id": "../up"}, "The id '../up' is no file name: "),
        ({"id": ".hidden"}, "The id '.hidden' is no file name: "),
        ({"id": "a/b"}, "The id 'a/b' is no file name: "),
        ({"id": "a\tb"}, r"The id 'a\tb' is no file name: "),
        ({"id": "x" * 101}, "is no file name: "),
        ({"id": "字" * 100}, "is too long for the name of a file. Shorten it."),
        ({"id": "nul.tar"}, "The id 'nul.tar' is no file name: "),
        ({"id": "ONE"}, "The id 'ONE' is that of an earlier row. Give each row its own."),
        ({"id": ""}, "Row 2 has no id. Give each row its own."),
        ({"photo": ""}, "No photo was given. Choose a file."),
        ({"photo": "nowhere://a/b.jpg"}, "Addresses that begin with nowhere:// can't be read here: Protocol not known"),
        ({"photo": "zip://a.jpg::memory://none.zip"}, "There is no file 'none.zip'. Check the path."),
        ({"speech": ""}, "There is no speech. Give speech or text."),
        ({"text": "Hello"}, "There are two sources of speech. Give speech or text, not both."),
        ({"speech": None, "text": ["Hello"]}, "The text must be a text; got \"['Hello']\"."),
        ({"seed": True}, "seed must be a whole number between 0 and 4294967295; got True."),
        ({"intensity": "7"}, "intensity must be between 0 and 1.5; got '7'."),
        ({"emotion": "joyful"}, "There is no emotion called 'joyful'; choose from: "),
        ({"settings": "emotion"}, "A setting is written as 'emotion=happy,intensity=0.7'; got 'emotion'."),
        ({"settings": "seed=1|seed=2", "seed": "3"}, "A row with settings has its options there: leave out seed."),
    ],
)
def test_a_bad_row_is_refused_with_a_sentence_and_the_others_are_not(row, sentence, tmp_path):
    good = {"id": "one", "photo": "a.jpg", "speech": "a.wav"}
    rows = [good, good | {"id": "two"} | row, good | {"id": "three"}]
    first, refused, last = read_job_table(str(write_table(rows, tmp_path / "jobs.jsonl")))
    assert isinstance(first, FilmJob)
    assert isinstance(last, FilmJob)
    assert (refused.row, refused.status) == (2, "refused")
    assert sentence in refused.sentence


def test_a_row_with_half_a_character_can_be_written_to_the_status_table(tmp_path):
    rows = [{"id": "one", "photo": "\ud800.jpg", "speech": "a.wav"}, {"id": "\ud800", "photo": "a.jpg"}]
    job, refused = read_job_table(str(write_table(rows, tmp_path / "jobs.jsonl")))
    assert Path(job.photo).name == "?.jpg"
    done = FilmStatus(1, job.id, "done", request=job.request)
    write_status_table([done, refused], place(str(tmp_path)))
    assert [status.id for status in read_status_table(place(str(tmp_path)))] == ["one", "?"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("jobs.csv", "id,photo,speech,mood\n1,a,b,c\n", "The job table has a column 'mood'; columns are id, photo, "),
        ("jobs.csv", "photo,speech\na,b\n", "The job table has no column 'id'."),
        ("jobs.csv", "id,photo,photo\n1,a,b\n", "The job table has two columns 'photo'. Remove one of them."),
        ("jobs.csv", "id,photo,text\n1,a,\udcfc\n", "The job table 'jobs.csv' is not in UTF-8. Save it in UTF-8."),
        ("jobs.csv", "id,photo,speech\n", "The job table 'jobs.csv' has no rows."),
        (
            "jobs.csv",
            "id,photo,speech\n1,a,b,c\n",
            "Row 1 of the job table has more values than the table has columns.",
        ),
        ("jobs.jsonl", '{"id": 1', "The job table 'jobs.jsonl' can't be read: "),
        ("jobs.jsonl", "[" * 9000, "The job table 'jobs.jsonl' can't be read: lists and objects are nested 9000"),
        ("jobs.jsonl", "[1]", "Line 1 of the job table is no object"),
        ("jobs.parquet", "no Parquet", "The job table 'jobs.parquet' can't be read: "),
        ("jobs.xlsx", "", "The job table 'jobs.xlsx' must end in .csv, .jsonl, .ndjson, .parquet."),
    ],
)
def test_a_table_that_can_t_be_used_is_refused_with_a_sentence(name, content, sentence, tmp_path):
    (tmp_path / name).write_text(content, errors="surrogateescape")
    with pytest.raises(SpaceError) as refusal:
        read_job_table(str(tmp_path / name))
    assert str(refusal.value).startswith(sentence)


def test_films_of_one_photo_stay_together_in_groups_that_keep_all_workers_busy():
    def job(number: int, photo: str, **options) -> FilmJob:
        return FilmJob(number, f"f{number}", photo, "a.wav", None, None, (AnimationOptions(**options),), "")

    jobs = [job(number, "ab"[number % 2], seed=number) for number in range(100)]
    jobs += [job(100, "a", size=256), job(101, "a", generator="liveportrait")]
    for workers in (1, 2, 1000):
        groups = grouped(jobs, workers)
        assert sorted(job.row for group in groups for job in group) == list(range(102))
        assert all(len({job.portrait for job in group}) == 1 and len(group) <= MAX_GROUP for group in groups)
        assert len(groups) >= min(102, 4 * workers)
    assert len(grouped(jobs, 1)) == 16


def test_downloads_have_a_limit_of_size(memory, tmp_path, monkeypatch):
    monkeypatch.setitem(storage.MAX_BYTES, "photo", 2_000_000)
    memory.pipe_file("/photos/small.jpg", b"x" * 2_000_000)
    memory.pipe_file("/photos/large.jpg", b"x" * 2_000_001)
    assert download("memory://photos/small.jpg", "photo", tmp_path).stat().st_size == 2_000_000
    with pytest.raises(SpaceError, match=r"^The photo 'large\.jpg' is larger than 2 MB\. Make it smaller\.$"):
        download("memory://photos/large.jpg", "photo", tmp_path)
    with pytest.raises(SpaceError, match=r"^There is no photo 'none\.jpg'\. Check the path\.$"):
        download("memory://photos/none.jpg", "photo", tmp_path)


@pytest.mark.parametrize(
    ("failure", "reason", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", "The disk is full"),
        (
            OSError("connection reset"),
            "internal",
            "The storage of the video 'out.mp4' does not answer: connection reset.",
        ),
        (RuntimeError("503"), "internal", "The storage of the video 'out.mp4' does not answer: 503."),
    ],
)
def test_an_upload_that_fails_is_a_fault_and_leaves_nothing(failure, reason, sentence, memory, tmp_path, monkeypatch):
    def put_half(self, lpath, rpath, **_):
        self.pipe_file(rpath, b"half")
        raise failure

    (tmp_path / "film.mp4").write_bytes(b"whole")
    target = place("memory://out/out.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", put_half)
        with pytest.raises(ServerFault, match=sentence) as fault:
            upload(tmp_path / "film.mp4", target)
    assert fault.value.reason == reason
    assert file_names(place("memory://out")) == set()
    upload(tmp_path / "film.mp4", target)
    assert memory.cat_file("/out/out.mp4") == b"whole"


def test_what_killed_processes_leave_is_removed_and_nothing_else(tmp_path):
    for name in (".space-12ab.mp4.part", "one.mp4", ".space-kept.mp4"):
        (tmp_path / name).touch()
    remove_unfinished(place(str(tmp_path)))
    assert file_names(place(str(tmp_path))) == {"one.mp4", ".space-kept.mp4"}


@pytest.fixture
def maker(pipeline, monkeypatch) -> FilmMaker:
    """Makes films with the pipeline that is there, into memory."""
    monkeypatch.setattr(film_maker, "SpacePipeline", lambda *_: pipeline)
    return FilmMaker(place("memory://out"), "cpu")


def test_films_are_made_from_an_object_store_into_one(maker, memory, tmp_path):
    memory.put_file(str(EXAMPLES / "astronaut.jpg"), "/in/a.jpg")
    memory.put_file(str(speech_of(0.4, tmp_path / "a.wav")), "/in/a.wav")
    memory.pipe_file("/in/noise.jpg", b"no picture")
    memory.pipe_file(
        "/in/jobs.csv", b"id,photo,speech,size,seed\ngood,a.jpg,a.wav,256,1\nbad,noise.jpg,a.wav,,\nnone,b.jpg,a.wav,,"
    )
    good, bad, none = map(maker.make, read_job_table("memory://in/jobs.csv"))
    assert (good.status, good.frames, good.faces, good.path) == ("done", 10, 1, "memory:///out/good.mp4")
    assert (bad.status, none.status) == ("refused", "refused")
    assert none.sentence == "There is no photo 'b.jpg'. Check the path."
    assert "image" in bad.sentence
    assert file_names(place("memory://out")) == {"good.mp4"}
    (tmp_path / "good.mp4").write_bytes(memory.cat_file("/out/good.mp4"))
    assert sum(1 for _ in read_frames(tmp_path / "good.mp4")) == 10


def test_a_fault_of_the_machine_is_a_status_and_its_cause_is_named(maker, memory, pipeline, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(pipeline, "animate_to_file", fail)
    status = maker.make(FilmJob(3, "x", "/a.jpg", "/a.wav", None, None, (AnimationOptions(),), ""), attempt=2)
    assert (status.row, status.status, status.reason, status.attempts) == (3, "failed", "internal", 2)
    assert status.cause == "ZeroDivisionError: by zero"


def test_ray_is_imported_only_where_many_machines_are_used():
    importing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importing |= {path.parent.name for name in names if name.split(".")[0] == "ray"}
    assert importing == {"cluster"}
    program = "import space_core.cluster.batch, space_core.cluster.film_maker, sys; print('ray' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["batch", "jobs.csv", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        'space_core: Many machines need Ray. Install it with pip install ".[cluster]" in the folder of SPACE.\n'
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--workers=0", "workers must be a whole number between 1 and 10000; got 0."),
        ("--cpus-per-worker=nan", "cpus-per-worker must be between 0.1 and 1024; got nan."),
        ("--gpus-per-worker=1.5", "gpus-per-worker must be a fraction or a whole number up to 64; got 1.5."),
    ],
)
def test_a_wrong_number_of_workers_is_refused(flag, sentence, capsys):
    assert main(["batch", "jobs.csv", "-o", "out", flag]) == 2
    assert capsys.readouterr().err == f"space_core: {sentence}\n"


def test_films_that_are_there_are_neither_replaced_nor_made_again(tmp_path, capsys):
    table = write_table([{"id": "one", "photo": "a.jpg", "speech": "a.wav"}], tmp_path / "jobs.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one.mp4").write_bytes(b"a film")
    assert main(["batch", str(table), "-o", str(tmp_path / "out")]) == 2
    assert "has 1 of these films already. Add --resume" in capsys.readouterr().err
    assert main(["batch", str(table), "-o", str(tmp_path / "out"), "--resume", "--quiet"]) == 0
    assert (tmp_path / "out/one.mp4").read_bytes() == b"a film"
    (status,) = read_status_table(place(str(tmp_path / "out")))
    assert (status.row, status.id, status.status, status.path) == (1, "one", "done", str(tmp_path / "out/one.mp4"))


def test_films_whose_rows_have_changed_are_made_again(tmp_path, capsys, monkeypatch):
    made, outcome = [], ["done"]

    def run(jobs, folder, workers, statuses, quiet):
        for job in jobs:
            made.append(job.id)
            (tmp_path / f"out/{job.id}.mp4").touch()
            statuses.add([FilmStatus(job.row, job.id, outcome[-1])])

    def batch(*rows: dict) -> list[str]:
        made.clear()
        table = write_table([{"photo": "a.jpg", "speech": "a.wav", **row} for row in rows], tmp_path / "jobs.csv")
        main(["batch", str(table), "-o", str(tmp_path / "out"), "--resume"])
        return made

    monkeypatch.setattr("space_core.cluster.batch._run", run)
    monkeypatch.setattr("space_core.cluster.batch.ray_session", lambda *_: nullcontext())
    assert batch({"id": "one", "seed": 1}, {"id": "two", "seed": 1}) == ["one", "two"]
    assert batch({"id": "zero", "seed": ""}, {"id": "two", "seed": 1, "size": 512}, {"id": "one", "seed": 1}) == [
        "zero"
    ]
    assert "changed" not in capsys.readouterr().err
    changed = {"id": "one", "seed": 2}, {"id": "two", "seed": 1}
    outcome.append("failed")
    assert batch(*changed) == ["one"]
    assert "Rows that have changed: 1. Their films are made again." in capsys.readouterr().err
    outcome.append("done")
    assert batch(*changed) == ["one"]
    assert batch(*changed) == []


# With Ray on this machine, and two workers.

NUM_FILMS = 12


@pytest.fixture(scope="module")
def ray_variables() -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def ray_cluster(ray_variables, tmp_path_factory) -> Iterator[tuple[str, int]]:
    """The address of a cluster of this machine, and its process."""
    port = free_port()
    folder = tmp_path_factory.mktemp("r")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1"]
    command += ["--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=100000000"]
    environment = {**os.environ, **ray_variables, "PYTHONPATH": str(PACKAGE.parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as cluster:
        try:
            until(lambda: is_listening(port))
            yield f"127.0.0.1:{port}", cluster.pid
        finally:
            # By itself Ray takes half a minute to end.
            for process in (*psutil.Process(cluster.pid).children(recursive=True), cluster):
                with suppress(psutil.Error):
                    process.kill()


@pytest.fixture
def ray_environment(ray_variables, monkeypatch) -> None:
    """The variables by which this process and those that it starts are admitted to the cluster."""
    for name, value in ray_variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def jobs(tmp_path) -> Path:
    """A table of short films of two photos, of which one row has a photo that is not there."""
    speech_of(0.4, tmp_path / "speech.wav")
    photos = [EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg"]
    rows = [
        {"id": f"film{number}", "photo": str(photos[number % 2]), "speech": "speech.wav", "size": 256, "seed": number}
        for number in range(NUM_FILMS)
    ]
    return write_table([*rows, {"id": "bad", "photo": "none.jpg", "speech": "speech.wav"}], tmp_path / "jobs.csv")


def start_batch(jobs: Path, address: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "space_core", "batch", str(jobs), "-o", str(jobs.parent / "out"), "--workers=2"]
    command.append(f"--address={address}")
    return subprocess.Popen([*command, *arguments], cwd=PACKAGE.parent, stderr=subprocess.PIPE, text=True)


def films(folder: Path) -> dict[str, tuple[int, int]]:
    """By name, what changes when a film is made again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.mp4")}


def actors_of(program: int, kind: str) -> list[psutil.Process]:
    """The processes of Ray below a program whose titles name a class."""
    found = []
    for process in psutil.Process(program).children(recursive=True):
        with suppress(psutil.Error):  # it ends meanwhile
            title = "".join(process.cmdline()[:1])
            if title.startswith("ray::") and kind in title:
                found.append(process)
    return found


def workers_of(cluster: int) -> list[psutil.Process]:
    """The processes with a batch's pipelines."""
    return actors_of(cluster, "_Worker")


def replicas_of(program: int) -> list[psutil.Process]:
    """The processes with a page's pipelines."""
    return actors_of(program, "PipelineReplica")


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE  # which nobody may collect


def check_results(folder: Path) -> list[FilmStatus]:
    """Checks that there is one whole film for each good row, a sentence for the bad one, and nothing else."""
    assert {path.name for path in folder.iterdir()} == {f"film{i}.mp4" for i in range(NUM_FILMS)} | {"status.parquet"}
    statuses = read_status_table(place(str(folder)))
    assert [status.id for status in statuses] == [f"film{number}" for number in range(NUM_FILMS)] + ["bad"]
    assert [status.status for status in statuses] == ["done"] * NUM_FILMS + ["refused"]
    assert statuses[-1].sentence == "There is no photo 'none.jpg'. Check the path."
    assert all(sum(1 for _ in read_frames(path)) == 10 for path in folder.glob("*.mp4"))
    return statuses


@pytest.mark.slow
def test_a_driver_that_is_killed_is_resumed_where_it_was_and_a_worker_that_is_killed_loses_no_film(
    jobs, ray_cluster, ray_environment
):
    out, (address, cluster) = jobs.parent / "out", ray_cluster
    with start_batch(jobs, address, "--quiet") as batch:
        until(lambda: len(films(out)) >= NUM_FILMS // 4, 300)
        workers = workers_of(cluster)
        os.kill(batch.pid, signal.SIGKILL)
        batch.wait()
    until(lambda: all(map(has_ended, workers)))
    first = films(out)
    assert len(first) <= NUM_FILMS // 2
    (out / ".space-0123456789ab.mp4.part").touch()
    with start_batch(jobs, address, "--resume") as batch:
        until(lambda: len(films(out)) >= len(first) + 2, 300)
        workers_of(cluster)[0].kill()
        before = films(out)
        errors = batch.communicate(timeout=300)[1]
    assert batch.returncode == 2, errors
    assert errors.endswith(f"space_core: 1 of {NUM_FILMS + 1} rows have no film; the status table says why.\n")
    assert "films/min" in errors
    statuses = check_results(out)
    assert all(status.seconds > 0 for status in statuses[:-1] if f"{status.id}.mp4" not in first)
    after = films(out)
    assert all(after[name] == first[name] for name in first)
    assert sum(after[name] != before[name] for name in before) <= 1  # the one that was about to be reported


# Two runs in a folder that is first too small for their films, and then not, and what is in it after each. This process
# makes the films: nothing here depends on Ray, which takes 15 seconds to start and to end.
ON_A_SMALL_DISK = """
import shutil, subprocess, sys
from contextlib import nullcontext
from pathlib import Path
from space_core.cli import main
from space_core.cluster import batch
from space_core.cluster.film_maker import FilmMaker

def make_here(jobs, folder, workers, statuses, quiet):
    maker = FilmMaker(folder, "cpu")
    statuses.add(maker.make(job) for job in jobs)

def run(name, size, *flags):
    if subprocess.run(["mount", "-o", size, "-t", "tmpfs", "space", "out"]).returncode:
        sys.exit(77)
    code = main(["batch", "jobs.csv", "-o", "out", "--quiet", *flags])
    Path(f"{name}.code").write_text(str(code))
    shutil.copytree("out", name)

batch._run, batch.ray_session = make_here, lambda *_: nullcontext()
run("first", "size=72k")
run("second", "remount,size=100m", "--resume")
"""


@pytest.mark.slow
def test_a_full_disk_costs_no_film_that_was_made_and_the_others_are_made_when_there_is_room(tmp_path):
    row = {"photo": str(EXAMPLES / "astronaut.jpg"), "speech": speech_of(0.4, tmp_path / "speech.wav"), "size": 256}
    write_table([row | {"id": f"film{number}", "seed": number} for number in range(4)], tmp_path / "jobs.csv")
    (tmp_path / "out").mkdir()
    script = ["unshare", "--mount", "--map-root-user", sys.executable, "-c", ON_A_SMALL_DISK]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    try:
        code = subprocess.run(script, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL).returncode
    except FileNotFoundError:
        code = 77
    if code == 77 or not (tmp_path / "first.code").exists():
        pytest.skip("SKIPPED: this machine gives no mount namespaces (unshare)")
    first, second = films(tmp_path / "first"), films(tmp_path / "second")
    assert (tmp_path / "first.code").read_text() == "1" and 0 < len(first) < 4
    assert (tmp_path / "second.code").read_text() == "0" and len(second) == 4
    assert {path.name for path in (tmp_path / "second").iterdir()} == {*second, "status.parquet"}
    assert all(sum(1 for _ in read_frames(path)) == 10 for path in (tmp_path / "second").glob("*.mp4"))
    for name in first:  # it is the same film, and was not made again
        assert second[name][1] == first[name][1]


@pytest.fixture
def s3(monkeypatch) -> Iterator[Any]:
    """fsspec's file system of an S3-compatible server on this machine, which the usual variables name."""
    port = free_port()
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: is_listening(port))
            yield fsspec.filesystem("s3", skip_instance_cache=True)
        finally:
            server.terminate()
            fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.slow
def test_a_batch_reads_from_s3_and_writes_there_and_resumes(s3, tmp_path, capsys):
    s3.mkdir("films")
    s3.put_file(str(EXAMPLES / "astronaut.jpg"), "films/in/a.jpg")
    s3.put_file(str(speech_of(0.4, tmp_path / "a.wav")), "films/in/a.wav")
    rows = [{"id": f"film{number}", "photo": "a.jpg", "speech": "s3://films/in/a.wav"} for number in range(3)]
    s3.put_file(
        str(write_table([row | {"size": 256} for row in rows], tmp_path / "jobs.parquet")), "films/in/jobs.parquet"
    )
    s3.pipe_file("films/out/film0.mp4", b"a film")
    batch = ["batch", "s3://films/in/jobs.parquet", "--quiet", "--workers=1"]

    def written() -> dict[str, Any]:
        s3.invalidate_cache()
        return {
            PurePosixPath(path).name: file["LastModified"] for path, file in s3.find("films/out", detail=True).items()
        }

    assert main([*batch, "--out=s3://no-such-bucket/out"]) == 2
    assert capsys.readouterr().err == "space_core: There is no folder 'out'. Check the path.\n"
    before = written()
    command = [sys.executable, "-m", "space_core", *batch, "--out=s3://films/out", "--resume"]
    made = subprocess.run(command, cwd=PACKAGE.parent, stderr=subprocess.PIPE, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    after = written()
    assert set(after) == {"film0.mp4", "film1.mp4", "film2.mp4", "status.parquet"}
    assert after["film0.mp4"] == before["film0.mp4"]
    s3.get_file("films/out/film1.mp4", str(tmp_path / "film1.mp4"))
    assert sum(1 for _ in read_frames(tmp_path / "film1.mp4")) == 10
    assert main([*batch, "--out=s3://films/out", "--resume"]) == 0  # there is nothing left to do
    assert {**written(), "status.parquet": None} == {**after, "status.parquet": None}
    statuses = read_status_table(place("s3://films/out"))
    assert [(status.status, status.frames, status.path) for status in statuses] == [
        ("done", frames, f"s3://films/out/film{number}.mp4") for number, frames in enumerate((None, 10, 10))
    ]
    assert s3.ls("") == ["films"]  # a mistyped bucket is not created
    with pytest.raises(SpaceError, match=r"^There is no folder for the video 'a\.mp4'\.$"):
        upload(tmp_path / "film1.mp4", place("s3://no-such-bucket/a.mp4"))


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def demo_on(ray_address: str, *flags: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a demo with replicas on Ray, and its program."""
    port = free_port()
    command = [sys.executable, "app.py", f"--port={port}", "--backend=ray", f"--address={ray_address}", *flags]
    with subprocess.Popen(command, cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True) as program:
        try:
            until(lambda: "Running on" in program.stdout.readline(), 120)
            yield f"http://127.0.0.1:{port}", program
        finally:
            program.terminate()


def film_values(visitor: Visitor, speech: Path) -> dict[str, Any]:
    """The values of a request for a small film."""
    parameters = visitor.get("/gradio_api/info").json()["named_endpoints"]["/animate"]["parameters"]
    values = {parameter["parameter_name"]: parameter["parameter_default"] for parameter in parameters}
    return values | {"photo": visitor.upload(EXAMPLES / "astronaut.jpg"), "speech": visitor.upload(speech), "size": 256}


@pytest.mark.slow
def test_a_page_that_ends_costs_the_visitors_of_another_page_no_film(ray_cluster, ray_environment, tmp_path):
    ray_address, cluster = ray_cluster
    speech = speech_of(2, tmp_path / "speech.wav")

    def check_ending(old_address: str, old: subprocess.Popen, address: str, ending: signal.Signals) -> None:
        """Ends a page while films are made for its visitor, unless it is killed, and for the other page's."""
        with Visitor(old_address) as old_visitor, Visitor(address) as visitor:
            until(lambda: visitor.metric("space_replicas") == 1)
            assert len(replicas_of(cluster)) == 1  # the pages share it
            visitors = [visitor] if ending == signal.SIGKILL else [visitor, old_visitor]
            events = [client.begin("animate", list(film_values(client, speech).values())) for client in visitors]
            until(lambda: visitor.metric("space_busy") == 1)
            old.send_signal(ending)
            # Beside each other: the old page ends as soon as its own film is delivered.
            with ThreadPoolExecutor(len(events)) as pool:
                films = pool.map(lambda client, event: client.result("animate", event), visitors, events)
                assert all(film[1].startswith("2.0 s of video") for film in films)
            old.wait(60)
            assert visitor.ask("animate", list(film_values(visitor, speech).values()))

    # The first page, which starts the replica, is killed; the second one is told to end; the third is the last.
    flags = ("--grace-seconds=120",)  # for two films, one after the other
    with demo_on(ray_address, *flags) as first, demo_on(ray_address, *flags) as second:
        check_ending(*first, second[0], signal.SIGKILL)
        with demo_on(ray_address, *flags) as (third_address, third):
            check_ending(*second, third_address, signal.SIGTERM)
            third.terminate()
            third.wait(60)
    until(lambda: not replicas_of(cluster))


class FakeServe:
    """Ray Serve without processes: an application is there or not."""

    def __init__(self) -> None:
        self.applications: dict[str, Any] = {}
        self.is_removing, self.is_known = threading.Event(), threading.Event()

    def start(self, **_: Any) -> None:
        pass

    def status(self) -> SimpleNamespace:
        return SimpleNamespace(applications=dict(self.applications))

    def run(self, bound: Any, name: str, **_: Any) -> None:
        self.applications[name] = SimpleNamespace(status="RUNNING")

    def get_app_handle(self, name: str) -> None:
        self.is_known.set()

    def delete(self, name: str) -> None:
        self.is_removing.set()
        self.is_known.wait(1)  # whether a page that starts now takes it for one that stays
        del self.applications[name]


@pytest.mark.slow
def test_a_page_that_starts_while_the_last_one_removes_the_application_gets_a_new_one(monkeypatch):
    serve = FakeServe()
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    with ray_session(LOCAL, 1), ThreadPoolExecutor(1) as pages:
        monkeypatch.setattr("ray.serve", serve, raising=False)

        def start() -> bool:
            serve.is_removing.wait()
            with shared_application(None, "the same") as (name, _):
                ended.result()
                return name in serve.applications

        started = pages.submit(start)
        ended: Future[None] = Future()
        with shared_application(None, "the same") as (name, _):
            assert name in serve.applications
        ended.set_result(None)
        assert started.result()
    assert not serve.applications


class FakeReplica:
    """Gives a frame for each chunk of sound, as long as the stream is not cancelled."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self.talk = SimpleNamespace(remote=self._talk)

    def options(self, stream: bool) -> "FakeReplica":
        return self

    def _talk(self, request: LiveRequest, sound: queue.Queue) -> "FakeReplica":
        self.request, self.sound = request, sound
        return self

    def __iter__(self) -> Iterator[Any]:
        yield Ready()
        index = 0
        while (given := self.sound.get()) is not None:
            chunk, options = given
            is_skipped = index % 2 == 1
            picture = NO_PICTURE if is_skipped else np.full((2, 2, 3), int(options.gaze_yaw), np.uint8)
            yield LiveFrame(index, picture, chunk, is_skipped)
            index += 1

    def cancel(self) -> None:
        self.is_cancelled = True


def test_a_live_stream_of_a_replica_waits_for_its_reader_and_follows_changes(tmp_path, monkeypatch):
    class Sound(queue.Queue):
        def shutdown(self, force: bool) -> None:
            pass

    def chunks() -> Iterator[np.ndarray]:
        for _ in range(200):
            given.append(1)
            yield np.zeros(640, np.float32)

    monkeypatch.setattr("ray.util.queue.Queue", lambda actor_options: Sound())
    given, replica, control = [], FakeReplica(), LiveControl()
    remote = RemotePipeline("space", replica, None)
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    stream = remote.stream(tmp_path / "photo.jpg", chunks(), control=control, skip_after=0.2, progress=ignore_progress)
    with closing(stream) as frames:
        assert replica.request.photo.content == b"photo"
        until(lambda: len(given) > MAX_UNREAD)
        time.sleep(0.1)
        assert len(given) == MAX_UNREAD + 2  # one is on its way, and one more is held
        assert remote.replicas()["waiting"] == 1
        control.update(gaze_yaw=7)
        read = list(frames)
    assert [frame.index for frame in read] == list(range(200))
    assert [int(frame.picture.max()) for frame in read[-2:]] == [7, 7]
    assert replica.is_cancelled and remote.replicas()["waiting"] == 0


def test_a_live_stream_whose_replica_is_lost_is_a_fault_that_says_so(tmp_path, monkeypatch):
    class LostReplica(FakeReplica):
        def __iter__(self) -> Iterator[Any]:
            yield Ready()
            raise ActorDiedError

    monkeypatch.setattr(
        "ray.util.queue.Queue", lambda actor_options: SimpleNamespace(put=id, shutdown=lambda force: None)
    )
    remote, control = RemotePipeline("space", LostReplica(), None), LiveControl()
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    stream = remote.stream(tmp_path / "photo.jpg", iter(()), control=control, skip_after=0.2, progress=ignore_progress)
    with closing(stream), pytest.raises(ServerFault) as loss:
        next(stream)
    assert (str(loss.value), loss.value.reason) == (MACHINE_LOST, "machine_lost")


def test_the_documentation_quotes_what_is_said_of_a_lost_machine():
    assert f'"{MACHINE_LOST}"' in " ".join((PACKAGE.parent / "docs/many_machines.md").read_text("utf-8").split())


class MortalReplicas:
    """Replicas of which the first ``num_lost`` that are asked for a film are lost after its first part."""

    def __init__(self, num_lost: int) -> None:
        self.num_lost, self.num_asked = num_lost, 0
        self.render = SimpleNamespace(remote=self._render)

    def options(self, stream: bool) -> "MortalReplicas":
        return self

    def _render(self, request: FilmRequest) -> "MortalReplicas":
        self.num_asked += 1
        return self

    def __iter__(self) -> Iterator[Any]:
        yield Chunk("video", b"fi", is_last=False)
        if self.num_asked <= self.num_lost:
            raise ActorDiedError
        yield Chunk("video", b"lm", is_last=True)
        yield FilmResult(num_frames=25, num_faces=1, notes=())

    def cancel(self) -> None:
        pass


def test_a_film_whose_replica_is_lost_is_made_by_the_next_one_and_a_second_loss_is_reported(tmp_path):
    def film(num_lost: int) -> tuple[list[bytes], AnimationService]:
        service = AnimationService(RemotePipeline("space", MortalReplicas(num_lost), None), metrics)
        reports = service.animate(
            "anna", str(EXAMPLES / "astronaut.jpg"), SpeechSource(str(speech)), AnimationOptions()
        )
        return [report.video.read_bytes() for report in reports if isinstance(report, Film)], service

    speech, metrics = speech_of(1, tmp_path / "speech.wav"), Metrics()
    for num_lost in (0, 1):
        made, service = film(num_lost)
        assert made == [b"film"] and service.health()["degraded"] is None
    with pytest.raises(ServerFault, match=f"^{MACHINE_LOST}"):
        film(2)
    assert 'space_failed_total{endpoint="animate",reason="machine_lost"} 1.0' in metrics.text().decode()


@pytest.fixture
def ray_demo() -> Iterator[tuple[str, int]]:
    """The address of a demo with two replicas on a local Ray, and its process."""
    with demo_on("local", "--replicas=2", "--least-replicas=2", "--visitor-places=20") as (address, program):
        yield address, program.pid


@pytest.mark.slow
def test_a_replica_that_is_killed_costs_no_visitor_a_film_and_replicas_draw_live_sessions(ray_demo, tmp_path):
    address, program = ray_demo
    speech, long = speech_of(2, tmp_path / "speech.wav"), speech_of(60, tmp_path / "long.wav")
    with Visitor(address) as visitor, ThreadPoolExecutor(6) as clients:
        until(lambda: visitor.metric("space_replicas") == 2)
        health = visitor.get("/healthz").json()
        assert {name: health[name] for name in ("device", "replicas", "busy", "waiting")} == {
            "device": "ray",
            "replicas": 2,
            "busy": 0,
            "waiting": 0,
        }
        values = film_values(visitor, speech)

        def film_of(seed: int) -> bytes:
            with Visitor(address) as client:
                video = client.ask("animate", list((values | {"seed": seed}).values()))[0]
                return client.get(f"/gradio_api/file={video.get('video', video)['path']}").content

        results = [clients.submit(film_of, seed) for seed in range(6)]
        until(lambda: visitor.metric("space_busy") == 2, 120)
        replicas_of(program)[0].kill()
        films = [result.result() for result in results]
        for number, film in enumerate(films):
            (tmp_path / f"{number}.mp4").write_bytes(film)
            assert sum(1 for _ in read_frames(tmp_path / f"{number}.mp4")) == 50
        assert len(set(films)) == 6
        until(lambda: visitor.metric("space_replicas") == 2, 120)
        noise = visitor.upload_bytes("noise.jpg", b"no picture").json()[0]
        assert "image" in visitor.refusal("animate", list((values | {"photo": uploaded(noise)}).values()))
        visitor.begin("animate", list((values | {"speech": visitor.upload(long)}).values()), session_hash="who_stops")
        until(lambda: visitor.metric("space_busy") == 1)
        visitor.begin("stop", [], session_hash="who_stops")
        until(lambda: visitor.metric("space_busy") == 0, 10)
        with connect(address.replace("http", "ws") + "/live") as session:
            session.send(json.dumps({"photo": values["photo"]["path"]}))
            assert json.loads(session.recv(60))["type"] == "ready"
            assert visitor.metric("space_busy") == 1
            session.send(bytes(32_000))
            session.send('{"end": true}')
            *pictures, end = session
        assert (len(pictures), json.loads(end)) == (25, {"type": "end", "message": ""})
        until(lambda: visitor.metric("space_busy") == 0, 10)
        assert visitor.get("/healthz").json()["status"] == "ready"
