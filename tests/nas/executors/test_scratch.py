"""The folder of a process: gone with it, also when it was killed; short enough for sockets; nobody else's is touched."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nas.executors import scratch
from nas.executors.scratch import Scratch
from search_spaces.errors import InputError


@pytest.fixture
def place(monkeypatch):
    """The only place for such folders, with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def _elsewhere(place, code):
    program = f"import tempfile\ntempfile.tempdir = {str(place)!r}\nfrom nas.executors.scratch import Scratch\n{code}"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_at_the_next_start_and_what_a_living_one_has_is_not(place):
    living, its = _elsewhere(place, "kept = Scratch()\nprint(kept.path, flush=True)\nimport time\ntime.sleep(600)")
    dead, left = _elsewhere(place, "import os\nkept = Scratch()\nprint(kept.path, flush=True)\nos.kill(os.getpid(), 9)")
    dead.wait()
    (left / "session").mkdir()
    Scratch().close()
    assert not left.exists() and its.exists()
    living.kill()
    living.wait()
    Scratch().close()
    assert list(place.iterdir()) == []


def test_a_folder_that_this_program_did_not_make_stays(place):
    (place / "nas-ray-mine").mkdir()
    (place / "nas-ray-mine" / "thesis.txt").write_text("do not delete")
    (place / "other").mkdir()
    (place / "other" / ".lock").touch()
    (place / "nas-ray-link").symlink_to(place / "other")
    Scratch().close()
    assert sorted(p.name for p in place.iterdir()) == ["nas-ray-link", "nas-ray-mine", "other"]
    assert (place / "nas-ray-mine" / "thesis.txt").is_file() and (place / "other" / ".lock").is_file()


def test_below_a_long_temporary_folder_another_one_is_taken_in_which_sockets_can_be(place, monkeypatch):
    long = place / ("x" * 68)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    made = Scratch()
    folder = made.path / "session_2026-11-29_00-21-22_098592_4194304" / "sockets"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(folder / "plasma_store"))
    made.close()
    assert not made.path.exists()


def test_where_no_folder_can_be_made_it_says_what_is_needed(monkeypatch):
    monkeypatch.setattr(scratch, "_places", lambda: [Path("/nowhere/" + "x" * 68), Path("/nowhere")])
    with pytest.raises(InputError, match="set TMPDIR to another folder"):
        Scratch()
