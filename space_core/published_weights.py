"""Installs weights that others have published: downloaded with the user's consent, or copied from a folder."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from space_core.assets import user_weights_folder
from space_core.errors import SpaceError
from space_core.generator.liveportrait.networks import check_checkpoints

MANIFEST = "source.json"  # beside the weights: where they are from, and their checksums
CHUNK = 1 << 20  # bytes

Confirm = Callable[[str], bool]  # given what would be downloaded, whether the user agrees


@dataclass(frozen=True)
class Publication:
    """Files of a repository of the Hugging Face hub.

    Attributes:
        title: what they are the weights of.
        repository: "owner/name".
        files: paths in the repository.
        licence: its name, with the address of its text.
    """

    title: str
    repository: str
    files: tuple[str, ...]
    licence: str


LIVEPORTRAIT = Publication(
    title="LivePortrait",
    repository="KwaiVGI/LivePortrait",
    files=(
        "liveportrait/base_models/appearance_feature_extractor.pth",
        "liveportrait/base_models/motion_extractor.pth",
        "liveportrait/base_models/warping_module.pth",
        "liveportrait/base_models/spade_generator.pth",
        "liveportrait/retargeting_models/stitching_retargeting_module.pth",
    ),
    licence="MIT, https://github.com/KwaiVGI/LivePortrait/blob/main/LICENSE",
)
PUBLICATIONS = {"liveportrait": LIVEPORTRAIT}


def download(
    publication: Publication,
    folder: Path,
    confirm: Confirm,
    revision: str | None = None,
    endpoint: str | None = None,
) -> None:
    """Downloads the files of a publication into a folder; one that was interrupted is continued.

    All files are of one commit: ``revision``, else the one of an earlier download in the folder, else the newest. Each
    is compared with the checksum that the hub has for this commit. Which commit it was, and the checksums, are written
    beside the files.

    Args:
        publication: what to download.
        folder: made if need be.
        confirm: called with publisher, licence and size before anything is downloaded.
        revision: a commit of the repository.
        endpoint: address of the hub; None for the usual one.

    Raises:
        SpaceError: the user does not agree, the hub can't be reached or doesn't have the files, or a file does not
            match its checksum; such a file is removed.
    """
    manifest = folder / MANIFEST
    if revision is None and manifest.exists():
        with contextlib.suppress(ValueError, KeyError):
            revision = json.loads(manifest.read_text("utf-8"))["revision"]
    try:
        revision, checksums = _download(publication, folder, confirm, revision, endpoint)
    except SpaceError:
        raise
    # Exceptions of the HTTP library of huggingface_hub, which differs from version to version.
    except Exception as error:
        raise SpaceError(
            f"The weights could not be downloaded from {publication.repository}: {type(error).__name__}. Check the "
            "connection and run the command again, which continues; or give a folder with the files: --from FOLDER."
        ) from error
    for name, checksum in checksums.items():
        if _sha256(folder / name) != checksum:
            (folder / name).unlink()
            raise SpaceError(f"{name} was not downloaded as it was published and has been removed. Run it again.")
    _write_manifest(folder, publication.repository, revision, checksums)


def _download(
    publication: Publication, folder: Path, confirm: Confirm, revision: str | None, endpoint: str | None
) -> tuple[str | None, dict[str, str]]:
    """See ``download``; returns the commit and, by path, the checksums that the hub has for it."""
    from huggingface_hub import HfApi, hf_hub_download

    about = HfApi(endpoint=endpoint).model_info(publication.repository, revision=revision, files_metadata=True)
    available = {file.rfilename: file for file in about.siblings or ()}
    if missing := [name for name in publication.files if name not in available]:
        raise SpaceError(f"{publication.repository} has no {missing[0]} in revision {about.sha}.")
    stored = {name: available[name].lfs for name in publication.files}
    checksums = {name: lfs.sha256 for name, lfs in stored.items() if lfs is not None}
    if len(checksums) < len(publication.files):
        raise SpaceError(f"{publication.repository} has no checksums of its files, so they are not downloaded.")
    megabytes = sum(available[name].size or 0 for name in publication.files) / 1e6
    question = (
        f"The weights of {publication.title}: {megabytes:.0f} MB from {publication.repository} "
        f"(revision {about.sha}) into {folder}. Licence: {publication.licence}. Download?"
    )
    if not confirm(question):
        raise SpaceError("Nothing was downloaded.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in publication.files:
        hf_hub_download(publication.repository, name, revision=about.sha, local_dir=folder, endpoint=endpoint)
    return about.sha, checksums


def get_weights(
    name: str, confirm: Confirm, source: Path | None = None, revision: str | None = None, endpoint: str | None = None
) -> Path:
    """Installs the weights of a publication in the folder where SPACE looks for them; returns that folder.

    The files of an earlier call are removed.

    Args:
        name: "liveportrait".
        confirm, revision, endpoint: see ``download``.
        source: a folder with the files, which are copied instead of downloaded, without asking.

    Raises:
        SpaceError: see ``download``; the files are not those of the networks; or the folder has other files, which no
            call has put there, and which would be read instead.
    """
    folder = user_weights_folder(name)
    earlier = _listed(folder)
    if source is None:
        publication = PUBLICATIONS[name]
        download(publication, folder, confirm, revision, endpoint)
        targets = [folder / file for file in publication.files]
    else:
        files = check_checkpoints(source)
        folder.mkdir(parents=True, exist_ok=True)
        targets = [folder / path.name for path in files.values()]
        for path, target in zip(files.values(), targets, strict=True):
            if target.resolve() != path.resolve():
                partial = target.with_name(f"{target.name}.part")
                shutil.copyfile(path, partial)
                partial.replace(target)
        _write_manifest(folder, str(source), None, {target.name: _sha256(target) for target in targets})
    for path in earlier - set(targets):
        path.unlink(missing_ok=True)
    for path in check_checkpoints(folder).values():
        if path not in targets:
            raise SpaceError(f"{path} is read before the files that were just put there. Remove it.")
    return folder


def _listed(folder: Path) -> set[Path]:
    """The files that the manifest in a folder names: those that an earlier call has put there."""
    try:
        names = json.loads((folder / MANIFEST).read_text("utf-8"))["sha256"]
        return {folder / name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest(folder: Path, source: str, revision: str | None, checksums: dict[str, str]) -> None:
    content = {"source": source, "revision": revision, "sha256": checksums}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
