"""What a program of ours sets for its whole process when it starts; the package leaves other programs as they are."""

import ctypes
import os
import sys

# Of glibc's malloc. It has eight arenas for each core, each of which keeps what its threads have freed: with two, not
# one, a film takes 25 MB more and no less time. And once a large block was freed, it takes blocks of up to 32 MB from
# arenas, too, where they leave gaps, 85 MB of them in a film of 12 megapixels.
MAX_ARENAS, MMAP_BYTES, TRIM_BYTES = 1, 8 << 20, 32 << 20
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1  # of mallopt


def configure_process() -> None:
    """Limits what glibc's malloc keeps and the threads of NumPy's and SciPy's BLAS; to be called first of all.

    The matrices that NumPy multiplies here are small, and where other threads keep the cores busy, BLAS's threads wait
    for each other longer than they compute.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, MAX_ARENAS)
            mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
            mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when it is loaded
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, user_api="blas")
