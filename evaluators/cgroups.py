"""What the control groups of this process leave it: processors, and bytes of memory; version 1 and version 2.

A limit may be set for the process's own group or for any above it, and the least counts. A container sees its own group as the
root; where its path is that of the host, the folders that are there count. Sources: Linux's Documentation/admin-guide/
cgroup-v2.rst and cgroup-v1/{memory,cpusets}.rst; of the memory in use, file pages that were not touched lately can be had at
once, as Kubernetes reckons its working set.
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")
_UNIFIED = ("", "unified")  # where version 2 is mounted in /sys/fs/cgroup: alone, beside version 1


class _Memory(NamedTuple):
    """Names of the files: limit, use, and the statistic of what can be had at once."""

    limit: str
    used: str
    spare: str


_MEMORY = (
    _Memory("memory.max", "memory.current", "inactive_file"),
    _Memory("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def processors(root: Path = ROOT) -> float:
    """How many processors' time the groups allow, which may be a fraction; infinite where nothing limits it."""
    return min(map(_processors, _groups("cpu", root)), default=math.inf)


def memory_bytes(root: Path = ROOT) -> float:
    """How much more memory the groups allow; infinite where nothing limits it."""
    return min((_left(group, files) for group in _groups("memory", root) for files in _MEMORY), default=math.inf)


def memory_limit_bytes(root: Path = ROOT) -> float:
    """The least limit of memory that the groups have, whatever is used of it; infinite where there is none."""
    found = ("".join(_lines(group / files.limit)).strip() for group in _groups("memory", root) for files in _MEMORY)
    return min((int(limit) for limit in found if limit.isdigit()), default=math.inf)


def killed_for_memory(root: Path = ROOT) -> int:
    """How many processes the groups have ended until now because a limit of memory was reached."""
    counts = [
        int(line.split()[1])
        for group in _groups("memory", root)
        for name in ("memory.events", "memory.oom_control")  # of version 2, of version 1
        for line in _lines(group / name)
        if line.startswith("oom_kill ")
    ]
    return max(counts, default=0)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in and of those above, for a controller."""
    mounted, lines = root / "sys/fs/cgroup", _lines(root / "proc/self/cgroup")
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        names = controllers.split(",")
        tops = _UNIFIED if controllers == "" else (controllers, controller) if controller in names else ()
        steps = [step for step in PurePosixPath(path).parts if step not in ("/", "..")]
        for top in tops:
            yield from (mounted.joinpath(top, *steps[:depth]) for depth in range(len(steps) + 1))


def _processors(group: Path) -> float:
    """Of one group; version 2 says "max 100000" or "50000 100000" in one file, version 1 -1 or 50000 in one of two."""
    words = " ".join([*_lines(group / "cpu.max"), *_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")])
    numbers = [int(word) for word in words.split() if word.isdigit()]
    return numbers[0] / numbers[1] if len(numbers) == 2 and numbers[1] else math.inf


def _left(group: Path, files: _Memory) -> float:
    limit, used = ("".join(_lines(group / name)).strip() for name in (files.limit, files.used))
    if not (limit.isdigit() and used.isdigit()):
        return math.inf
    told = dict(line.split(" ", 1) for line in _lines(group / "memory.stat") if " " in line)
    return max(0, int(limit) - int(used) + int(told.get(files.spare, 0)))


def _lines(path: Path) -> list[str]:
    """None where there is no such file, as where a group has no such limit."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
