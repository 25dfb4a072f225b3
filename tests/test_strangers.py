"""What the demo promises its operator when strangers use it: limits, plain answers, an end in every case."""

import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
from conftest import Refused, Visitor, free_port, serving, until, uploaded
from gradio.routes import file_upload_statuses
from tiny_page import QUEUE_SIZE, ROOT, is_sentence, program, served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from space_core import ServerFault, SpaceError
from space_core.options import AnimationOptions
from space_core.web import (
    connections,
    expiry,
    gradio_page,
    job_threads,
    listeners,
    request_body,
    visitor_limits,
)
from space_core.web.endpoints import Endpoints
from space_core.web.film_streams import FilmStreams
from space_core.web.gradio_patches import MAX_PROGRESS
from space_core.web.jobs import Film, SpeechSource, TimeLimit
from space_core.web.metrics import Metrics
from space_core.web.service import AnimationService
from space_core.web.settings import Settings
from space_core.web.visitor_limits import RateLimit, UploadLimits

BOUNDARY = "limit"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\na face'
JSON = {"content-type": "application/json"}
MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture(scope="module")
def visitor(tmp_path_factory):
    with served(tmp_path_factory.mktemp("page"), queue_size=20) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def operated(tmp_path_factory):
    """The tiny page's program with an operator's flags: its private folder, visitor, and address for monitoring."""
    parent, port = tmp_path_factory.mktemp("program"), free_port()
    (parent / "gradio").write_text("of another user")
    flags = ("--trusted-proxies", "192.0.2.1", "--visitor-uploads", "1", "--monitoring-port", str(port))
    with program(parent, *flags) as (_, folder, visitor):
        yield SimpleNamespace(folder=folder, visitor=visitor, monitoring=f"http://127.0.0.1:{port}")


def sentence(answer):
    """The one sentence of an answer."""
    text = answer.json()["detail"] if answer.headers["content-type"] == "application/json" else answer.text
    assert is_sentence(text), text
    return text


def detail(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text)
    return sentence(answer)


@contextmanager
def from_address(visitor, address):
    """The same demo as another visitor sees it, behind a proxy on this machine."""
    with Visitor(str(visitor.base_url)) as other:
        other.headers["x-forwarded-for"] = address
        yield other


# Wrong requests


def test_an_unknown_endpoint_or_argument_is_named(visitor):
    post = visitor.post
    assert "no such endpoint" in detail(post("/gradio_api/call/v2/nothing", json={}), 404)
    assert "no parameter colour" in detail(post("/gradio_api/call/v2/photo", json={"colour": 1}), 422)
    missing = detail(post("/gradio_api/call/v2/photo", json={}), 422)
    assert "parameter" in missing and "is missing" in missing
    # The form that is advised is the one that this route takes.
    assert '{"photo": ' in detail(post("/gradio_api/call/v2/photo", content="[]"), 422)
    assert '{"data": [' in detail(post("/gradio_api/call/photo", content="[]"), 422)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("path", ["call/glance", "call/v2/glance", "queue/join", "cancel"])
def test_lists_within_lists_are_refused_before_they_are_parsed(visitor, path, encoding):
    """The parser would use up the interpreter's stack, and finalizers that run meanwhile would fail."""
    for body in ("[" * 100_000, '{"data": ' + "[" * 60 + "]" * 60 + "}", '{"data": ["]]]]", ' + '{"a":' * 60):
        answer = visitor.post(f"/gradio_api/{path}", content=body.encode(encoding), headers=JSON)
        assert "nested" in detail(answer, 422)


def test_brackets_in_a_text_are_no_lists(visitor):
    text = '[{"' * 1000 + "\\"
    assert visitor.post("/gradio_api/call/glance", content=json.dumps({"data": [], "a": text}), headers=JSON).is_success


def test_an_endpoint_may_be_called_by_the_names_of_its_parameters(visitor):
    answer = visitor.post("/gradio_api/call/v2/glance", json={})
    assert answer.status_code == 200
    assert visitor.result("glance", answer.json()["event_id"]) == ["seen"]


@pytest.mark.parametrize("number", [-1, 9999, 2**70])
def test_an_unknown_function_is_not_found(visitor, number):
    asked = visitor.post("/gradio_api/queue/join", json={"data": [], "fn_index": number, "session_hash": "a"})
    assert asked.status_code in (404, 422)
    sentence(asked)


@pytest.mark.parametrize("session", ["", "x" * 100_000, "a b", "a\n", "ü", "\ud800"])
def test_a_session_without_a_name_is_refused(visitor, session):
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": session})
    answer = visitor.post("/gradio_api/queue/join", content=body, headers=JSON)
    assert "session_hash" in detail(answer, 400)


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1-2", "bytes=9-2", "bytes=-", "bytes=a-b", "bytes=²-³", "bytes=0-1,3-4", "lines=1-2", "bytes=999-1000"]
    + ["bytes=99999999999999999999-"],
)
def test_a_range_that_is_not_in_the_file_is_416(visitor, asked):
    (path,) = visitor.upload_bytes("photo.jpg", b"a face").json()
    answer = visitor.get(f"/gradio_api/file={path}", headers={"range": asked.encode()})
    assert "range of bytes" in detail(answer, 416)


@pytest.mark.parametrize(("asked", "content"), [("bytes=2-5", b"face"), ("bytes=2-", b"face"), ("bytes=-4", b"face")])
def test_a_range_of_a_file_is_served(visitor, asked, content):
    (path,) = visitor.upload_bytes("photo.jpg", b"a face").json()
    answer = visitor.get(f"/gradio_api/file={path}", headers={"range": asked})
    assert (answer.status_code, answer.content) == (206, content)


