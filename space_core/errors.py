"""Errors with a message for the user: what the user can correct, and faults of the machine."""

from typing import Literal, get_args

FaultReason = Literal["disk_full", "encoder_died", "machine_lost", "out_of_memory", "timeout", "internal"]
FAULT_REASONS: tuple[FaultReason, ...] = get_args(FaultReason)
MACHINE_LOST = "The machine that drew this was lost before it was done. Try again in a minute."


class SpaceError(Exception):
    """An input or option that SPACE can't use.

    The message is one or two plain sentences: what is wrong and what to do about it. It is shown as it is at the
    page, on the command line (exit code 2) and to callers of the package.
    """


class ServerFault(SpaceError):  # noqa: N818 – the word for what an operator has to look at
    """A fault of the machine or of SPACE, not of the input; the command line ends with exit code 1.

    The message is for the user and does not name the input as the cause. What caused it, if it was another exception,
    is ``__cause__``.

    Attributes:
        reason: "disk_full"; "encoder_died": ffmpeg ended by itself while it wrote; "machine_lost": a process or a
            machine of a cluster ended at work; "out_of_memory"; "timeout": a program was stopped at its time limit;
            "internal": anything else.
    """

    def __init__(self, message: str, reason: FaultReason) -> None:
        super().__init__(message)
        self.reason: FaultReason = reason


def quoted(text: str) -> str:
    """A part of what the user wrote, in quotes, for a message; at most 40 characters."""
    text = repr(text.strip())
    return text if len(text) <= 40 else f"{text[:38]}…'"
