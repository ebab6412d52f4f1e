"""Ctrl-C and SIGTERM end a command from within, whatever it is doing; what comes again meanwhile changes nothing."""

import signal
import subprocess
import sys

import pytest
from killed import interruptible, started

PROGRAM = """
import signal, sys, time
from nas.signals import Stop, end_at_once
with Stop() as stop:
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("stopping", flush=True)
        {clean_up}
        print("stopped", flush=True)
        sys.exit(stop.exit_code)
"""


def _run(clean_up="pass", prepare=interruptible):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(clean_up=clean_up)], preexec_fn=prepare, **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("clean_up", ["pass", "end_at_once()"])
def test_a_signal_ends_it_with_the_code_of_the_signal(number, code, clean_up):
    process = _run(clean_up)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (out, err, process.returncode) == ("stopping\nstopped\n", "", code)


def test_a_second_signal_leaves_the_end_that_is_under_way_in_peace():
    process = _run("time.sleep(1)")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=600)
    assert (out, err, process.returncode) == ("stopped\n", "", 143)


def test_an_interrupt_of_a_string_s_code_leaves_the_exit_code_as_it_is(tmp_path):
    """Such as while modules are imported: dataclasses are made of strings."""
    (tmp_path / "interrupted.py").write_text(
        "from nas.commands import main\nmain.cli = lambda **_: exec('raise KeyboardInterrupt')\nmain.entry()\n"
    )
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "nas: stopped\n")


DESTRUCTOR = """
import signal, sys, time
from nas.signals import Lost, Stop
class Handle:
    def __del__(self):
        signal.raise_signal(signal.{name})
        time.sleep(0)
def lost(*_):
    raise Lost("gone")
signal.signal(signal.SIGUSR2, lost)
with Stop() as stop:
    try:
        Handle()
        time.sleep(600)
    except KeyboardInterrupt as stopped:
        print(type(stopped).__name__, flush=True)
        sys.exit(stop.exit_code)
"""


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [("SIGINT", "KeyboardInterrupt", 130), ("SIGTERM", "KeyboardInterrupt", 143), ("SIGUSR2", "Lost", 130)],
)
def test_an_interrupt_within_a_destructor_is_not_lost(name, kind, code):
    command = [sys.executable, "-c", DESTRUCTOR.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=interruptible)
    assert (done.stdout, done.stderr, done.returncode) == (f"{kind}\n", "", code)


def test_ctrl_c_that_was_ignored_stays_ignored():
    process = _run(prepare=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 143


def test_a_long_command_that_is_terminated_before_it_has_a_run_says_so(tmp_path):
    process = started(["device", "measure", "--space", "mobile"], tmp_path, interruptible, stdout=subprocess.PIPE)
    assert "Measuring" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert (err.strip(), process.returncode) == ("nas: stopped", 143)
