"""Writes frames and their sound to an MP4, to a stream, or to both."""

import math
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from space_core.errors import ServerFault, SpaceError
from space_core.media import ffmpeg
from space_core.media.audio import SOUND_RATE, Recording
from space_core.media.content_credentials import SOFTWARE, SOURCE_TYPE, VERSION, ContentCredentials
from space_core.media.encoded_frames import EncodedFrames, can_be_counted
from space_core.media.files import (
    check_output,
    disk_full,
    is_disk_full,
    shown_name,
    temporary_fault,
    temporary_file,
    unfinished_file,
)
from space_core.media.yuv import convert_to_yuv420, yuv420_buffer
from space_core.timing import FPS, SAMPLE_RATE

# x264's preset, and its CRF for frames of up to LARGE_PIXELS. Superfast has no lookahead: a third less
# CPU time and memory than veryfast for the same SSIM, in larger files. Of three films of 512 x 512, veryfast at CRF 18
# had an SSIM of 0.9864 at 1080 kbit/s, superfast at CRF 19 one of 0.9877 at 1420 kbit/s, in 72 % of the CPU time.
PRESET, CRF = "superfast", 19
LARGE_PIXELS = 1_500_000
# Larger frames have one quantizer and are encoded in slices, none held back. So x264 makes no smaller copies of them,
# by which it finds CRF's quantizers, weights and cuts: three quarters of the CPU time of CRF 21. Six films of 4 to 14
# megapixels had an SSIM of 0.9914 instead of 0.9925 and the same PSNR, 49 dB, in files of 0.65 to 1.45 times the size.
LARGE_OPTIONS = ["-tune", "zerolatency", "-qp", "19", "-x264-params", "scenecut=0:weightp=0"]
LARGE_FRAMES_HELD = 2  # by ffmpeg at most: one that is encoded, and the next
MAX_ENCODER_THREADS = 4  # x264 holds a reference frame for each; four encode 512 x 512 at over 500 frames per second
# FFmpeg's faster AAC coder: half the CPU time of the default one, with the same signal-to-distortion ratio for speech.
AUDIO_CODER = "fast"
AUDIO_BITRATE = "160k"
# Metadata of every video, in the fields that players and sites read; it has no data of the user. MP4 has no field for
# the software but "encoder", which is ffmpeg's, so "artist" names it.
METADATA = {
    "title": "AI-generated talking portrait",
    "artist": f"{SOFTWARE} {VERSION}",
    "comment": f"AI-generated: {SOFTWARE} animated a photo. This is not a recording of the person shown.",
    "synopsis": SOURCE_TYPE,
}

# A stream is an MP4 whose index comes first and which has pictures and sound in fragments, each written as soon as it
# is encoded. A key frame begins a fragment, so that segments of HTTP Live Streaming can be cut at it, and players can
# seek; with them films are 24 to 32 % larger than without a stream.
KEY_FRAME_SECONDS = 1.0
FRAGMENT_SECONDS = 0.08  # the first one is there three frames sooner than with 0.2, in a file 1.4 % larger
# x264's lookahead is four frames instead of ten, so that the first picture is there seven frames sooner.
STREAM_LOOKAHEAD = "rc-lookahead=4:sync-lookahead=0"
STREAM_OPTIONS = {
    "movflags": "+empty_moov+default_base_moof+frag_keyframe",
    "frag_duration": str(round(FRAGMENT_SECONDS * 1e6)),
}
# AAC begins with a packet before time zero, which primes the decoder and needs an edit list. With one, Firefox plays no
# fragment but the first, so a stream does without the packet; the first 21 ms of its sound are faded in instead.
STREAM_SOUND_FILTER = "noise=drop=not(n)"

FRAME_SECONDS = 30.0  # in which ffmpeg must take the next frame, on a busy machine

Sound = Recording | np.ndarray | None  # a recording, samples, or None for no sound; see VideoWriter


