"""That ``gradio_patches`` and ``gradio_page`` fit the installed Gradio; what has changed fails by its name."""

import importlib
import types
from pathlib import Path

import fastapi
import gradio as gr
import psutil
import pytest
from gradio.queueing import Event, EventQueue
from gradio.route_utils import FileUploadProgress, GradioMultiPartParser

from space_core import SpaceError
from space_core.web import gradio_page, gradio_patches


@pytest.fixture(scope="module")
def used():
    """An object of each class whose attributes are used, by the class's name."""
    with gr.Blocks(analytics_enabled=False) as page:
        image = gr.Image()
        gr.Button().click(lambda: None)
    page.queue()
    (function,) = page.fns.values()
    app = fastapi.FastAPI()
    gr.mount_gradio_app(app, page, path="/")
    return {
        "gradio.Blocks": page,
        "gradio.Image": image,
        "gradio.blocks.BlockFunction": function,
        "gradio.queueing.Queue": page._queue,
        "gradio.queueing.EventQueue": EventQueue("a", 1),
        "gradio.queueing.Event": Event("session", function, None, None),
        "gradio.route_utils.FileUploadProgress": FileUploadProgress(),
        "gradio.route_utils.GradioMultiPartParser": GradioMultiPartParser(None, None, max_file_size=1),
        "gradio.routes.App": gradio_page.mounted_app(app),
    }


def test_the_patches_were_tested_with_the_gradio_that_is_required():
    requirements = (Path(__file__).parents[1] / "requirements.txt").read_text()
    assert f"gradio=={gradio_patches.VERSIONS[-1]}" in requirements
    assert gr.__version__ in gradio_patches.VERSIONS


@pytest.mark.parametrize(("name", "parameters"), gradio_patches.REPLACED.items())
def test_a_function_that_is_replaced_takes_the_same_parameters(name, parameters):
    assert gradio_patches.parameters(name) == parameters


@pytest.mark.parametrize("module", gradio_patches.WRITING)
def test_a_module_that_writes_into_a_folder_of_gradios_looks_it_up_under_the_same_name(module):
    assert isinstance(importlib.import_module(module).DEFAULT_TEMP_DIR, str)


@pytest.mark.parametrize("module", gradio_patches.PRINTING)
def test_a_module_whose_tracebacks_are_kept_from_the_log_prints_them_by_the_traceback_module(module):
    assert isinstance(importlib.import_module(module).traceback, types.ModuleType | types.SimpleNamespace)


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [(owner, attribute) for owner, attributes in gradio_page.USED.items() for attribute in attributes],
)
def test_an_attribute_that_is_used_is_there(used, owner, attribute):
    if owner == "gradio.mcp.GradioMCPServer":
        pytest.importorskip("mcp", reason="the package mcp is not installed")
        from gradio.mcp import GradioMCPServer

        assert hasattr(GradioMCPServer(used["gradio.Blocks"]), attribute)
    else:
        assert hasattr(used[owner], attribute)


def test_a_page_leaves_no_event_loop_open():
    gradio_patches.apply()
    before = psutil.Process().num_fds()
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button()
    gr.mount_gradio_app(fastapi.FastAPI(), page.queue(), path="/")
    assert psutil.Process().num_fds() <= before  # or fewer, as those of other tests may be closed meanwhile


def test_another_gradio_is_refused_by_the_name_of_what_has_changed(monkeypatch):
    monkeypatch.setattr(gradio_patches, "_applied", False)
    monkeypatch.setitem(gradio_patches.REPLACED, "gradio.utils.error_payload", ("error", "show_error", "language"))
    with pytest.raises(SpaceError, match=r"gradio\.utils\.error_payload has changed. Install gradio=="):
        gradio_patches.apply()


def test_a_gradio_that_was_not_tested_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(gradio_patches, "_applied", False)
    monkeypatch.setattr(gr, "__version__", "99.0")
    monkeypatch.setattr(gradio_patches, "REPLACED", {"gradio.gone": ()})  # so that nothing is patched twice
    with pytest.raises(SpaceError, match=r"gradio\.gone has changed"):
        gradio_patches.apply()
    assert "untested_gradio" in caplog.text