def test_values_are_what_they_seem():
    given = []

    def animate(visitor, photo, speech, options, **more):
        given.append((speech, options, more))
        yield Film(Path("space.mp4"), None, None, 25, 1, (), 1.0)

    endpoints = Endpoints(SimpleNamespace(animate=animate), Settings())
    defaults = {parameter.name: parameter.default for parameter in signature(endpoints.animate).parameters.values()}
    asked = {**defaults, "photo": "a.jpg", "speech": "a.wav"}
    for name, value in (("mark", "no"), ("look_inside", "false"), ("mark", 0), ("look_inside", [])):
        with pytest.raises(Exception, match=f"{name} must be true or false"):
            list(endpoints.animate(*{**asked, name: value}.values()))
    for name, value in (("text", {"a": 1}), ("blend", 5), ("text", ["Hello"])):
        with pytest.raises(Exception, match=f"{name} must be a text"):
            list(endpoints.animate(*{**asked, "speech": None, name: value}.values()))
    with pytest.raises(Exception, match="text must be a text"):
        list(endpoints.say({"a": 1}))
    assert given == []
    list(endpoints.animate(*{**asked, "mark": True, "look_inside": False}.values()))
    assert len(given) == 1


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_health_and_metrics_answer_to_head(visitor, path):
    answer = visitor.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


# Uploads


def files_in(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "body",
    [
        PART,
        f"{PART}\r\n",
        f"{PART}\r\n--{BOUNDARY}",
        f"{PART}\r\n--{BOUNDARY}--".replace('; filename="a.jpg"', ""),
        f"--{BOUNDARY}--\r\n",
        "",
        f"{PART}\r\n" * 40 + f"--{BOUNDARY}--\r\n",
    ],
)
def test_an_upload_that_is_not_whole_is_refused_and_nothing_of_it_is_kept(tmp_path, body):
    with served(tmp_path) as visitor:
        before = files_in(tmp_path)
        answer = visitor.post("/gradio_api/upload", content=body.encode(), headers=MULTIPART)
        assert answer.status_code == 400
        assert files_in(tmp_path) == before


def test_an_upload_that_breaks_off_is_removed_at_once(tmp_path):
    with served(tmp_path) as visitor:
        before = files_in(tmp_path)
        with unfinished_upload(visitor):
            until(lambda: files_in(tmp_path) > before)
        until(lambda: files_in(tmp_path) == before)
        assert visitor.upload_bytes("photo.jpg", b"a face").status_code == 200


def test_an_upload_that_does_not_go_on_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(request_body, "IDLE_SECONDS", 3.0)
    with served(tmp_path) as visitor, ExitStack() as uploads:
        before = files_in(tmp_path)
        unfinished = [uploads.enter_context(unfinished_upload(visitor)) for _ in range(5)]
        until(lambda: len(files_in(tmp_path)) == len(before) + 5)
        for connection in unfinished:
            answer = received(connection)
            assert answer.startswith("HTTP/1.1 408")
            assert "Send it again." in answer
        until(lambda: files_in(tmp_path) == before)
        assert visitor.metric('space_failed_total{endpoint="upload",reason="left"}') == 5


def test_connections_without_a_request_are_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with served(tmp_path) as visitor, ExitStack() as sockets:
        silent, slow, second = (sockets.enter_context(connected(visitor)) for _ in range(3))
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        second.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        begun = time.monotonic()
        while time.monotonic() < begun + 0.8:  # a head that never ends
            slow.sendall(b"X-More: 1\r\n")
            time.sleep(0.2)
        for connection in (silent, slow, second):
            assert received(connection) == ""
        assert time.monotonic() < begun + 10
        assert visitor.get("/").status_code == 200


def test_one_address_can_not_take_all_connections(tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 4)
    with served(tmp_path) as visitor, ExitStack() as sockets:
        for _ in range(4):
            sockets.enter_context(connected(visitor))
        with connected(visitor) as refused:
            assert received(refused) == ""


def connected(visitor):
    return socket.create_connection((visitor.base_url.host, visitor.base_url.port))


def received(connection):
    """All that comes until the server closes the connection."""
    connection.settimeout(20)
    return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


@contextmanager
def unfinished_upload(visitor):
    """A connection over which most of an upload has been sent."""
    with connected(visitor) as connection:
        head = "POST /gradio_api/upload HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n"
        head += f"Content-Type: {MULTIPART['content-type']}\r\n\r\n"
        connection.sendall((head + PART).encode())
        yield connection


def test_uploads_of_one_visitor_are_limited_and_those_of_others_are_not(tmp_path):
    with served(tmp_path, visitor_uploads=3) as visitor:
        for _ in range(3):
            assert visitor.upload_bytes("photo.jpg", b"a face").status_code == 200
        assert "as much as one visitor may" in detail(visitor.upload_bytes("photo.jpg", b"a face"), 429)
        assert visitor.metric('space_failed_total{endpoint="upload",reason="limit"}') == 1
        with from_address(visitor, "198.51.100.7") as other:
            assert other.upload_bytes("photo.jpg", b"a face").status_code == 200


def test_one_visitor_can_upload_so_many_bytes(tmp_path):
    with served(tmp_path, visitor_mb=1, max_upload_mb=1) as visitor:
        assert visitor.upload_bytes("a.jpg", bytes(600_000)).status_code == 200
        assert "as much as one visitor may" in detail(visitor.upload_bytes("b.jpg", bytes(600_000)), 429)
        assert visitor.upload_bytes("c.jpg", bytes(200_000)).status_code == 200
        # IPv6 visitors have more addresses than anybody can count.
        with from_address(visitor, "2001:db8::1") as other:
            assert other.upload_bytes("a.jpg", bytes(600_000)).status_code == 200
        with from_address(visitor, "2001:db8::2") as other:
            assert other.upload_bytes("b.jpg", bytes(600_000)).status_code == 429


