"""Phonemes of typed text by espeak-ng, in another process: some texts, such as "a.b.a.b. …", make it crash."""

import json
import subprocess

from space_core.errors import ServerFault, SpaceError
from space_core.processes import children
from space_core.processes.children import KILLED
from space_core.processes.memory import out_of_memory
from space_core.processes.worker import worker_command

CPU_SECONDS = 5  # for a text; the longest that is accepted takes 0.1
WAIT_SECONDS = 30  # for an answer, on a busy machine
MEMORY_BYTES = 1 << 30  # of address space; the longest text takes 0.1 GB


def phonemize(texts: list[str], voice: str) -> list[list[str]]:
    """The phonemes of texts, a list for each sentence.

    Args:
        texts: without what Piper would read as phonemes, ``[[…]]``. A text's end is the end of a sentence.
        voice: one of espeak-ng's, such as "en-us".

    Raises:
        SpaceError: espeak-ng can't read them.
        ServerFault: there is not enough memory, or the machine is too busy.
    """
    process = children.start(
        worker_command("space_core.media.phoneme_worker", voice),
        cpu_seconds=CPU_SECONDS,
        memory_bytes=MEMORY_BYTES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            answer, _ = process.communicate(json.dumps(texts).encode(), timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServerFault("Reading the text took too long here. Try again later.", "timeout") from None
        finally:
            process.kill()
    if process.returncode == KILLED:  # by the system, which has no memory left
        raise out_of_memory()
    if process.returncode < 0:
        raise SpaceError("The voice can't read this text. Write words and sentences.")
    if process.returncode > 0:
        raise ServerFault("The text could not be read, and the fault is ours. Try again.", "internal")
    return [sentence for sentences in json.loads(answer) for sentence in sentences]
