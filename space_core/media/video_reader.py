"""Reads the frames of a user's video, whatever its format, size and frame rate."""

from collections.abc import Generator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from space_core.errors import SpaceError
from space_core.media import ffmpeg
from space_core.media.encryption import decoding_error
from space_core.media.files import shown_name
from space_core.media.truncation import is_truncated
from space_core.timing import FPS

FRAME_SECONDS = 30.0  # in which ffmpeg must give the next frame, on a busy machine


def read_frames(path: str | Path, max_side: int = 512, max_seconds: float = 600.0) -> Generator[np.ndarray, None, None]:
    """Opens a user's video and yields its frames, upright, at 25 per second; few are in memory at a time.

    Args:
        path: the user's file. Its header is read at once; frames are decoded on demand.
        max_side: the longest side of the frames in pixels; larger ones are scaled down.
        max_seconds: where to stop in a longer video, in seconds.

    Yields:
        ``(H, W, 3)`` uint8 RGB, with square pixels.

    Raises:
        SpaceError: the file does not exist, is not a video, has no pictures, or (after the last frame) is truncated.
    """
    info = ffmpeg.probe(path, "video")
    if not info.has_pictures:
        raise SpaceError(f"{shown_name(info.path)} has sound but no pictures. Give a video.")
    return _decoded_frames(info, max_side, max_seconds)


def _decoded_frames(info: ffmpeg.MediaInfo, max_side: int, max_seconds: float) -> Generator[np.ndarray, None, None]:
    # Scales to square pixels. ffmpeg applies the rotation of phone videos before the filters.
    factor = f"min(1,{max_side}/max(iw*sar,ih))"
    scale = f"scale=w='max(1,round(iw*sar*{factor}))':h='max(1,round(ih*{factor}))':flags=area,setsar=1"
    # Frames are repeated last, where a repeated one takes no memory: of a still, or by false times, are thousands.
    filters = f"{scale},format=rgb24,fps={FPS}"
    arguments = ["-threads", "2", *ffmpeg.input_arguments(info.path), "-map", "0:V:0", "-vf", filters]
    # As PPM images, each of which has its size: the size may change within a video, and the rotation, which swaps
    # width and height, is not in the stream's header.
    arguments += ["-t", str(max_seconds), "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
    # Large videos take two processors as long as they last.
    with ffmpeg.Process(arguments, 10 + 4 * max_seconds, ffmpeg.DECODER_MEMORY, is_fed=False) as decoder:
        count = 0
        while True:
            with decoder.limit(FRAME_SECONDS):
                frame = _read_ppm(decoder.pipe)
            if frame is None:
                break
            count += 1
            yield frame
        with decoder.limit(FRAME_SECONDS):
            decoder.wait()
        name, seconds = shown_name(info.path), count / FPS
        decoder.check_time("video", info.path)
        if count == 0:
            message = f"No frames could be read from the video {name}; it is damaged. Save or upload it again."
            raise decoding_error(info.path, "video", message)
        is_complete = seconds >= max_seconds - 1 / FPS
        if not is_complete and is_truncated(info, seconds, decoder.messages(), info.has_sound):
            message = f"The video {name} is cut off or damaged. Save or upload it again."
            raise decoding_error(info.path, "video", message)


def _read_ppm(stream: BinaryIO) -> np.ndarray | None:
    """The next image of a stream of binary PPMs as ffmpeg writes them, (H, W, 3) uint8; None at the end."""
    if stream.readline() != b"P6\n":
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()  # the maximal value, 255
    frame = np.empty((height, width, 3), np.uint8)
    return frame if cast(BufferedReader, stream).readinto(frame.data) == frame.nbytes else None
