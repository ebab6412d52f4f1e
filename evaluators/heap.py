"""The heap of this process: kept by glibc, so that large tensors do not lie on fresh pages each time they are made."""

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_KEPT = 1 << 30  # bytes


def keep_heap() -> None:
    """Has glibc keep what is freed from now on, up to 1 GB at the heap's end, tensors of any size; elsewhere nothing is done.

    Else the pages of large tensors are given back and faulted in anew in each run, or are not, as the heap happens to lie:
    one network took 25 and 37 ms in two processes, with 4,000 and 8,000 faults a run, and 17 ms with the heap kept. Training
    faults more, with activations of tens of megabytes (benchmarks/training.md).
    """
    with suppress(AttributeError, TypeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_M_MMAP_MAX, 0)
