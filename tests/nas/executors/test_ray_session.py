"""Ray where little is as usual: no home folder that can be written, a long temporary one, foreign packages in sight."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.imports import HOME

pytestmark = pytest.mark.slow

PROGRAM = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
import sys
sys.path.remove("")
from nas.executors.ray_session import RaySession
import ray

session = RaySession(1, None, 100 * 2**20)


@ray.remote
def imported():
    import evaluators
    import nas
    import search_spaces

    return [package.__file__ for package in (evaluators, nas, search_spaces)]


print(*ray.get(imported.remote()))
print(session.folder)
session.close()
assert not session.folder.exists()
"""


def test_it_starts_and_workers_import_the_packages_of_this_one(tmp_path):
    for name in ("evaluators", "nas", "search_spaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    temporary = tmp_path / ("x" * 68)
    temporary.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"HOME": "/proc", "TMPDIR": str(temporary), "PYTHONPATH": HOME}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr) == (0, "")
    *files, folder = done.stdout.split()
    assert [Path(file).parents[1] for file in files] == [Path(HOME)] * 3
    assert len(folder) < len(str(temporary))


HANGS = """
import hashlib
import psutil
from nas.executors import ray_session

ray_session._REACTION_S = 1.0
session = ray_session.RaySession(1, None, 100 * 2**20, "go on so")
[head] = [child for child in psutil.Process().children(recursive=True) if "gcs_server" in child.name()]
head.kill()
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # in C, where no signal is heard
"""


def test_a_main_thread_that_hears_nothing_is_ended_with_a_message():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line for line in done.stderr.splitlines() if "go on so" in line] == [
        "nas: Ray's head (gcs_server) is gone; go on so"
    ]


FIRST_WORKERS_DIE = """
import threading
import psutil
from nas.executors.ray_session import RaySession

started = threading.Event()


def kill_workers():
    while not started.wait(0.02):
        for child in psutil.Process().children(recursive=True):
            try:
                program = (child.cmdline() or [""])[:4]
                if any(word.endswith("/default_worker.py") or word == "ray::IDLE" for word in program):
                    child.kill()
            except psutil.NoSuchProcess:
                pass


threading.Thread(target=kill_workers, daemon=True).start()
session = RaySession(1, None, 100 * 2**20, "go on so")
started.set()
session.close()
print("started")
"""


def test_it_starts_although_the_first_workers_are_killed():
    done = subprocess.run([sys.executable, "-c", FIRST_WORKERS_DIE], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")
