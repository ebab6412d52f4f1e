"""The number of usable processors, and whether they have instructions for int8."""

import math
import os
from pathlib import Path

from evaluators import cgroups

_INT8 = frozenset(["avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"])  # dot products of int8, as Linux names them
_FACTS = Path("/proc/cpuinfo")


def processors() -> int:
    """The number of processors available to this process, by CPU affinity (if the system reports it) and cgroup quota.

    Quotas are rounded up: 1.5 gives 2, 0.5 gives 1.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(mine, cgroups.processors())))


def multiplies_int8() -> bool | None:
    """Whether the processor has instructions for dot products of int8 numbers; None if the system does not say."""
    try:
        lines = _FACTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = [
        value.split() for name, _, value in (line.partition(":") for line in lines) if name.strip() in ("flags", "Features")
    ]
    return None if not flags else not _INT8.isdisjoint(flags[0])
