"""Processes that this one starts import what it does, whatever folders stand in the current directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.imports import HOME, import_path
from evaluators.latency.device import measure_networks
from evaluators.latency.device.measure_networks import Bench, measure_apart

PACKAGES = ("evaluators", "nas", "search_spaces")


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """The current directory, in which a person has packages of these names."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("way", ["", ".", "here"])
def test_the_current_directory_is_left_out(foreign, monkeypatch, way):
    monkeypatch.setattr(sys, "path", [str(foreign) if way == "here" else way, HOME, "/elsewhere", "lib"])
    assert import_path() == [HOME, "/elsewhere", str(foreign / "lib")]


def test_it_stays_where_the_packages_are_in_it(monkeypatch):
    monkeypatch.chdir(HOME)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    assert import_path() == [HOME, "/elsewhere"]


def test_a_process_that_measures_imports_the_packages_of_this_one(foreign, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    done, run_it = [], subprocess.run

    def run(command, env, **_):
        program = "import evaluators, search_spaces; print(evaluators.__file__, search_spaces.__file__)"
        done.append(run_it([*command[:2], "-c", program], env=env, capture_output=True, text=True))
        return subprocess.CompletedProcess(command, 0, "[]", "")

    monkeypatch.setattr(measure_networks.subprocess, "run", run)
    assert measure_apart([], 0.0, Bench("onnxruntime_cpu")) == []
    assert [Path(file).parents[1] for file in done[0].stdout.split()] == [Path(HOME)] * 2, done[0].stderr


def test_the_command_imports_its_own_packages(foreign):
    (foreign / "nas" / "__init__.py").unlink()  # Python itself looks for `-m nas` there first
    environment = {**os.environ, "PYTHONPATH": HOME}
    done = subprocess.run([sys.executable, "-m", "nas", "--help"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
