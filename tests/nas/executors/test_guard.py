"""What ends a process's children when it was killed."""

import subprocess
import sys

import psutil

PARENT = """
import subprocess, sys, time
from nas.executors import guard
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
command = [sys.executable, "-P", guard.__file__, str(child.pid), "4194305"]
guarding = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, guarding.pid, flush=True)
time.sleep(600)
"""


def test_children_end_when_their_parent_was_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child, guarding = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
    assert child.is_running() and guarding.is_running()
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs([child, guarding], timeout=600)
    assert len(gone) == 2 and not alive
