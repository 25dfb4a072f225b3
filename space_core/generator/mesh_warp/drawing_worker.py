"""A process that draws batches of frames for ``drawing_process``, until its input ends.

Requests are pickled objects on standard input: a ``PreparedPortrait``, which is kept; None, which ends that; and a
``PosedFace``. That is answered on standard output: by ``DONE`` and its frames (B, H, W, 3) uint8 RGB, of the portrait
that is kept, or by ``FAILED``. ``DONE`` is written, too, when all is loaded.
"""

import pickle
import sys
from typing import Any

import torch

from space_core.generator.mesh_warp.drawing_process import DONE, FAILED
from space_core.generator.mesh_warp.frame_memory import FrameMemory
from space_core.generator.mesh_warp.generator import MeshWarpGenerator, PreparedPortrait
from space_core.processes.configuration import configure_process
from space_core.processes.memory import return_freed_memory
from space_core.processes.worker import open_answers


def main() -> None:
    """Answers requests."""
    configure_process()
    torch.set_num_threads(1)
    answers = open_answers()
    generator, memory = MeshWarpGenerator("cpu"), FrameMemory()
    prepared: Any = None
    answers.write(DONE)
    answers.flush()
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if request is None or isinstance(request, PreparedPortrait):
            prepared = request
            return_freed_memory()
        else:
            try:
                frames = generator.render_batch(prepared, request, memory)
            except Exception:  # a lack of memory, for instance; the caller draws it itself and sees why
                answers.write(FAILED)
            else:
                answers.write(DONE)
                answers.write(frames.data)
            answers.flush()
