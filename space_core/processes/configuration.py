"""Settings of malloc and BLAS for this project's own programs; programs that import the package keep theirs."""

import ctypes
import os
import sys

# Settings of glibc's malloc. By default it has eight arenas for each core, each of which keeps what its threads have
# freed: two instead of one take 25 MB more in a film, and save no time. By default it also takes blocks of up to 32 MB
# from arenas once a large block was freed, where they leave gaps: 85 MB in a film of 12 megapixels.
MAX_ARENAS, MMAP_BYTES, TRIM_BYTES = 1, 8 << 20, 32 << 20
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1  # of mallopt


def configure_process() -> None:
    """Limits the memory that glibc's malloc keeps, and the threads of NumPy's and SciPy's BLAS.

    To be called before anything else. NumPy multiplies only small matrices here, and while other threads keep the cores
    busy, the threads of BLAS would wait for each other longer than they compute.
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
