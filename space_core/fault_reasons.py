"""Which kind of fault of the machine an exception is, for reports by the page, a replica or a batch worker."""

import errno

from space_core.errors import FaultReason, ServerFault
from space_core.media.files import is_disk_full
from space_core.processes.memory import is_out_of_memory


def fault_reason(error: BaseException) -> FaultReason:
    """Which kind of fault an exception, or else its cause, is; "internal" where nothing more is known."""
    if isinstance(error, ServerFault):
        return error.reason
    if is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, OSError) and (is_disk_full(error) or error.errno == errno.EFBIG):
        return "disk_full"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "internal" if error.__cause__ is None else fault_reason(error.__cause__)
