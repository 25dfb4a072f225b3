"""What a program of ours sets for its whole process when it starts; the package leaves other programs as they are."""

import ctypes
import os
import sys

MAX_ARENAS = 2  # of malloc; glibc has eight for each core, each of which keeps what its threads have freed
M_ARENA_MAX = -8  # of mallopt


def configure_process() -> None:
    """Limits the arenas of glibc's malloc and the threads of NumPy's and SciPy's BLAS; to be called first of all.

    The matrices that NumPy multiplies here are small, and where other threads keep the cores busy, BLAS's threads wait
    for each other longer than they compute.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, MAX_ARENAS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when it is loaded
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, user_api="blas")
