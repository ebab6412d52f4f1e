"""A kill of each kind: of the command, of what Ray runs for it, by SIGTERM; resumed, all find what was found undisturbed."""

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
        *("--latency-budget", "50ms", "--trials", 3, "--epochs", 2, "--final-epochs", 2, "--finalists", 1, "--rivals", 1),
    ]


@pytest.fixture(scope="module")
def undisturbed(asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    done = nas([*asked, "--run", folder / "run"], folder, alone)
    assert done.returncode == 0, done.stderr
    return _best(folder / "run")


def _best(run):
    best = json.loads((run / "result.json").read_text())["best"]
    return {key: best[key] for key in ("genotype", "validation_accuracy", "test_accuracy")}


def _reached(run, process, found):
    """Waits until the journal says what is looked for."""
    file = run / "journal.log"
    wait_for(lambda: file.is_file() and found(read_journal(file)), process)


def _trained(journal):
    return any(t.outcome in ("trained", "stopped") for t in journal.trials)


def _retrained(journal):
    return bool(journal.records(Final))


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


@pytest.mark.parametrize("moment", [_trained, _retrained])
def test_a_command_that_is_killed_leaves_no_process_and_goes_on_to_the_same_winner(asked, undisturbed, tmp_path, moment):
    run = tmp_path / "run"
    process = started([*asked, "--run", run], tmp_path, alone)
    _reached(run, process, moment)
    _, family = _family(process, "raylet")
    process.kill()
    process.wait()
    assert _nothing_runs(family)
    done = nas(["resume", run], tmp_path, alone)
    assert (done.returncode, done.stderr) == (0, "") and _best(run) == undisturbed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_a_message_and_leaves_no_process(asked, undisturbed, tmp_path, number, code):
    run = tmp_path / "run"
    process = started([*asked, "--run", run], tmp_path, alone, **PIPES)
    _reached(run, process, _trained)
    _, family = _family(process, "raylet")
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err.strip()) == (code, "nas: stopped")
    assert f"Stopped. No results are lost, continue with: nas resume {run}" in out
    assert _nothing_runs(family)
    done = nas(["resume", run], tmp_path, alone)
    assert (done.returncode, done.stderr) == (0, "") and _best(run) == undisturbed


@pytest.mark.parametrize("name", ["/raylet", "/gcs_server"])
def test_a_process_of_ray_that_is_lost_is_one_message(asked, undisturbed, tmp_path, name):
    run = tmp_path / "run"
    process = started([*asked, "--run", run], tmp_path, alone, **PIPES)
    _reached(run, process, _trained)
    lost, family = _family(process, name)
    lost.kill()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert (
        err == f"nas: {err[5:].split(' is gone')[0]} is gone; no results are lost, continue with: nas resume {run}\n"
        and name[1:] in err
    )
    assert _nothing_runs(family)
    done = nas(["resume", run], tmp_path, alone)
    assert (done.returncode, done.stderr) == (0, "") and _best(run) == undisturbed


def test_a_worker_that_is_killed_changes_nothing(asked, undisturbed, tmp_path):
    run = tmp_path / "run"
    process = started([*asked, "--run", run], tmp_path, alone, **PIPES)
    worker = wait_for(lambda: _family(process, "ray::Worker")[0] or _family(process, "ray::ResourceTrainable")[0], process)
    worker.kill()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0 and all(line.startswith("Ray: A worker died") for line in err.splitlines()), err
    assert _best(run) == undisturbed
