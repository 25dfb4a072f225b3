"""Inputs of the fuzzer: good files and values, and what random changes make of them. The same seed, the same inputs."""

import io
import random
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import soundfile
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
MARK = "canary7f3a"  # in every name and text, so that one of them in the log is found
SECONDS = 0.6  # of good recordings

PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SOUND_FORMATS = ("wav", "flac", "ogg", "mp3", "m4a", "webm", "mka", "aiff")
VIDEO_FORMATS = ("mp4", "mov", "webm", "mkv", "avi")
NUMBERS = (0, 1, -1, 0.5, 1e308, -1e308, 2**31, 2**63, 10**30, float("nan"), float("inf"), 1.5000001, 25, 0.1)
VALUES = (
    None,
    True,
    False,
    "",
    "x",
    [],
    {},
    [None],
    {"a": 1},
    "x" * 5000,
    "\0",
    "ÿ😀\u202e",
    "../../etc/passwd",
    "NaN",
)
TEXTS = (
    "Hello there.",
    "No.",
    "1 2 3",
    "Ünïcödé!",
    "a" * 400,
    "[[h@loU]]",
    "<speak>Hi</speak>",
    "e\u0301" * 50,
    "a." * 250,
    "...",
)


@dataclass(frozen=True)
class Input:
    """A request: its endpoint, files (content and name) and values by parameter, or raw bytes of HTTP in ``raw``."""

    kind: str
    endpoint: str = ""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""


def make_input(seed: int, number: int) -> Input:
    """The input of that number in the sequence of a seed."""
    rng = random.Random(f"{seed}-{number}")
    makers: tuple[tuple[Callable[[random.Random], Input], int], ...] = (
        (_photo, 8),
        (_preview, 8),
        (_recording, 8),
        (_speech_video, 3),
        (_pose_video, 4),
        (_values, 8),
        (_text, 2),
        (_http, 3),
    )
    maker = rng.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
    return maker(rng)


def _photo(rng: random.Random) -> Input:
    return Input("photo", "animate", {"photo": _changed_photo(rng), "speech": good_file("recording")}, {"size": 256})


def _preview(rng: random.Random) -> Input:
    return Input("preview", "look", {"photo": _changed_photo(rng)})


def _recording(rng: random.Random) -> Input:
    if rng.random() < 0.3:
        suffix, content = "wav", strange_sound(rng)
    else:
        suffix = rng.choice(SOUND_FORMATS)
        content = changed(rng, sound(suffix))
    files = {"photo": good_file("photo"), "speech": (name(rng, suffix), content)}
    return Input("recording", "animate", files, {"size": 256})


def _speech_video(rng: random.Random) -> Input:
    suffix = rng.choice(VIDEO_FORMATS)
    files = {"photo": good_file("photo"), "speech_video": (name(rng, suffix), changed(rng, video(suffix)))}
    return Input("speech video", "animate", files, {"size": 256})


def _pose_video(rng: random.Random) -> Input:
    suffix = rng.choice(VIDEO_FORMATS)
    files = {"photo": good_file("photo"), "speech": good_file("recording")}
    files["pose_video"] = (name(rng, suffix), changed(rng, video(suffix)))
    return Input("pose video", "animate", files, {"size": 256})


def _values(rng: random.Random) -> Input:
    """Wrong values for a few parameters, of which the fuzzer asks the server the names."""
    endpoint = rng.choice(("animate", "animate", "compare", "look", "say"))
    files = {"photo": good_file("photo")} | ({} if endpoint == "look" else {"speech": good_file("recording")})
    count = rng.randint(1, 4)
    wrong = {f"?{rng.random()}": rng.choice((*NUMBERS, *VALUES)) for _ in range(count)}
    return Input("values", endpoint, {} if endpoint == "say" else files, {"size": 256, **wrong})


def _text(rng: random.Random) -> Input:
    text = "".join(changed(rng, rng.choice(TEXTS).encode()).decode("utf-8", "replace")[:600])
    return Input("text", "say", {}, {"text": f"{MARK} {text}" if rng.random() < 0.5 else text})


def _http(rng: random.Random) -> Input:
    """Requests that are none of the page's."""
    path = rng.choice(
        ("upload", "call/animate", "call/v2/animate", "queue/join", "queue/data?session_hash=x", "call/animate/x")
        + ("heartbeat/x", "cancel", "file=/etc/passwd", "run/animate", "api/look", "stream/x", "component_server")
    )
    body = rng.choice(
        (
            b'{"data": []}',
            b'{"data": [1, null], "fn_index": 3, "session_hash": "x"}',
            b"--x\r\n\r\n",
            b"[[[[",
            b"",
            b"\xff" * 99,
        )
    )
    kind = rng.choice(("application/json", "multipart/form-data; boundary=x", "text/plain"))
    head = f"{rng.choice(('GET', 'POST', 'HEAD', 'PUT', 'OPTIONS'))} /gradio_api/{path} HTTP/1.1\r\nHost: here\r\n"
    head += f"Content-Type: {kind}\r\nX-Name: {MARK}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    raw = head.encode() + body
    return Input("http", raw=changed(rng, raw) if rng.random() < 0.5 else raw)


# Changes


