"""Recordings and videos: common formats are read, unusable files are refused with one sentence, written videos play."""

import os
import pathlib
import re
import subprocess
import sys
import wave

import numpy as np
import psutil
import pytest
import soundfile
from conftest import on_small_disk, until
from PIL import Image
from refusals import refusal

from space_core.errors import ServerFault, SpaceError
from space_core.media import ffmpeg
from space_core.media.audio import load_recording, load_speech
from space_core.media.files import check_output
from space_core.media.video_reader import read_frames
from space_core.media.video_writer import VideoWriter, write_video
from space_core.media.yuv import convert_to_yuv420, yuv420_buffer
from space_core.timing import FPS, SAMPLE_RATE

# -------------------------------------------------------------------------------------------------------- making inputs


def run_ffmpeg(*arguments):
    command = [ffmpeg.binary(), "-y", "-hide_banner", "-nostdin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make(path, *arguments):
    """A file made by ffmpeg."""
    result = run_ffmpeg("-v", "error", *arguments, path)
    assert result.returncode == 0, result.stderr
    return path


def write_wav(path, samples, rate=SAMPLE_RATE):
    """A 16-bit WAV of float samples (n,) or (n, channels)."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def tone(seconds, rate=SAMPLE_RATE, loudness=0.3):
    """A voice-like hum with syllables."""
    t = np.arange(round(seconds * rate)) / rate
    return loudness * np.sin(2 * np.pi * 180 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))


def running_ffmpegs():
    """The ffmpeg processes that this process has started and that have not ended."""
    return [child for child in psutil.Process().children() if "ffmpeg" in " ".join(child.cmdline())]


def halve(source, target):
    content = source.read_bytes()
    target.write_bytes(content[: len(content) // 2])
    return target


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", tone(2.013, 44100), 44100)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, speech):
    """Two seconds of 30 fps video, 320 x 180, with sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    pictures = ["-f", "lavfi", "-i", "testsrc=s=320x180:r=30:d=2"]
    return make(path, *pictures, "-i", speech, "-c:v", "libx264", "-shortest", "-movflags", "+faststart")


def frames(count, size=64):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (size, size, 3), np.uint8)
    return (np.roll(noise, i, 1) for i in range(count))


# -------------------------------------------------------------------------------------------------- recordings are read


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", ["-c:a", "pcm_s16le"]),
        ("a24.wav", ["-c:a", "pcm_s24le"]),
        ("float.wav", ["-c:a", "pcm_f32le"]),
        ("a.mp3", []),
        ("vbr without header.mp3", ["-q:a", "5", "-write_xing", "0"]),
        ("a.m4a", []),
        ("a.aac", []),
        ("a.flac", []),
        ("vorbis.ogg", ["-c:a", "libvorbis"]),
        ("a.opus", []),
        ("a.webm", []),
        ("a.mkv", []),
        ("a.aiff", []),
        ("a.wma", []),
        ("a.mov", []),
        ("ünï-漢字 'quoted' %20.mp3", []),
        ("-dash.wav", []),
    ],
)
def test_every_usual_kind_of_recording_loads_at_its_length(tmp_path, speech, name, codec):
    samples = load_speech(make(tmp_path / name, "-i", speech, *codec))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) / SAMPLE_RATE == pytest.approx(2.013, abs=0.1)  # ADTS and WMA keep the padding of their codec
    assert 0.2 < np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_rate_and_layout_loads_with_the_right_pitch(tmp_path, rate, channels):
    one = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    path = write_wav(tmp_path / "a.wav", np.repeat(one[:, None], channels, 1), rate)
    samples = load_speech(path)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=16)
    assert np.abs(np.fft.rfft(samples, SAMPLE_RATE)).argmax() == 440


def test_a_videos_sound_track_is_a_recording(clip):
    assert len(load_speech(clip)) / SAMPLE_RATE == pytest.approx(2.0, abs=0.05)


def test_a_cover_picture_does_not_disturb(tmp_path, speech):
    cover = tmp_path / "cover.png"
    Image.new("RGB", (200, 200), (200, 0, 0)).save(cover)
    path = make(
        tmp_path / "a.mp3", "-i", speech, "-i", cover, "-map", "0", "-map", "1", "-disposition:v", "attached_pic"
    )
    assert len(load_speech(path)) / SAMPLE_RATE == pytest.approx(2.013, abs=0.05)
    assert "no pictures" in refusal(read_frames, path)


