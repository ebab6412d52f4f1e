"""Makes glibc keep freed heap memory, so that large tensors do not page-fault each time they are allocated."""

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h
_KEPT = 1 << 30  # bytes


def keep_heap() -> None:
    """Makes glibc keep freed memory from now on, up to 1 GB at the top of the heap; no effect with other C libraries.

    Otherwise, pages of large tensors may be returned to the system and faulted in again in each run, depending on the heap
    layout: one network took 25 and 37 ms in two processes, with 4,000 and 8,000 page faults per run, and 17 ms with the heap
    kept. Training faults more, with activations of tens of megabytes (benchmarks/training.md).
    """
    with suppress(AttributeError, TypeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_M_MMAP_MAX, 0)
