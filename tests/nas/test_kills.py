"""Stopped by signals, or by the loss of what Ray runs for it, and resumed, a search finds what it finds undisturbed."""

import json
import signal
import subprocess

import psutil
import pytest
from killed import alone, nas, started, wait_for

from nas.records import Final
from nas.run.memory import read_journal

pytestmark = pytest.mark.slow
PIPES = {"stdout": subprocess.PIPE}
GRACE_S = 10


@pytest.fixture(scope="module")
def asked(workshop):
    """A search that takes seconds; nothing is timed, so that a machine that is busy with other tests changes nothing."""
    recipe = workshop / "quick.yaml"
    return [
        *("search", "--from-scratch", "--no-measure", "--space", workshop / "small.yaml", "--workers", 1),
        *("--data", f"imagefolder:{workshop / 'images'}", "--recipe", recipe, "--final-recipe", recipe),
        *("--latency-budget", "50ms", "--trials", 6, "--epochs", 2, "--final-epochs", 2, "--finalists", 1, "--rivals", 1),
    ]


@pytest.fixture(scope="module")
def undisturbed(asked, tmp_path_factory):
    """The winner of the search without Ray, which cannot even be imported."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "ray.py").write_text("raise ImportError('it was not asked for')\n")
    done = nas([*asked, "--workers", 0, "--json", "--run", folder / "run"], folder, alone)
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert printed == json.loads((folder / "run" / "result.json").read_text()), "one object, and nothing else"
    return _best(folder / "run")


def _best(run):
    best = json.loads((run / "result.json").read_text())["best"]
    return {key: best[key] for key in ("genotype", "validation_accuracy", "test_accuracy")}


def _family(process, name):
    """The process that is called so, of those that a command has started, and all of them."""
    family = psutil.Process(process.pid).children(recursive=True)
    return next((child for child in family if name in _command(child)), None), family


def _command(process):
    try:
        return (process.cmdline() or [""])[0]
    except psutil.NoSuchProcess:  # it has ended meanwhile
        return ""


def _nothing_runs(family):
    _, alive = psutil.wait_procs(family, timeout=GRACE_S)
    return not [child for child in alive if child.is_running()]


def test_interrupted_in_every_way_it_leaves_no_process_and_goes_on_to_the_same_winner(asked, undisturbed, tmp_path):
    """In turn: SIGTERM, Ray's raylet or server lost, Ctrl-C; each strikes when more has been trained than before."""
    run, command = tmp_path / "run", asked
    strikes = [_terminated, _raylet_lost, _server_lost, _interrupted]
    for number, strike in enumerate(strikes, 1):
        before = _progress(run)
        process = started([*command, *([] if command is not asked else ["--run", run])], tmp_path, alone, **PIPES)
        command = ["resume", run]
        last = number == len(strikes)  # strikes while the finalists are trained
        wait_for(lambda before=before, last=last: _progress(run) > before and (_retrains(run) or not last), process)
        family = _family(process, "")[1]
        strike(process, run)
        assert _nothing_runs(family)
    assert not _finished(run), "it ended before the last strike; ask for more trials"
    done = nas(command, tmp_path, alone)
    assert (done.returncode, done.stderr) == (0, "") and _best(run) == undisturbed


def _progress(run):
    """The number of epochs and retrainings in the journal."""
    if not (run / "journal.log").is_file():
        return 0
    journal = read_journal(run / "journal.log")
    finals = [final for final in journal.records(Final).values() if final.accuracy is not None]
    return sum(len(t.accuracies) for t in journal.trials) + len(finals)


def _retrains(run):
    return bool(read_journal(run / "journal.log").records(Final))


def _finished(run):
    return (run / "export").exists()


def _terminated(process, run, number=signal.SIGTERM, code=143):
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err.strip()) == (code, "nas: stopped")
    assert f"Stopped. No results are lost, continue with: nas resume {run}" in out


def _interrupted(process, run):
    _terminated(process, run, signal.SIGINT, 130)


def _raylet_lost(process, run, name="/raylet"):
    _family(process, name)[0].kill()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert err == f"nas: {err[5:].split(' is gone')[0]} is gone; no results are lost, continue with: nas resume {run}\n"
    assert name[1:] in err


def _server_lost(process, run):
    _raylet_lost(process, run, "/gcs_server")
