"""Commands as processes of their own, which may be killed with all the workers they have started."""

import contextlib
import os
import signal
import subprocess
import sys
import time


def nas(arguments, folder, prepare=None):
    """Runs `nas ARGUMENTS` in a folder to its end."""
    return subprocess.run(_command(arguments), cwd=folder, env=_environment(), timeout=600, preexec_fn=prepare, **_TEXT)


def started(arguments, folder, prepare=None, **pipes):
    """Starts `nas ARGUMENTS` in a folder."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, **pipes}
    return subprocess.Popen(_command(arguments), cwd=folder, env=_environment(), preexec_fn=prepare, **pipes)


_TEXT = {"capture_output": True, "text": True}


def _command(arguments):
    return [sys.executable, "-m", "nas", *map(str, arguments)]


def _environment():
    return {**os.environ, "COLUMNS": "160"}


def alone():
    """Makes the process to be one with a processor of its own, and with Ctrl-C.

    A single worker trains with all processors, whose threads would wait for those that other tests keep busy.
    """
    interruptible()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {own_processor()})


@contextlib.contextmanager
def alone_here():
    """Gives this thread, and the processes that it starts meanwhile, a processor of their own, as `alone` does."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {own_processor()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def own_processor():
    """The number of a processor that no other process of the tests takes for its own."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(usable)]


def interruptible():
    """Gives the process to be Ctrl-C, which a shell in the background takes away."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(found, process):
    """Waits until `found()` is true, and returns that; the process must not end before."""
    for _ in range(9000):  # a limit against hanging, wide enough for a machine that is busy with other work
        if done := found():
            return done
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("waited a quarter of an hour in vain")


def kill_with_workers(process):
    """Kills a process and all that it started, at once."""
    children = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True).stdout.split()
    parents = dict(zip(map(int, children[::2]), map(int, children[1::2]), strict=True))
    family = {process.pid}
    while new := {child for child, parent in parents.items() if parent in family} - family:
        family |= new
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
