"""Files and folders that cannot be read or written: one message that names them, and what can be told is told."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from mortal import mortal

from evaluators.weights import write_weights
from nas.run.lock import Lock, is_running
from search_spaces.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "runs" / "example"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the example."""
    shutil.copytree(EXAMPLE, tmp_path / "run")
    shutil.copytree(EXAMPLE / "donor", tmp_path / "run" / "weights")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "run"


@pytest.fixture
def nas_as_another(nas_anywhere):
    """Runs `nas ARGUMENTS` without the rights of root."""

    def go(*arguments):
        with mortal():
            return nas_anywhere(*arguments)

    return go


def _files(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", ["status", "show", "best"])
def test_a_run_that_can_only_be_read_is_told(nas_as_another, run, command):
    for path in [*run.rglob("*"), run]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = _files(run)
    code, out, err = nas_as_another(command, "run")
    assert code == 0 and out and not err and _files(run) == before


def test_a_run_that_can_only_be_read_does_not_go_on(nas_as_another, run):
    run.chmod(0o555)
    code, _, err = nas_as_another("resume", "run")
    assert code == 2 and err == "nas: cannot write to run: Permission denied; `nas status run` can still read it\n"
    code, _, err = nas_as_another("export", "run", "--to", "run/there")
    assert code == 2 and err.count("\n") == 1


@pytest.mark.parametrize("name", ["run.yaml", "space.yaml", "device.json", "journal.log", ""])
@pytest.mark.parametrize("command", ["status", "show", "best", "export", "resume"])
def test_what_cannot_be_read_is_named(nas_as_another, run, name, command):
    (run / name).chmod(0)
    code, _, err = nas_as_another(command, "run")
    assert code in (0, 2) and err.count("\n") == (code == 2)
    if name in ("run.yaml", "") or (name == "journal.log" and command in ("status", "show", "best")):
        assert code == 2 and "Permission denied" in err and f"run/{name}" in err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["status"], ["show"], ["best"], ["export"], ["resume"], ["train"], ["compare", "mobilenet_v2"]),
        *(["export", "run", "--to"], ["show", "mobilenet_v2", "--space"], ["search", "--latency-budget", "9ms", "--run"]),
    ],
)
@pytest.mark.parametrize("name", ["n" * 256, "n" * 256 + ".yaml", "f/" * 3000])
def test_a_name_that_no_file_can_have(nas_anywhere, run, arguments, name):
    code, _, err = nas_anywhere(*arguments, name)
    assert code == 2 and err.startswith("nas: ") and err.count("\n") == 1


def test_whether_a_run_is_at_work_is_told_without_writing(tmp_path):
    assert not is_running(tmp_path) and not list(tmp_path.iterdir())
    lock = Lock(tmp_path)
    assert is_running(tmp_path)
    with pytest.raises(InputError, match="another process"):
        Lock(tmp_path)
    lock.release()
    assert not is_running(tmp_path)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: .*w.safetensors"):
        write_weights(b"weights", tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())
