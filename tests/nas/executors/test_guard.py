"""What ends a process's children when it was killed, and says how to go on."""

import subprocess
import sys

import psutil
import pytest

PARENT = """
import subprocess, sys, time
from nas.executors import guard
sleep, closed = [sys.executable, "-c", "import time; time.sleep(600)"], dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
other = subprocess.Popen(sleep, **closed)
command = [sys.executable, "-P", guard.__file__, str(__import__("os").getpid()), "how to go on", "{folder}", str(other.pid)]
guarding = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
child = subprocess.Popen(sleep)
if {told}:
    time.sleep(1)
    guarding.stdin.write(b"started\\n")
    guarding.stdin.flush()
else:
    time.sleep(5)
late = subprocess.Popen([*sleep, "--temp-dir={folder}"], **closed)
print(child.pid, guarding.pid, other.pid, late.pid, flush=True)
if {regular}:
    guarding.communicate(b"end\\n")
else:
    time.sleep(600)
"""


@pytest.mark.parametrize(("told", "regular"), [(True, False), (False, False), (True, True), (False, True)])
def test_children_end_with_their_parent_and_a_kill_is_told_how_to_go_on(told, regular, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(told=told, regular=regular, folder=tmp_path)], text=True, **pipes
    )
    child, guarding, other, late = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
    if not regular:
        parent.kill()
    _, said = parent.communicate()
    gone, alive = psutil.wait_procs([child, guarding, late], timeout=600)
    assert len(gone) == 3 and not alive and other.is_running(), "what was there before is none of its business"
    other.kill()
    assert said == ("" if regular else "how to go on\n")
