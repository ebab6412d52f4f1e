"""A measured search as in a container: no root, no home, nothing writable but its folders, little memory, one processor."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from killed import own_processor

pytestmark = pytest.mark.slow
USER = 61234  # has no entry in /etc/passwd and owns nothing
MEMORY = Path("/sys/fs/cgroup/memory")  # version 1
UNIFIED = Path("/sys/fs/cgroup")  # version 2
LIMIT = 2 * 2**30


def _refused() -> str:
    """Why such a setting cannot be made here; empty if it can."""
    tools = [tool for tool in ("unshare", "setpriv", "mount", "taskset") if shutil.which(tool) is None]
    if tools:
        return f"there is no {tools[0]}"
    made = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], capture_output=True, text=True)
    return made.stderr.strip()


@pytest.fixture
def memory_group():
    """A control group limited to 2 GB, or None if none can be made here."""
    unified = (UNIFIED / "cgroup.controllers").is_file()
    group = (UNIFIED if unified else MEMORY) / f"nas-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(LIMIT))
    except OSError:
        if group.is_dir():
            group.rmdir()
        warnings.warn("the memory is not limited, as no control group can be made here", stacklevel=1)
        yield None
    else:
        yield group
        group.rmdir()


@pytest.fixture
def contained(memory_group, tmp_path):
    """A function that runs `nas ARGUMENTS` in the setting with a HOME, and the only folder that it may write to."""
    if reason := _refused():
        pytest.skip(f"no container-like setting can be made here: {reason}")
    nameless = tmp_path / "cpuinfo"
    lines = Path("/proc/cpuinfo").read_text().splitlines(keepends=True)
    nameless.write_text("".join(line for line in lines if not line.startswith("model name")))
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, USER, USER)

    def run(arguments, home):
        variables = {"PATH": os.environ["PATH"], "TMPDIR": str(own), "XDG_DATA_HOME": str(own / "data"), "COLUMNS": "160"}
        variables |= {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        variables |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **({} if home is None else {"HOME": home})}
        command = [sys.executable, "-m", "nas", *map(str, arguments)]
        # reads what root may read, as an image's files are readable to all, and writes nothing but its own
        rights = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"]
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *rights]
        steps = [
            "mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm",
            f"mount --bind {nameless} /proc/cpuinfo",
            *([f"echo $$ > {memory_group}/cgroup.procs"] if memory_group else []),
            f"cd {own}",
            f"exec {shlex.join(['taskset', '-c', str(own_processor()), *user, *command])}",
        ]
        shell = ["unshare", "--mount", "bash", "-ec", "\n".join(steps)]
        return subprocess.run(shell, env=variables, capture_output=True, text=True, timeout=1200)

    return run, own


def test_a_device_is_measured_without_home_and_a_measured_search_works_where_home_cannot_be_written(contained, small_search):
    run, own = contained
    done = run(["device", "measure", "--space", small_search[3], "--effort", "quick"], None)
    assert done.returncode == 0, done.stderr
    done = run([*small_search, "--trials", 2, "--finalists", 1, "--run", own / "run"], "/proc")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and (own / "run" / "export" / "model.onnx").is_file()
    assert not [path for path in own.rglob("nas-ray-*") if path.is_dir()]
    assert json.loads((own / "run" / "result.json").read_text())["best"]["p50_ms"] <= 50