def test_a_track_that_starts_late_keeps_its_place(tmp_path, clip, speech):
    late = ["-i", clip, "-itsoffset", "0.5", "-i", speech, "-map", "0:v", "-map", "1:a", "-c:v", "copy"]
    samples = load_speech(make(tmp_path / "late.mp4", *late))
    assert np.abs(samples[: round(0.45 * SAMPLE_RATE)]).max() < 0.01
    assert np.abs(samples[round(0.55 * SAMPLE_RATE) :]).max() > 0.2


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_streamed_wav_without_its_size_loads(tmp_path, size):
    content = bytearray(write_wav(tmp_path / "a.wav", tone(1)).read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert len(load_speech(tmp_path / "a.wav")) == SAMPLE_RATE


def test_a_browsers_recording_without_a_duration_loads(tmp_path, speech):
    path = make(tmp_path / "a.webm", "-i", speech, "-c:a", "libopus", "-f", "webm", "-live", "1")
    assert "Duration: N/A" in run_ffmpeg("-i", path).stderr
    assert len(load_speech(path)) / SAMPLE_RATE == pytest.approx(2.013, abs=0.05)


def test_many_channels_without_a_layout_are_mixed(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.repeat(tone(1)[:, None], 64, 1))
    assert np.corrcoef(load_speech(path), tone(1))[0, 1] > 0.999
    path = write_wav(tmp_path / "a.wav", np.repeat(tone(1)[:, None], 65, 1))
    assert "65 channels; the limit is 64" in refusal(load_speech, path)


def test_stereo_with_a_microphone_that_is_wired_the_wrong_way_is_speech(tmp_path):
    right = write_wav(tmp_path / "right.wav", np.stack([tone(1), tone(1)], 1))
    wrong = write_wav(tmp_path / "wrong.wav", np.stack([tone(1), -tone(1)], 1))
    np.testing.assert_allclose(load_speech(wrong), load_speech(right), atol=1e-4)


def test_a_recording_whose_clock_starts_late_is_whole(tmp_path, speech):
    path = make(tmp_path / "a.mkv", "-i", speech, "-output_ts_offset", "50", "-c:a", "flac")
    assert "start: 50.0" in run_ffmpeg("-i", path).stderr
    assert len(load_speech(path)) / SAMPLE_RATE == pytest.approx(2.013, abs=0.05)


def test_quiet_speech_passes(tmp_path):
    quiet = tone(1)
    quiet *= 10 ** (-45 / 20) / np.sqrt(np.mean(quiet**2))
    assert len(load_speech(write_wav(tmp_path / "a.wav", quiet))) == SAMPLE_RATE


def test_loud_floats_are_clipped(tmp_path, speech):
    path = make(tmp_path / "a.wav", "-i", speech, "-af", "volume=20dB", "-c:a", "pcm_f32le")
    assert np.abs(load_speech(path)).max() == 1.0


@pytest.mark.parametrize("peak", [1e8, 1e10, 3e11])
def test_a_sound_louder_than_any_converter_is_clipped_and_encoded(tmp_path, peak):
    """FFmpeg's AAC encoder never ends over such samples."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(2).astype(np.float32) * np.float32(peak), SAMPLE_RATE, subtype="FLOAT")
    recording = load_recording(path)
    assert np.abs(recording.speech).max() <= 1
    write_video(frames(50), tmp_path / "out.mp4", recording, 50)
    assert len(load_speech(tmp_path / "out.mp4")) / SAMPLE_RATE == pytest.approx(2, abs=0.05)


def test_a_stream_whose_reader_leaves_ends_with_a_sentence():
    reader, writer = os.pipe()
    with (
        os.fdopen(writer, "wb") as stream,
        pytest.raises(SpaceError, match="has closed it"),
        VideoWriter(None, tone(20).astype(np.float32), 500, stream=stream) as video,
    ):
        for number, frame in enumerate(frames(500)):
            video.write(frame)
            if number == 100:
                assert os.read(reader, 8)[4:] == b"ftyp"
                os.close(reader)


def test_samples_that_are_no_numbers_do_not_reach_the_encoder(tmp_path):
    samples = tone(2).astype(np.float32)
    samples[1000:1010] = np.nan, np.inf, -np.inf, 3e38, 1e8, -1e8, np.nan, np.inf, 0, 1
    write_video(frames(50), tmp_path / "out.mp4", samples, 50)
    assert np.isfinite(load_speech(tmp_path / "out.mp4")).all()


# ----------------------------------------------------------------------------------------------- recordings are refused


def test_what_is_no_file_is_refused(tmp_path):
    assert "no recording 'gone.wav'" in refusal(load_speech, tmp_path / "gone.wav")
    assert "is a folder" in refusal(load_speech, tmp_path)
    assert "not an ordinary file" in refusal(load_speech, "/dev/null")
    assert "No recording was given" in refusal(load_speech, "")
    assert "No recording was given" in refusal(load_speech, None)
    assert "path of its file, not as a value of type ndarray" in refusal(load_speech, np.zeros(16000, np.float32))
    assert "no recording" in refusal(load_speech, "x\0y.wav")
    assert "no recording" in refusal(load_speech, tmp_path / ("x" * 5000))
    (tmp_path / "empty.wav").touch()
    assert "empty (0 bytes)" in refusal(load_speech, tmp_path / "empty.wav")


def test_messages_name_no_folders(tmp_path):
    assert str(tmp_path) not in refusal(load_speech, tmp_path / "gone.wav")


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("Dear diary,\n" * 500)
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(50_000))
    Image.new("RGB", (200, 200)).save(tmp_path / "image.png")
    Image.new("RGB", (200, 200)).save(tmp_path / "image.jpg")
    for path in tmp_path.iterdir():
        assert re.search("not a recording|damaged", refusal(load_speech, path)), path.name


def test_a_video_without_sound_is_refused(tmp_path, clip):
    assert "no sound track" in refusal(load_speech, make(tmp_path / "mute.mp4", "-i", clip, "-an", "-c", "copy"))


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.ogg", "a.webm", "a.m4a", "front.m4a"])
def test_a_recording_that_is_cut_off_is_refused(tmp_path, name):
    long = write_wav(tmp_path / "long.wav", tone(8) + np.random.default_rng(0).normal(0, 0.02, 8 * SAMPLE_RATE))
    index = ["-movflags", "+faststart"] if name == "front.m4a" else []
    whole = make(tmp_path / name, "-i", long, *index)
    assert "cut off or damaged" in refusal(load_speech, halve(whole, tmp_path / f"half {name}"))


def test_silence_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    offset = np.full(SAMPLE_RATE, 0.1)
    hiss = rng.normal(0, 10 ** (-70 / 20), SAMPLE_RATE)
    click = np.zeros(SAMPLE_RATE)
    click[5000:5005] = 0.8
    for samples in (np.zeros(SAMPLE_RATE), offset, hiss, click):
        assert "silent" in refusal(load_speech, write_wav(tmp_path / "a.wav", samples))


def test_too_short_and_too_long_are_refused_with_the_lengths(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(0.25))
    assert "too short: 0.25 s" in refusal(load_speech, path)
    assert "too short: 0.29 s" in refusal(load_speech, write_wav(path, tone(0.29994)))
    assert len(load_speech(write_wav(path, tone(0.3)))) == 4800
    write_wav(path, tone(10))
    assert "10 s long; the limit is 5 s" in refusal(load_speech, path, max_seconds=5)
    assert len(load_speech(path, max_seconds=10)) == 10 * SAMPLE_RATE


def test_hours_of_sound_are_refused_with_their_length(tmp_path):
    path = make(tmp_path / "a.flac", "-f", "lavfi", "-i", "anullsrc=r=1000:cl=mono:d=7200")
    assert "7200 s long; the limit is 600 s" in refusal(load_speech, path)


def test_values_that_are_no_sound_are_refused(tmp_path, speech):
    path = make(tmp_path / "a.wav", "-i", speech, "-c:a", "pcm_f32le", "-ar", "16000")
    content = bytearray(path.read_bytes())
    for value in (np.nan, np.inf, -np.inf):
        content[20_000:20_004] = np.float32(value).tobytes()
        path.write_bytes(content)
        assert "NaN" in refusal(load_speech, path)


def test_a_recording_with_megabytes_of_text_is_refused_at_once(tmp_path, speech):
    title = b"INFOINAM" + (5_000_000).to_bytes(4, "little") + b"\n" * 5_000_000  # a line of ffmpeg's report for each
    chunk = b"LIST" + len(title).to_bytes(4, "little") + title
    sound = speech.read_bytes()
    assert sound[8:16] == b"WAVEfmt "
    (tmp_path / "book.wav").write_bytes(sound[:12] + chunk + sound[12:])
    with pytest.raises(SpaceError, match="takes too long to read") as refused:
        load_speech(tmp_path / "book.wav")
    assert not isinstance(refused.value, ServerFault)


@pytest.fixture
def ffmpeg_program(tmp_path, monkeypatch):
    """Has a Python program take ffmpeg's place; call it with the text of the program."""

    def replace(text):
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o700)
        monkeypatch.setattr("space_core.media.ffmpeg.binary", lambda: str(program))

    return replace


