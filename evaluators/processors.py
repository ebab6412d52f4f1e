"""How many processors there are to work with."""

import math
import os

from evaluators import cgroups


def processors() -> int:
    """Those that this process may use: by its affinity, where the operating system tells, and by its control groups' quota.

    Of a quota of one and a half processors two are used, of a half one.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(mine, cgroups.processors())))
