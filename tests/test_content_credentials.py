"""Content Credentials: a signed manifest that states that the video is generated, and that any change invalidates."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import c2pa
import numpy as np
import pytest
from conftest import on_small_disk
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from space_core.errors import SpaceError
from space_core.media import content_credentials
from space_core.media.audio import load_recording
from space_core.media.content_credentials import SOURCE_TYPE, ContentCredentials
from space_core.media.video_reader import read_frames
from space_core.media.video_writer import VideoWriter, write_video
from space_core.timing import FPS

FRAMES = [np.full((64, 64, 3), 8 * i, np.uint8) for i in range(FPS)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A video without a manifest."""
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    write_video(FRAMES, path, None, len(FRAMES))
    return path


@pytest.fixture(scope="module")
def credentials() -> ContentCredentials:
    return ContentCredentials()


def findings(path: Path, settings: dict | None = None) -> tuple[str, list[str]]:
    """What a C2PA validator makes of a video: its verdict, and the codes of what it finds wrong."""
    with c2pa.Context.from_dict(settings or {}) as context, c2pa.Reader(path, context=context) as reader:
        results = reader.get_validation_results()["activeManifest"]
        return reader.get_validation_state(), [failure["code"] for failure in results["failure"]]


def test_a_signed_video_says_how_it_was_made(plain, credentials, tmp_path):
    credentials.sign(plain, tmp_path / "signed.mp4")
    with c2pa.Reader(tmp_path / "signed.mp4") as reader:
        manifest = reader.get_active_manifest()
        everything = reader.detailed_json()
    assert manifest["claim_generator_info"][0]["name"] == "SPACE"
    actions = next(a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    assert [(a["action"], a["digitalSourceType"]) for a in actions] == [("c2pa.created", SOURCE_TYPE)]
    assert "plain" not in everything
    assert str(tmp_path) not in everything
    assert "time" not in json.loads(everything)["manifests"][manifest["label"]]["signature"]  # no timestamp authority


def test_only_the_unknown_signer_is_found_wrong(plain, credentials, tmp_path):
    credentials.sign(plain, tmp_path / "signed.mp4")
    assert findings(tmp_path / "signed.mp4") == ("Valid", ["signingCredential.untrusted"])


def test_who_trusts_the_authority_trusts_the_video(plain, tmp_path):
    ContentCredentials(tmp_path / "kept").sign(plain, tmp_path / "signed.mp4")
    anchors = (tmp_path / "kept" / "authority.pem").read_text()
    assert findings(tmp_path / "signed.mp4", {"trust": {"user_anchors": anchors}}) == ("Trusted", [])


@pytest.mark.parametrize("place", [b"mdat", b"moov", b"AI-generated"])
def test_a_changed_byte_is_noticed(plain, credentials, tmp_path, place):
    credentials.sign(plain, tmp_path / "signed.mp4")
    content = bytearray((tmp_path / "signed.mp4").read_bytes())
    content[content.rindex(place) + (200 if place == b"mdat" else 10)] ^= 1
    (tmp_path / "signed.mp4").write_bytes(content)
    verdict, codes = findings(tmp_path / "signed.mp4")
    assert verdict == "Invalid"
    assert "assertion.bmffHash.mismatch" in codes


def test_pictures_and_sound_stay_as_they_are(short_speech, credentials, tmp_path):
    write_video(FRAMES, tmp_path / "plain.mp4", load_recording(short_speech), len(FRAMES))
    with VideoWriter(tmp_path / "signed.mp4", load_recording(short_speech), len(FRAMES), credentials) as video:
        for frame in FRAMES:
            video.write(frame)
    assert findings(tmp_path / "signed.mp4")[0] == "Valid"
    pictures = [list(read_frames(tmp_path / name)) for name in ("plain.mp4", "signed.mp4")]
    np.testing.assert_array_equal(*pictures)
    content = (tmp_path / "signed.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["plain.mp4", "signed.mp4"]


def test_what_is_no_video_is_not_signed_and_leaves_nothing(credentials, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    for source in ("text.mp4", "gone.mp4"):
        with pytest.raises(SpaceError, match="could not be signed"):
            credentials.sign(tmp_path / source, tmp_path / "signed.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["text.mp4"]


def test_a_video_that_cannot_be_signed_does_not_appear(credentials, tmp_path, monkeypatch):
    monkeypatch.setitem(content_credentials.MANIFEST, "claim_generator_info", "nonsense")
    with (
        pytest.raises(SpaceError, match="could not be signed"),
        VideoWriter(tmp_path / "out.mp4", None, len(FRAMES), credentials) as video,
    ):
        for frame in FRAMES:
            video.write(frame)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_work_is_reported(plain, tmp_path):
    program = """
import sys
from space_core import ServerFault
from space_core.media.content_credentials import ContentCredentials
credentials = ContentCredentials()
try:
    credentials.sign(sys.argv[1], sys.argv[2])
except ServerFault as error:
    print(error.reason, error)
"""
    command = [*on_small_disk(tmp_path, "4k"), sys.executable, "-c", program, plain, tmp_path / "signed.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("disk_full The disk is full")


def test_several_threads_may_sign(plain, credentials, tmp_path):
    targets = [tmp_path / f"{i}.mp4" for i in range(8)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda target: credentials.sign(plain, target), targets))
    assert {findings(target)[0] for target in targets} == {"Valid"}


# ------------------------------------------------------------------------------------------------ keys and certificates


def test_a_folder_keeps_the_same_signer_and_keeps_it_private(tmp_path):
    folder = tmp_path / "kept"
    ContentCredentials(folder)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "content_credentials.pem").stat().st_mode) == 0o600
    ContentCredentials(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == first
    assert b"PRIVATE" not in first["authority.pem"]


def test_whoever_comes_first_makes_the_credentials_for_all(tmp_path, plain):
    with ThreadPoolExecutor(4) as threads:
        everyone = list(threads.map(ContentCredentials, [tmp_path / "kept"] * 4))
    anchors = (tmp_path / "kept" / "authority.pem").read_text()
    for credentials in everyone:
        credentials.sign(plain, tmp_path / "signed.mp4")
        assert findings(tmp_path / "signed.mp4", {"trust": {"user_anchors": anchors}})[0] == "Trusted"
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_certificates_name_nobody_and_fit_their_purpose(tmp_path):
    ContentCredentials(tmp_path / "kept")
    pem = (tmp_path / "kept" / "content_credentials.pem").read_bytes()
    certificate, authority = x509.load_pem_x509_certificates(pem)
    assert {part.value for cert in (certificate, authority) for part in cert.subject} == {
        "SPACE, self-issued",
        "SPACE local signer",
        "SPACE local authority",
    }
    usage = certificate.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert certificate.signature_algorithm_oid._name == "ecdsa-with-SHA256"
    authority_file = (tmp_path / "kept" / "authority.pem").read_bytes()
    assert x509.load_pem_x509_certificate(authority_file) == authority


@pytest.mark.parametrize(
    "damage", [lambda pem: b"", lambda pem: pem[:300], lambda pem: pem[:-300], lambda pem: pem[400:]]
)
def test_damaged_credentials_are_refused_and_left_alone(tmp_path, damage):
    ContentCredentials(tmp_path / "kept")
    kept = tmp_path / "kept" / "content_credentials.pem"
    kept.write_bytes(damage(kept.read_bytes()))
    damaged = kept.read_bytes()
    with pytest.raises(SpaceError, match="damaged"):
        ContentCredentials(tmp_path / "kept")
    assert kept.read_bytes() == damaged


def test_anothers_key_is_refused(tmp_path):
    for name in ("one", "other"):
        ContentCredentials(tmp_path / name)
    one, other = ((tmp_path / name / "content_credentials.pem") for name in ("one", "other"))
    start = b"-----BEGIN CERTIFICATE"
    one.write_bytes(one.read_bytes().split(start)[0] + start + other.read_bytes().split(start, 1)[1])
    with pytest.raises(SpaceError, match="damaged"):
        ContentCredentials(tmp_path / "one")


def test_an_expired_certificate_is_refused(tmp_path, monkeypatch):
    class Past(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=365 * 11)

    with monkeypatch.context() as patch:
        patch.setattr(content_credentials, "datetime", Past)
        ContentCredentials(tmp_path / "kept")
    with pytest.raises(SpaceError, match="expired"):
        ContentCredentials(tmp_path / "kept")


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpaceError, match="can't be kept in 'file'"):
        ContentCredentials(tmp_path / "file")
    with pytest.raises(SpaceError, match="no folder to make 'kept' in"):
        ContentCredentials(tmp_path / "nowhere" / "kept")


def test_without_the_package_a_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(SpaceError, match="need the packages c2pa-python"):
        ContentCredentials()
