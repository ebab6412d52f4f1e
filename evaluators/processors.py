"""The number of usable processors."""

import math
import os

from evaluators import cgroups


def processors() -> int:
    """The number of processors available to this process, by CPU affinity (if the system reports it) and cgroup quota.

    Quotas are rounded up: 1.5 gives 2, 0.5 gives 1.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(mine, cgroups.processors())))
