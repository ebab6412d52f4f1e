"""Permissions that hold for root as well: without the two capabilities by which it reads and writes whatever it likes."""

import ctypes
from contextlib import contextmanager

_VERSION_3, _DAC_OVERRIDE, _DAC_READ_SEARCH = 0x20080522, 1 << 1, 1 << 2


@contextmanager
def mortal():
    """This thread is denied what a file's mode denies its owner; nothing changes for others than root."""
    libc, header, sets = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    before = sets[0]  # the effective ones; they may be taken back while they are permitted
    sets[0] &= ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0
