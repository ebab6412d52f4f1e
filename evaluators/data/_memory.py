"""Checks whether images fit in memory."""

import os
from pathlib import Path

from evaluators import cgroups
from search_spaces.errors import InputError


def fits_memory(needed: int) -> bool:
    """Whether `needed` bytes are at most half of the available memory."""
    return needed <= available_bytes() / 2


def check_memory(needed: int, count: int) -> None:
    """Raises InputError unless `count` images of `needed` bytes in total fit in memory."""
    if not fits_memory(needed):
        raise InputError(
            f"{count:,} images at every input of the space take {gib(needed)} of memory, more than half of the "
            f"{gib(available_bytes())} available; use a space with smaller inputs, fewer images, or image files, which can be "
            "streamed"
        )


def available_bytes() -> float:
    """Bytes of memory available without swapping, on the system or within this process's cgroup limits."""
    meminfo = Path("/proc/meminfo")
    found: list[float] = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), cgroups.memory_bytes()]
    if meminfo.exists():
        found += [int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if "MemAvailable" in line]
    return min(found)


def gib(count: float) -> str:
    return f"{count / 2**30:.2g} GiB"