def changed(rng: random.Random, content: bytes) -> bytes:
    """Content as it is (seldom), or with one or several random changes."""
    if rng.random() < 0.08:
        return content
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(data) + 1) if rng.random() < 0.6 else rng.randrange(min(len(data), 512) + 1)
        length = rng.choice((1, 2, 4, 8, 64, 1024))
        match rng.randrange(8):
            case 0:  # bits
                if place < len(data):
                    data[place] ^= 1 << rng.randrange(8)
            case 1:  # extreme numbers
                number = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80"))
                data[place : place + length] = number * min(length, 8)
            case 2:  # cut off
                del data[place:]
            case 3:  # taken out
                del data[place : place + length]
            case 4:  # twice
                data[place:place] = data[place : place + length]
            case 5:  # noise
                data[place : place + length] = rng.randbytes(length)
            case 6:  # a size of 32 bits
                data[place : place + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, len(data))).to_bytes(4, "big")
            case 7:  # the end of another place
                other = rng.randrange(len(data) + 1)
                data[place:] = data[other:]
    return bytes(data)


def name(rng: random.Random, suffix: str) -> str:
    """A name for an upload, with the right suffix or another one."""
    odd = rng.choice(("", "", "", " ü", "-", "../", "%00", "'\"", "\u202e", "x" * 300))
    return f"{odd}{MARK}.{suffix if rng.random() < 0.8 else rng.choice(('jpg', 'wav', 'mp4', 'txt', 'm3u8', ''))}"


# Good files


def good_file(kind: str) -> tuple[str, bytes]:
    """A name and the content of a photo or recording that can be used."""
    return (f"{MARK}.jpg", photo("JPEG")) if kind == "photo" else (f"{MARK}.wav", sound("wav"))


@cache
def photo(kind: str) -> bytes:
    """A small photo of a face in a format of Pillow's."""
    picture = Image.open(EXAMPLES / "astronaut.jpg").convert("RGB").crop((70, 0, 390, 320)).resize((192, 192))
    packed = io.BytesIO()
    picture.save(packed, kind)
    return packed.getvalue()


def _changed_photo(rng: random.Random) -> tuple[str, bytes]:
    kind = rng.choice(PHOTO_FORMATS)
    if rng.random() < 0.15:
        return name(rng, "png"), strange_png(rng)
    return name(rng, kind.lower()), changed(rng, photo(kind))


def strange_png(rng: random.Random) -> bytes:
    """A whole PNG with sizes and chunks of its own."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    width, height = (rng.choice((0, 1, 2, 63, 300, 8000, 9000, 50_000, 2**31 - 1)) for _ in range(2))
    depth, colour = rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, rng.choice((0, 1))])
    more = b"".join(
        chunk(rng.choice((b"iCCP", b"zTXt", b"eXIf", b"tRNS", b"PLTE", b"acTL")), rng.randbytes(rng.choice((0, 3, 60))))
        for _ in range(rng.randrange(4))
    )
    pixels = zlib.compress(bytes(min(width, 9000) * 8 * min(height, 300)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@cache
def speech() -> tuple[np.ndarray, int]:
    """(N,) samples of speech and their rate."""
    samples, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    return samples[rate : rate + round(SECONDS * rate)], rate


@cache
def sound(suffix: str) -> bytes:
    """Speech in a format."""
    samples, rate = speech()
    packed = io.BytesIO()
    soundfile.write(packed, samples, rate, format="WAV")
    return packed.getvalue() if suffix == "wav" else _convert(packed.getvalue(), ["-f", "wav"], suffix)


def strange_sound(rng: random.Random) -> bytes:
    """A whole WAV of speech with numbers, rates and channels of its own."""
    samples, rate = speech()
    match rng.randrange(5):
        case 0:
            samples = samples * 10.0 ** rng.uniform(-10, 30)
        case 1:
            samples = np.where(np.arange(len(samples)) % rng.randint(2, 5000) == 0, np.nan, samples)
        case 2:
            samples = np.where(np.arange(len(samples)) % rng.randint(2, 5000) == 0, np.inf, samples)
        case 3:
            samples = np.repeat(samples[:, None], rng.choice((2, 5, 8, 16, 64)), axis=1)
        case 4:
            rate = rng.choice((1, 100, 8000, 44_100, 192_000, 2_000_000))
    packed = io.BytesIO()
    soundfile.write(packed, samples, rate, format="WAV", subtype=rng.choice(("FLOAT", "DOUBLE", "PCM_16", "PCM_U8")))
    return packed.getvalue()


@cache
def video(suffix: str) -> bytes:
    """Half a second of a speaking face, with its sound, in a format."""
    return _convert((EXAMPLES / "mona_lisa.mp4").read_bytes(), ["-t", "0.5"], suffix, ["-vf", "scale=160:-2"])


def _convert(content: bytes, reading: list[str], suffix: str, writing: list[str] | None = None) -> bytes:
    """A file in another format, by ffmpeg."""
    kinds = {"m4a": "ipod", "mka": "matroska", "mkv": "matroska"}
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *reading, "-i", "pipe:0"]
    # Through a pipe, MP4 can't be written as usual.
    fragments = ["-movflags", "frag_keyframe+empty_moov"] if suffix in ("mp4", "mov", "m4a") else []
    command += [*(writing or []), *fragments, "-f", kinds.get(suffix, suffix), "pipe:1"]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout
