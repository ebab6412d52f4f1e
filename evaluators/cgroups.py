"""CPU and memory limits from this process's control groups, version 1 and version 2.

A limit may be set on the process's own group or on any ancestor; the lowest applies. A container sees its own group as the
root; if its path is the host's, only the folders that exist are read. Sources: Linux's Documentation/admin-guide/
cgroup-v2.rst and cgroup-v1/{memory,cpusets}.rst. Inactive file pages count as available, as in Kubernetes' working set.
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")
_UNIFIED = ("", "unified")  # mount points of version 2 in /sys/fs/cgroup: alone, or next to version 1


class _Memory(NamedTuple):
    """File names of limit and usage, and the statistic for reclaimable memory."""

    limit: str
    used: str
    spare: str


_MEMORY = (
    _Memory("memory.max", "memory.current", "inactive_file"),
    _Memory("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def processors(root: Path = ROOT) -> float:
    """The CPU quota in processors, which may be fractional; infinite without a limit."""
    return min(map(_processors, _groups("cpu", root)), default=math.inf)


def memory_bytes(root: Path = ROOT) -> float:
    """Bytes of memory left below the groups' limits; infinite without a limit."""
    return min((_left(group, files) for group in _groups("memory", root) for files in _MEMORY), default=math.inf)


def memory_limit_bytes(root: Path = ROOT) -> float:
    """The groups' lowest memory limit in bytes, regardless of usage; infinite without a limit."""
    found = ("".join(_lines(group / files.limit)).strip() for group in _groups("memory", root) for files in _MEMORY)
    return min((int(limit) for limit in found if limit.isdigit()), default=math.inf)


def killed_for_memory(root: Path = ROOT) -> int:
    """How many processes were killed so far for exceeding the groups' memory limits."""
    counts = [
        int(line.split()[1])
        for group in _groups("memory", root)
        for name in ("memory.events", "memory.oom_control")  # version 2, version 1
        for line in _lines(group / name)
        if line.startswith("oom_kill ")
    ]
    return max(counts, default=0)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups and their ancestors, for a controller."""
    mounted, lines = root / "sys/fs/cgroup", _lines(root / "proc/self/cgroup")
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        names = controllers.split(",")
        tops = _UNIFIED if controllers == "" else (controllers, controller) if controller in names else ()
        steps = [step for step in PurePosixPath(path).parts if step not in ("/", "..")]
        for top in tops:
            yield from (mounted.joinpath(top, *steps[:depth]) for depth in range(len(steps) + 1))


def _processors(group: Path) -> float:
    """The quota of one group; version 2 has "max 100000" or "50000 100000" in one file, version 1 uses two files."""
    words = " ".join([*_lines(group / "cpu.max"), *_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")])
    numbers = [int(word) for word in words.split() if word.isdigit()]
    return numbers[0] / numbers[1] if len(numbers) == 2 and numbers[1] else math.inf


def _left(group: Path, files: _Memory) -> float:
    limit, used = ("".join(_lines(group / name)).strip() for name in (files.limit, files.used))
    if not (limit.isdigit() and used.isdigit()):
        return math.inf
    statistics = dict(line.split(" ", 1) for line in _lines(group / "memory.stat") if " " in line)
    return max(0, int(limit) - int(used) + int(statistics.get(files.spare, 0)))


def _lines(path: Path) -> list[str]:
    """The lines of a file; empty if it does not exist, as for a group without this limit."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
