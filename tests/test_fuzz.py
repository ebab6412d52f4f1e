"""A short budget of benchmarks/fuzz.py: changed files are read or refused in one message, at once, and no other is touched."""

import runpy
from pathlib import Path

import pytest

from search_spaces.errors import InputError

FUZZ = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "fuzz.py"))
COUNTS = {"genotype": 300, "space": 60, "recipe": 30, "run": 40, "journal": 8, "profile": 30, "weights": 60}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_every_kind_but_the_one_that_times_networks_has_a_short_budget():
    assert set(COUNTS) == set(FUZZ["KINDS"]) - {"bench"}


@pytest.mark.parametrize("name", COUNTS)
def test_changed_files_are_read_or_refused(name, tmp_path):
    ended, failures = FUZZ["fuzz"](name, FUZZ["KINDS"][name](), range(COUNTS[name]), tmp_path / "fuzzed")
    assert not failures and sum(ended.values()) == COUNTS[name]


def raises(error):
    def read(folder):
        raise error

    return read


def loops(folder):
    while True:
        pass


def touches(folder):
    (folder.parent / "foreign" / "thesis.txt").write_text("touched")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (raises(KeyError("x")), "KeyError"),
        (raises(InputError("two\nlines")), "2 lines"),
        (raises(InputError("x" * 5000)), "5000 letters"),
        (loops, "more than"),
        (touches, "touched"),
    ],
)
def test_what_is_looked_for_is_found(read, message, tmp_path, monkeypatch):
    monkeypatch.setitem(FUZZ["outcome"].__globals__, "SECONDS", 0.05)
    _, failures = FUZZ["fuzz"]("made", FUZZ["Kind"](lambda rng, folder: None, read), range(2), tmp_path / "fuzzed")
    assert failures and all(message in failure for failure in failures)
