"""A tiny page with what the demo has around its own: in this process, or in a program of its own. No pipeline."""

import errno
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pytest
from conftest import UNLIMITED, Visitor, free_port, running

from space_core.web.application import Callbacks, build_app
from space_core.web.metrics import Metrics
from space_core.web.settings import Settings

ROOT = Path(__file__).parents[1]
QUEUE_SIZE = 2

# A page in a program of its own, as app.py is; "work" holds a thread up for as long as it is told. A live session has
# small black pictures.
PROGRAM = """
import time
from space_core.processes.garbage_collection import exempt_from_collection
from space_core.web import logs
from space_core.web.settings import Settings
settings = Settings.from_command_line()
logs.configure("info")
from space_core.web.private_files import create_private_folder
print(create_private_folder(), flush=True)
with exempt_from_collection():  # as app.py does
    from functools import partial
    from types import SimpleNamespace
    import gradio as gr
    import numpy as np
    from space_core.live.frames import LiveFrame
    from space_core.web.application import Callbacks
    from space_core.web.live_page import add_live
    from space_core.web.metrics import Metrics
    from space_core.web.server import serve
    from space_core.web.service import AnimationService
def fail(text):
    raise ValueError("can't open " + text)
def work(seconds):
    print("working", flush=True)
    time.sleep(seconds)
    return "done"
with gr.Blocks(analytics_enabled=False) as page:
    text, result = gr.Textbox(), gr.Textbox()
    gr.Button().click(fail, text, result, api_name="fail")
    seconds = gr.Number()
    gr.Button().click(work, seconds, result, api_name="work", concurrency_limit=1)
def stream(photo, chunks, *, control, skip_after, progress):
    for index, chunk in enumerate(chunks):
        yield LiveFrame(index, np.zeros((8, 8, 3), np.uint8), np.zeros(640, np.float32))
pipeline = SimpleNamespace(stream=stream, device="cpu")
service = AnimationService(pipeline, Metrics())
callbacks = Callbacks(
    health=lambda: {"loaded": True, "device": "cpu"},
    on_disconnect=lambda visitor: None,
    on_expiry=lambda seconds: None,
    on_grace=service.drain,
    on_end=service.end,
    num_live=service.num_live,
    add_routes=partial(add_live, pipeline=pipeline, service=service, settings=settings),
)
serve(page, settings, Metrics(), callbacks)
"""


def is_loaded():
    return {"loaded": True, "device": "cpu"}


def is_sentence(text):
    return 10 < len(text) < 400 and text[-1] == "." and "Error" not in text and "Traceback" not in text


@contextmanager
def served(tmp_path, health=is_loaded, on_expiry=lambda seconds: None, streams=None, **settings):
    """A tiny page at an address of its own, and a visitor; ``occupied`` and ``released`` are events of "work"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
        occupied, released = threading.Event(), threading.Event()
        with gr.Blocks(analytics_enabled=False) as page:
            photo, speech, film = gr.Image(type="filepath"), gr.Audio(type="filepath"), gr.Video()
            anything, result, returned = gr.File(), gr.Textbox(), gr.File()
            for name, component in (("photo", photo), ("speech", speech), ("film", film)):
                gr.Button().click(os.path.getsize, component, result, api_name=name)
            gr.Button().click(lambda path: path, anything, returned, api_name="echo")
            gr.Button().click(lambda: "seen", None, result, api_name="glance", concurrency_id="glance")
            gr.Button().click(lambda: None, None, None, api_visibility="private")

            def fault():
                raise OSError(errno.ENOSPC, "no space left for aunt mary.jpg")

            gr.Button().click(fault, None, result, api_name="fault")

            def work():
                occupied.set()
                released.wait(120)

            gr.Button().click(work, None, result, api_name="work", concurrency_limit=1, concurrency_id="work")
        settings = Settings(**{"queue_size": QUEUE_SIZE, "max_upload_mb": 1, **UNLIMITED, **settings})
        visitor_closed = []
        callbacks = Callbacks(health, visitor_closed.append, on_expiry)
        with running(build_app(page, settings, Metrics(), callbacks, streams=streams)) as address:
            with Visitor(address) as visitor:
                visitor.occupied, visitor.released, visitor.closed = occupied, released, visitor_closed
                yield visitor
            released.set()


@contextmanager
def program(parent, *arguments):
    """The tiny page's program, its private folder in ``parent``, and a visitor."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--port", str(port), *arguments],
        env={**os.environ, "TMPDIR": str(parent), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        folder = Path(process.stdout.readline().strip())
        assert process.stdout.readline() == f"* Running on local URL:  http://127.0.0.1:{port}\n"
        with Visitor(f"http://127.0.0.1:{port}") as visitor:
            yield process, folder, visitor
    finally:
        process.kill()
        process.communicate()
