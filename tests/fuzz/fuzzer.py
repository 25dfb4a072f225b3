"""Sends random inputs to the demo, and checks that it answers each in time and is as before afterwards.

    python tests/fuzz/fuzzer.py --seconds 3600 --seed 1
    python tests/fuzz/fuzzer.py --seed 1 --only 4711     # one input again, which is also written to a file

Each answer has to be a film, a picture or one plain sentence. Prints what was counted as JSON; exit status 1 if
anything is wrong, with one line for each.
"""

import argparse
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conftest import Refused, Visitor, uploaded  # noqa: E402
from fuzz.inputs import MARK, Input, good_file, make_input  # noqa: E402

VISITORS = 4  # at the same time
LATE_SECONDS = 60.0  # for an answer, with so many visitors before it
WARM_UP = 40  # inputs before memory is measured
# Bytes that may stay: cached portraits, and pools of libraries, which grow to what the largest input needs. After 400
# inputs 530 MB were measured.
SETTLED = 5  # seconds without a change of the files
MEMORY_GROWTH = 700 * 2**20
PORTRAITS_MB = 200
NOT_PLAIN = re.compile(r"Traceback|Error\b|Exception|<class|NoneType|/(tmp|home|usr|root|etc|work|var)/")
EVENTS = {"serving", "ended", "filmed", "refused", "left", "stopped", "warning", "library"}


