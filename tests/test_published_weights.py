"""Weights of others: downloaded with consent and compared with their checksums, or taken from a folder."""

import hashlib
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import running
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from safetensors.torch import save_file
from test_liveportrait_networks import SMALL

from space_core.cli import main
from space_core.errors import SpaceError
from space_core.generator.liveportrait import checkpoints, load_networks
from space_core.generator.liveportrait.checkpoints import NAMES, save_checkpoint
from space_core.generator.liveportrait.layout import Layout
from space_core.generator.liveportrait.random_weights import random_networks
from space_core.published_weights import LIVEPORTRAIT, download, get_weights

COMMIT = "c" * 40
CONTENT = {name: name.encode() * 1000 for name in LIVEPORTRAIT.files}
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def fake_hub(content: dict[str, bytes], stored: dict[str, bytes] | None = None) -> FastAPI:
    """A hub with one repository, which sends ``stored`` files where they differ from those it lists."""
    app = FastAPI()

    @app.get("/api/models/{owner}/{name}")
    @app.get("/api/models/{owner}/{name}/revision/{revision}")
    def info(owner: str, name: str) -> JSONResponse:
        files = [
            {
                "rfilename": path,
                "size": len(data),
                "blobId": hashlib.sha1(data).hexdigest(),
                "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134},
            }
            for path, data in content.items()
        ]
        return JSONResponse({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": files, "private": False, "tags": []})

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def file(revision: str, path: str, request: Request) -> Response:
        data = {**content, **(stored or {})}[path]
        headers = {
            "etag": f'"{hashlib.sha256(content[path]).hexdigest()}"',
            "x-repo-commit": revision,
            "content-length": str(len(data)),
        }
        return Response(b"" if request.method == "HEAD" else data, headers=headers)

    return app


@pytest.fixture
def hub():
    with running(fake_hub(CONTENT)) as address:
        yield address


def test_a_download_asks_with_size_licence_and_revision(hub, tmp_path):
    asked = []
    download(LIVEPORTRAIT, tmp_path, lambda question: not asked.append(question), endpoint=hub)
    (question,) = asked
    megabytes = sum(map(len, CONTENT.values())) / 1e6
    for part in (f"{megabytes:.0f} MB", "MIT", COMMIT, "KwaiVGI/LivePortrait"):
        assert part in question
    assert {name: (tmp_path / name).read_bytes() for name in CONTENT} == CONTENT
    source = json.loads((tmp_path / "source.json").read_text())
    assert source["revision"] == COMMIT
    assert source["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}


def test_nothing_is_downloaded_without_consent(hub, tmp_path):
    with pytest.raises(SpaceError, match="Nothing was downloaded"):
        download(LIVEPORTRAIT, tmp_path / "weights", lambda _: False, endpoint=hub)
    assert not (tmp_path / "weights").exists()


def test_a_file_with_another_checksum_is_removed(tmp_path):
    wrong = LIVEPORTRAIT.files[1]
    with (
        running(fake_hub(CONTENT, {wrong: CONTENT[wrong][:-1] + b"?"})) as hub,
        pytest.raises(SpaceError, match="not downloaded as it was published"),
    ):
        download(LIVEPORTRAIT, tmp_path, lambda _: True, endpoint=hub)
    assert not (tmp_path / wrong).exists()
    assert not (tmp_path / "source.json").exists()


def test_a_repository_without_the_files_is_refused(hub, tmp_path):
    other = replace(LIVEPORTRAIT, files=("other.pth",))
    with pytest.raises(SpaceError, match=r"has no other\.pth"):
        download(other, tmp_path, lambda _: True, endpoint=hub)


def test_without_a_network_the_command_says_so(tmp_path):
    with pytest.raises(SpaceError, match="could not be downloaded"):
        download(LIVEPORTRAIT, tmp_path, lambda _: True, endpoint=NOWHERE)


def test_a_folder_of_other_files_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPACE_WEIGHTS_FOLDER", str(tmp_path / "own"))
    (tmp_path / "given").mkdir()
    for name in NAMES:
        (tmp_path / "given" / f"{name}.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert main(["get-weights", "liveportrait", "--from", str(tmp_path / "given")]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def published(layout: Layout, seed: int, folder: Path) -> dict[str, bytes]:
    """Files of random networks, under the names of the publication."""
    networks = random_networks(seed, layout)
    content = {}
    for name in LIVEPORTRAIT.files:
        torch.save(networks.get_submodule(Path(name).stem).state_dict(), folder / "file.pth")
        content[name] = (folder / "file.pth").read_bytes()
    return content


def test_what_is_fetched_last_is_read_and_what_it_replaces_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACE_WEIGHTS_FOLDER", str(tmp_path / "own"))
    monkeypatch.setattr(checkpoints, "Layout", partial(replace, SMALL))  # of files that do not say theirs
    given, own = tmp_path / "given", tmp_path / "own/liveportrait"
    given.mkdir()
    for name in NAMES:
        save_checkpoint(given / f"{name}.safetensors", random_networks(1, SMALL).get_submodule(name), SMALL)
    content = published(SMALL, 2, tmp_path)

    def read() -> list[float]:
        return load_networks(own).motion_extractor.detector.fc_t.bias.tolist()

    expected = {seed: random_networks(seed, SMALL).motion_extractor.detector.fc_t.bias.tolist() for seed in (1, 2)}
    with running(fake_hub(content)) as hub:
        for _ in range(2):  # each replaces the other
            get_weights("liveportrait", lambda _: False, given)
            assert read() == expected[1]
            assert not (own / LIVEPORTRAIT.files[0]).exists()
            get_weights("liveportrait", lambda _: True, endpoint=hub)
            assert read() == expected[2]
            assert not (own / f"{NAMES[0]}.safetensors").exists()
        shutil.copy(given / f"{NAMES[1]}.safetensors", own)  # as a user might
        with pytest.raises(SpaceError, match=rf"{NAMES[1]}\.safetensors is read before the files .* Remove it\."):
            get_weights("liveportrait", lambda _: True, endpoint=hub)
    assert (own / f"{NAMES[1]}.safetensors").exists()


def test_a_folder_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACE_WEIGHTS_FOLDER", str(tmp_path / "own"))
    monkeypatch.setattr(checkpoints, "Layout", partial(replace, SMALL))  # of files that do not say theirs
    given = tmp_path / "given"
    given.mkdir()
    networks = random_networks(1, SMALL)
    for name in NAMES:
        save_file(networks.get_submodule(name).state_dict(), given / f"{name}.safetensors")
    assert main(["get-weights", "liveportrait", "--from", str(given)]) == 0
    own = tmp_path / "own" / "liveportrait"
    assert sorted(path.name for path in own.iterdir()) == sorted([f"{n}.safetensors" for n in NAMES] + ["source.json"])
    assert Path(json.loads((own / "source.json").read_text())["source"]) == given
    picture = torch.zeros(1, 3, 256, 256)
    assert torch.allclose(
        load_networks(own).extract_motion(picture).expression,
        networks.ready("cpu").extract_motion(picture).expression,
        atol=1e-4,
    )