def test_uploads_that_began_while_there_was_room_do_not_fill_the_disk(tmp_path, monkeypatch):
    free = [40, 40, 40, 10]  # megabytes, when it is asked
    monkeypatch.setattr(
        "shutil.disk_usage", lambda _: SimpleNamespace(free=(free.pop(0) if len(free) > 1 else free[0]) * 2**20)
    )
    with served(tmp_path, max_upload_mb=10) as visitor:
        before = files_in(tmp_path)
        answer = visitor.upload_bytes("speech.wav", bytes(8_000_000))
        assert "no room for uploads" in detail(answer, 507)
        assert files_in(tmp_path) == before
        assert visitor.metric('space_failed_total{endpoint="upload",reason="disk_full"}') == 1


def test_files_are_kept_for_a_shorter_time_while_the_disk_is_nearly_full(tmp_path, monkeypatch):
    free = 2**30
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(expiry, "EXPIRY_INTERVAL", 0.05)
    monkeypatch.setattr(expiry, "SCARCE_SECONDS", 0.5)
    monkeypatch.setattr(expiry, "is_private", lambda folder: True)
    with served(tmp_path, max_upload_mb=10) as visitor:
        (path,) = visitor.upload_bytes("photo.jpg", b"a face").json()
        time.sleep(1)
        assert Path(path).exists()
        free = 2**20
        until(lambda: not Path(path).exists())


def test_a_run_whose_lock_is_old_keeps_it(tmp_path, monkeypatch):
    folder = tmp_path / "work" / "space-run-1"
    for path in (tmp_path / "page" / "photo.jpg", folder / "lock", folder / "speech.wav"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(expiry, "EXPIRY_INTERVAL", 0.05)
    monkeypatch.setattr(expiry, "is_private", lambda folder: True)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 7200)
    with served(tmp_path / "page"):
        until(lambda: not (tmp_path / "page" / "photo.jpg").exists() and not (folder / "speech.wav").exists())
        assert (folder / "lock").exists()


def test_uploads_of_visitors_who_were_here_once_are_forgotten(monkeypatch):
    monkeypatch.setattr(visitor_limits, "SWEEP_SECONDS", 0.0)
    limits = UploadLimits(uploads=3, num_bytes=1000, seconds=0.1)
    for number in range(1000):
        limits.begin(str(number), 10)
        limits.end(str(number), 10)
    assert limits.num_addresses > 1
    until(lambda: limits.begin("another", 10) is None and not limits.end("another", 10) and limits.num_addresses < 5)


def test_an_address_that_no_trusted_proxy_gives_does_not_count(operated):
    for address, status in (("198.51.100.7", 200), ("198.51.100.8", 429)):
        with from_address(operated.visitor, address) as other:
            assert other.upload_bytes("photo.jpg", b"a face").status_code == status


@pytest.mark.parametrize("begun", ["GET / HTTP/1.1\r\nX: ", "GET /", "GET / HTTP/1.1\r\n"])
def test_a_request_whose_head_does_not_end_is_refused(operated, begun):
    address = operated.visitor.base_url
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(begun.encode())
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            for _ in range(1000):
                connection.sendall(b"X: a\r\n" * 10_000 if begun.endswith("\n") else b"a" * 60_000)
    assert operated.visitor.get("/config").status_code == 200