@pytest.mark.skipif(sys.platform == "win32", reason="it starts no scripts")
@pytest.mark.parametrize(
    ("work", "message", "kind"),
    [("time.sleep(1)", "this machine is busy", ServerFault), ("pass", "takes too long to read", SpaceError)],
)
def test_a_busy_machine_is_not_taken_for_a_bad_recording(speech, monkeypatch, ffmpeg_program, work, message, kind):
    ffmpeg_program(f"import time\nwhile True: {work}")
    monkeypatch.setattr("space_core.media.ffmpeg.PROBE_CPU_SECONDS", 30)
    monkeypatch.setattr("space_core.media.ffmpeg.PROBE_SECONDS", 4)
    monkeypatch.setattr("space_core.processes.children.STARVED_SHARE", 0.02)  # also where tests share a busy processor
    with pytest.raises(SpaceError, match=message) as failure:
        load_speech(speech)
    assert type(failure.value) is kind


@pytest.mark.parametrize("name", ["list.wav", "list.mp4", "list.m3u8", "list"])
def test_playlists_and_scripts_are_never_followed(tmp_path, speech, clip, name):
    make(tmp_path / "piece.ts", "-i", clip, "-c", "copy")
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\npiece.ts\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile {speech.name}\n"
    dash = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>'
    for content in (hls, concat, dash):
        path = tmp_path / name
        path.write_text(content)
        assert "not a recording" in refusal(load_speech, path)
        assert "not a video" in refusal(read_frames, path)