class VideoWriter:
    """Writes frames and their sound to an MP4 that browsers play.

    H.264 (BT.709, limited range) and AAC, both starting at time zero, with the index in front. The file appears,
    complete, when the ``with`` block ends without an exception; otherwise no file is left. ``write`` blocks while
    ffmpeg's input queue of a few frames is full, so memory does not grow with the length::

        with VideoWriter("out.mp4", load_recording("speech.wav"), num_frames=50) as video:
            for frame in frames:
                video.write(frame)

    The film may also be, or only be, a stream: a fragmented MP4, unsigned, that can be played while it is written.
    """

    def __init__(
        self,
        path: str | Path | None,
        sound: Sound,
        num_frames: int,
        credentials: ContentCredentials | None = None,
        stall_seconds: float = FRAME_SECONDS,
        stream: IO[bytes] | None = None,
    ) -> None:
        """Checks the arguments; ffmpeg starts with the first frame.

        Args:
            path: the MP4; an existing one is replaced, a symbolic link followed. None for a stream alone.
            sound: a recording; or samples ``(N,)`` float32 in [-1, 1], 16 kHz mono; or None for no audio track. It is
                cut or padded with silence to the length of the frames.
            num_frames: the number of frames that will be written, at least 1.
            credentials: signs the finished video; None leaves it unsigned.
            stall_seconds: how long ffmpeg may take over one frame before it is stopped; the reader of a stream alone
                may take any time.
            stream: a file or pipe that ffmpeg writes the stream to; left open.

        Raises:
            SpaceError: the output can't be written.
        """
        if num_frames < 1:
            raise ValueError("A video needs at least one frame.")
        if path is None and stream is None:
            raise ValueError("A video needs a path or a stream.")
        self.path = None if path is None else check_output(path, ".mp4")
        self._stream = stream
        self.num_frames = num_frames
        self._sound = sound
        self._credentials = credentials
        self._stall_seconds = math.inf if path is None else stall_seconds
        self._files = ExitStack()  # those that are removed in the end
        self._unfinished: Path | None = None
        self._encoder: ffmpeg.Process | None = None
        self._encoded: EncodedFrames | None = None  # counted where frames are large
        self._shape: tuple[int, ...] = ()
        self._yuv = np.empty(0, np.uint8)  # the frame that is being written
        self._num_written = 0

    def __enter__(self) -> Self:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, all of one size, H and W even.

        Raises:
            ServerFault: the disk is full, or ffmpeg failed or was stopped at its time limit.
        """
        _check_frame(frame)
        if self._encoder is None:
            self._encoder = self._start(frame.shape)
        if frame.shape != self._shape:
            raise ValueError(f"All frames must have one size: {self._shape}, not {frame.shape}.")
        if self._num_written == self.num_frames:
            raise ValueError(f"{self.num_frames} frames were expected; here is one more.")
        convert_to_yuv420(frame, self._yuv)
        try:
            with self._encoder.limit(self._stall_seconds):
                if self._encoded is not None:
                    self._encoded.wait_for(self._num_written + 1 - LARGE_FRAMES_HELD)
                self._encoder.pipe.write(self._yuv.data)
        except OSError as failure:  # ffmpeg has ended: a broken pipe
            raise self._failure() from failure
        self._num_written += 1

    def __exit__(
        self, failure: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if failure is None:
                self._finish()
        finally:
            if self._encoder is not None:
                self._encoder.close()
            if self._encoded is not None:
                self._encoded.close()
            self._files.close()

    def _start(self, shape: tuple[int, ...]) -> ffmpeg.Process:
        """Starts ffmpeg for frames of ``shape`` (H, W, 3)."""
        self._shape = (height, width, _) = shape
        self._yuv = yuv420_buffer(height, width)
        if height * width > LARGE_PIXELS and can_be_counted():
            self._encoded = EncodedFrames()
        # A backstop for an encoder whose parent is gone: more than ten times what the slowest one takes.
        cpu_seconds = 60 + self.num_frames * (0.2 + height * width / 1e6)
        descriptors = () if self._encoded is None else self._encoded.descriptors
        try:
            return ffmpeg.Process(
                self._arguments(height, width),
                cpu_seconds,
                is_fed=True,
                stdout=self._stream,
                descriptors=descriptors,
            )
        finally:
            if self._encoded is not None:
                self._encoded.begin()

    def _arguments(self, height: int, width: int) -> list[str]:
        """ffmpeg's arguments for frames of that size in pixels: input, encoders, metadata and output."""
        arguments = ["-protocol_whitelist", "pipe", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
        arguments += ["-video_size", f"{width}x{height}", "-framerate", str(FPS), "-i", "pipe:0"]
        arguments += [*self._sound_input(), "-map", "0:v:0"]
        tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
        arguments += ["-vf", tags, "-c:v", "libx264", "-preset", PRESET]
        arguments += ["-threads", str(min(MAX_ENCODER_THREADS, os.cpu_count() or 1))]
        # No B-frames: they would delay the first picture in players that ignore the MP4's edit list.
        arguments += ["-bf", "0"]
        if height * width > LARGE_PIXELS:
            arguments += LARGE_OPTIONS
            if self._encoded is not None:
                arguments += self._encoded.arguments
        else:
            arguments += ["-crf", str(CRF)]
            if self._stream is not None:
                arguments += ["-x264-params", STREAM_LOOKAHEAD]
                arguments += ["-force_key_frames", f"expr:gte(t,n_forced*{KEY_FRAME_SECONDS:g})"]
        if self._sound is not None:
            num_samples = self.num_frames * SOUND_RATE // FPS
            arguments += ["-map", "1:a:0", "-af", f"aresample={SOUND_RATE},apad,atrim=end_sample={num_samples}"]
            arguments += ["-c:a", "aac", "-b:a", AUDIO_BITRATE, "-aac_coder", AUDIO_CODER]
        arguments += ["-map_metadata", "-1", "-map_chapters", "-1"]
        arguments += [part for key, value in METADATA.items() for part in ("-metadata", f"{key}={value}")]
        return [*arguments, *self._destinations()]

    def _destinations(self) -> list[str]:
        """ffmpeg's arguments for what it writes."""
        if self.path is None:
            sound_filter = {} if self._sound is None else {"bsf:a": STREAM_SOUND_FILTER}
            stream = [part for name, value in (STREAM_OPTIONS | sound_filter).items() for part in (f"-{name}", value)]
            return [*stream, "-f", "mp4", "pipe:1"]
        try:
            self._unfinished = self._files.enter_context(unfinished_file(self.path))
        except OSError as failure:
            raise self._write_fault(failure) from failure
        if self._stream is None:
            return ["-movflags", "+faststart", "-f", "mp4", "-y", f"file:{self._unfinished}"]
        # Encoded once; the flag has the encoders leave to both what belongs into an index.
        sound_filter = {} if self._sound is None else {"bsfs/a": STREAM_SOUND_FILTER}
        options = ":".join(f"{name}={value}" for name, value in (STREAM_OPTIONS | sound_filter).items())
        path = re.sub(r"([\\'|])", r"\\\1", f"file:{self._unfinished}")
        both = f"[f=mp4:movflags=+faststart]{path}|[f=mp4:{options}]pipe:1"
        return ["-flags", "+global_header", "-f", "tee", "-y", both]

    def _sound_input(self) -> list[str]:
        """ffmpeg's arguments to read the sound; none for a video without sound."""
        if self._sound is None:
            return []
        if isinstance(self._sound, Recording):
            path, rate, channels = self._sound.sound.name, SOUND_RATE, self._sound.channels
        else:
            file = self._files.enter_context(temporary_file())
            path, rate, channels = file.name, SAMPLE_RATE, 1
            samples = np.nan_to_num(np.clip(self._sound, -1, 1))
            try:
                file.write(np.round(samples * 32767).astype("<i2").tobytes())
                file.flush()
            except OSError as failure:
                raise temporary_fault() from failure
        raw = ["-f", "s16le", "-ar", str(rate), "-ac", str(channels)]
        return ["-protocol_whitelist", "file", *raw, "-i", f"file:{path}"]

    def _finish(self) -> None:
        if self._encoder is None or self._num_written != self.num_frames:
            raise ValueError(f"{self.num_frames} frames were expected; {self._num_written} were written.")
        # The last frames and samples are encoded, and the file is written once more with its index in front.
        with self._encoder.limit(self._stall_seconds + self.num_frames / FPS):
            try:
                self._encoder.pipe.close()
            except OSError as failure:
                raise self._failure() from failure
            if self._encoder.wait() != 0:
                raise self._failure()
        if self.path is None:
            return
        finished = self._unfinished
        assert finished is not None
        try:
            if self._credentials is not None:
                signed = self._files.enter_context(unfinished_file(self.path))
                self._credentials.sign(finished, signed)
                finished = signed
            finished.replace(self.path)
        except OSError as failure:
            raise self._write_fault(failure) from failure

    def _write_fault(self, failure: OSError) -> SpaceError:
        if is_disk_full(failure):
            return disk_full()
        return SpaceError(f"The video {shown_name(self.path or 'stream')} can't be put in place. Choose another name.")

    def _failure(self) -> SpaceError:
        """The error for an ffmpeg that ended too early, by its error log."""
        assert self._encoder is not None
        self._encoder.wait()
        messages = self._encoder.messages()
        if "No space left" in messages or "quota exceeded" in messages:
            return disk_full()
        if "File too large" in messages:
            return ServerFault(
                "The video is larger than a file may be on this disk. Choose another folder.", "disk_full"
            )
        if self._encoder.timed_out:
            return ServerFault("Writing the video took too long and was stopped. Try again.", "timeout")
        if self.path is None and "Broken pipe" in messages:
            return SpaceError("The reader of the stream has closed it, so the film was ended.")
        if "Cannot allocate memory" in messages:
            return ServerFault("There is not enough memory to write the video. Try again later.", "out_of_memory")
        return ServerFault("Writing the video failed: the encoder ended unexpectedly. Try again.", "encoder_died")


def _check_frame(frame: np.ndarray) -> None:
    """Raises ``ValueError`` for what is no frame of H.264 with 4:2:0 chroma."""
    is_rgb = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    if not is_rgb or frame.shape[0] % 2 or frame.shape[1] % 2:
        raise ValueError(f"A frame must be (H, W, 3) uint8 with even H and W, not {frame.shape} {frame.dtype}.")


def write_video(
    frames: Iterable[np.ndarray],
    path: str | Path | None,
    sound: Sound,
    num_frames: int,
    credentials: ContentCredentials | None = None,
    stream: IO[bytes] | None = None,
) -> None:
    """Writes all frames, (H, W, 3) uint8 RGB, with a ``VideoWriter``; see there for the arguments, file and errors.

    An iterator of frames that has a method ``close`` is closed in the end, so that work for it ends.
    """
    with ExitStack() as stack:
        if hasattr(frames, "close"):
            stack.callback(frames.close)
        video = stack.enter_context(VideoWriter(path, sound, num_frames, credentials, stream=stream))
        for frame in frames:
            video.write(frame)
