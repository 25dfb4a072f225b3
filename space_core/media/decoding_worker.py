"""A process that decodes photos for ``decoding_pool``, one after the other, until its input ends.

Requests are lines of JSON on standard input: ``{"path": …, "max_side": …}``. An answer on standard output is a line
``{"height": …, "width": …, "scale": …}``, followed by the pixels, RGB row by row; or ``{"refusal": sentence}``.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from space_core.errors import SpaceError
from space_core.media.image_decoding import decode_file
from space_core.processes.memory import return_freed_memory
from space_core.processes.worker import open_answers


def main(cpu_seconds: float) -> None:
    """Answers requests. The process is ended by a signal, SIGPROF, when a photo takes more of the processor's time."""
    answers = open_answers()
    Image.init()  # imports Pillow's plugins now rather than with the first photo
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _limit_time(cpu_seconds)
        photo: np.ndarray | None = None
        pixels: memoryview | None = None
        answer: dict[str, Any]
        try:
            photo, scale = decode_file(Path(request["path"]), request["max_side"])
            answer = {"height": photo.shape[0], "width": photo.shape[1], "scale": scale}
            pixels = photo.data
        except SpaceError as refusal:
            answer = {"refusal": str(refusal)}
        _limit_time(0)  # none for writing, which waits for the reader
        answers.write(json.dumps(answer).encode() + b"\n")
        if pixels is not None:
            answers.write(pixels)
        answers.flush()
        photo = pixels = None
        return_freed_memory()


def _limit_time(cpu_seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