@pytest.mark.parametrize("path", ["https://example.com/a.wav", pathlib.Path("https://example.com/a.wav")])
def test_who_gives_an_address_is_told_to_download_the_file(path):
    assert "no recording 'a.wav'. Other addresses are never fetched" in refusal(load_speech, path)


@pytest.mark.parametrize("name", ["http://localhost/a.wav", "concat:a.wav|b.wav", "-i", "data:audio/wav;base64,UklG"])
def test_addresses_and_options_are_taken_for_file_names(name):
    assert "no recording" in refusal(load_speech, name)


# ------------------------------------------------------------------------------------------------------ videos are read


def test_frames_come_at_25_a_second(clip):
    pictures = list(read_frames(clip))
    assert len(pictures) == 50
    assert pictures[0].shape == (180, 320, 3)
    assert pictures[0].dtype == np.uint8
    assert pictures[0].flags.writeable


def test_a_rotated_video_is_turned_upright_and_scaled_to_fit(tmp_path, clip):
    path = make(tmp_path / "turned.mp4", "-display_rotation", "90", "-i", clip, "-c", "copy")
    assert next(read_frames(path, max_side=160)).shape == (160, 90, 3)


def test_pixels_that_are_not_square_are_made_so(tmp_path, clip):
    path = make(tmp_path / "wide.mp4", "-i", clip, "-vf", "setsar=1/2")
    assert next(read_frames(path)).shape == (180, 160, 3)


def test_pictures_that_last_for_minutes_take_no_memory_for_each_of_their_frames(tmp_path):
    video = make(tmp_path / "video.mp4", "-f", "lavfi", "-i", "testsrc=size=512x512:rate=25:duration=1")
    content = video.read_bytes()
    time_scale = content.index(b"mdhd") + 16
    video.write_bytes(content[:time_scale] + bytes(4) + content[time_scale + 4 :])
    frames = read_frames(video)
    first, second = next(frames), next(frames)
    (decoder,) = running_ffmpegs()
    assert decoder.memory_info().rss < 300_000_000
    frames.close()
    assert np.array_equal(first, second)


def test_reading_stops_where_it_is_limited(clip):
    assert len(list(read_frames(clip, max_seconds=1))) == 25


def test_closing_the_frames_early_ends_the_process(clip):
    pictures = read_frames(clip)
    next(pictures)
    assert len(running_ffmpegs()) == 1
    pictures.close()
    assert running_ffmpegs() == []