def test_a_request_with_two_lengths_is_refused_with_what_follows_it(visitor):
    with socket.create_connection((visitor.base_url.host, visitor.base_url.port)) as connection:
        head = "POST /gradio_api/upload HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
        connection.sendall(f"{head}\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        answer = received(connection)
    assert answer.startswith("HTTP/1.1 400")
    assert "Send it with one of them." in answer
    assert answer.count("HTTP/1.1") == 1


@pytest.mark.parametrize("path", ["upload", "call/photo"])
def test_a_request_without_an_end_is_given_up(tmp_path, path):
    with served(tmp_path) as visitor:
        before = files_in(tmp_path)
        head = f"POST /gradio_api/{path} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n"
        with socket.create_connection((visitor.base_url.host, visitor.base_url.port)) as connection:
            connection.sendall(f"{head}Content-Type: {MULTIPART['content-type']}\r\n\r\n".encode())
            connection.sendall(f"{len(PART):x}\r\n{PART}\r\n".encode())
            with pytest.raises(OSError, match=r"reset|Broken pipe"):
                for _ in range(1000):
                    connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        until(lambda: files_in(tmp_path) == before)


# Requests a second, jobs a minute


def test_requests_of_one_visitor_are_held_up_and_then_refused_and_others_are_served(tmp_path):
    # 20 requests at once; another one every ten seconds, for which nobody is held up so long.
    with served(tmp_path, visitor_requests=0.1) as visitor:
        answers = [visitor.get("/gradio_api/app_id") for _ in range(21)]
        assert [answer.status_code for answer in answers] == 20 * [200] + [429]
        assert 5 < int(answers[-1].headers["retry-after"]) <= 10
        assert "more requests than one visitor may" in detail(answers[-1], 429)
        assert f"again in {answers[-1].headers['retry-after']} s." in answers[-1].text
        assert detail(visitor.upload_bytes("photo.jpg", b"a face"), 429)
        with from_address(visitor, "198.51.100.7") as other:
            assert other.get("/").status_code == 200
            assert other.metric('space_failed_total{endpoint="question",reason="limit"}') == 1
            assert other.metric('space_failed_total{endpoint="upload",reason="limit"}') == 1
    with served(tmp_path / "faster", visitor_requests=5) as visitor:
        for _ in range(101):  # of which each counts as ten
            assert visitor.post("/gradio_api/nothing").status_code == 404


def test_web_sockets_count_as_requests(tmp_path):
    with served(tmp_path, visitor_requests=0.1) as visitor:
        for status in (404, 404, 429):
            with pytest.raises(InvalidStatus) as refused, connect(f"ws{str(visitor.base_url)[4:]}/nothing"):
                pass
            assert refused.value.response.status_code == status


def test_jobs_of_one_visitor_are_limited_and_those_of_others_are_not(tmp_path):
    with served(tmp_path, visitor_jobs=2) as visitor:
        for _ in range(2):
            assert visitor.ask("glance", []) == ["seen"]
        answer = visitor.call("glance", [])
        assert "Videos, previews and texts of one visitor are limited to 2 a minute." in detail(answer, 429)
        assert 20 < int(answer.headers["retry-after"]) <= 30
        assert visitor.metric('space_failed_total{endpoint="glance",reason="limit"}') == 1
        with from_address(visitor, "198.51.100.7") as other:
            assert other.ask("glance", []) == ["seen"]


def test_metrics_report_of_how_many_addresses_requests_are_counted(tmp_path):
    with served(tmp_path) as visitor:
        visitor.get("/config")
        for number in range(4):
            with from_address(visitor, f"198.51.100.{number}") as other:
                other.get("/config")
        assert visitor.metric('space_addresses{limit="requests"}') == 5
        assert visitor.metric('space_addresses{limit="uploads"}') == 0


def test_rates_of_visitors_who_were_here_once_are_forgotten():
    limit = RateLimit(per_second=1000, at_once=10)
    for address in range(100):
        assert limit.reserve(str(address)) == 0
    time.sleep(0.02)
    limit.reserve("another")
    assert limit.num_addresses == 1


# Places in the queue


def test_one_visitor_has_so_many_places_and_others_find_some(tmp_path):
    with served(tmp_path, queue_size=20, visitor_places=3) as visitor:
        visitor.begin("work", [])
        assert visitor.occupied.wait(10)
        for _ in range(2):
            visitor.begin("work", [])
        assert "all 3 places" in detail(visitor.call("work", []), 429)
        assert visitor.metric('space_failed_total{endpoint="work",reason="limit"}') == 1
        with from_address(visitor, "198.51.100.7") as other:
            other.begin("work", [], session_hash="one")
            for _ in range(2):
                other.begin("work", [])
            assert other.call("work", []).status_code == 429
        with from_address(visitor, "198.51.100.8") as other:  # the same session from another address
            other.begin("work", [], session_hash="two")
            other.begin("work", [], session_hash="two")
        with from_address(visitor, "198.51.100.9") as other:
            other.begin("work", [], session_hash="two")
            assert other.call("work", [], session_hash="two").status_code == 429
            assert other.call("work", [], session_hash="three").status_code == 200


def test_a_full_queue_of_one_kind_leaves_the_others_open(tmp_path):
    with served(tmp_path) as visitor:
        visitor.begin("work", [])
        assert visitor.occupied.wait(10)
        for _ in range(QUEUE_SIZE):
            visitor.begin("work", [])
        assert visitor.call("work", []).status_code == 429
        assert visitor.ask("glance", []) == ["seen"]


def test_requests_whose_results_nobody_fetches_do_not_take_the_result_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(gradio_page, "MAX_RESULTS", 30)
    with served(tmp_path, queue_size=1000, visitor_places=1000) as visitor:
        event = visitor.begin("work", [])
        assert visitor.occupied.wait(10)
        left = [visitor.begin("glance", []) for _ in range(40)]
        visitor.released.set()
        assert visitor.result("work", event) == [None]
        assert visitor.get(f"/gradio_api/call/glance/{left[0]}").status_code == 404  # the oldest is kept no longer


def test_those_who_wait_get_their_results_however_many_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(gradio_page, "MAX_RESULTS", 30)
    with served(tmp_path, queue_size=1000, visitor_places=1000) as visitor:
        waiting = [visitor.begin("work", []) for _ in range(40)]
        visitor.released.set()
        assert visitor.result("work", waiting[0]) == visitor.result("work", waiting[-1]) == [None]


def test_nothing_is_kept_of_uploads_that_never_come_but_whose_progress_is_asked_for(visitor):
    asked = "x" * 20_000
    assert visitor.get("/gradio_api/upload_progress", params={"upload_id": asked}).status_code == 404
    assert asked not in file_upload_statuses._signals


def test_of_finished_uploads_the_progress_of_the_latest_is_kept(visitor):
    file = {"files": ("photo.jpg", b"a face")}
    for number in range(MAX_PROGRESS + 5):
        answer = visitor.post(f"/gradio_api/upload?upload_id=finished{number}", files=file)
        assert answer.status_code == 200
    assert len(file_upload_statuses._statuses) == len(file_upload_statuses._signals) == MAX_PROGRESS
    progress = visitor.get("/gradio_api/upload_progress", params={"upload_id": f"finished{number}"})
    assert '{"msg": "done"}' in progress.text


# Streams


@pytest.mark.parametrize(
    "path", ["call/work/nothing", "call/v2/work/nothing", "queue/data?session_hash=nobody", "queue/data"]
)
def test_a_stream_of_nothing_is_not_found(visitor, path):
    assert "no such request" in detail(visitor.get(f"/gradio_api/{path}"), 404)


def test_a_result_is_fetched_once(visitor):
    event = visitor.begin("glance", [])
    assert visitor.result("glance", event) == ["seen"]
    assert "already been fetched" in detail(visitor.get(f"/gradio_api/call/glance/{event}"), 404)
    assert "already been fetched" in detail(visitor.get(f"/gradio_api/queue/data?session_hash={event}"), 404)


def test_who_cancels_needs_the_session_of_the_request(tmp_path):
    with served(tmp_path) as visitor:
        event = visitor.begin("work", [], session_hash="anna")
        visitor.occupied.wait(10)
        waiting = visitor.begin("work", [], session_hash="anna")

        def cancel(session, event):
            asked = {"session_hash": session, "fn_index": 0, "event_id": event}
            return visitor.post("/gradio_api/cancel", json=asked)

        assert cancel("bert", waiting).json() == cancel("anna", "nothing").json() == {"success": True}
        assert visitor.get("/healthz").json()["queue"] == 1 and not visitor.closed
        cancel("anna", waiting)
        assert visitor.get("/healthz").json()["queue"] == 0 and not visitor.closed
        cancel("anna", event)  # is answered although the work goes on
        assert visitor.closed == ["anna"]
        for body in ("", "[]", '{"event_id": 5}'):
            detail(visitor.post("/gradio_api/cancel", content=body), 422)


def test_results_that_nobody_fetches_are_ended_unless_an_open_page_waits_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(listeners, "FETCH_SECONDS", 0.3)
    with served(tmp_path) as visitor, visitor.stream("GET", "/gradio_api/heartbeat/open"):
        running, waiting = (visitor.begin("work", []) for _ in range(2))
        visitor.begin("work", [], session_hash="open")
        assert visitor.occupied.wait(10)
        until(lambda: visitor.closed == [running])
        until(lambda: visitor.get("/healthz").json()["queue"] == 1)
        for event in (running, waiting):
            with pytest.raises(Refused, match="Nobody fetched this for a minute"):
                visitor.result("work", event)
        visitor.released.set()
        until(lambda: visitor.get("/healthz").json()["queue"] == 0)
    assert visitor.closed == [running, "open"]


def test_a_second_listener_is_told_so_and_the_first_gets_the_result(tmp_path):
    with served(tmp_path) as visitor:
        event = visitor.begin("work", [])
        assert visitor.occupied.wait(10)
        with visitor.stream("GET", f"/gradio_api/call/work/{event}") as first:
            lines = first.iter_lines()
            for path in (f"call/work/{event}", f"queue/data?session_hash={event}"):
                assert "another connection" in detail(visitor.get(f"/gradio_api/{path}"), 409)
            visitor.released.set()
            assert "event: complete" in list(lines)


def is_open(path):
    """Whether this process has a file open, and so keeps it on the disk even if it is deleted."""
    return any(file.path == path for file in psutil.Process().open_files())


def test_who_stops_reading_a_film_is_left_and_that_is_no_fault(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(connections, "READER_SECONDS", 0.5)
    path, streams = tmp_path / "film.mp4", FilmStreams()
    path.write_bytes(bytes(30_000_000))  # more than fits into the buffers of a connection
    with (
        served(tmp_path, streams=streams, max_upload_mb=40) as visitor,
        streams.publish(path, 60.0) as film,
        connected(visitor) as of_file,
        connected(visitor) as of_stream,
    ):
        (finished,) = visitor.upload_bytes("film.mp4", path.read_bytes()).json()
        for connection, address in ((of_file, f"gradio_api/file={finished}"), (of_stream, film.address)):
            connection.sendall(f"GET /{address} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        until(lambda: film.num_readers == 1 and is_open(finished))
        until(lambda: film.num_readers == 0 and not is_open(finished))
    assert "fault" not in {record.message for record in caplog.records}


def test_pages_that_close_at_once_are_all_noticed_and_hold_nobody_up(visitor, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1000)  # as if they had several addresses
    with ExitStack() as pages:
        address = (visitor.base_url.host, visitor.base_url.port)
        for number in range(400):
            page = pages.enter_context(socket.create_connection(address))
            page.sendall(f"GET /gradio_api/heartbeat/page{number} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            page.recv(4096)
        visitor.closed.clear()
        assert visitor.get("/healthz").status_code == 200
    until(lambda: len(visitor.closed) == 400)
    assert visitor.get("/healthz").status_code == 200


# Faults


def test_a_fault_outside_of_the_jobs_is_counted_and_has_a_number(tmp_path, caplog):
    with served(tmp_path) as visitor:
        with pytest.raises(Refused, match=r"disk of this server is full.* as fault ([0-9a-f]{8})\.") as refusal:
            visitor.ask("fault", [])
        assert visitor.metric('space_failed_total{endpoint="fault",reason="disk_full"}') == 1
    (record,) = [record for record in caplog.records if record.message == "fault"]
    assert record.fields["fault"] in str(refusal.value)
    assert (record.fields["reason"], record.fields["errno"]) == ("disk_full", "ENOSPC")
    assert "mary" not in str(record.fields)


def test_a_disk_that_is_full_during_an_upload_is_a_fault_of_the_server(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with served(tmp_path) as visitor:
        before = files_in(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
        try:
            answer = visitor.upload_bytes("photo.jpg", bytes(500_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert "disk of this server is full" in detail(answer, 507)
        assert files_in(tmp_path) == before
        assert visitor.metric('space_failed_total{endpoint="upload",reason="disk_full"}') == 1


def test_a_fault_in_a_preview_is_not_blamed_on_the_photo():
    def preview(photo, options):
        raise ServerFault("This server has no memory left for that.", "out_of_memory")

    endpoints = Endpoints(SimpleNamespace(preview=preview), Settings())
    picture, notes = endpoints.look("photo.jpg", 1, "mediapipe", "crop")
    assert picture is None
    assert "no memory left" in notes
    assert "photo won't do" not in notes


@pytest.mark.parametrize("ends", [False, True])
def test_a_portrait_that_is_still_prepared_when_the_demo_ends_is_no_fault(caplog, ends):
    begun, goes_on = threading.Event(), threading.Event()

    def prepare(photo, options):
        begun.set()
        goes_on.wait(60)
        raise RuntimeError("cannot schedule new futures after shutdown")

    pipeline = SimpleNamespace(preview=lambda photo, options: None, prepare=prepare, device="cpu")
    service = AnimationService(pipeline, Metrics())
    service.preview("photo.jpg", AnimationOptions())
    assert begun.wait(60)
    if ends:
        service.end()
    goes_on.set()
    until(lambda: not any(thread.name == "preparation" for thread in threading.enumerate()))
    assert ("fault" in caplog.messages) != ends


def test_health_reports_a_fault_until_a_job_has_succeeded(tmp_path):
    health = {"loaded": True, "device": "cpu", "degraded": "disk_full", "stuck": 0}
    with served(tmp_path, health=lambda: health) as visitor:
        answer = visitor.get("/healthz")
        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, "degraded", "disk_full")
        health["degraded"] = None
        assert visitor.get("/healthz").json()["status"] == "ready"
        health["stuck"] = 1
        answer = visitor.get("/healthz")
        assert (answer.status_code, answer.json()["status"], answer.json()["stuck"]) == (503, "stuck", 1)


def test_the_whole_trace_is_in_the_log_on_request_only(tmp_path):
    code = "from space_core.web import logs, faults\nimport sys\nlogs.configure(sys.argv[1])\n"
    code += "try:\n    open('/nowhere/aunt mary.jpg')\n"
    code += "except OSError as error:\n    faults.log_fault(error, endpoint='animate', job='1a2b3c4d')\n"
    for level, is_shown in (("info", False), ("debug", True)):
        command = [sys.executable, "-c", code, level]
        log = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stderr
        line = json.loads(log.splitlines()[-1])
        assert (line["event"], line["job"], line["errno"]) == ("fault", "1a2b3c4d", "ENOENT")
        assert ("Traceback" in line.get("trace", "")) == ("mary" in log) == is_shown


class StuckPipeline:
    """Hangs without a word until it is released, as a native library may."""

    device = "cpu"

    def __init__(self):
        self.started, self.released = threading.Event(), threading.Event()
        self.program = None

    def animate_to_file(self, photo, speech, outputs, options, progress):
        progress("frames", 0, 25)
        if self.program is not None:  # an encoder that never ends
            command = [sys.executable, "-c", "import time; time.sleep(600)", str(outputs.video)]
            self.program = subprocess.Popen(command)
        self.started.set()
        if self.program is not None:
            self.program.wait()
            raise ServerFault("ffmpeg ended.", "encoder_died")
        self.released.wait(60)
        return SimpleNamespace(num_frames=25, num_faces=1, notes=())

    def preview(self, photo, options):
        self.released.wait(60)

    def prepare(self, photo, options):
        self.released.wait(60)

    def compare_to_file(self, photo, speech, settings, outputs, progress):
        progress("frames", 0, 25)
        self.released.wait(60)


@pytest.fixture
def stuck(monkeypatch):
    monkeypatch.setattr(job_threads, "END_SECONDS", 0.2)
    stuck = StuckPipeline()
    yield stuck
    stuck.released.set()


LIMIT = TimeLimit(seconds=0.2, per_speech_second=0.2)


def animated(service):
    return service.animate("anna", "photo.jpg", SpeechSource("speech.wav"), AnimationOptions())


def test_a_stuck_job_is_ended_counted_and_shown_and_the_next_one_is_made(stuck):
    metrics = Metrics()
    service = AnimationService(stuck, metrics, LIMIT)
    with pytest.raises(SpaceError, match=r"took longer than this server allows.* as fault [0-9a-f]{8}\."):
        list(animated(service))
    text = metrics.text().decode()
    assert 'space_failed_total{endpoint="animate",reason="timeout"} 1.0' in text
    assert "space_stuck_jobs 1.0" in text
    assert (service.health()["degraded"], service.health()["stuck"]) == ("timeout", 1)
    stuck.released.set()
    until(lambda: service.health()["stuck"] == 0)
    assert isinstance(list(animated(service))[-1], Film)
    assert service.health()["degraded"] is None


def test_a_fault_that_was_the_last_thing_to_happen_is_shown_for_ten_minutes(stuck, monkeypatch):
    service = AnimationService(stuck, Metrics(), LIMIT)
    with pytest.raises(SpaceError, match="took longer"):
        list(animated(service))
    stuck.released.set()
    since = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: since + 590)
    assert service.health()["degraded"] == "timeout"
    monkeypatch.setattr(time, "monotonic", lambda: since + 600)
    assert service.health()["degraded"] is None
    service.note_fault("disk_full")
    assert service.health()["degraded"] == "disk_full"


def test_the_programs_of_a_stuck_job_are_ended(stuck):
    stuck.program = True
    service = AnimationService(stuck, Metrics(), LIMIT)
    with pytest.raises(SpaceError, match="took longer"):
        list(animated(service))
    assert stuck.program.poll() is not None
    assert service.health()["stuck"] == 0


def test_a_stuck_job_ends_when_its_visitor_leaves(stuck):
    service = AnimationService(stuck, Metrics(), TimeLimit(600, 0))
    reports = animated(service)
    next(reports)
    assert stuck.started.wait(10)
    service.disconnect("anna")
    assert not [report for report in reports if isinstance(report, Film)]


def test_a_stuck_preview_is_ended(stuck):
    service = AnimationService(stuck, Metrics(), LIMIT)
    with pytest.raises(SpaceError, match="took longer"):
        service.preview("photo.jpg", AnimationOptions())
    assert service.health()["stuck"] == 1


def test_the_time_limit_grows_with_the_speech_and_the_settings(stuck):
    assert TimeLimit(10, 2).of(30) == 70
    begun = time.monotonic()
    service = AnimationService(stuck, Metrics(), TimeLimit(0.1, 0.5))
    with pytest.raises(SpaceError, match="took longer"):
        list(service.compare("anna", "photo.jpg", SpeechSource("speech.wav"), [AnimationOptions()] * 4))
    assert time.monotonic() - begun > 0.1 + 4 * 0.5  # a second of speech, four times


# Ending


def test_a_running_job_has_time_to_finish_when_the_demo_ends(tmp_path):
    with program(tmp_path, "--grace-seconds", "20") as (process, _, visitor):
        running, waiting = (visitor.begin("work", [3], session_hash=name) for name in ("running", "waiting"))
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(Refused, match=r"^The demo is restarting\. Try again in a minute\.$"):
            visitor.result("work", waiting)
        assert "restarting" in detail(visitor.call("work", [3]), 503)
        assert visitor.result("work", running) == ["done"]
        assert process.wait(20) == 128 + signal.SIGTERM or process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("ending", "grace"), [(signal.SIGTERM, "0"), (signal.SIGINT, "60")])
def test_a_visitor_whose_job_is_broken_off_is_told_that_the_demo_restarts(tmp_path, ending, grace):
    with program(tmp_path, "--grace-seconds", grace) as (process, folder, visitor):
        event = visitor.begin("work", [60])
        assert process.stdout.readline() == "working\n"
        threading.Timer(0.5, process.send_signal, [ending]).start()
        with pytest.raises(Refused, match=r"^The demo is restarting\. Try again in a minute\.$"):
            visitor.result("work", event)
        log = process.communicate(timeout=20)[1]
    assert "h11" not in log
    assert not folder.exists()  # the visitors' files, whichever signal it was


def live_address(visitor):
    return f"ws://{visitor.base_url.host}:{visitor.base_url.port}/live"


@pytest.mark.parametrize(("grace", "is_told"), [("2", True), ("0", False)])
def test_a_live_session_is_told_before_the_demo_ends(tmp_path, grace, is_told):
    with program(tmp_path, "--grace-seconds", grace) as (process, _, visitor):
        photo = visitor.upload(ROOT / "examples/astronaut.jpg")["path"]
        address = live_address(visitor)
        with connect(address) as socket:
            socket.send(json.dumps({"photo": photo}))
            assert json.loads(socket.recv(10))["type"] == "ready"
            process.send_signal(signal.SIGTERM)
            said = []
            with suppress(ConnectionClosed):
                while True:
                    if isinstance(message := socket.recv(10), str):
                        said.append(json.loads(message))
                        if said[-1]["type"] == "restarting":
                            with connect(address) as other:
                                other.send(json.dumps({"photo": photo}))
                                assert "restarting" in json.loads(other.recv(10))["message"]
        end = {"type": "end", "message": "The demo is restarting. Try again in a minute."}
        assert said[-1] == end and socket.protocol.close_code == 1012
        assert [answer["type"] for answer in said[:-1]] == ["restarting"] * is_told
        assert all("in 2 seconds" in answer["message"] for answer in said[:-1])
        assert process.wait(20) in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_a_demo_ends_as_soon_as_its_live_session_has_ended(tmp_path):
    with program(tmp_path, "--grace-seconds", "60") as (process, _, visitor):
        photo = visitor.upload(ROOT / "examples/astronaut.jpg")["path"]
        with connect(live_address(visitor)) as socket:
            socket.send(json.dumps({"photo": photo}))
            assert json.loads(socket.recv(10))["type"] == "ready"
            process.send_signal(signal.SIGTERM)
            until(lambda: isinstance(socket.recv(10), str))
        process.wait(20)


def test_requests_that_are_none_and_refused_web_sockets_do_not_fill_the_log(tmp_path):
    with program(tmp_path) as (process, _, visitor):
        for path in ("live", "nowhere"):
            with pytest.raises(InvalidStatus):
                connect(live_address(visitor).replace("live", path), origin="https://elsewhere.example")
        for head in ("no request", "GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: h2c"):
            with socket.create_connection((visitor.base_url.host, visitor.base_url.port)) as connection:
                connection.sendall(f"{head}\r\n\r\n".encode())
                assert connection.recv(100)
        with connect(live_address(visitor)) as live:
            live.send(b"no text: \xff", text=True)
            with pytest.raises(ConnectionClosed):
                live.recv(timeout=10)
        process.terminate()
        _, log = process.communicate(timeout=30)
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["serving", "ended"]


def test_nothing_is_written_outside_of_the_private_folder(operated):
    """Also where another user owns a folder that Gradio would take, and where the working folder is not ours."""
    assert operated.visitor.get("/config").status_code == 200
    assert set(operated.folder.parent.iterdir()) == {operated.folder, operated.folder.parent / "gradio"}


# The operator's doors


def test_health_and_metrics_may_have_a_port_of_their_own(operated):
    for path in ("/healthz", "/metrics"):
        assert operated.visitor.get(path).status_code == 404
        assert httpx.get(f"{operated.monitoring}{path}").status_code == 200
    assert operated.visitor.get("/").status_code == 200
    assert httpx.get(f"{operated.monitoring}/").status_code == 404


def test_health_and_metrics_may_ask_for_a_token(tmp_path):
    with served(tmp_path, monitoring_token="secret") as visitor:
        for path in ("/healthz", "/metrics"):
            assert visitor.get(path).status_code == 401
            assert visitor.get(path, headers={"authorization": "Bearer other"}).status_code == 401
            assert visitor.get(path, headers={"authorization": "Bearer secret"}).status_code == 200
        assert visitor.get("/").status_code == 200


@pytest.mark.parametrize(("token", "status"), [("secret", 0), ("other", 1)])
def test_a_container_can_ask_for_the_health(tmp_path, token, status):
    with served(tmp_path, monitoring_token="secret") as visitor:
        given = {"SPACE_PORT": str(visitor.base_url.port), "SPACE_MONITORING_TOKEN": token, "SPACE_HOST": "0.0.0.0"}
        command = [sys.executable, "-m", "space_core.web.healthcheck"]
        assert subprocess.run(command, env={**os.environ, **given}, cwd=ROOT).returncode == status


def test_proxies_keep_no_page_that_a_visitor_could_choose_and_browsers_keep_scripts(visitor):
    page = visitor.get("/", headers={"x-forwarded-host": "evil.example"})
    assert page.headers["cache-control"] == visitor.get("/config").headers["cache-control"] == "private, no-cache"
    script = re.search(r"assets/[\w./-]+\.js", page.text)[0]
    assert "immutable" in visitor.get(f"/{script}").headers["cache-control"]
    assert "cache-control" not in visitor.get("/assets/nothing.js").headers


def test_pages_of_other_sites_can_neither_frame_nor_use_it(visitor):
    stranger = {"origin": "https://evil.example"}
    answer = visitor.get("/config", headers=stranger)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["content-security-policy"].endswith("frame-ancestors 'self'")
    files = {"files": ("photo.jpg", b"a face")}
    for headers in (stranger, {"origin": "null"}, {"origin": "http://127.0.0.1:1"}, {"origin": "http://["}):
        upload = visitor.post("/gradio_api/upload", files=files, headers=headers)
        assert "other sites" in detail(upload, 403)
        call = visitor.post("/gradio_api/call/glance", json={"data": []}, headers=headers)
        assert call.status_code == 403
    own = f"{visitor.base_url.host}:{visitor.base_url.port}"
    for headers in (
        {"origin": f"http://{own}"},
        {"origin": "https://demo.example", "x-forwarded-host": "demo.example"},
        {"origin": "https://demo.example", "sec-fetch-site": "same-origin"},
    ):
        assert visitor.post("/gradio_api/upload", files=files, headers=headers).status_code == 200


def test_pages_that_the_operator_allows_may_frame_and_use_it(tmp_path):
    with served(tmp_path, allow_embedding=("https://friend.example",)) as visitor:
        friend = {"origin": "https://friend.example"}
        answer = visitor.get("/config", headers=friend)
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert answer.headers["content-security-policy"].endswith("frame-ancestors 'self' https://friend.example")
        files = {"files": ("photo.jpg", b"a face")}
        assert visitor.post("/gradio_api/upload", files=files, headers=friend).status_code == 200
        assert (
            visitor.post("/gradio_api/upload", files=files, headers={"origin": "https://x.example"}).status_code == 403
        )
        asked = {**friend, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        assert visitor.options("/gradio_api/call/glance", headers=asked).status_code == 200


def test_a_demo_under_a_path_of_a_proxy_accepts_its_own_origin(tmp_path):
    with served(tmp_path, root_path="https://demo.example/space") as visitor:
        headers = {"origin": "https://demo.example"}
        assert visitor.post("/gradio_api/call/glance", json={"data": []}, headers=headers).status_code == 200


def test_who_has_the_same_file_does_not_learn_that_others_uploaded_it(visitor):
    mine, other = (visitor.upload_bytes("photo.jpg", b"the same face").json()[0] for _ in range(2))
    assert Path(mine).parent != Path(other).parent
    assert visitor.get(f"/gradio_api/file={mine}").content == b"the same face"


def test_a_page_whose_name_resolves_to_this_machine_can_not_use_a_local_demo(tmp_path):
    files = {"files": ("photo.jpg", b"a face")}
    with served(tmp_path) as visitor:
        port = visitor.base_url.port
        evil = {"host": f"evil.example:{port}", "origin": f"http://evil.example:{port}"}
        assert f"http://127.0.0.1:{port}," in detail(visitor.get("/config", headers=evil), 403)
        assert visitor.post("/gradio_api/upload", files=files, headers=evil).status_code == 403
        connection = socket.create_connection((visitor.base_url.host, port))
        with connection, pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://{evil['host']}/live", origin=evil["origin"], sock=connection)
        for host in (f"localhost:{port}", "localhost:9000", "[::1]:80", f"box:{port}", "demo.example", "a.localhost:1"):
            assert visitor.get("/config", headers={"host": host}).status_code == 200  # forwards of ports, proxies
        secure = {"host": "demo.example:8443", "sec-fetch-site": "same-origin"}
        assert visitor.get("/config", headers=secure).status_code == 200
    with served(tmp_path, port=80) as visitor:  # which browsers leave out
        assert "http://127.0.0.1:80," in detail(visitor.get("/config", headers={"host": "evil.example"}), 403)
        for host in ("127.0.0.1", "[::1]", "localhost", "box"):
            assert visitor.get("/config", headers={"host": host}).status_code == 200
    with served(tmp_path, port=80, root_path="http://demo.example") as visitor:
        assert visitor.get("/config", headers={"host": "demo.example"}).status_code == 200
    with served(tmp_path, root_path="http://demo.example:8000") as visitor:
        assert visitor.get("/config", headers={"host": "demo.example:8000"}).status_code == 200
    with served(tmp_path, host="0.0.0.0") as visitor:  # a container, a Hugging Face Space
        assert visitor.get("/config", headers={"host": "demo.example:8000"}).status_code == 200


# The page's own functions


def test_private_functions_do_not_take_the_visitors_mistakes_for_faults(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with serving(SimpleNamespace(device="cpu"), queue_size=100) as address, Visitor(address) as visitor:
        no_motion = uploaded(visitor.upload_bytes("landmarks.npz", b"no motion").json()[0])
        for function in visitor.get("/config").json()["dependencies"]:
            if not function["backend_fn"]:
                body = {"data": [None], "fn_index": function["id"], "session_hash": "javascript"}
                for route in ("queue/join", "run/predict"):
                    assert "no such endpoint" in detail(visitor.post(f"/gradio_api/{route}", json=body), 404)
                continue
            if function["api_name"] in ("animate", "compare", "look", "say"):
                continue
            count = len(function["inputs"])
            for data in ([], [None] * count, [{"a": 1}] * count, [no_motion] * count):
                for clicked in (None, 5, {"index": "x"}, {"index": [1]}):
                    session = secrets.token_hex(8)
                    body = {"data": data, "fn_index": function["id"], "session_hash": session, "event_data": clicked}
                    answer = visitor.post("/gradio_api/queue/join", json=body)
                    if answer.status_code != 200:
                        detail(answer, 422)
                        continue
                    visitor.get("/gradio_api/queue/data", params={"session_hash": session})
    assert "fault" not in {record.message for record in caplog.records}
