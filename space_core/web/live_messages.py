"""The messages of a live session, as ``docs/live.md`` describes them: parsed, and packed."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from space_core.errors import SpaceError
from space_core.live.frames import LiveFrame
from space_core.media.video_writer import METADATA
from space_core.motion.live.options import CHANGEABLE_OPTIONS
from space_core.options import AnimationOptions
from space_core.web import gradio_page
from space_core.web.parameters import WIDGETS, option_value
from space_core.web.settings import Settings

SAMPLE_BYTES = 2  # sound is 16-bit PCM, little-endian, mono, 16 kHz
MESSAGE_BYTES = 1 << 16  # of a message: two seconds of sound
# Of a frame: its number, how many of the visitor's samples are said at its end, and the number of its own samples,
# which follow. The rest is its picture, a JPEG, or nothing where it was skipped.
HEADER = struct.Struct("<III")
PICTURE_QUALITY = 80  # 40 KB for 512 x 512, encoded in 1 ms
FILM_OPTIONS = ("pose_video", "generator", "framing", "size")  # not for sessions: files, slow or large pictures

NO_BEGINNING = 'The first message is JSON: {"photo": PATH, "options": {...}}.'
NO_PHOTO = "There is no such photo here. Upload one first; photo is the path that the upload returns."
NO_SOUND = "Sound is 16-bit PCM, little-endian, mono, 16 kHz: two bytes a sample, at most 64 KB a message."
NO_CONTROL = f'A message is sound, {{"end": true}}, or JSON with any of {", ".join(CHANGEABLE_OPTIONS)}.'


def parse_beginning(message: bytes | dict[str, Any], settings: Settings) -> tuple[Path, AnimationOptions]:
    """The photo and the options that the first message asks for.

    Raises:
        SpaceError: it is no such message, or asks for what is not offered.
    """
    given = message.get("options", {}) if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(given, dict) or set(message) - {"photo", "options"}:
        raise SpaceError(NO_BEGINNING)
    if unknown := set(given) - (set(WIDGETS) - set(FILM_OPTIONS)):
        name = min(unknown)[:40].encode("ascii", "replace").decode()  # halves of characters can't be sent back
        raise SpaceError(f"A live session has no option {name}.")
    settings.check_detector(given.get("detector"))
    given = {"mark": settings.visible_mark, **given}
    options = {name: option_value(name, value) for name, value in given.items()}
    if settings.force_visible_mark:
        options["mark"] = "visible"
    return _uploaded(message.get("photo")), AnimationOptions(**options)


def parse_message(text: str | None, sound: bytes | None, advice: str = NO_CONTROL) -> bytes | dict[str, Any]:
    """A message of the visitor's: sound, or JSON; ``advice`` says what can be sent.

    Raises:
        SpaceError: it is neither, or too long.
    """
    if len(text or sound or "") > MESSAGE_BYTES:
        raise SpaceError(NO_SOUND)
    if text is None:
        return sound or b""
    try:
        value = orjson.loads(text)  # lists within lists are a ValueError of its own, never a RecursionError
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SpaceError(advice)
    return value


def parse_sound(message: bytes) -> np.ndarray:
    """(N,) float32 -1 … 1, 16 kHz, the sound of a message.

    Raises:
        SpaceError: it is none.
    """
    if not message or len(message) % SAMPLE_BYTES:
        raise SpaceError(NO_SOUND)
    return np.frombuffer(message, "<i2").astype(np.float32) / 32768


def _uploaded(path: Any) -> Path:
    """The file of a path that the upload returned."""
    try:
        file = Path(path).resolve()
        if file.is_relative_to(gradio_page.upload_folder().resolve()) and file.is_file():
            return file
    except (TypeError, ValueError, OSError):
        pass
    raise SpaceError(NO_PHOTO)


def pack_frame(frame: LiveFrame, num_said: int) -> bytes:
    """A frame as it is sent; see ``HEADER``. The picture says in its comment that it is generated."""
    picture = io.BytesIO()
    if not frame.is_skipped:
        Image.fromarray(frame.picture).save(picture, "JPEG", quality=PICTURE_QUALITY, comment=METADATA["comment"])
    sound = np.round(np.clip(frame.sound, -1, 1) * 32767).astype("<i2")
    return HEADER.pack(frame.index, num_said, len(sound)) + sound.tobytes() + picture.getvalue()