def test_what_is_no_video_is_refused(tmp_path, clip, speech):
    assert "no video 'gone.mp4'" in refusal(read_frames, tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("a nod and a shake of the head\n" * 50)
    assert "not a video" in refusal(read_frames, tmp_path / "text.mp4")
    assert "no pictures" in refusal(read_frames, speech)


def test_a_video_of_giant_pictures_is_refused(tmp_path):
    path = make(tmp_path / "a.mp4", "-f", "lavfi", "-i", "color=s=8000x6000:d=0.04:r=25", "-c:v", "mpeg4")
    assert "too large; the limit is 40 megapixels" in refusal(read_frames, path)


@pytest.mark.parametrize("part", [0.3, 0.6])
def test_a_video_that_is_cut_off_is_refused(tmp_path, clip, part):
    content = clip.read_bytes()
    (tmp_path / "front.mp4").write_bytes(content[: int(part * len(content))])
    assert "damaged" in refusal(lambda: list(read_frames(tmp_path / "front.mp4")))
    make(tmp_path / "end.mp4", "-i", clip, "-c", "copy", "-movflags", "0")
    halve(tmp_path / "end.mp4", tmp_path / "half.mp4")
    assert "cut off" in refusal(read_frames, tmp_path / "half.mp4")


def test_a_video_whose_sound_is_longer_is_whole(tmp_path, clip):
    long = write_wav(tmp_path / "long.wav", tone(6))
    path = make(tmp_path / "a.mp4", "-i", clip, "-i", long, "-map", "0:v", "-map", "1:a", "-c:v", "copy")
    assert len(list(read_frames(path))) == 50
    assert len(load_speech(path)) / SAMPLE_RATE == pytest.approx(6, abs=0.05)


# --------------------------------------------------------------------------------------------------- videos are written


def first_times(path):
    """The presentation times in seconds of the first decoded picture and the first decoded sound."""
    return [
        float(
            re.search(r"pts_time:\s*(-?[\d.]+)", run_ffmpeg("-copyts", "-i", path, *what, "-f", "null", "-").stderr)[1]
        )
        for what in (["-map", "0:v", "-vf", "showinfo"], ["-map", "0:a", "-af", "ashowinfo"])
    ]


@pytest.mark.parametrize("num_frames", [1, 8, 50, 51, 263])
@pytest.mark.parametrize("kind", ["wav", "mp3", "webm"])
def test_a_video_has_the_length_of_its_frames_and_starts_with_its_sound(tmp_path, speech, num_frames, kind):
    source = make(tmp_path / f"speech.{kind}", "-i", speech)
    path = tmp_path / "out.mp4"
    write_video(frames(num_frames), path, load_recording(source), num_frames)
    report = run_ffmpeg("-i", path).stderr
    assert re.search(r"Video: h264 \(High\).*yuv420p\(tv, bt709, progressive\).*64x64.* 25 fps", report)
    assert re.search(r"Audio: aac \(LC\).*48000 Hz, mono", report)
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+), start: 0.000000", report).groups()
    assert int(hours) * 3600 + int(minutes) * 60 + float(seconds) == pytest.approx(num_frames / FPS, abs=0.01)
    assert len(list(read_frames(path))) == num_frames
    samples = run_ffmpeg("-i", path, "-map", "0:a", "-f", "null", "-af", "astats", "-").stderr
    assert int(re.search(r"Number of samples: (\d+)", samples)[1]) == pytest.approx(num_frames * 1920, abs=1920)
    assert first_times(path) == [0.0, 0.0]


def test_a_flash_and_a_click_of_one_moment_stay_together(tmp_path):
    sound = 0.01 * np.sin(2 * np.pi * 200 * np.arange(2 * 48000) / 48000)
    sound[48000:48200] = 0.9
    flash = [np.full((64, 64, 3), 255 if i == 25 else 0, np.uint8) for i in range(50)]
    for kind, codec in (("wav", []), ("mp3", []), ("m4a", []), ("webm", []), ("mp4", ["-c:a", "aac"])):
        write_wav(tmp_path / "click.wav", sound, 48000)
        source = make(tmp_path / f"speech.{kind}", "-i", tmp_path / "click.wav", *codec)
        write_video(flash, tmp_path / "out.mp4", load_recording(source), 50)
        assert np.argmax([frame.mean() for frame in read_frames(tmp_path / "out.mp4")]) == 25
        # What the lips were made from, and what is heard with them, must be the same instant.
        heard = np.argmax(np.abs(load_speech(tmp_path / "out.mp4")) > 0.2) / SAMPLE_RATE
        followed = np.argmax(np.abs(load_speech(source)) > 0.2) / SAMPLE_RATE
        assert heard == pytest.approx(1.0, abs=0.01), kind
        assert followed == pytest.approx(heard, abs=0.005), kind


def test_sound_that_starts_late_is_as_late_in_the_result(tmp_path, clip, speech):
    late = ["-i", clip, "-itsoffset", "0.5", "-i", speech, "-map", "0:v", "-map", "1:a", "-c:v", "copy"]
    source = make(tmp_path / "late.mp4", *late)
    write_video(frames(60), tmp_path / "out.mp4", load_recording(source), 60)
    heard = load_speech(tmp_path / "out.mp4")
    assert np.argmax(np.abs(heard) > 0.1) / SAMPLE_RATE == pytest.approx(0.5, abs=0.02)


def test_stereo_stays_stereo_and_surround_becomes_it(tmp_path):
    for channels in (2, 6):
        source = write_wav(tmp_path / "a.wav", np.repeat(tone(1, 44100)[:, None], channels, 1), 44100)
        write_video(frames(25), tmp_path / "out.mp4", load_recording(source), 25)
        assert "stereo" in run_ffmpeg("-i", tmp_path / "out.mp4").stderr


def test_samples_may_be_the_sound(tmp_path):
    late = np.concatenate([np.zeros(8000), tone(1, loudness=0.9)]).astype(np.float32)
    write_video(frames(50), tmp_path / "out.mp4", late, 50)
    heard = load_speech(tmp_path / "out.mp4")
    assert len(heard) / SAMPLE_RATE == pytest.approx(2, abs=0.05)
    assert np.argmax(np.abs(heard) > 0.2) / SAMPLE_RATE == pytest.approx(0.5, abs=0.01)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_video_may_be_silent(tmp_path):
    write_video(frames(50), tmp_path / "out.mp4", None, 50)
    assert "Audio" not in run_ffmpeg("-i", tmp_path / "out.mp4").stderr
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 50


def test_the_index_is_in_front(tmp_path, speech):
    write_video(frames(50), tmp_path / "out.mp4", load_recording(speech), 50)
    content = (tmp_path / "out.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_metadata_state_that_the_video_is_generated_and_nothing_about_the_user(tmp_path, clip):
    source = make(
        tmp_path / "secret.mp4", "-i", clip, "-c", "copy", "-metadata", "title=My secret", "-metadata", "artist=Me"
    )
    write_video(frames(5), tmp_path / "private.mp4", load_recording(source), 5)
    report = run_ffmpeg("-i", tmp_path / "private.mp4", "-f", "ffmetadata", "-").stdout
    says = dict(line.split("=", 1) for line in report.splitlines() if "=" in line)
    assert says["title"] == "AI-generated talking portrait"
    assert says["artist"].startswith("SPACE ")
    assert "not a recording of the person" in says["comment"]
    assert says["synopsis"].endswith("compositeWithTrainedAlgorithmicMedia")
    content = (tmp_path / "private.mp4").read_bytes()
    assert not [word for word in (b"secret", b"private", b"Me\0", str(tmp_path).encode()) if word in content]


def test_colours_survive(tmp_path, speech):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (224, 172, 140), (90, 60, 40)]
    for colour in colours:
        write_video([np.full((64, 64, 3), colour, np.uint8)] * 3, tmp_path / "out.mp4", load_recording(speech), 3)
        seen = list(read_frames(tmp_path / "out.mp4"))[1][32, 32]
        assert np.abs(seen.astype(int) - colour).max() <= 3


def test_large_frames_of_which_ffmpeg_holds_few_are_all_written(tmp_path):
    ramp = np.linspace(0, 255, 1600, dtype=np.uint8)
    frames = [np.broadcast_to(np.roll(ramp, 100 * number)[None, :, None], (1000, 1600, 3)) for number in range(12)]
    write_video(frames, tmp_path / "out.mp4", None, len(frames))
    read = list(read_frames(tmp_path / "out.mp4", max_side=1600))
    assert len(read) == len(frames)
    for frame, expected in zip(read, frames, strict=True):
        assert np.abs(frame[500].astype(int) - expected[500]).mean() < 4


def test_pixels_of_video_are_bt709_in_limited_range():
    colours = np.random.default_rng(0).integers(0, 256, (65, 33, 3))
    frame = colours.repeat(2, 0).repeat(2, 1).astype(np.uint8)  # chroma is that of 2 x 2 pixels
    buffer = yuv420_buffer(*frame.shape[:2])
    convert_to_yuv420(frame, buffer)
    red, green, blue = np.moveaxis(colours / 255, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = [16 + 219 * luma.repeat(2, 0).repeat(2, 1), 128 + 224 * (blue - luma) / 1.8556]
    expected.append(128 + 224 * (red - luma) / 1.5748)
    assert np.abs(buffer - np.concatenate([plane.ravel() for plane in expected])).max() < 0.7


def test_an_existing_video_is_replaced_only_by_a_whole_one(tmp_path, speech):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")

    def broken():
        yield from frames(10)
        raise RuntimeError("the generator failed")

    with pytest.raises(RuntimeError, match="the generator failed"):
        write_video(broken(), path, load_recording(speech), 50)
    assert path.read_bytes() == b"the old one"
    write_video(frames(10), path, load_recording(speech), 10)
    assert path.stat().st_size > 1000
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, GeneratorExit, SpaceError])
def test_a_failure_leaves_no_file_and_no_process(tmp_path, speech, failure):
    recording = load_recording(speech)
    with pytest.raises(failure), VideoWriter(tmp_path / "out.mp4", recording, 50) as video:
        for frame in frames(5):
            video.write(frame)
        raise failure("stop")
    assert running_ffmpegs() == []
    assert list(tmp_path.iterdir()) == []


def test_no_frames_at_all_leave_nothing(tmp_path, speech):
    with pytest.raises(ValueError, match="50 frames were expected; 0 were written"):
        write_video([], tmp_path / "out.mp4", load_recording(speech), 50)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [9, 11])
def test_a_wrong_number_of_frames_leaves_nothing(tmp_path, speech, given):
    with pytest.raises(ValueError, match="10 frames were expected"):
        write_video(frames(given), tmp_path / "out.mp4", load_recording(speech), 10)
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_ends_early_is_reported(tmp_path, speech):
    def write_all():
        with VideoWriter(tmp_path / "out.mp4", load_recording(speech), 500) as video:
            for i, frame in enumerate(frames(500)):
                if i == 20:
                    until(running_ffmpegs)
                    running_ffmpegs()[0].kill()
                video.write(frame)

    with pytest.raises(ServerFault, match="encoder ended unexpectedly") as fault:
        write_all()
    assert fault.value.reason == "encoder_died"
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_stops_is_ended_and_reported(tmp_path, speech):
    def write_all():
        with VideoWriter(tmp_path / "out.mp4", load_recording(speech), 5000, stall_seconds=1) as video:
            for i, frame in enumerate(frames(5000)):
                if i == 20:
                    until(lambda: any(child.name().startswith("ffmpeg") for child in running_ffmpegs()))
                    running_ffmpegs()[0].suspend()
                video.write(frame)

    with pytest.raises(ServerFault, match="took too long") as fault:
        write_all()
    assert fault.value.reason == "timeout"
    assert running_ffmpegs() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a signal for the death of a parent")
def test_an_ffmpeg_does_not_outlive_this_process(tmp_path):
    program = """
import sys, time
import numpy as np
from space_core.media.video_writer import VideoWriter
with VideoWriter(sys.argv[1], None, 50) as video:
    video.write(np.zeros((64, 64, 3), np.uint8))
    print("started", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "out.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        (encoder,) = psutil.Process(process.pid).children()
        until(lambda: encoder.name().startswith("ffmpeg"))
        encoder.suspend()  # it can't notice that its input has ended
        process.kill()
    until(lambda: not encoder.is_running() or encoder.status() == psutil.STATUS_ZOMBIE)


def test_a_later_run_removes_the_temporary_files_of_one_that_was_killed_but_not_of_one_that_goes_on(tmp_path):
    program = """
from space_core.media.files import temporary_file, temporary_folder
file = temporary_file()
with temporary_folder() as folder:
    (folder / "film").touch()
    print("has files", flush=True)
    input()
"""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    def begin():
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, **options)
        assert process.stdout.readline() == "has files\n"
        return process

    with begin() as killed:
        killed.kill()
    assert list(tmp_path.rglob("film"))
    with begin() as goes_on, begin() as later:
        assert len(list(tmp_path.rglob("film"))) == 2
        for process in (later, goes_on):
            process.communicate("\n")
    assert not list(tmp_path.iterdir())


def test_a_full_folder_of_temporary_files_is_a_fault(speech):
    program = """
import resource, sys
from space_core import ServerFault
from space_core.media.audio import load_speech
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    load_speech(sys.argv[1])
except ServerFault as error:
    print(error.reason, error)
"""
    done = subprocess.run([sys.executable, "-c", program, speech], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("disk_full The folder for temporary files is full")


@pytest.mark.parametrize("path", ["/nowhere/ffmpeg", "/bin/true"])
def test_a_wrong_path_of_ffmpeg_is_said(path, speech):
    program = """
import sys
from space_core import SpaceError
from space_core.media.audio import load_speech
try:
    load_speech(sys.argv[1])
except SpaceError as error:
    print(error)
"""
    environment = os.environ | {"IMAGEIO_FFMPEG_EXE": path}
    command = [sys.executable, "-c", program, speech]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "IMAGEIO_FFMPEG_EXE names is not a working ffmpeg" in done.stdout


def test_a_limit_of_the_disk_is_not_blamed_on_the_recording(tmp_path):
    program = """
