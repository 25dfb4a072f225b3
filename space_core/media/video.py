"""Videos in and out: frames of a user's video, and the talking portrait with its sound as an MP4."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from space_core.errors import SpaceError
from space_core.media import ffmpeg
from space_core.media.audio import TIMELINE_FILTER
from space_core.media.content_credentials import SOFTWARE, SOURCE_TYPE, VERSION, ContentCredentials
from space_core.media.files import check_output, shown_name, temporary_sibling
from space_core.media.truncation import is_truncated
from space_core.timing import FPS, SAMPLE_RATE

VIDEO_QUALITY = 18  # x264's crf: no difference to the eye
VIDEO_PRESET = "veryfast"
AUDIO_RATE = 48000  # Hz: one frame is exactly 1920 samples
AUDIO_BITRATE = "160k"
# What every video says about itself, where players and sites look; nothing of the user's is in it. "artist" stands
# for the software, which has no field of its own: MP4's "encoder" is ffmpeg's.
METADATA = {
    "title": "AI-generated talking portrait",
    "artist": f"{SOFTWARE} {VERSION}",
    "comment": f"AI-generated: {SOFTWARE} animated a photo. This is not a recording of the person shown.",
    "synopsis": SOURCE_TYPE,
}

DISK_FULL = "The disk is full; the video could not be written. Free some space and try again."

Sound = str | Path | np.ndarray | None  # a recording, samples, or silence; see VideoWriter


def read_frames(path: str | Path, max_side: int = 512, max_seconds: float = 600.0) -> Iterator[np.ndarray]:
    """Opens a user's video and yields its frames at 25 a second, upright, a few in memory at a time.

    Args:
        path: the user's file. It is looked at right away; frames are decoded as they are asked for.
        max_side: larger pictures are scaled down so that neither side exceeds it, in pixels.
        max_seconds: where to stop in a longer video.

    Yields:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        SpaceError: no such file, not a video, without pictures, or (at the end of the frames) cut off.
    """
    info = ffmpeg.probe(path, "video")
    if not info.has_pictures:
        raise SpaceError(f"{shown_name(info.path)} has sound but no pictures. Give a video.")
    return _decoded_frames(info, max_side, max_seconds)


def _decoded_frames(info: ffmpeg.MediaInfo, max_side: int, max_seconds: float) -> Iterator[np.ndarray]:
    # Pixels that are not square are made so. A phone's rotation is applied by ffmpeg before any filter.
    factor = f"min(1,{max_side}/max(iw*sar,ih))"
    scale = f"scale=w='max(1,round(iw*sar*{factor}))':h='max(1,round(ih*{factor}))':flags=area,setsar=1"
    arguments = ["-threads", "2", *ffmpeg.input_arguments(info.path), "-map", "0:V:0", "-vf", f"fps={FPS},{scale}"]
    # As PPM images, each with its own size: a video's size may change, and rotation is not in the stream's header.
    arguments += ["-t", str(max_seconds), "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
    with tempfile.TemporaryFile() as complaints:
        process = ffmpeg.start(arguments, complaints)
        count = 0
        try:
            while (frame := _read_ppm(process.stdout)) is not None:
                count += 1
                yield frame
        finally:
            ffmpeg.stop(process)
        name, seconds = shown_name(info.path), count / FPS
        if count == 0:
            raise SpaceError(f"No frames could be read from the video {name}; it is damaged. Save or upload it again.")
        is_whole = seconds >= max_seconds - 1 / FPS
        if not is_whole and is_truncated(info, seconds, ffmpeg.read_complaints(complaints), info.has_sound):
            raise SpaceError(f"The video {name} is cut off or damaged. Save or upload it again.")


def _read_ppm(stream: BinaryIO) -> np.ndarray | None:
    """The next image of a stream of binary PPMs as ffmpeg writes them; None at its end."""
    if stream.readline() != b"P6\n":
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()  # the largest value, 255
    pixels = stream.read(width * height * 3)
    if len(pixels) < width * height * 3:
        return None
    return np.frombuffer(bytearray(pixels), np.uint8).reshape(height, width, 3)  # bytearray: writable


class VideoWriter:
    """Writes the frames of a talking portrait, with its sound, to an MP4 that browsers play.

    H.264 and AAC that start together, the index in front. The file appears, whole, when the ``with`` block ends well;
    whatever else happens, nothing is left behind::

        with VideoWriter("out.mp4", "speech.wav", num_frames=50) as video:
            for frame in frames:
                video.write(frame)
    """

    def __init__(
        self, path: str | Path, sound: Sound, num_frames: int, credentials: ContentCredentials | None = None
    ) -> None:
        """Checks everything that can be checked early.

        Args:
            path: the MP4; an existing one is replaced.
            sound: the path of a recording, whose sound is taken at its own quality; or samples (N,) float32, 16 kHz
                mono; or None for a silent video. It is cut or padded with silence to the length of the frames.
            num_frames: how many frames will be written, 1 or more.
            credentials: what signs the finished video; None leaves it unsigned.

        Raises:
            SpaceError: an output that can't be written, or a recording that can't be read.
        """
        if num_frames < 1:
            raise ValueError("A video needs at least one frame.")
        self._samples = sound if isinstance(sound, np.ndarray) else None
        recording = None if self._samples is not None else sound
        self.path = check_output(path, ".mp4", inputs=() if recording is None else (recording,))
        self.num_frames = num_frames
        self._credentials = credentials
        self._recording = None if recording is None else ffmpeg.probe(recording, "recording")
        if self._recording and not self._recording.has_sound:
            raise SpaceError(f"{shown_name(recording)} has no sound track. Give a recording or a video with speech.")
        self._unfinished, self._raw_sound = temporary_sibling(self.path), temporary_sibling(self.path)
        self._signed = temporary_sibling(self.path)
        self._complaints: BinaryIO | None = None
        self._process = None
        self._shape: tuple[int, ...] = ()
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, all of one size, H and W even.

        Raises:
            SpaceError: the disk is full or ffmpeg failed.
        """
        if (
            frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] != 3
            or frame.shape[0] % 2
            or frame.shape[1] % 2
        ):
            raise ValueError(f"A frame must be (H, W, 3) uint8 with even H and W, not {frame.shape} {frame.dtype}.")
        if self._process is None:
            self._start(frame.shape)
        if frame.shape != self._shape:
            raise ValueError(f"All frames must have one size: {self._shape}, not {frame.shape}.")
        if self._written == self.num_frames:
            raise ValueError(f"{self.num_frames} frames were promised; here is one more.")
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:  # ffmpeg is gone: a broken pipe
            self._process.wait()
            raise self._failure() from None
        self._written += 1

    def __exit__(
        self, failure: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if failure is None:
                self._finish()
        finally:
            if self._process is not None:
                ffmpeg.stop(self._process)
            if self._complaints is not None:
                self._complaints.close()
            self._unfinished.unlink(missing_ok=True)
            self._raw_sound.unlink(missing_ok=True)
            self._signed.unlink(missing_ok=True)

    def _start(self, shape: tuple[int, ...]) -> None:
        height, width, _ = shape
        pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", str(FPS)]
        arguments = ["-protocol_whitelist", "pipe", *pictures, "-i", "pipe:0", *self._sound_input(), "-map", "0:v:0"]
        # Both the conversion and the tag: with the default conversion, BT.601's, skin would turn orange.
        to_bt709 = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p"
        tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
        arguments += ["-vf", f"{to_bt709},{tags}"]
        # No B-frames: the first picture's time is then zero even for players that ignore the MP4's edit list.
        arguments += ["-c:v", "libx264", "-preset", VIDEO_PRESET, "-crf", str(VIDEO_QUALITY), "-bf", "0"]
        if self._recording or self._samples is not None:
            length = self.num_frames * AUDIO_RATE // FPS
            layouts = "aformat=channel_layouts=mono|stereo"
            arguments += ["-map", "1:a:0", "-c:a", "aac", "-b:a", AUDIO_BITRATE]
            arguments += ["-af", f"{TIMELINE_FILTER},aresample={AUDIO_RATE},{layouts},apad,atrim=end_sample={length}"]
        arguments += ["-map_metadata", "-1", "-map_chapters", "-1"]
        arguments += [part for key, value in METADATA.items() for part in ("-metadata", f"{key}={value}")]
        arguments += ["-movflags", "+faststart", "-f", "mp4", "-y", f"file:{self._unfinished}"]
        self._shape = shape
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 – closed in __exit__
        self._process = ffmpeg.start(arguments, self._complaints, feeds=True)

    def _sound_input(self) -> list[str]:
        """ffmpeg's arguments to read the sound, if there is any."""
        if self._recording:
            return ffmpeg.input_arguments(self._recording.path)
        if self._samples is None:
            return []
        try:
            self._raw_sound.write_bytes(np.clip(self._samples, -1, 1).astype("<f4").tobytes())
        except OSError:
            raise SpaceError(DISK_FULL) from None
        raw = ["-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1"]
        return ["-protocol_whitelist", "file", *raw, "-i", f"file:{self._raw_sound}"]

    def _finish(self) -> None:
        if self._written != self.num_frames:
            raise ValueError(f"{self.num_frames} frames were promised; {self._written} were written.")
        try:
            self._process.stdin.close()
        except OSError:
            self._process.wait()
            raise self._failure() from None
        if self._process.wait() != 0:
            raise self._failure()
        finished = self._unfinished
        if self._credentials is not None:
            self._credentials.sign(self._unfinished, self._signed)
            finished = self._signed
        try:
            finished.replace(self.path)
        except OSError:
            raise SpaceError(f"The video {shown_name(self.path)} can't be put in place. Choose another name.") from None

    def _failure(self) -> SpaceError:
        """The error for an ffmpeg that ended too early, from what it said last."""
        complaints = ffmpeg.read_complaints(self._complaints)
        if "No space left" in complaints or "quota exceeded" in complaints:
            return SpaceError(DISK_FULL)
        if "File too large" in complaints:
            return SpaceError("The video is larger than a file may be on this disk. Choose another folder.")
        return SpaceError(f"The video {shown_name(self.path)} could not be encoded. Check the recording and the disk.")


def write_video(frames: Iterable[np.ndarray], path: str | Path, sound: Sound, num_frames: int) -> None:
    """Writes all frames with a ``VideoWriter``: see there for the arguments, the file and the errors."""
    with VideoWriter(path, sound, num_frames) as video:
        for frame in frames:
            video.write(frame)
