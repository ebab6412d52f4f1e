"""What control groups leave a process: version 1, version 2, both; limits anywhere above; in a container and outside."""

import math
import os
from pathlib import Path

import pytest

from evaluators import cgroups
from evaluators.data._memory import available_bytes
from evaluators.processors import processors

GIB = 2**30


def made(root: Path, of_process: str, files: dict[str, str]) -> Path:
    """A system whose process is in the groups `of_process`, with these files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(of_process)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n"
V1_CPU = {"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"}


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("of_process", "files", "expected"),
    [
        ("", {}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n", "a/cpu.max": "max 100000\n"}, 1.0),
        ("0::/../other\n", {"cpu.max": "200000 100000\n"}, 2.0),
        (V1, below("cpu,cpuacct/docker/abc", V1_CPU), 0.5),
        (V1, below("cpu", V1_CPU), 0.5),
        (V1, below("cpu", V1_CPU | {"cpu.cfs_quota_us": "-1\n"}), math.inf),
        (V1 + "0::/\n", below("cpu/docker", V1_CPU) | {"unified/cpu.max": "25000 100000"}, 0.25),
    ],
)
def test_processors(tmp_path: Path, of_process: str, files: dict[str, str], expected: float) -> None:
    assert cgroups.processors(made(tmp_path, of_process, files)) == expected


def v1_memory(limit: int) -> dict[str, str]:
    statistics = f"cache 9\ninactive_file 1\ntotal_inactive_file {GIB // 4}\n"
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.usage_in_bytes": f"{GIB}\n",
        "memory.stat": statistics,
    }


def v2_memory(limit: str) -> dict[str, str]:
    return {"memory.max": f"{limit}\n", "memory.current": f"{GIB}\n", "memory.stat": f"anon 5\ninactive_file {GIB // 2}\n"}


@pytest.mark.parametrize(
    ("of_process", "files", "expected"),
    [
        ("0::/\n", {}, math.inf),
        ("0::/\n", v2_memory("max"), math.inf),
        ("0::/\n", v2_memory(f"{2 * GIB}"), 1.5 * GIB),
        ("0::/a/b\n", below("a/b", v2_memory("max")) | below("a", v2_memory(f"{3 * GIB}")), 2.5 * GIB),
        ("0::/\n", v2_memory(f"{GIB // 4}"), 0),
        (V1, below("memory/docker/abc", v1_memory(2 * GIB)), 1.25 * GIB),
        (V1, below("memory", v1_memory(2 * GIB)), 1.25 * GIB),
        (V1, below("memory/docker/abc", v1_memory(4 * GIB)) | below("memory/docker", v1_memory(2 * GIB)), 1.25 * GIB),
    ],
)
def test_memory_is_the_limit_less_what_is_in_use(
    tmp_path: Path, of_process: str, files: dict[str, str], expected: float
) -> None:
    assert cgroups.memory_bytes(made(tmp_path, of_process, files)) == pytest.approx(expected, abs=0)


@pytest.mark.parametrize(
    ("of_process", "files", "expected"),
    [
        ("0::/\n", {}, (math.inf, 0)),
        ("0::/a\n", below("a", v2_memory("max") | {"memory.events": "low 0\noom 3\noom_kill 2\n"}), (math.inf, 2)),
        ("0::/a\n", below("a", v2_memory(f"{2 * GIB}") | {"memory.events": "oom_kill 0\n"}), (2 * GIB, 0)),
        (
            V1,
            below("memory/docker/abc", v1_memory(2 * GIB) | {"memory.oom_control": "under_oom 0\noom_kill 4\n"}),
            (2 * GIB, 4),
        ),
    ],
)
def test_processes_killed_for_memory_and_the_limit_are_known(
    tmp_path: Path, of_process: str, files: dict[str, str], expected: tuple[float, int]
) -> None:
    root = made(tmp_path, of_process, files)
    assert (cgroups.memory_limit_bytes(root), cgroups.killed_for_memory(root)) == expected


def test_half_a_processor_is_one_and_never_more_than_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    for quota, expected in ((0.5, 1), (1.5, 2), (2.0, 2), (64.0, 3), (math.inf, 3)):
        monkeypatch.setattr(cgroups, "processors", lambda quota=quota: quota)
        assert processors() == expected


def test_available_memory_is_what_the_groups_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "memory_bytes", lambda: 12345.0)
    assert available_bytes() == 12345
    monkeypatch.setattr(cgroups, "memory_bytes", lambda: math.inf)
    assert 12345 < available_bytes() < math.inf