@dataclass
class Report:
    """What was seen: counts by kind of input and of answer, seconds of answers, memory, and what is wrong."""

    counts: Counter = field(default_factory=Counter)
    megabytes: list[int] = field(default_factory=list)  # of the server's memory, over time
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        times = sorted(self.seconds) or [0.0]
        return {
            "inputs": sum(count for (kind, _), count in self.counts.items() if kind == "all"),
            **{answer: count for (kind, answer), count in sorted(self.counts.items()) if kind == "all"},
            "megabytes": self.megabytes[:: max(1, len(self.megabytes) // 10)],
            "seconds_median": round(times[len(times) // 2], 2),
            "seconds_max": round(times[-1], 2),
            "by_kind": {f"{kind}: {answer}": n for (kind, answer), n in sorted(self.counts.items()) if kind != "all"},
        }


@dataclass(frozen=True)
class State:
    """The server's resources at rest."""

    memory: int  # bytes
    children: int
    threads: int
    descriptors: int
    files: int  # of jobs, which end with them


@contextmanager
def server(log: Path) -> Iterator[tuple[psutil.Process, str, Path]]:
    """The demo as a program of its own: its process, its address, and the folder of its temporary files."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        limits = ["--visitor-uploads", "1000000", "--visitor-mb", "1000000", "--visitor-places", "100"]
        limits += ["--visitor-requests", "100000", "--visitor-jobs", "100000"]
        limits += ["--portraits-mb", str(PORTRAITS_MB), "--job-seconds", "45"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPACE_", "GRADIO_"))}
        with log.open("w") as messages:
            program = subprocess.Popen(
                [sys.executable, "app.py", "--port", port, "--queue-size", "100", *limits],
                cwd=ROOT,
                env={**environment, "TMPDIR": folder},
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
            )
        try:
            assert program.stdout is not None
            if "Running on" not in program.stdout.readline():
                raise SystemExit(f"The demo did not start: {log.read_text()}")
            yield psutil.Process(program.pid), f"http://127.0.0.1:{port}", Path(folder)
        finally:
            program.terminate()
            try:
                program.wait(60)
            except subprocess.TimeoutExpired:
                program.kill()
                raise


def ask(visitor: Visitor, item: Input, rng: random.Random, defaults: dict[str, dict[str, Any]]) -> str:
    """Sends an input; "film", "picture", "refusal" or "http", or else what is wrong with the answer."""
    if item.raw:
        return _send_raw(visitor, item.raw)
    given = dict(defaults[item.endpoint])
    for name, value in item.values.items():
        if name in given or name.startswith("?"):
            given[rng.choice(list(given)) if name.startswith("?") else name] = value
    for name, (file_name, content) in item.files.items():
        answer = visitor.upload_bytes(file_name, content)
        if answer.status_code != 200:
            return _checked(answer.text, answer.status_code)
        if not isinstance(given.get(name), bool | float | int):
            given[name] = uploaded(answer.json()[0])
    answer = visitor.call(item.endpoint, list(given.values()))
    if answer.status_code != 200:
        return _checked(answer.text, answer.status_code)
    try:
        result = visitor.result(item.endpoint, answer.json()["event_id"])
    except Refused as refusal:
        return _checked(str(refusal), 200)
    if item.endpoint == "look":
        return "picture" if result[0] else _checked(result[1] or "No photo was given.", 200)
    made = result[0] or {}
    path = made.get("video", made).get("path", "")
    return "film" if path.endswith((".mp4", ".wav")) else f"wrong: no film but {str(result)[:200]}"


def _send_raw(visitor: Visitor, raw: bytes) -> str:
    """The answer to bytes that may be no HTTP: any status but a fault, or a connection that is closed."""
    answer = b""
    with socket.create_connection((visitor.base_url.host, visitor.base_url.port), timeout=40) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(65536)
        except ConnectionError:
            return "http"
        except TimeoutError:
            return "wrong: no answer"
    status = answer[9:12].decode("ascii", "replace")
    return f"wrong: {answer[:300]!r}" if status.startswith("5") else "http"


def _checked(sentence: str, status: int) -> str:
    """ "refusal" if a refusal is one plain sentence or two, and names no fault of the server."""
    if sentence.startswith("{"):
        sentence = json.loads(sentence)["detail"]
    if "as fault" in sentence or status >= 500:
        return f"fault: {sentence}"
    is_sentence = isinstance(sentence, str) and 10 < len(sentence) < 400 and sentence[-1] == "."
    said = re.sub(r"(?<!\w)'[^']*'|\"[^\"]*\"", "", str(sentence))  # without the visitor's own words
    return "refusal" if is_sentence and not NOT_PLAIN.search(said) else f"wrong: {sentence[:400]!r}"


def rest(process: psutil.Process, address: str, folder: Path) -> State:
    """Waits for the server to have nothing to do, and looks at what it holds.

    What the latest failed jobs held is freed when the next one ends: files that stay as they are are not waited for.
    """
    until, latest, files = time.monotonic() + 60, None, []
    while time.monotonic() < until:
        time.sleep(1)
        queue = httpx.get(f"{address}/healthz", timeout=60).json()["queue"]
        work = sum(path.is_file() for path in folder.glob("space-visitors-*/work/**/*"))
        children = [child for child in process.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
        latest = State(process.memory_info().rss, len(children), process.num_threads(), process.num_fds(), work)
        files.append(work)
        has_settled = work == 0 or (len(files) > SETTLED and len(set(files[-SETTLED:])) == 1)
        if queue == 0 and has_settled and not any("ffmpeg" in child.name() for child in children):
            break
    assert latest is not None
    return latest


class Attack:
    """Inputs sent to a demo, and the report on its answers."""

    def __init__(self, seed: int, process: psutil.Process, address: str) -> None:
        self.report = Report()
        self._seed, self._process, self._address, self._lock = seed, process, address, threading.Lock()
        with Visitor(address) as visitor:
            described = visitor.get("/gradio_api/info").json()["named_endpoints"]
        self._defaults = {
            endpoint.strip("/"): {
                parameter["parameter_name"]: parameter.get("parameter_default") for parameter in info["parameters"]
            }
            for endpoint, info in described.items()
        }

    def send(self, number: int) -> None:
        """Sends one input and notes the answer."""
        item = make_input(self._seed, number)
        begun = time.monotonic()
        try:
            with Visitor(self._address) as visitor:
                answer = ask(visitor, item, random.Random(f"{self._seed}/{number}"), self._defaults)
        except Exception as error:  # whatever it is, it is not an answer
            answer = f"wrong: {type(error).__name__}: {error}"
        elapsed = time.monotonic() - begun
        if elapsed > LATE_SECONDS:
            answer = f"late: {elapsed:.0f} s; {answer}"
        with self._lock:
            kind = answer.split(":")[0]
            self.report.counts.update([("all", kind), (item.kind, kind)])
            self.report.seconds.append(elapsed)
            self.report.megabytes.append(self._process.memory_info().rss >> 20)
            if ":" in answer:
                self.report.wrong.append(f"input {number} of seed {self._seed} ({item.kind}): {answer}")

    def check_service(self) -> None:
        """Notes whether a visitor with good files still gets a film, and the demo is ready."""
        good = Input("good", "animate", {"photo": good_file("photo"), "speech": good_file("recording")}, {"size": 256})
        with Visitor(self._address) as visitor:
            state = visitor.get("/healthz").json()
            made = ask(visitor, good, random.Random(0), self._defaults)
            if made != "film" or visitor.get("/healthz").json()["status"] != "ready":
                self.report.wrong.append(f"afterwards: {made}, {state}")


def fuzz(seed: int, seconds: float, log: Path, only: int | None = None) -> Report:
    """Sends inputs for so long, or one only, and checks all that is promised."""
    with server(log) as (process, address, folder):
        attack = Attack(seed, process, address)
        if only is None:
            numbers = itertools.count()

            def send_until(end: float) -> None:
                while time.monotonic() < end:
                    attack.send(next(numbers))

            with ThreadPoolExecutor(VISITORS) as visitors:
                list(visitors.map(attack.send, itertools.islice(numbers, WARM_UP)))
                before = rest(process, address, folder)
                list(visitors.map(send_until, [time.monotonic() + seconds] * VISITORS))
            after = rest(process, address, folder)
            print(json.dumps({"before": vars(before), "after": vars(after)}))
            attack.report.wrong += _differences(before, after)
        else:
            item = make_input(seed, only)
            for name, (_, content) in item.files.items():
                Path(f"fuzz-{seed}-{only}-{name}").write_bytes(content)
            print(item.kind, item.endpoint, item.values, item.raw)
            attack.send(only)
        attack.check_service()
    attack.report.wrong += _log_errors(log.read_text())
    return attack.report


def _differences(before: State, after: State) -> list[str]:
    """What the server holds that it did not hold before."""
    # See ``rest``; pools may have grown by a few.
    allowed = {"memory": MEMORY_GROWTH, "children": 2, "threads": 8, "descriptors": 20, "files": 4}
    return [
        f"{name} grew from {getattr(before, name)} to {getattr(after, name)}"
        for name, more in allowed.items()
        if getattr(after, name) > getattr(before, name) + more
    ]


def _log_errors(log: str) -> list[str]:
    """Lines of the log that should not be there."""
    wrong = [f"the log holds what a visitor gave: {line[:200]}" for line in log.splitlines() if MARK in line]
    for line in log.splitlines():
        try:
            event = json.loads(line)["event"]
        except (ValueError, KeyError):
            event = line[:200]
        if event not in EVENTS:
            wrong.append(f"log: {line[:300]}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of the one input to send")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = fuzz(arguments.seed, arguments.seconds, Path(folder) / "log", arguments.only)
    print(json.dumps(report.summary(), indent=1))
    print(*report.wrong, sep="\n")
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