import resource, sys
import numpy as np
from space_core import ServerFault
from space_core.media.video_writer import write_video
folder = sys.argv[1]
noise = np.random.default_rng(0).integers(0, 255, (20, 256, 256, 3), np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_video(noise, f"{folder}/out.mp4", None, 20)
except ServerFault as error:
    print(error.reason, error)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("disk_full The video is larger than a file may be")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_work_is_not_blamed_on_the_encoder(tmp_path):
    program = """
import sys
import numpy as np
from space_core import ServerFault
from space_core.media.video_writer import write_video
noise = np.random.default_rng(0).integers(0, 255, (20, 256, 256, 3), np.uint8)
try:
    write_video(noise, f"{sys.argv[1]}/out.mp4", None, 20)
except ServerFault as error:
    print(error.reason, error)
"""
    command = [*on_small_disk(tmp_path, "300k"), sys.executable, "-c", program, str(tmp_path)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("disk_full The disk is full")


def test_an_output_that_cannot_be_written_is_refused_early(tmp_path, speech):
    assert "must end in .mp4" in refusal(check_output, tmp_path / "out.avi", ".mp4")
    assert "The output '.' must end in .mp4" in refusal(check_output, ".", ".mp4")
    assert "no folder 'nowhere'" in refusal(check_output, tmp_path / "nowhere" / "out.mp4", ".mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert "not a file that can be replaced" in refusal(check_output, tmp_path / "folder.mp4", ".mp4")
    assert "too long" in refusal(check_output, tmp_path / ("x" * 300 + ".mp4"), ".mp4")
    assert "can't be written" in refusal(check_output, "/proc/out.mp4", ".mp4")
    check_output(tmp_path / "out.mp4", ".mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_an_output_that_is_a_link_is_written_where_the_link_leads(tmp_path, speech):
    (tmp_path / "disk").mkdir()
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    for film in (tmp_path / "disk" / "film.mp4", tmp_path / "disk" / "new.mp4"):
        link = tmp_path / f"to_{film.name}"
        link.symlink_to(film)
        write_video(frames, link, None, 2)
        assert link.is_symlink()
        assert film.stat().st_size > 0
    assert len(list((tmp_path / "disk").iterdir())) == 2
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    assert "not a file that can be replaced" in refusal(check_output, tmp_path / "circle.mp4", ".mp4")
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "nowhere" / "film.mp4")
    assert "no folder 'nowhere'" in refusal(check_output, tmp_path / "nowhere.mp4", ".mp4")


@pytest.mark.skipif(os.name != "posix", reason="only there files are locked")
def test_what_a_killed_run_has_left_beside_its_film_is_removed_by_a_later_one_but_no_file_of_a_run_that_goes_on(
    tmp_path,
):
    program = """
import sys
import numpy as np
from space_core.media.video_writer import VideoWriter
with VideoWriter(sys.argv[1], None, 50) as video:
    video.write(np.zeros((64, 64, 3), np.uint8))
    print("started", flush=True)
    input()
"""

    def begin(name):
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "started\n"
        return process

    with begin("killed.mp4") as killed:
        killed.kill()
    (left,) = tmp_path.iterdir()
    with begin("goes_on.mp4") as goes_on:
        (kept,) = set(tmp_path.iterdir()) - {left}
        for unfinished in (left, kept):
            os.utime(unfinished, (0, 0))
        (tmp_path / ".space-young.mp4.part").touch()
        write_video(np.zeros((1, 64, 64, 3), np.uint8), tmp_path / "film.mp4", None, 1)
        assert {path.name for path in tmp_path.iterdir()} == {kept.name, ".space-young.mp4.part", "film.mp4"}
        goes_on.kill()


def test_an_input_is_never_replaced(tmp_path, clip):
    source = tmp_path / "me.mp4"
    source.write_bytes(clip.read_bytes())
    assert "would replace an input" in refusal(check_output, source, ".mp4", (source,))
    assert source.read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("size", [(512, 512), (1500, 1200)])
def test_the_picture_keeps_its_detail_at_every_size(tmp_path, size):
    """A PSNR of 40 dB is taken for a loss that nobody sees; larger frames are encoded with other settings."""
    rng = np.random.default_rng(0)
    small = rng.integers(40, 216, (size[0] // 12, size[1] // 12, 3), np.uint8)
    picture = np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))
    write_video([picture] * 10, tmp_path / "out.mp4", None, 10)
    for frame in read_frames(tmp_path / "out.mp4", max_side=2000):
        luma = (frame.astype(float) - picture) @ [0.2126, 0.7152, 0.0722]
        assert 10 * np.log10(255**2 / np.mean(luma**2)) > 40


def test_the_finished_file_has_the_usual_permissions(tmp_path, speech):
    write_video(frames(5), tmp_path / "out.mp4", load_recording(speech), 5)
    (tmp_path / "plain").touch()
    assert (tmp_path / "out.mp4").stat().st_mode == (tmp_path / "plain").stat().st_mode
